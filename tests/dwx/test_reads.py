"""Reads: account, fills, external exits, the connection test."""

import asyncio
import json
import shutil
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.dwx.adapter import create
from brokers.types import (
    Check,
    CheckResult,
    CloseCause,
    ConnectionSpec,
    ExitSafety,
    OrderReport,
    OrderType,
    PositionMode,
    ReportKind,
)
from common.reason_codes import Code
from tests.dwx.factories import Account, raises_outcome, run
from tests.fakes.dwx.terminal import Terminal
from tests.until import until

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def fills(account: Account, since: datetime = AN_HOUR_AGO) -> list[OrderReport]:
    return run(account.adapter.fills_since(account.spec, since))


def checks(account: Account) -> dict[str, Check]:
    return {check.name: check for check in run(account.adapter.test(account.spec))}


def test_account_is_read(account: Account) -> None:
    state = run(account.adapter.account(account.spec))
    assert (state.account, state.currency, state.leverage) == ("4711", "USD", D(100))
    assert (state.balance, state.margin_used, state.free_margin) == (D(10000), D(100), D(9900))
    assert state.position_mode is PositionMode.HEDGING
    assert run(account.adapter.events(10)) == []
    assert run(account.adapter.clock()) is None
    run(account.adapter.acknowledge([]))


def test_capabilities_follow_settings(account: Account) -> None:
    capabilities = account.adapter.capabilities(account.spec)
    assert (capabilities.exit_safety, capabilities.event_stream, capabilities.session) == (
        ExitSafety.TICKET,
        True,
        True,
    )
    assert capabilities.lookup_horizon == capabilities.fills_horizon == timedelta(days=90)
    account.change_settings(history_days=7)
    assert account.adapter.capabilities(account.spec).lookup_horizon == timedelta(days=7)
    account.change_settings(history_days="many")
    assert account.adapter.capabilities(account.spec).lookup_horizon == timedelta(days=90)
    assert account.adapter.instrument_book(account.spec) == "mt4:alice"


@pytest.mark.parametrize(
    ("mark", "at", "cause"),
    [
        ("[sl]", None, CloseCause.STOP_LOSS),
        ("[tp]", None, CloseCause.TAKE_PROFIT),
        ("", 1.09, CloseCause.STOP_LOSS),
        ("", 1.12, CloseCause.TAKE_PROFIT),
        ("", 1.1, CloseCause.EXTERNAL),
        ("so: 48%", None, CloseCause.STOP_OUT),
    ],
)
def test_external_exits_are_reported(
    account: Account, mark: str, at: float | None, cause: CloseCause
) -> None:
    entry = account.buy(stop_loss=D("1.09"), take_profit=D("1.12"))
    account.terminal.simulate("end", ticket=1001, mark=mark, at=at)
    entry_report, exit_report = fills(account)
    assert entry_report.fills == entry.fills
    assert entry_report.client_order_id == exit_report.client_order_id == entry.client_order_id
    assert (exit_report.kind, exit_report.close_cause) == (ReportKind.FILLED, cause)
    assert exit_report.broker_position_id == entry.broker_position_id
    assert exit_report.broker_order_id
    assert (exit_report.fills[0].broker_fill_id, exit_report.fills[0].quantity) == (
        "1001:out",
        D(10000),
    )


def test_fills_are_equal_in_all_reads(account: Account) -> None:
    entry = account.buy()
    [part] = account.submit(account.exit(entry.broker_position_id, "4000"))
    account.terminal.simulate("end", ticket=1002, mark="[tp]", lots=0.01)
    account.terminal.simulate("order", symbol="EURUSD", lots=0.3, type="buy", comment="by hand")
    account.restart()
    reports = fills(account)
    by_fill_id = {one.fills[0].broker_fill_id: one for one in reports}
    assert sorted(by_fill_id) == ["1001:in", "1001:out", "1002:out", "1004:in"]
    assert by_fill_id["1001:in"].fills == entry.fills
    assert by_fill_id["1001:out"] == part
    assert by_fill_id["1002:out"].client_order_id == entry.client_order_id
    assert by_fill_id["1002:out"].close_cause is CloseCause.TAKE_PROFIT
    assert by_fill_id["1002:out"].broker_position_id == entry.broker_position_id
    assert by_fill_id["1004:in"].client_order_id == ""
    assert fills(account, datetime.now(UTC) + timedelta(hours=1)) == []


