"""A terminal that is logged in to another account and back: one account's files prove nothing about
the orders of the other."""

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
from tests.dwx.factories import Account, run
from tests.dwx.test_command_journal_compaction import DAY, sent_command, write


def find_at_other_account(account: Account, client_order_id: str) -> list[OrderReport] | None:
    """Query an order of the account to which the terminal is now logged in."""
    spec = replace(account.spec, connection_id="c2", account="4712")
    return run(account.adapter.find_order(spec, client_order_id))


def test_working_order_is_not_gone_while_other_account_is_logged_in(mt5_account: Account) -> None:
    order = mt5_account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    [report] = mt5_account.find(order.client_order_id) or []
    assert report.kind is ReportKind.ACCEPTED
    mt5_account.terminal.simulate("account", number="4712")
    assert find_at_other_account(mt5_account, "abc999999999999990") is None
    mt5_account.terminal.simulate("account", number="4711")
    mt5_account.terminal.fault(unlisted=True)
    mt5_account.terminal.simulate("time_zone", hours=2.0)  # no change: now the fault is active
    mt5_account.terminal.simulate("trigger", ticket=1001)
    # It is filled, but in no file until the second read.
    assert [one.kind for one in mt5_account.find(order.client_order_id) or []] == [
        ReportKind.FILLED
    ]


def test_compaction_keeps_open_tickets_of_other_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 0)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 0)
    monkeypatch.setattr(command_journal, "MAX_COMMANDS", 2)
    path, now = tmp_path / "ledger.jsonl", time.time()
    hidden = [sent_command(n, at=now - 500 * DAY, account="A") for n in (1, 2)]
    hidden.append(sent_command(3, magic=1, at=now - DAY, account="A", action=CLOSE, ticket=1000))
    visible = [sent_command(n, at=now - DAY, account="B") for n in (11, 12, 13, 14)]
    write(path, [*hidden, sent_command(4, at=now - 500 * DAY), *visible])
    journal = CommandJournal(path, RecordCache())
    for at in (now - 1400, now - 700, now):
        journal._snapshots.record_open(OpenSnapshot(at, CommandFilter(frozenset({11})), "B"))
    assert journal.tidy()
    assert [one.number for one in journal.commands()] == [1, 2, 3, 11, 14]
    for age in (1400, 700, 0):  # snapshots of A again: 2 has ended
        journal._snapshots.record_open(OpenSnapshot(now - age, CommandFilter(frozenset({1})), "A"))
    assert journal.tidy()
    assert [(one.number, one.account) for one in journal.commands()] == [
        (1, "A"), (3, "A"), (11, "B"), (14, "B"),
    ]  # fmt: skip
    assert journal._snapshots.recent_of("B") is not None


def test_snapshots_of_one_account_do_not_count_for_another(tmp_path: Path) -> None:
    journal, now = CommandJournal(tmp_path / "ledger.jsonl", RecordCache()), time.time()
    journal._snapshots.record_open(OpenSnapshot(now - 700, CommandFilter(), "B"))
    journal._snapshots.record_open(OpenSnapshot(now, CommandFilter(), "A"))
    assert not journal.knows_what_is_open
