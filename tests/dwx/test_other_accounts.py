"""A terminal whose owner logs it in to another account, and back: each account's orders are its
own, and nothing of the one is concluded from what the other shows."""

import time
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

import pytest

from brokers.dwx import command_journal
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import CLOSE, CommandFilter, OpenSnapshot
from brokers.record_cache import RecordCache
from brokers.types import OrderReport, OrderType, ReportKind
from tests.dwx.factories import Owner, run
from tests.dwx.test_command_journal_compaction import DAY, intent, write


def of_another(owner: Owner, client_order_id: str) -> list[OrderReport] | None:
    """Ask for an order of the account that the terminal is logged in to meanwhile."""
    spec = replace(owner.spec, connection_id="c2", account="4712")
    return run(owner.adapter.find_order(spec, client_order_id))


def test_an_order_that_waits_is_not_gone_where_another_account_is_shown(owner5: Owner) -> None:
    waits = owner5.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    [told] = owner5.find(waits.client_order_id) or []
    assert told.kind is ReportKind.ACCEPTED
    owner5.terminal.simulate("account", number="4712")
    assert of_another(owner5, "abc999999999999990") is None
    owner5.terminal.simulate("account", number="4711")
    owner5.terminal.fault(unlisted=True)
    owner5.terminal.simulate("time_zone", hours=2.0)  # changes nothing: the fault is seen by then
    owner5.terminal.simulate("trigger", ticket=1001)
    # It is filled, and no file tells it until the second look.
    assert [one.kind for one in owner5.find(waits.client_order_id) or []] == [ReportKind.FILLED]


def test_what_is_open_at_an_account_that_is_not_shown_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 0)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 0)
    monkeypatch.setattr(command_journal, "MAX_COMMANDS", 2)
    path, now = tmp_path / "ledger.jsonl", time.time()
    left = [intent(n, at=now - 500 * DAY, account="A") for n in (1, 2)]
    left.append(intent(3, magic=1, at=now - DAY, account="A", what=CLOSE, ticket=1000))
    shown = [intent(n, at=now - DAY, account="B") for n in (11, 12, 13, 14)]
    write(path, [*left, intent(4, at=now - 500 * DAY), *shown])
    book = CommandJournal(path, RecordCache())
    for at in (now - 1400, now - 700, now):
        book._snapshots.record_open(OpenSnapshot(at, CommandFilter(frozenset({11})), "B"))
    assert book.tidy()
    assert [one.number for one in book.intents()] == [1, 2, 3, 11, 14]
    for ago in (1400, 700, 0):  # what is open at A is seen again, and 2 is over
        book._snapshots.record_open(OpenSnapshot(now - ago, CommandFilter(frozenset({1})), "A"))
    assert book.tidy()
    assert [(one.number, one.account) for one in book.intents()] == [
        (1, "A"), (3, "A"), (11, "B"), (14, "B"),
    ]  # fmt: skip
    assert book._snapshots.recent_of("B") is not None


def test_looks_at_one_account_are_no_looks_at_the_other(tmp_path: Path) -> None:
    book, now = CommandJournal(tmp_path / "ledger.jsonl", RecordCache()), time.time()
    book._snapshots.record_open(OpenSnapshot(now - 700, CommandFilter(), "B"))
    book._snapshots.record_open(OpenSnapshot(now, CommandFilter(), "A"))
    assert not book.knows_what_is_open
