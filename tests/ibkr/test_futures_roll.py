"""A symbol was mapped to another contract: positions are closed and protected where they are held.

An owner has rolled an alias to the next month, or taken a name off the map.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent, Rejected
from brokers.types import (
    BrokerPosition,
    CloseCause,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    ReportKind,
    Side,
)
from common.reason_codes import Code
from tests.ibkr.factories import Environment, order, with_environment

ID, EXIT = "abc00000000000001", "abc00000000000091"
DECEMBER, MARCH = 495512563, 620731015
ES = {"secType": "FUT", "symbol": "ES", "exchange": "CME", "currency": "USD"}
CURRENT = {"FRONT": {**ES, "lastTradeDateOrContractMonth": "202612"}}
ROLLED = {"FRONT": {**ES, "lastTradeDateOrContractMonth": "202703"}}
REMOVED = {"EURUSD": "CASH"}


class Owner:
    """An owner who holds two December contracts and then edits the symbol map."""

    def __init__(self, stage: Environment) -> None:
        self.stage, self._symbols = stage, CURRENT

    @property
    def spec(self) -> Any:
        settings = {**self.stage.spec.settings, "symbols": self._symbols}
        return replace(self.stage.spec, settings=settings)

    def edit_symbols(self, symbols: Mapping[str, Any]) -> None:
        self._symbols = dict(symbols)

    async def submit(self, request: OrderRequest) -> list[OrderReport]:
        return await self.stage.adapter.submit(self.spec, request, lambda _: None)

    async def modify(self, stop: str | None, target: str | None) -> OrderReport:
        below, above = (None if price is None else Decimal(price) for price in (stop, target))
        modify_request = ModifyRequest(ID, str(DECEMBER), "FRONT", below, above, Decimal(100))
        (report,) = await self.stage.adapter.modify(self.spec, modify_request)
        return report

    async def positions(self) -> dict[int, BrokerPosition]:
        positions = await self.stage.adapter.positions(self.spec)
        return {int(position.broker_position_id): position for position in positions}

    def held(self, con_id: int) -> int:
        """Return the number of contracts held."""
        venue = self.stage.venue
        return int(venue.positions.get((venue.accounts[0], con_id), (Decimal(0),))[0])


async def buy_two_contracts(stage: Environment, **levels: Any) -> Owner:
    stage.venue.quote("ES", "5000.00", "5000.25")
    stage.venue.quote("ESH7", "6000.00", "6000.25")
    owner = Owner(stage)
    await owner.submit(order(symbol="FRONT", quantity=Decimal(100), **levels))
    assert owner.held(DECEMBER) == 2
    return owner


def exit_order(quantity: int = 100, **changed: Any) -> OrderRequest:
    named = {"broker_position_id": str(DECEMBER), "closes": ID, "oca_group": ID[:-1], **changed}
    return order(
        EXIT, symbol="FRONT", side=Side.SELL, quantity=Decimal(quantity), reduce_only=True, **named
    )


def contracts(stage: Environment) -> set[int]:
    return {one.con_id for one in stage.venue.orders}


@pytest.mark.parametrize("edited", [ROLLED, REMOVED])
@pytest.mark.parametrize(("quantity", "left"), [(100, 0), (50, 1)])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_exit_closes_the_held_contract(
    edited: Mapping[str, Any], quantity: int, left: int, is_replaced: bool
) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        owner = await buy_two_contracts(stage)
        owner.edit_symbols(edited)
        if is_replaced:
            await stage.crash()
        (report,) = await owner.submit(exit_order(quantity))
        assert (report.kind, report.broker_position_id) == (ReportKind.FILLED, str(DECEMBER))
        assert sum(fill.quantity for fill in report.fills) == quantity
        assert (owner.held(DECEMBER), owner.held(MARCH)) == (left, 0)
        assert contracts(stage) == {DECEMBER}

    test()


@with_environment
async def test_exit_by_entry_closes_the_contract_of_that_entry(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(ROLLED)
    await owner.submit(exit_order(broker_position_id=""))
    assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)


@with_environment
async def test_entry_uses_the_contract_of_the_current_map(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(ROLLED)
    await owner.submit(order("abc00000000000002", symbol="FRONT", quantity=Decimal(50)))
    await owner.submit(exit_order())
    assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 1)


@pytest.mark.parametrize("edited", [ROLLED, REMOVED])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_existing_levels_are_changed_in_their_contract(
    edited: Mapping[str, Any], is_replaced: bool
) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        owner = await buy_two_contracts(stage, stop_loss=Decimal(4900), take_profit=Decimal(5200))
        owner.edit_symbols(edited)
        if is_replaced:
            await stage.crash()
        report = await owner.modify("4950", "5100")
        assert (report.stop_loss, report.take_profit) == (Decimal(4950), Decimal(5100))
        assert report.protected == 100
        assert (contracts(stage), len(stage.venue.orders)) == ({DECEMBER}, 3)
        report = await owner.modify("4950", None)
        assert (report.stop_loss, report.take_profit) == (Decimal(4950), None)
        report = await owner.modify("4950", "5150")  # it is placed again
        assert report.take_profit == Decimal(5150)
        stage.venue.quote("ESH7", "4000.00", "4000.25")  # not the contract of the levels
        assert owner.held(DECEMBER) == 2
        stage.venue.quote("ES", "5150.00", "5150.25")
        assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)
        (closed,) = await stage.wait_for_reports(
            ReportKind.FILLED, of=lambda one: one.close_cause is CloseCause.TAKE_PROFIT
        )
        assert (closed.client_order_id, closed.broker_position_id) == (ID, str(DECEMBER))

    test()


@pytest.mark.parametrize("edited", [ROLLED, REMOVED])
@pytest.mark.parametrize("is_old", [False, True])
def test_new_levels_protect_the_held_contract(edited: Mapping[str, Any], is_old: bool) -> None:
    """is_old: the entry is in none of today's lists."""

    @with_environment
    async def test(stage: Environment) -> None:
        owner = await buy_two_contracts(stage)
        owner.edit_symbols(edited)
        if is_old:
            stage.venue.orders.clear()
            stage.venue.executions.clear()
            await stage.crash()
        report = await owner.modify("4900", "5200")
        assert (report.stop_loss, report.take_profit) == (Decimal(4900), Decimal(5200))
        (one,) = (await owner.positions()).values()
        assert (one.stop_loss, one.take_profit) == (Decimal(4900), Decimal(5200))
        stage.venue.quote("ES", "4899.00", "4899.25")
        assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)
        assert contracts(stage) == {DECEMBER}

    test()


