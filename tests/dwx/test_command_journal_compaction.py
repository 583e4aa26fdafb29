"""A ledger that is tidied forgets nothing that is open, or that may be."""

import os
import time
from collections.abc import Iterable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.dwx import command_journal, file_io
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import (
    CLOSE,
    GONE,
    OPEN,
    REFUSED,
    UNSENT,
    CommandFilter,
    OpenSnapshot,
    OpenSnapshots,
    SentCommand,
    client_order_ids,
    exits_by_ticket,
    without_ended,
)
from brokers.record_cache import RecordCache
from brokers.types import OrderType
from tests.dwx.factories import Owner

NOW = 1_000_000_000.0
DAY = 86_400.0


def intent(number: int, **said: Any) -> SentCommand:
    values = {
        "what": OPEN, "client_order_id": f"abc{number:014}0", "magic": number, "at": NOW - DAY,
        "symbol": "EURUSD", "lots": D("0.1"), **said,
    }  # fmt: skip
    return SentCommand(number=number, **values)


def left(found: list[SentCommand], open_now: CommandFilter, most: int = 2) -> list[int]:
    return [
        one.number
        for one in without_ended(found, OpenSnapshot(NOW, open_now), NOW - 400 * DAY, most)
    ]


def test_what_is_open_stays_however_old_it_is_and_however_much_there_is() -> None:
    old = NOW - 500 * DAY
    found = [
        intent(1, at=old),
        intent(2, at=old, magic=1, what=CLOSE, ticket=1000, root=1000),
        intent(3, at=old),
        intent(4, at=old, magic=0, what=CLOSE, ticket=77, root=70),
        *(intent(n) for n in range(5, 9)),
    ]
    open_now = CommandFilter(frozenset({0, 1}), frozenset({1001, 77}))
    assert left(found, open_now) == [1, 2, 4]
    assert left(found, open_now, most=5) == [1, 2, 4, 7, 8]
    assert left(found, CommandFilter()) == [7, 8]


def test_what_may_be_open_stays() -> None:
    found = [
        intent(1, at=NOW - 9),
        intent(2, magic=1, end=GONE),  # filled in part, and the rest gone
        intent(3, at=NOW - 9, magic=6, what=CLOSE, ticket=60),
        *(intent(n) for n in (4, 5, 6)),
    ]
    assert left(found, CommandFilter()) == [1, 2, 3, 6]


def test_what_had_no_effect_goes_first_even_beside_what_is_open() -> None:
    found = [intent(1), *(intent(n, magic=1, what=CLOSE, end=REFUSED) for n in (2, 3, 4))]
    found += [intent(5, end=UNSENT, at=NOW), intent(6)]
    assert left(found, CommandFilter(frozenset({1})), most=3) == [1, 5, 6]


def test_what_is_open_counts_once_there_were_looks_for_long_enough() -> None:
    looks, lately = OpenSnapshots(), []
    for at, magic in ((NOW, 1), (NOW + 1, 2), (NOW + 599, 3)):
        looks.record_open(OpenSnapshot(at, CommandFilter(frozenset({magic}))))
        lately.append(looks.recent)
        assert looks.last == OpenSnapshot(at, CommandFilter(frozenset({magic})))
    assert lately == [None] * 3
    looks.record_open(OpenSnapshot(NOW + 600, CommandFilter(frozenset({4}), frozenset({40}))))
    looks.record_open(
        OpenSnapshot(NOW + 601, CommandFilter(frozenset({5}), ids=frozenset({"asked"})))
    )
    assert looks.recent == OpenSnapshot(NOW, CommandFilter(frozenset({1, 4, 5}), frozenset({40})))
    looks.record_open(
        OpenSnapshot(NOW, CommandFilter())
    )  # the clock was set back: it is looked for long again
    assert looks.recent is None


def write(path: Path, intents: Iterable[SentCommand]) -> None:
    file_io.append(
        path, b"".join(command_journal._line(command_journal._as_json(one)) for one in intents)
    )


def written(path: Path) -> tuple[int, int, int]:
    """What changes when the file is written, and not when it is read."""
    now = os.stat(path)
    return now.st_ino, now.st_size, now.st_mtime_ns


