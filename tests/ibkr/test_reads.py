"""Reads from the broker: complete, in base units, and named by the connection's symbol map."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from brokers.base import NotSent, ReadFailed, Rejected
from brokers.ibkr.factory import create
from brokers.types import (
    BrokerOrder,
    CloseCause,
    ExitSafety,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
)
from brokers.unreadable_rows import UNREADABLE_ROWS
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.ibkr.factories import SYMBOLS, Environment, limit, order, protected, with_environment

ID = "abc00000000000001"


@with_environment
async def test_account_state_is_read(stage: Environment) -> None:
    state = await stage.adapter.account(stage.spec)
    assert (state.currency, state.equity, state.balance) == (
        "USD", Decimal("100250.50"), Decimal("100000.00"),
    )  # fmt: skip
    assert (state.margin_used, state.free_margin) == (Decimal(2000), Decimal("98250.50"))
    assert (state.position_mode, state.trading_allowed) == (PositionMode.NETTING, True)


@with_environment
async def test_instruments_exclude_unsupported_contracts(stage: Environment) -> None:
    instruments = {
        instrument.symbol: instrument for instrument in await stage.adapter.instruments(stage.spec)
    }
    priced_in_pence = "VOD"
    assert set(instruments) == set(SYMBOLS) - {priced_in_pence}
    pair, future = instruments["EURUSD"], instruments["ES 202612"]
    assert (pair.pair, pair.digits, pair.pip) == ("EUR/USD", 5, Decimal("0.0001"))
    assert (future.contract_size, future.quantity_step) == (Decimal(50), Decimal(50))


@with_environment
async def test_positions_are_netted_with_their_levels(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.wait_for_reports(ReportKind.LEVELS)
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.symbol, held.side, held.quantity) == ("EURUSD", Side.BUY, Decimal(20000))
    assert (held.stop_loss, held.take_profit) == (Decimal("1.09"), Decimal("1.12"))
    await stage.submit(protected("abc00000000000002"))
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.quantity, held.levels) == (Decimal(40000), None)  # two stops are not combined
    assert held.entry_levels is not None
    stops = {name: levels.stop_loss for name, levels in held.entry_levels.items()}
    assert stops == {ID: Decimal("1.09"), "abc00000000000002": Decimal("1.09")}
    stage.venue.positions["DU9", 1] = Decimal(1), Decimal(1)
    stage.venue.securities[1] = stage.venue.security("AAPL")
    assert len(await stage.adapter.positions(stage.spec)) == 1


@with_environment
async def test_levels_of_working_entry_are_not_those_of_the_position(
    stage: Environment,
) -> None:
    """One position and one working entry in a contract, each with its own levels."""
    await stage.submit(protected())
    await stage.wait_for_reports(ReportKind.LEVELS)
    resting = replace(
        limit(), client_order_id="abc00000000000002", stop_loss=Decimal("1.07"),
        take_profit=Decimal("1.13"), oca_group="abc0000000000000",
    )  # fmt: skip
    await stage.submit(resting)
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.stop_loss, held.take_profit) == (Decimal("1.09"), Decimal("1.12"))
    assert held.entry_levels is not None
    assert list(held.entry_levels) == [ID]


@with_environment
async def test_stop_missing_from_all_lists_is_reported_as_removed(stage: Environment) -> None:
    await stage.submit(protected())
    await stage.wait_for_reports(ReportKind.LEVELS, of=lambda r: r.stop_loss is not None)
    stage.venue.orders.remove(stage.venue.order(f"{ID}:sl"))  # unreported
    (held,) = await stage.adapter.positions(stage.spec)
    assert (held.stop_loss, held.take_profit) == (None, Decimal("1.12"))
    (report,) = await stage.wait_for_reports(ReportKind.LEVELS, of=lambda r: r.stop_loss is None)
    assert report.take_profit == Decimal("1.12")


@with_environment
async def test_working_orders_of_any_origin(stage: Environment) -> None:
    entry = limit()
    await stage.submit(
        order(
            order_type=entry.order_type, limit_price=entry.limit_price, stop_loss=Decimal("1.08"),
            take_profit=Decimal("1.12"),
        )
    )  # fmt: skip
    mine = await stage.adapter.open_orders(stage.spec)
    stage.venue.fill(ID, "500", "1.09")
    placed = replace(stage.venue.order(ID), ref="by hand", order_id=0, perm_id=5, client_id=0)
    trailing = replace(placed, kind="TRAIL", perm_id=6)
    stage.venue.orders += [placed, trailing]
    listed = {one.broker_order_id: one for one in await stage.adapter.open_orders(stage.spec)}

    assert [(one.client_order_id, one.stop_loss, one.take_profit) for one in mine] == [
        (ID, Decimal("1.08"), Decimal("1.12"))
    ]
    assert listed["5"] == BrokerOrder(
        "5", "EURUSD", Side.BUY, OrderType.LIMIT, Decimal(20000), Decimal(500), Decimal("1.09"),
        client_order_id="by hand",
    )  # fmt: skip
    assert listed["6"].order_type is OrderType.STOP
    assert len(listed) == 3


@with_environment
async def test_orders_without_a_number_of_ibkr_are_all_listed(stage: Environment) -> None:
    """IBKR numbers an order (permId) once it has it; another program has just sent two."""
    await stage.submit(limit())
    sent = replace(stage.venue.order(ID), ref="other program", client_id=9, perm_id=0)
    filled = Decimal(500)
    stage.venue.orders += [
        replace(sent, order_id=31, quantity=Decimal(1000), filled=filled),
        replace(sent, order_id=32, quantity=Decimal(2000)),
    ]
    listed = await stage.adapter.open_orders(stage.spec)
    found = {one.quantity: one.filled for one in listed}
    assert found == {Decimal(1000): filled, Decimal(2000): 0, Decimal(20000): 0}


def test_unreadable_foreign_order_stops_none_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its text may be another tenant's: the log has it, and no answer."""
    UNREADABLE_ROWS.take()
    caplog.set_level("INFO", "brokers.ibkr")

    @with_environment
    async def test(stage: Environment) -> None:
        await stage.submit(limit())
        for status in ("Submitted", "Cancelled"):
            strange = replace(
                stage.venue.orders[0], ref="by hand", client_id=0, order_id=0, oca_type="half", # type: ignore[arg-type]
                status=status,
            )  # fmt: skip
            stage.venue.orders.append(strange)
        (listed,) = await stage.adapter.open_orders(stage.spec)
        assert listed.client_order_id == ID
        noted = [row for row in UNREADABLE_ROWS.take() if row.what == "open order"]
        assert noted
        assert "by hand" not in "".join(row.sentence for row in noted)
        assert "by hand" in caplog.text
        (found,) = await stage.find(ID) or []
        assert found.kind is ReportKind.ACCEPTED
        assert await stage.find("abc00000000000009") is None
        await stage.submit(limit("abc00000000000002"))
        del stage.venue.orders[1:3]
        assert len(await stage.adapter.open_orders(stage.spec)) == 2

    test()


