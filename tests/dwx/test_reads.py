"""What is learned by asking: account, fills, exits that others made, the connection test."""

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
from tests.dwx.factories import Owner, raises_outcome, run
from tests.fakes.dwx.terminal import Terminal, until

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def fills(owner: Owner, since: datetime = AN_HOUR_AGO) -> list[OrderReport]:
    return run(owner.adapter.fills_since(owner.spec, since))


def checks(owner: Owner) -> dict[str, Check]:
    return {one.name: one for one in run(owner.adapter.test(owner.spec))}


def test_the_account(owner: Owner) -> None:
    state = run(owner.adapter.account(owner.spec))
    assert (state.account, state.currency, state.leverage) == ("4711", "USD", D(100))
    assert (state.balance, state.margin_used, state.free_margin) == (D(10000), D(100), D(9900))
    assert state.position_mode is PositionMode.HEDGING
    assert run(owner.adapter.events(10)) == []
    assert run(owner.adapter.clock()) is None
    run(owner.adapter.acknowledge([]))


def test_what_it_can_do(owner: Owner) -> None:
    can = owner.adapter.capabilities(owner.spec)
    assert (can.exit_safety, can.event_stream, can.session) == (ExitSafety.TICKET, True, True)
    assert can.lookup_horizon == can.fills_horizon == timedelta(days=90)
    owner.change_settings(history_days=7)
    assert owner.adapter.capabilities(owner.spec).lookup_horizon == timedelta(days=7)
    owner.change_settings(history_days="many")
    assert owner.adapter.capabilities(owner.spec).lookup_horizon == timedelta(days=90)
    assert owner.adapter.instrument_book(owner.spec) == "mt4:alice"


@pytest.mark.parametrize(
    ("mark", "at", "cause"),
    [
        ("[sl]", None, CloseCause.STOP_LOSS),
        ("[tp]", None, CloseCause.TAKE_PROFIT),
        ("", 1.09, CloseCause.STOP_LOSS),
        ("", 1.12, CloseCause.TAKE_PROFIT),
        ("", 1.1, CloseCause.EXTERNAL),
        ("so: 48%", None, CloseCause.EXTERNAL),
    ],
)
def test_exits_that_others_made(
    owner: Owner, mark: str, at: float | None, cause: CloseCause
) -> None:
    entry = owner.buy(stop_loss=D("1.09"), take_profit=D("1.12"))
    owner.terminal.simulate("end", ticket=1001, mark=mark, at=at)
    entered, left = fills(owner)
    assert entered.fills == entry.fills
    assert entered.client_order_id == left.client_order_id == entry.client_order_id
    assert (left.kind, left.close_cause) == (ReportKind.FILLED, cause)
    assert left.broker_position_id == entry.broker_position_id
    assert left.broker_order_id
    assert (left.fills[0].broker_fill_id, left.fills[0].quantity) == ("1001:out", D(10000))


def test_fills_are_told_alike_everywhere(owner: Owner) -> None:
    entry = owner.buy()
    [part] = owner.submit(owner.exit(entry.broker_position_id, "4000"))
    owner.terminal.simulate("end", ticket=1002, mark="[tp]", lots=0.01)
    owner.terminal.simulate("order", symbol="EURUSD", lots=0.3, type="buy", comment="by hand")
    owner.restart()
    told = fills(owner)
    ids = {one.fills[0].broker_fill_id: one for one in told}
    assert sorted(ids) == ["1001:in", "1001:out", "1002:out", "1004:in"]
    assert ids["1001:in"].fills == entry.fills
    assert ids["1001:out"] == part
    assert ids["1002:out"].client_order_id == entry.client_order_id
    assert ids["1002:out"].close_cause is CloseCause.TAKE_PROFIT
    assert ids["1002:out"].broker_position_id == entry.broker_position_id
    assert ids["1004:in"].client_order_id == ""
    assert fills(owner, datetime.now(UTC) + timedelta(hours=1)) == []