def test_nothing_is_forgotten_before_anybody_has_looked(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    book = CommandJournal(path, RecordCache())
    write(path, (intent(n, at=time.time() - DAY) for n in range(1, 10_002)))
    before = written(path)
    assert not book.tidy()
    book.about(CommandFilter(frozenset({1})))
    assert not book.tidy()
    assert [book.knows_what_is_open] == [False]
    assert written(path) == before
    book._snapshots.record_open(OpenSnapshot(time.time() + 700, CommandFilter(frozenset({1}))))
    assert book.knows_what_is_open
    assert book.tidy()
    assert [one.number for one in book.intents()][:2] == [1, 1003]
    assert len(book.intents()) == 9_000
    assert book.last_number() == 10_001


def held_and_tidied(owner: Owner, monkeypatch: pytest.MonkeyPatch, *waiting: OrderType) -> None:
    """Tidy, down to 2 intents, a ledger in which 20 are younger than a position's, its exit's and
    waiting orders' of these types, in a process that looks for the first time."""
    owner.terminal.fault(rewrite_comment="MANAGED")  # only the ledger knows whose they are
    bought = owner.buy()
    waits = [owner.buy(order_type=one, limit_price=D("1.05")).client_order_id for one in waiting]
    owner.terminal.fault()
    leave = owner.exit(bought.broker_position_id, "4000")
    owner.submit(leave)
    path = owner.terminal.folder / "fillcast/ledger.jsonl"
    sent = CommandJournal(path, RecordCache()).intents()
    path.unlink()
    old = [SentCommand(**{**fields(one), "at": one.at - 500 * DAY}) for one in sent]
    others = [intent(one, at=time.time() - DAY) for one in range(900_001, 900_021)]
    write(path, [*old, *others, intent(1_000_000_000, at=time.time() - DAY, end=REFUSED)])
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 10)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 10)
    monkeypatch.setattr(command_journal, "MAX_COMMANDS", 2)
    owner.restart()

    def known() -> list[str]:
        return [one.client_order_id for one in owner.positions()]

    assert known() == [bought.client_order_id]
    [told] = owner.find(leave.client_order_id) or []
    assert told.fills[0].quantity == 4000
    assert len(CommandJournal(path, RecordCache()).intents()) == len(sent) + 21  # put off
    [terminal] = owner.adapter._terminals.values()
    assert terminal.journal._snapshots.last is not None
    monkeypatch.setattr("brokers.dwx.sent_commands.SEEN_SECONDS", 0.0)
    assert known() == [bought.client_order_id]  # looked at twice, as if for long enough
    assert owner.find(leave.client_order_id) == [told]  # a command: it is tidied
    held = {bought.client_order_id, leave.client_order_id, *waits}
    after = CommandJournal(path, RecordCache()).intents()
    assert {one.client_order_id for one in after} == held
    assert set(client_order_ids(after).values()) == held - {leave.client_order_id}
    owner.restart()
    assert known() == [bought.client_order_id]
    [told] = owner.find(leave.client_order_id) or []
    assert told.client_order_id == leave.client_order_id
    assert all(owner.find(one) for one in waits)


def fields(one: SentCommand) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_what_is_open_at_a_metatrader_4_is_known_after_it(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_and_tidied(owner, monkeypatch, OrderType.LIMIT)


def test_what_is_open_at_a_metatrader_5_is_known_after_it(
    owner5: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_and_tidied(owner5, monkeypatch, OrderType.LIMIT)


def test_the_last_number_that_was_reserved_keeps_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tidying notes that number behind the intents: it may be the number of one of them."""
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 0)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 0)
    book, now = CommandJournal(tmp_path / "ledger.jsonl", RecordCache(100)), time.time()
    book.write(intent(1, at=now))
    book.write(intent(2, at=now, magic=1, what=CLOSE, ticket=1000))
    open_now = CommandFilter(frozenset({1}), frozenset({1000}))
    for at in (now - 2000, now - 1000, now):
        book._snapshots.record_open(OpenSnapshot(at, open_now))
    book.reserve(2)
    assert book.tidy()
    again = CommandJournal(tmp_path / "ledger.jsonl", RecordCache(100))
    assert [(one.number, one.end) for one in again.intents()] == [(1, ""), (2, "")]
    assert 1000 in exits_by_ticket(again.intents())
    assert again.last_number() == 2
