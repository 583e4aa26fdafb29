"""What a process remembers of its terminals' files: nothing depends on how much of it that is."""

import os
import tempfile
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.base import NotSent, Rejected
from brokers.dwx import command_journal, file_io
from brokers.dwx.adapter import DwxAdapter
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import CLOSE, GONE, OPEN, REFUSED, UNSENT, CommandFilter, SentCommand
from brokers.record_cache import RecordCache
from brokers.types import OrderReport, OrderType
from tests.dwx.factories import Owner, raises_outcome, run
from tests.dwx.test_command_journal import has_looked

D = Decimal
LONG_AGO = 3600.0


def intent(number: int, **said: Any) -> SentCommand:
    values = {
        "what": OPEN, "client_order_id": f"abc{number:014}0", "magic": number,
        "at": time.time() - LONG_AGO, "symbol": "EURUSD", "lots": D("0.1"), **said,
    }  # fmt: skip
    return SentCommand(number=number, **values)


def write(path: Path, intents: Iterable[SentCommand]) -> None:
    """Put many on disk at once."""
    file_io.append(
        path, b"".join(command_journal._line(command_journal._as_json(one)) for one in intents)
    )


SMALL = st.integers(1, 6)
ABOUT = st.builds(
    CommandFilter,
    st.frozensets(SMALL, max_size=3),
    st.frozensets(SMALL, max_size=2),
    st.frozensets(st.sampled_from(["abc000", "abc001"]), max_size=1),
)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("open"), SMALL),
        st.tuples(st.just("close"), st.tuples(SMALL, SMALL)),
        st.tuples(st.just("end"), st.tuples(SMALL, st.sampled_from([UNSENT, REFUSED, GONE]))),
        st.tuples(st.just("about"), ABOUT),
        st.tuples(st.just("all"), st.just(0)),
        st.tuples(st.just("drop"), st.booleans()),
        st.tuples(st.just("backup"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(moves=MOVES)
def test_what_a_ledger_answers_does_not_depend_on_what_has_left(
    moves: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        book, backup = CommandJournal(path, RecordCache()), b""
        for number, (what, said) in enumerate(moves, 1):
            match what:
                case "open":
                    write(path, [intent(number, magic=said, client_order_id="abc000")])
                case "close":
                    magic, ticket = said
                    about = {"what": CLOSE, "ticket": ticket, "root": ticket, "magic": magic}
                    write(path, [intent(number, client_order_id="abc001", **about)])
                case "end":
                    file_io.append(path, command_journal._line({"number": said[0], "end": said[1]}))
                case "about":
                    assert book.about(said) == CommandJournal(path, RecordCache()).about(said)
                case "all":
                    assert book.intents() == CommandJournal(path, RecordCache()).intents()
                case "drop":
                    book.drop(ended=said)
                case "backup":
                    if backup:
                        path.write_bytes(backup)
                    backup = path.read_bytes() if path.exists() else b""
        assert book.intents() == CommandJournal(path, RecordCache()).intents()


def test_looks_at_many_terminals_read_no_file_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_cache = RecordCache(300)
    books = [CommandJournal(tmp_path / f"{n}.jsonl", record_cache) for n in range(30)]
    for n in range(30):
        write(tmp_path / f"{n}.jsonl", (intent(k) for k in range(1, 41)))
    now = CommandFilter(frozenset({3, 40}), frozenset({900, 901}))
    for book in books:
        assert [one.number for one in book.about(now)] == [3, 40]
        assert len(record_cache) <= 300  # of 1,200
    read, real = 0, file_io.read

    def counted(path: Path, begin: int = 0) -> bytes:
        nonlocal read
        raw = real(path, begin)
        read += len(raw)
        return raw

    monkeypatch.setattr(file_io, "read", counted)
    for n, book in enumerate(books):
        for k in (41, 42):
            write(tmp_path / f"{n}.jsonl", [intent(k, magic=3, what=CLOSE, ticket=900)])
            assert [one.number for one in book.about(now)][-1] == k
    whole = sum((tmp_path / f"{n}.jsonl").stat().st_size for n in range(30))
    assert read < whole / 4
    assert len(books[0].intents()) == 42  # the file has it all
    assert len(record_cache) <= 300


def test_what_was_sent_just_now_stays_until_it_may_have_been_seen(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    book = CommandJournal(path, record_cache := RecordCache(1000))
    write(path, [intent(1), intent(2, at=time.time()), intent(3, end=REFUSED, at=time.time())])
    book.about(CommandFilter(frozenset({9})))
    assert book.drop(ended=True)
    assert list(book._known) == [2]
    assert not book.drop(ended=True)
    assert len(record_cache) == 1
    assert [
        one.number for one in book.about(CommandFilter(ids=frozenset({intent(1).client_order_id})))
    ] == [1]


def test_what_has_left_is_not_taken_for_complete_by_what_came_since(tmp_path: Path) -> None:
    """An entry has left memory; the exit that is sent of it now is not all that is about it."""
    path = tmp_path / "ledger.jsonl"
    book = CommandJournal(path, RecordCache(1000))
    write(path, [intent(1), intent(5)])  # the last line may still be on its way
    assert book.about(CommandFilter(frozenset({9}))) == []
    assert book.drop(ended=True)
    exit_ = intent(2, magic=1, what=CLOSE, ticket=77, at=time.time())
    write(path, [exit_, intent(3), intent(4)])
    assert book.about(CommandFilter(frozenset({9}))) == []
    assert book.drop(ended=True)
    assert [one.number for one in book.about(CommandFilter(frozenset({1})))] == [1, 2]


def test_one_terminal_alone_fits_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    book = CommandJournal(path, record_cache := RecordCache())
    write(path, (intent(n, end=REFUSED if n > 9_900 else "") for n in range(1, 10_002)))
    assert 1_000_000 < path.stat().st_size < command_journal.REWRITE_ABOVE
    has_looked(book)
    assert book.tidy()
    kept = [one.number for one in book.intents()]
    assert (len(kept), kept[-1], kept[0]) == (9_000, 9_900, 901)
    assert book.last_number() == 10_001
    assert len(record_cache) == 9_000
    at = os.stat(path).st_mtime_ns
    book.tidy()
    assert os.stat(path).st_mtime_ns == at  # nothing is to be done any more


def test_what_is_written_while_it_is_tidied_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    book = CommandJournal(path, RecordCache())
    has_looked(book)
    write(path, (intent(n) for n in range(1, 10_002)))
    real = os.replace

    def late(one: Any, other: Any) -> None:
        writes.start()  # the next call, as the one that tidies has been given up
        writes.join(0.2)
        real(one, other)

    monkeypatch.setattr(os, "replace", late)
    tidies = threading.Thread(target=book.tidy)
    writes = threading.Thread(target=lambda: book.write(intent(20_000)))
    tidies.start()
    tidies.join(60)
    writes.join(60)
    assert CommandJournal(path, RecordCache()).intents()[-1].number == 20_000


def test_a_call_that_was_given_up_rewrites_no_ledger_of_another_process(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.buy()
    [terminal] = owner.adapter._terminals.values()
    path = owner.terminal.folder / "fillcast/ledger.jsonl"
    terminal._numbers._reserved = 0  # a thousand commands later
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 1)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 1)
    run(owner.adapter.disconnect())  # while the thread of the call had not begun yet
    before = path.read_bytes(), path.stat().st_ino
    with pytest.raises(OSError, match="released"):
        terminal._prepare(path.with_name("next-1.txt"), "", intent(1))
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_a_ledger_that_cannot_be_read_does_not_keep_the_folder(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.buy()
    run(owner.adapter.disconnect())
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 1)
    path = owner.terminal.folder / "fillcast/ledger.jsonl"
    good = path.read_bytes()
    path.write_bytes(good + b'\n{"number": 5, "what": "open"}\n')
    with raises_outcome(NotSent):
        owner.buy()
    path.write_bytes(good)
    owner.buy()


@pytest.fixture
def forgetful(owner: Owner) -> Owner:
    """An owner in whose process there is room for one record."""
    owner.adapter = DwxAdapter(owner.root, record_cache=RecordCache(1))
    return owner


def answers(owner: Owner, names: list[str]) -> list[object]:
    since = datetime.now(UTC) - timedelta(hours=1)
    told = run(owner.adapter.fills_since(owner.spec, since))
    return [
        owner.positions(),
        sorted(told, key=lambda one: (one.client_order_id, one.broker_order_id)),
        [owner.find(name) for name in names],
        run(owner.adapter.open_orders(owner.spec)),
    ]


def test_nothing_that_is_concluded_depends_on_memory(forgetful: Owner) -> None:
    owner = forgetful
    owner.terminal.fault(rewrite_comment="MANAGED")  # only our file knows whose they are
    kept, cut, closed = (owner.buy() for _ in range(3))
    waits = owner.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    ended: list[OrderReport] = []
    exits = [owner.exit(cut.broker_position_id, "4000"), owner.exit(closed.broker_position_id)]
    for one in exits:
        ended += owner.submit(one)
    owner.terminal.fault(rewrite_comment="MANAGED", error="not enough money")
    refused = owner.order()
    with raises_outcome(Rejected):
        owner.submit(refused)
    names = [one.client_order_id for one in (kept, cut, closed, waits)]
    names += [one.client_order_id for one in (*exits, refused)]
    by_room_for_one = answers(owner, names)
    assert owner.find(refused.client_order_id) is None
    assert {one.client_order_id for one in owner.positions()} == set(names[:2])
    assert [one.client_order_id for one in ended] == names[4:6]
    assert len(owner.adapter._record_cache) <= 1
    owner.restart()
    assert answers(owner, names) == by_room_for_one