@with_environment
async def test_level_is_checked_against_the_held_contracts_price(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(ROLLED)
    await stage.adapter.quote(owner.spec, "FRONT")  # March's price is known: 6000
    with pytest.raises(Rejected) as refused:
        await owner.modify("5100", None)  # beyond December's: IBKR would close at once
    assert refused.value.code is Code.STOPS_INVALID
    assert owner.held(DECEMBER) == 2
    assert (await owner.modify("4900", "5500")).take_profit == Decimal(5500)


@with_environment
async def test_stop_in_another_contract_is_not_the_positions_stop(
    stage: Environment,
) -> None:
    owner = await buy_two_contracts(stage, stop_loss=Decimal(4900))
    await stage.wait_for_reports(ReportKind.LEVELS)
    stage.venue.order(f"{ID}:sl").con_id = MARCH  # placed by an earlier process
    await stage.crash()
    with pytest.raises(Rejected) as refused:
        await owner.modify("4950", None)
    assert refused.value.code is Code.STOPS_INVALID
    assert "cancel it in TWS" in refused.value.detail
    assert (await owner.modify(None, None)).stop_loss is None  # or here
    assert not stage.venue.order(f"{ID}:sl").live


@with_environment
async def test_open_positions_are_reported_with_any_symbol_map(stage: Environment) -> None:
    owner = await buy_two_contracts(stage, stop_loss=Decimal(4900))
    waiting = order(
        "abc00000000000002", symbol="FRONT", quantity=Decimal(50), order_type=OrderType.LIMIT,
        limit_price=Decimal(4950),
    )  # fmt: skip
    await owner.submit(waiting)
    began = stage.venue.executions[0].time
    for edited in (ROLLED, REMOVED):
        owner.edit_symbols(edited)
        (held,) = (await owner.positions()).values()
        assert (held.symbol, held.broker_position_id) == ("FRONT", str(DECEMBER))  # as we stored it
        assert (held.quantity, held.stop_loss) == (Decimal(100), Decimal(4900))
        (working,) = await stage.adapter.open_orders(owner.spec)
        assert (working.symbol, working.client_order_id) == ("FRONT", "abc00000000000002")
        (fill,) = await stage.adapter.fills_since(owner.spec, began)
        assert (fill.client_order_id, fill.broker_position_id) == (ID, str(DECEMBER))
        assert await stage.adapter.find_order(owner.spec, ID)
    await stage.crash()  # the former symbol is lost; the month is in the name
    (held,) = (await owner.positions()).values()
    assert (held.symbol, held.broker_position_id) == ("ES 202612", str(DECEMBER))
    (working,) = await stage.adapter.open_orders(owner.spec)
    assert (working.symbol, working.client_order_id) == ("ES 202612", "abc00000000000002")
    (fill,) = await stage.adapter.fills_since(owner.spec, began)
    assert fill.broker_position_id == str(DECEMBER)


@with_environment
async def test_both_months_are_distinguished_by_contract_id(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(ROLLED)
    await owner.submit(order("abc00000000000002", symbol="FRONT", quantity=Decimal(50)))
    held = {number: position.quantity for number, position in (await owner.positions()).items()}
    assert held == {DECEMBER: Decimal(100), MARCH: Decimal(50)}


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ({"broker_position_id": "999999999"}, Code.UNKNOWN_SYMBOL_AT_BROKER),
        ({"broker_position_id": "external-1"}, Code.NO_POSITION),
        ({"broker_position_id": "", "closes": "abc00000000000077"}, Code.NO_POSITION),
    ],
)
def test_exit_of_an_unreported_position_is_refused(named: dict[str, Any], code: Code) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        owner = await buy_two_contracts(stage)
        received = list(stage.venue.received)
        with pytest.raises(Rejected) as refused:
            await owner.submit(exit_order(**named))
        assert refused.value.code is code
        assert "TWS" in refused.value.detail
        assert stage.venue.received == received

    test()