def test_what_is_not_ours_is_told_too(owner: Owner) -> None:
    owner.terminal.simulate("order", symbol="DAX", lots=0.3, type="sell", comment="index", magic=5)
    owner.terminal.simulate("order", symbol="EURUSD", lots=0.2, type="buystop", comment="x")
    [index] = owner.positions()
    assert (index.symbol, index.quantity, index.client_order_id) == ("DAX", D("0.3"), "")
    [waits] = run(owner.adapter.open_orders(owner.spec))
    assert (waits.order_type, waits.client_order_id) == (OrderType.STOP, "")
    owner.terminal.simulate("end", ticket=1001, mark="", lots=0.1)
    owner.restart()
    [rest] = owner.positions()
    assert rest.quantity == D("0.2")


def test_a_history_that_is_cut_is_no_answer(owner: Owner) -> None:
    entry = owner.buy()
    owner.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    owner.terminal.fault(hide_history=True)
    owner.restart()
    with raises_outcome(ReadFailed) as caught:
        owner.positions()
    assert "All History" in caught[0].detail
    with raises_outcome(NotSent):
        owner.submit(owner.exit(entry.broker_position_id, "6000"))
    with raises_outcome(ReadFailed):
        fills(owner)
    owner.terminal.fault()
    assert [one.broker_position_id for one in owner.positions()] == ["1001"]


def test_lots_that_are_not_in_sight_are_no_smaller_fill(owner: Owner) -> None:
    owner.terminal.fault(no_from=True)
    entry = owner.buy()
    owner.terminal.simulate("end", ticket=1001, mark="", lots=0.04)
    owner.terminal.fault(no_from=True, hide_history=True)
    owner.restart()
    with raises_outcome(ReadFailed) as caught:
        owner.find(entry.client_order_id)
    assert "more lots" in caught[0].detail


def test_an_expert_advisor_that_does_not_tell(owner: Owner) -> None:
    owner.terminal.fault(ignore_history_requests=True)
    owner.shorten_timeouts("answer_seconds")
    with raises_outcome(ReadFailed):
        fills(owner)


def test_a_metatrader_5_is_refused_before_it_trades(owner: Owner) -> None:
    owner.terminal.fault(deals=True)
    with raises_outcome(ReadFailed) as caught:
        fills(owner)
    assert "MetaTrader 5" in caught[0].detail
    with raises_outcome(NotSent):
        owner.buy()
    assert owner.terminal.journal() == []
    assert "MetaTrader 5" in checks(owner)["commands"].detail


# ---- whose terminal -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "folder",
    ["", ".", "..", "../alice", "alice/../alice", "./alice", "alice/", "alice\\..", "/etc", "~",
     "alice\0", "alice\n", "\0", "ALICE ", "a" * 300, ".hidden", None, 5, ["alice"],
     "bob", "out", "inner", "itself", "loop"],
)  # fmt: skip
def test_names_that_are_not_a_folder_of_the_root(owner: Owner, folder: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "DWX").mkdir(parents=True)
    for place in (outside, outside / "DWX", owner.root):
        (place / "fillcast.key").write_text(Terminal.key)
    (owner.root / "bob").mkdir()  # without a key it is nobody's
    (owner.root / "out").symlink_to(outside)
    (owner.root / "inner").mkdir()
    (owner.root / "inner" / "DWX").symlink_to(outside / "DWX")
    (owner.root / "itself").symlink_to(owner.root)
    (owner.root / "loop").symlink_to(owner.root / "loop")
    owner.change_settings(folder=folder)
    with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
        owner.positions()
    with raises_outcome(NotSent, Code.UNKNOWN_ACCOUNT):
        owner.buy()
    assert not list(outside.rglob("DWX_*"))
    assert not list(outside.rglob("fillcast"))
    assert checks(owner)["folder"].result is CheckResult.FAIL