@with_environment
async def test_todays_fills_include_manual_exits(stage: Environment) -> None:
    await stage.submit(order())
    hand = replace(
        stage.venue.orders[0], ref="", action="SELL", perm_id=77, client_id=0, order_id=0
    )
    stage.venue.orders.append(hand)
    stage.venue.execute(hand, Decimal(20000), Decimal("1.1050"))
    bought = replace(hand, action="BUY", perm_id=78)
    stage.venue.orders.append(bought)
    stage.venue.execute(bought, Decimal(1000), Decimal("1.1060"))
    midnight = datetime.now(UTC) - timedelta(hours=20)

    ours, exit_ = await stage.adapter.fills_since(stage.spec, midnight)
    assert (ours.client_order_id, ours.fills[0].quantity) == (ID, Decimal(20000))
    assert (exit_.close_cause, exit_.client_order_id) == (CloseCause.EXTERNAL, "")
    assert (exit_.broker_position_id, exit_.broker_order_id) == ("12087792", "77")
    assert exit_.fills[0].quantity == Decimal(20000)
    later = await stage.adapter.fills_since(stage.spec, datetime.now(UTC) + timedelta(hours=1))
    assert [r for r in later if r.client_order_id] == []


@with_environment
async def test_liquidation_by_the_broker_is_reported_as_stop_out(stage: Environment) -> None:
    await stage.submit(order())
    theirs = replace(
        stage.venue.orders[0], ref="", action="SELL", perm_id=77, client_id=0, order_id=0
    )
    stage.venue.orders.append(theirs)
    stage.venue.execute(theirs, Decimal(20000), Decimal("1.1050")).liquidation = 1
    _, exit_ = await stage.adapter.fills_since(stage.spec, datetime.now(UTC) - timedelta(hours=20))
    assert (exit_.close_cause, exit_.client_order_id) == (CloseCause.STOP_OUT, "")