@with_environment
async def test_levels_of_an_unreported_position_are_refused(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    received = list(stage.venue.received)
    stop = Decimal(4900)
    for number, entry in (("999999999", ID), ("", "abc00000000000077")):
        request = ModifyRequest(entry, number, "FRONT", stop, None, quantity=Decimal(100))
        with pytest.raises(Rejected):
            await stage.adapter.modify(owner.spec, request)
    assert stage.venue.received == received


@with_environment
async def test_exit_is_not_sent_if_its_contract_is_not_received_in_time(
    stage: Environment,
) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(ROLLED)
    await stage.crash()
    stage.tws.muted = {9}
    with pytest.raises(NotSent):
        await owner.submit(exit_order())
    stage.tws.muted = set()
    await owner.submit(exit_order())
    assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)


@with_environment
async def test_contract_is_requested_once(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(ROLLED)
    await owner.submit(exit_order(50))
    stage.tws.muted = {9}
    (report,) = await owner.submit(replace(exit_order(50), client_order_id="abc00000000000092"))
    assert report.kind is ReportKind.FILLED
    assert owner.held(DECEMBER) == 0


@with_environment
async def test_what_if_of_exit_uses_the_held_contract(stage: Environment) -> None:
    owner = await buy_two_contracts(stage)
    owner.edit_symbols(REMOVED)
    estimate = await stage.adapter.what_if(owner.spec, exit_order())
    assert estimate.initial_margin == Decimal(2000)
    (message,) = [fields for fields in stage.tws.order_messages if fields[26] == EXIT]
    assert int(message[2]) == DECEMBER