def test_an_absolute_path_into_the_root_is_no_name(owner: Owner) -> None:
    owner.change_settings(folder=str(owner.terminal.folder))
    with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
        owner.positions()


@pytest.mark.parametrize("password", ["", "wrong", "é"])
def test_the_key_is_asked_for(owner: Owner, password: str) -> None:
    secret = {"password": password}
    spec = ConnectionSpec("c1", "4711", settings=owner.spec.settings, credentials=secret)
    with raises_outcome(ReadFailed, Code.CREDENTIALS_REFUSED):
        run(owner.adapter.account(spec))
    (owner.terminal.folder / "fillcast.key").write_text("")
    with raises_outcome(ReadFailed, Code.CREDENTIALS_REFUSED):
        run(owner.adapter.account(owner.spec))


def test_the_root_is_the_operators(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILLCAST_MT4_ROOT", str(owner.root))
    assert run(create().account(owner.spec)).account == "4711"
    monkeypatch.delenv("FILLCAST_MT4_ROOT")
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        run(create().account(owner.spec))


def test_another_account_is_logged_in(owner: Owner) -> None:
    owner.buy()
    owner.terminal.simulate("account", number="999")
    for read in (owner.adapter.account, owner.adapter.positions):
        with raises_outcome(ReadFailed, Code.UNKNOWN_ACCOUNT):
            run(read(owner.spec))
    with raises_outcome(NotSent, Code.UNKNOWN_ACCOUNT):
        owner.buy()
    assert len(owner.terminal.journal()) == 1
    assert checks(owner)["account"].result is CheckResult.FAIL


def test_a_wrong_zone_is_said(owner: Owner) -> None:
    owner.change_settings(server_zone="Mars/Olympus")
    with raises_outcome(ReadFailed) as caught:
        owner.positions()
    assert "time zone" in caught[0].detail


# ---- the connection test --------------------------------------------------------------------
def test_a_good_connection(owner: Owner) -> None:
    owner.terminal.close()
    owner.terminal.set_inputs(MaximumOrders=100, MaximumLotSize=1000)
    owner.terminal.start()
    found = checks(owner)
    assert {one.result for one in found.values()} == {CheckResult.OK}, found
    assert {"folder", "expert advisor", "account", "server time", "commands", "history"} <= {*found}
    assert found["EURUSD"].detail == "0.01 to 100 lots"
    assert owner.terminal.journal() == []  # its questions traded nothing


def test_limits_and_symbols_that_will_bite(owner: Owner) -> None:
    owner.terminal.close()
    owner.terminal.set_inputs(MaximumOrders=1, MaximumLotSize=0.01)
    owner.terminal.start()
    owner.change_settings(
        symbols={"EURUSD": {"contract_size": "1000"}, "GBPUSD": {}, "DAX": {}, "USDJPY": {}}
    )
    found = checks(owner)
    assert found["EURUSD"].result is CheckResult.WARN
    assert "0.01" in found["EURUSD"].detail
    assert "MaximumLotSize" in found["EURUSD"].hint
    assert found["EURUSD lot"].result is CheckResult.FAIL
    assert "for the terminal it is 1" in found["EURUSD lot"].detail
    assert found["GBPUSD"].result is CheckResult.FAIL
    assert "contract_size" in found["DAX"].detail
    owner.change_settings(symbols="EURUSD")
    owner.buy("1000")
    found = checks(owner)
    assert "MaximumOrders" in found["EURUSD"].hint
    assert len(owner.terminal.journal()) == 1


def test_settings_that_name_no_symbol(owner: Owner) -> None:
    for symbols in ("", 5, ["EUR,USD"], {"EURUSD": 5}):
        owner.change_settings(symbols=symbols)
        assert checks(owner)["symbols"].result is CheckResult.FAIL
        assert run(owner.adapter.instruments(owner.spec)) == []


def test_instruments_in_base_units(owner: Owner) -> None:
    euro, gold = run(owner.adapter.instruments(owner.spec))
    assert (euro.symbol, euro.pair, euro.digits, euro.pip) == ("EURUSD", "EUR/USD", 5, D("0.0001"))
    assert (euro.quantity_min, euro.quantity_step, euro.quantity_max) == (
        D(1000),
        D(1000),
        D(10_000_000),
    )
    assert (gold.pair, gold.contract_size, gold.quantity_min) == ("XAU/USD", D(100), D(1))


def test_a_clock_in_the_wrong_zone(owner: Owner) -> None:
    owner.buy()
    owner.change_settings(server_zone="UTC")
    assert checks(owner)["server time"].result is CheckResult.FAIL


@pytest.mark.parametrize("apart", [-600, 600])
def test_a_terminal_and_a_disk_whose_clocks_are_not_ours(owner: Owner, apart: int) -> None:
    owner.terminal.fault(skew=apart, disk_skew=apart)
    told = owner.buy()
    assert told.kind is ReportKind.FILLED
    assert [one.quantity for one in owner.positions()] == [D(10000)]
    [read] = [one for one in fills(owner) if one.client_order_id == told.client_order_id]
    assert read.fills[0].broker_fill_id == told.fills[0].broker_fill_id
    ahead = CheckResult.FAIL if apart > 0 else CheckResult.OK
    assert checks(owner)["server time"].result is ahead


def test_a_dead_terminal(owner: Owner) -> None:
    owner.terminal.close()
    owner.minimize_timeouts()
    found = checks(owner)
    assert found["expert advisor"].result is CheckResult.FAIL
    assert "DWX_Server" in found["expert advisor"].hint


def test_a_terminal_that_takes_no_commands(owner: Owner) -> None:
    owner.terminal.fault(ignore_commands=True)
    owner.shorten_timeouts()
    assert checks(owner)["commands"].result is CheckResult.FAIL


# ---- many -----------------------------------------------------------------------------------
def test_two_hundred_folders_need_no_thread_each(owner: Owner) -> None:
    path = owner.terminal.folder / "DWX_Orders.txt"
    owner.terminal.kill()
    owner.terminal.start()
    until(lambda: path.read_bytes().endswith(b"\n"))
    owner.terminal.kill()
    orders = path.read_bytes()
    specs = []
    for number in range(200):
        folder = owner.root / f"t{number}"
        folder.mkdir()
        shutil.copy(owner.terminal.folder / "fillcast.key", folder)
        (folder / "DWX_Orders.txt").write_bytes(orders)
        settings = {**owner.spec.settings, "folder": folder.name, "stale_seconds": 60}
        specs.append(ConnectionSpec(f"c{number}", "4711", "", settings, owner.spec.credentials))
    most, before = 0, threading.active_count()  # other tests' may still be there

    async def all_of_them() -> list[Any]:
        nonlocal most
        calls = asyncio.gather(*(owner.adapter.account(spec) for spec in specs))
        while not calls.done():
            most = max(most, threading.active_count())
            await asyncio.sleep(0)
        return await calls

    states = run(all_of_them())
    assert {state.account for state in states} == {"4711"}
    assert most - before < 50


def test_a_ledger_with_a_torn_line(owner: Owner) -> None:
    entry = owner.buy()
    ledger = owner.terminal.folder / "fillcast/ledger.jsonl"
    with ledger.open("a") as file:
        file.write('\n{"number": 12, "at"')
    owner.restart()
    owner.terminal.simulate("order", symbol="EURUSD", lots=0.1, type="buy")
    assert owner.buy().kind is ReportKind.FILLED
    assert owner.find(entry.client_order_id) == [entry]
    lines = [line for line in ledger.read_text().splitlines() if '"what"' in line]
    assert [json.loads(line)["what"] for line in lines] == ["open", "open"]