@with_environment
async def test_what_if_returns_margin_and_places_nothing(stage: Environment) -> None:
    margin = await stage.adapter.what_if(stage.spec, order())
    assert (margin.initial_margin, margin.maintenance_margin) == (Decimal(2000), Decimal(1800))
    assert (margin.commission, margin.currency) == (Decimal("1.25"), "USD")
    assert stage.venue.orders == []


@with_environment
async def test_malformed_answer_fails_the_read(stage: Environment) -> None:
    await stage.adapter.account(stage.spec)
    stage.tws.muted = {61}
    stage.tws.venue.report_order = lambda order, what: None

    async def send_invalid() -> None:
        await stage.wait_until(lambda: stage.session._wrapper._requests.get("positions"))
        stage.tws.send(messages.pack(61, 3, "DU1234567", "invalid"))

    sender = asyncio.create_task(send_invalid())
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.positions(stage.spec)
    await sender
    assert "invalid message" in failed.value.detail
    assert "61|3|DU1234567|invalid" in stage.session.malformed_message  # it names this account


@with_environment
async def test_order_that_tws_does_not_list_is_neither_found_nor_absent(stage: Environment) -> None:
    stage.fault("accept in silence")
    await stage.adapter.account(stage.spec)
    with pytest.raises(Exception, match="no answer"):
        await stage.submit(limit())
    stage.venue.order(ID).status = "PendingSubmit"
    with pytest.raises(ReadFailed):
        await stage.adapter.find_order(stage.spec, ID)
    assert await stage.adapter.open_orders(stage.spec) == []


@with_environment
async def test_connection_test_passes(stage: Environment) -> None:
    checks = {check.name: check for check in await stage.adapter.test(stage.spec)}
    assert [name for name, check in checks.items() if check.result == "fail"] == []
    assert list(checks) == [
        "reach", "client id", "account type", "time zone", "account", "trading",
        "position mode", "symbols", "clock", "limits",
    ]  # fmt: skip
    assert checks["account type"].detail == "paper"
    assert "VOD" in checks["symbols"].detail

    stage.venue.clock_offset = 60
    stage.tws.read_only = True
    with pytest.raises(Rejected) as refused:
        await stage.submit(order())
    assert refused.value.code is Code.TRADING_DISABLED
    checks = {check.name: check for check in await stage.adapter.test(stage.spec)}
    assert (checks["trading"].result, checks["clock"].result) == ("fail", "warn")
    assert not (await stage.adapter.account(stage.spec)).trading_allowed


@with_environment
async def test_read_only_api_allows_reads_and_refuses_orders(stage: Environment) -> None:
    """TWS then refuses even the order lists, without naming the request."""
    stage.tws.read_only = True
    await stage.adapter.connect(stage.spec)
    state = await stage.adapter.account(stage.spec)
    assert not state.trading_allowed
    assert await stage.adapter.positions(stage.spec) == []
    for read in (stage.adapter.open_orders(stage.spec), stage.adapter.find_order(stage.spec, ID)):
        with pytest.raises(ReadFailed) as failed:
            await read
        assert failed.value.code is Code.TRADING_DISABLED
    with pytest.raises(NotSent) as refused:
        await stage.submit(order())
    assert refused.value.code is Code.TRADING_DISABLED
    assert stage.venue.received == []
    lines = {one.name: one for one in await stage.adapter.test(stage.spec)}
    assert lines["trading"].result == "fail"

    stage.tws.read_only = False  # switched off in TWS, on the same connection
    assert (await stage.submit(order()))[0].kind is ReportKind.FILLED
    assert (await stage.adapter.account(stage.spec)).trading_allowed


@with_environment
async def test_connection_test_reports_missing_gateway(stage: Environment) -> None:
    await stage.tws.close()
    (check,) = await stage.adapter.test(stage.spec)
    assert (check.name, check.result) == ("reach", "fail")
    assert "API socket" in check.hint


@with_environment
async def test_connection_test_names_the_failed_read(stage: Environment) -> None:
    stage.tws.muted = {6}
    checks = {check.name: check.result for check in await stage.adapter.test(stage.spec)}
    assert checks["reads"] == "fail"


def test_capabilities_end_at_midnight() -> None:
    stage = Environment()
    can = create().capabilities(stage.spec)
    assert (can.exit_safety, can.session, can.event_stream) == (ExitSafety.OCA, True, True)
    assert can.lookup_horizon == can.fills_horizon
    assert can.lookup_horizon is not None
    assert can.lookup_horizon < timedelta(days=1)
    odd = replace(stage.spec, settings={"timezone": "Nowhere/Land"})
    assert create().capabilities(odd).lookup_horizon is not None
    assert create().instrument_book(odd) == "ibkr c1"