def test_tickets_of_others_are_read(account: Account) -> None:
    account.terminal.simulate(
        "order", symbol="DAX", lots=0.3, type="sell", comment="index", magic=5
    )
    account.terminal.simulate("order", symbol="EURUSD", lots=0.2, type="buystop", comment="x")
    [index] = account.positions()
    assert (index.symbol, index.quantity, index.client_order_id) == ("DAX", D("0.3"), "")
    [order] = run(account.adapter.open_orders(account.spec))
    assert (order.order_type, order.client_order_id) == (OrderType.STOP, "")
    account.terminal.simulate("end", ticket=1001, mark="", lots=0.1)
    account.restart()
    [rest] = account.positions()
    assert rest.quantity == D("0.2")


def test_incomplete_history_fails_calls(account: Account) -> None:
    entry = account.buy()
    account.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    account.terminal.fault(hide_history=True)
    account.restart()
    # Which position it is, the ledger knows; how much of it was executed, only the history.
    assert [one.broker_position_id for one in account.positions()] == ["1001"]
    with raises_outcome(ReadFailed):
        fills(account)
    _forget_tickets(account)
    with raises_outcome(ReadFailed) as caught:
        account.positions()
    assert "All History" in caught[0].detail
    with raises_outcome(NotSent):
        account.submit(account.exit(entry.broker_position_id, "6000"))
    account.terminal.fault()
    assert [one.broker_position_id for one in account.positions()] == ["1001"]


def _forget_tickets(account: Account) -> None:
    """Leave a ledger as former versions wrote it, which noted no tickets of entries."""
    run(account.adapter.disconnect())
    ledger = account.terminal.folder / "fillcast/ledger.jsonl"
    lines = [
        line for line in ledger.read_text().splitlines() if '"ticket"' not in line or "what" in line
    ]
    ledger.write_text("\n".join(lines))
    account.restart()


def test_missing_lots_do_not_reduce_a_fill(account: Account) -> None:
    account.terminal.fault(no_from=True)
    entry = account.buy()
    account.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    account.terminal.fault(no_from=True, hide_history=True)
    account.restart()
    with raises_outcome(ReadFailed) as caught:
        account.find(entry.client_order_id)
    assert "more lots" in caught[0].detail


def test_unanswered_history_request_fails(account: Account) -> None:
    account.terminal.fault(ignore_history_requests=True)
    account.shorten_timeouts("answer_seconds")
    with raises_outcome(ReadFailed):
        fills(account)


def test_metatrader_5_is_refused_before_any_trade(account: Account) -> None:
    account.terminal.fault(deals=True)
    with raises_outcome(ReadFailed) as caught:
        fills(account)
    assert "MetaTrader 5" in caught[0].detail
    with raises_outcome(NotSent):
        account.buy()
    assert account.terminal.journal() == []
    assert "MetaTrader 5" in checks(account)["commands"].detail


# ---- access to the terminal -----------------------------------------------------------------
@pytest.mark.parametrize(
    "folder",
    ["", ".", "..", "../alice", "alice/../alice", "./alice", "alice/", "alice\\..", "/etc", "~",
     "alice\0", "alice\n", "\0", "ALICE ", "a" * 300, ".hidden", None, 5, ["alice"],
     "bob", "out", "inner", "itself", "loop"],
)  # fmt: skip
def test_folder_must_be_a_name_in_the_root(account: Account, folder: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "DWX").mkdir(parents=True)
    for directory in (outside, outside / "DWX", account.root):
        (directory / "fillcast.key").write_text(Terminal.key)
    (account.root / "bob").mkdir()  # without a key no account may use it
    (account.root / "out").symlink_to(outside)
    (account.root / "inner").mkdir()
    (account.root / "inner" / "DWX").symlink_to(outside / "DWX")
    (account.root / "itself").symlink_to(account.root)
    (account.root / "loop").symlink_to(account.root / "loop")
    account.change_settings(folder=folder)
    with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
        account.positions()
    with raises_outcome(NotSent, Code.UNKNOWN_ACCOUNT):
        account.buy()
    assert not list(outside.rglob("DWX_*"))
    assert not list(outside.rglob("fillcast"))
    assert checks(account)["folder"].result is CheckResult.FAIL


def test_absolute_path_is_not_a_folder_name(account: Account) -> None:
    account.change_settings(folder=str(account.terminal.folder))
    with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
        account.positions()


@pytest.mark.parametrize("password", ["", "wrong", "é"])
def test_wrong_key_is_refused(account: Account, password: str) -> None:
    secret = {"password": password}
    spec = ConnectionSpec("c1", "4711", settings=account.spec.settings, credentials=secret)
    with raises_outcome(ReadFailed, Code.CREDENTIALS_REFUSED):
        run(account.adapter.account(spec))
    (account.terminal.folder / "fillcast.key").write_text("")
    with raises_outcome(ReadFailed, Code.CREDENTIALS_REFUSED):
        run(account.adapter.account(account.spec))


def test_root_comes_from_the_environment(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILLCAST_MT4_ROOT", str(account.root))
    assert run(create().account(account.spec)).account == "4711"
    monkeypatch.delenv("FILLCAST_MT4_ROOT")
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        run(create().account(account.spec))


def test_other_login_fails_all_calls(account: Account) -> None:
    account.buy()
    account.terminal.simulate("account", number="999")
    for read in (account.adapter.account, account.adapter.positions):
        with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
            run(read(account.spec))
    with raises_outcome(NotSent, Code.UNKNOWN_ACCOUNT):
        account.buy()
    assert len(account.terminal.journal()) == 1
    assert checks(account)["account"].result is CheckResult.FAIL


def test_unknown_time_zone_is_reported(account: Account) -> None:
    account.change_settings(server_zone="Mars/Olympus")
    with raises_outcome(ReadFailed) as caught:
        account.positions()
    assert "time zone" in caught[0].detail


# ---- the connection test --------------------------------------------------------------------
def test_good_connection_passes_its_test(account: Account) -> None:
    account.terminal.close()
    account.terminal.set_inputs(MaximumOrders=100, MaximumLotSize=1000)
    account.terminal.start()
    found = checks(account)
    assert {one.result for one in found.values()} == {CheckResult.OK}, found
    assert {"folder", "expert advisor", "account", "server time", "commands", "history"} <= {*found}
    assert found["EURUSD"].detail == "0.01 to 100 lots"
    assert account.terminal.journal() == []  # the test traded nothing


def test_connection_test_warns_of_limits_and_wrong_symbols(account: Account) -> None:
    account.terminal.close()
    account.terminal.set_inputs(MaximumOrders=1, MaximumLotSize=0.01)
    account.terminal.start()
    account.change_settings(
        symbols={"EURUSD": {"contract_size": "1000"}, "GBPUSD": {}, "DAX": {}, "USDJPY": {}}
    )
    found = checks(account)
    assert found["EURUSD"].result is CheckResult.WARN
    assert "0.01" in found["EURUSD"].detail
    assert "MaximumLotSize" in found["EURUSD"].hint
    assert found["EURUSD lot"].result is CheckResult.FAIL
    assert "for the terminal it is 1" in found["EURUSD lot"].detail
    assert found["GBPUSD"].result is CheckResult.FAIL
    assert "contract_size" in found["DAX"].detail
    account.change_settings(symbols="EURUSD")
    account.buy("1000")
    found = checks(account)
    assert "MaximumOrders" in found["EURUSD"].hint
    assert len(account.terminal.journal()) == 1


def test_settings_without_symbols_fail_connection_test(account: Account) -> None:
    for symbols in ("", 5, ["EUR,USD"], {"EURUSD": 5}):
        account.change_settings(symbols=symbols)
        assert checks(account)["symbols"].result is CheckResult.FAIL
        assert run(account.adapter.instruments(account.spec)) == []


def test_instruments_are_in_base_units(account: Account) -> None:
    euro, gold = run(account.adapter.instruments(account.spec))
    assert (euro.symbol, euro.pair, euro.digits, euro.pip) == ("EURUSD", "EUR/USD", 5, D("0.0001"))
    assert (euro.quantity_min, euro.quantity_step, euro.quantity_max) == (
        D(1000),
        D(1000),
        D(10_000_000),
    )
    assert (gold.pair, gold.contract_size, gold.quantity_min) == ("XAU/USD", D(100), D(1))


def test_wrong_time_zone_fails_connection_test(account: Account) -> None:
    account.buy()
    account.change_settings(server_zone="UTC")
    assert checks(account)["server time"].result is CheckResult.FAIL


@pytest.mark.parametrize("skew", [-600, 600])
def test_skewed_clocks_do_not_affect_trading(account: Account, skew: int) -> None:
    account.terminal.fault(skew=skew, disk_skew=skew)
    report = account.buy()
    assert report.kind is ReportKind.FILLED
    assert [one.quantity for one in account.positions()] == [D(10000)]
    [read_report] = [one for one in fills(account) if one.client_order_id == report.client_order_id]
    assert read_report.fills[0].broker_fill_id == report.fills[0].broker_fill_id
    ahead = CheckResult.FAIL if skew > 0 else CheckResult.OK
    assert checks(account)["server time"].result is ahead


def test_dead_terminal_fails_connection_test(account: Account) -> None:
    account.terminal.close()
    account.minimize_timeouts()
    found = checks(account)
    assert found["expert advisor"].result is CheckResult.FAIL
    assert "DWX_Server" in found["expert advisor"].hint


def test_terminal_that_ignores_commands_fails_connection_test(account: Account) -> None:
    account.terminal.fault(ignore_commands=True)
    account.shorten_timeouts()
    assert checks(account)["commands"].result is CheckResult.FAIL


# ---- many -----------------------------------------------------------------------------------
def test_two_hundred_folders_do_not_need_a_thread_each(account: Account) -> None:
    path = account.terminal.folder / "DWX_Orders.txt"
    account.terminal.kill()
    account.terminal.start()
    until(lambda: path.read_bytes().endswith(b"\n"))
    account.terminal.kill()
    orders = path.read_bytes()
    specs = []
    for number in range(200):
        folder = account.root / f"t{number}"
        folder.mkdir()
        shutil.copy(account.terminal.folder / "fillcast.key", folder)
        (folder / "DWX_Orders.txt").write_bytes(orders)
        settings = {**account.spec.settings, "folder": folder.name, "stale_seconds": 60}
        specs.append(ConnectionSpec(f"c{number}", "4711", "", settings, account.spec.credentials))
    maximum, before = 0, threading.active_count()  # threads of other tests may still run

    async def read_all() -> list[Any]:
        nonlocal maximum
        calls = asyncio.gather(*(account.adapter.account(spec) for spec in specs))
        while not calls.done():
            maximum = max(maximum, threading.active_count())
            await asyncio.sleep(0)
        return await calls

    states = run(read_all())
    assert {state.account for state in states} == {"4711"}
    assert maximum - before < 50


def test_incomplete_journal_line_is_skipped(account: Account) -> None:
    entry = account.buy()
    ledger = account.terminal.folder / "fillcast/ledger.jsonl"
    with ledger.open("a") as file:
        file.write('\n{"number": 12, "at"')
    account.restart()
    account.terminal.simulate("order", symbol="EURUSD", lots=0.1, type="buy")
    assert account.buy().kind is ReportKind.FILLED
    assert account.find(entry.client_order_id) == [entry]
    lines = [line for line in ledger.read_text().splitlines() if '"what"' in line]
    assert [json.loads(line)["what"] for line in lines] == ["open", "open"]
