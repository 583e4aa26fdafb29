"""A symbol means another contract by now: what is open is closed and guarded where it is held.

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
NOW = {"FRONT": {**ES, "lastTradeDateOrContractMonth": "202612"}}
ROLLED = {"FRONT": {**ES, "lastTradeDateOrContractMonth": "202703"}}
GONE = {"EURUSD": "CASH"}


class Owner:
    """Who holds two contracts of December and then edits the map."""

    def __init__(self, stage: Environment) -> None:
        self.stage, self._symbols = stage, NOW

    @property
    def spec(self) -> Any:
        settings = {**self.stage.spec.settings, "symbols": self._symbols}
        return replace(self.stage.spec, settings=settings)

    def edits(self, symbols: Mapping[str, Any]) -> None:
        self._symbols = dict(symbols)

    async def submit(self, request: OrderRequest) -> list[OrderReport]:
        return await self.stage.adapter.submit(self.spec, request, lambda _: None)

    async def modify(self, stop: str | None, target: str | None) -> OrderReport:
        below, above = (None if price is None else Decimal(price) for price in (stop, target))
        modify_request = ModifyRequest(ID, str(DECEMBER), "FRONT", below, above, Decimal(100))
        (told,) = await self.stage.adapter.modify(self.spec, modify_request)
        return told

    async def positions(self) -> dict[int, BrokerPosition]:
        told = await self.stage.adapter.positions(self.spec)
        return {int(one.broker_position_id): one for one in told}

    def held(self, con_id: int) -> int:
        """Whole contracts."""
        venue = self.stage.venue
        return int(venue.positions.get((venue.accounts[0], con_id), (Decimal(0),))[0])


async def bought(stage: Environment, **levels: Any) -> Owner:
    stage.venue.quote("ES", "5000.00", "5000.25")
    stage.venue.quote("ESH7", "6000.00", "6000.25")
    owner = Owner(stage)
    await owner.submit(order(symbol="FRONT", quantity=Decimal(100), **levels))
    assert owner.held(DECEMBER) == 2
    return owner


def leaving(quantity: int = 100, **changed: Any) -> OrderRequest:
    named = {"broker_position_id": str(DECEMBER), "closes": ID, "oca_group": ID[:-1], **changed}
    return order(
        EXIT, symbol="FRONT", side=Side.SELL, quantity=Decimal(quantity), reduce_only=True, **named
    )


def contracts(stage: Environment) -> set[int]:
    return {one.con_id for one in stage.venue.orders}


@pytest.mark.parametrize("edited", [ROLLED, GONE])
@pytest.mark.parametrize(("quantity", "left"), [(100, 0), (50, 1)])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_an_exit_closes_what_is_held(
    edited: Mapping[str, Any], quantity: int, left: int, is_replaced: bool
) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        owner = await bought(stage)
        owner.edits(edited)
        if is_replaced:
            await stage.crash()
        (told,) = await owner.submit(leaving(quantity))
        assert (told.kind, told.broker_position_id) == (ReportKind.FILLED, str(DECEMBER))
        assert sum(fill.quantity for fill in told.fills) == quantity
        assert (owner.held(DECEMBER), owner.held(MARCH)) == (left, 0)
        assert contracts(stage) == {DECEMBER}

    test()


@with_environment
async def test_an_exit_by_its_entry_closes_what_that_has_bought(stage: Environment) -> None:
    owner = await bought(stage)
    owner.edits(ROLLED)
    await owner.submit(leaving(broker_position_id=""))
    assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)


@with_environment
async def test_an_entry_is_of_the_contract_that_its_symbol_means_now(stage: Environment) -> None:
    owner = await bought(stage)
    owner.edits(ROLLED)
    await owner.submit(order("abc00000000000002", symbol="FRONT", quantity=Decimal(50)))
    await owner.submit(leaving())
    assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 1)


@pytest.mark.parametrize("edited", [ROLLED, GONE])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_levels_that_stand_are_moved_where_they_stand(
    edited: Mapping[str, Any], is_replaced: bool
) -> None:
    @with_environment
    async def test(stage: Environment) -> None:
        owner = await bought(stage, stop_loss=Decimal(4900), take_profit=Decimal(5200))
        owner.edits(edited)
        if is_replaced:
            await stage.crash()
        told = await owner.modify("4950", "5100")
        assert (told.stop_loss, told.take_profit) == (Decimal(4950), Decimal(5100))
        assert told.protected == 100
        assert (contracts(stage), len(stage.venue.orders)) == ({DECEMBER}, 3)
        told = await owner.modify("4950", None)
        assert (told.stop_loss, told.take_profit) == (Decimal(4950), None)
        told = await owner.modify("4950", "5150")  # it is made anew
        assert told.take_profit == Decimal(5150)
        stage.venue.quote("ESH7", "4000.00", "4000.25")  # it is not what they watch
        assert owner.held(DECEMBER) == 2
        stage.venue.quote("ES", "5150.00", "5150.25")
        assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)
        (closed,) = await stage.wait_for_reports(
            ReportKind.FILLED, of=lambda one: one.close_cause is CloseCause.TAKE_PROFIT
        )
        assert (closed.client_order_id, closed.broker_position_id) == (ID, str(DECEMBER))

    test()


@pytest.mark.parametrize("edited", [ROLLED, GONE])
@pytest.mark.parametrize("is_old", [False, True])
def test_levels_that_are_made_guard_what_is_held(edited: Mapping[str, Any], is_old: bool) -> None:
    """is_old: the entry stands in none of today's lists."""

    @with_environment
    async def test(stage: Environment) -> None:
        owner = await bought(stage)
        owner.edits(edited)
        if is_old:
            stage.venue.orders.clear()
            stage.venue.executions.clear()
            await stage.crash()
        told = await owner.modify("4900", "5200")
        assert (told.stop_loss, told.take_profit) == (Decimal(4900), Decimal(5200))
        (one,) = (await owner.positions()).values()
        assert (one.stop_loss, one.take_profit) == (Decimal(4900), Decimal(5200))
        stage.venue.quote("ES", "4899.00", "4899.25")
        assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)
        assert contracts(stage) == {DECEMBER}

    test()


@with_environment
async def test_a_level_is_judged_by_the_price_of_what_is_held(stage: Environment) -> None:
    owner = await bought(stage)
    owner.edits(ROLLED)
    await stage.adapter.quote(owner.spec, "FRONT")  # March's is heard already: 6000
    with pytest.raises(Rejected) as refused:
        await owner.modify("5100", None)  # beyond December's: IBKR would close by it at once
    assert refused.value.code is Code.STOPS_INVALID
    assert owner.held(DECEMBER) == 2
    assert (await owner.modify("4900", "5500")).take_profit == Decimal(5500)


@with_environment
async def test_a_stop_that_rests_in_another_contract_is_not_taken_for_the_positions(
    stage: Environment,
) -> None:
    owner = await bought(stage, stop_loss=Decimal(4900))
    await stage.wait_for_reports(ReportKind.LEVELS)
    stage.venue.order(f"{ID}:sl").con_id = MARCH  # placed by a process of before
    await stage.crash()
    with pytest.raises(Rejected) as refused:
        await owner.modify("4950", None)
    assert refused.value.code is Code.STOPS_INVALID
    assert "cancel it in TWS" in refused.value.detail
    assert (await owner.modify(None, None)).stop_loss is None  # or here
    assert not stage.venue.order(f"{ID}:sl").live


@with_environment
async def test_open_positions_are_reported_whatever_the_map_names(stage: Environment) -> None:
    owner = await bought(stage, stop_loss=Decimal(4900))
    waiting = order(
        "abc00000000000002", symbol="FRONT", quantity=Decimal(50), order_type=OrderType.LIMIT,
        limit_price=Decimal(4950),
    )  # fmt: skip
    await owner.submit(waiting)
    began = stage.venue.executions[0].time
    for edited in (ROLLED, GONE):
        owner.edits(edited)
        (held,) = (await owner.positions()).values()
        assert (held.symbol, held.broker_position_id) == ("FRONT", str(DECEMBER))  # as in our books
        assert (held.quantity, held.stop_loss) == (Decimal(100), Decimal(4900))
        (rests,) = await stage.adapter.open_orders(owner.spec)
        assert (rests.symbol, rests.client_order_id) == ("FRONT", "abc00000000000002")
        (fill,) = await stage.adapter.fills_since(owner.spec, began)
        assert (fill.client_order_id, fill.broker_position_id) == (ID, str(DECEMBER))
        assert await stage.adapter.find_order(owner.spec, ID)
    await stage.crash()  # nobody knows any more what it was called: its month says it
    (held,) = (await owner.positions()).values()
    assert (held.symbol, held.broker_position_id) == ("ES 202612", str(DECEMBER))
    (rests,) = await stage.adapter.open_orders(owner.spec)
    assert (rests.symbol, rests.client_order_id) == ("ES 202612", "abc00000000000002")
    (fill,) = await stage.adapter.fills_since(owner.spec, began)
    assert fill.broker_position_id == str(DECEMBER)


@with_environment
async def test_both_months_are_distinguished_by_contract_id(stage: Environment) -> None:
    owner = await bought(stage)
    owner.edits(ROLLED)
    await owner.submit(order("abc00000000000002", symbol="FRONT", quantity=Decimal(50)))
    held = {number: one.quantity for number, one in (await owner.positions()).items()}
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
        owner = await bought(stage)
        received = list(stage.venue.received)
        with pytest.raises(Rejected) as refused:
            await owner.submit(leaving(**named))
        assert refused.value.code is code
        assert "TWS" in refused.value.detail
        assert stage.venue.received == received

    test()


@with_environment
async def test_levels_of_an_unreported_position_are_refused(stage: Environment) -> None:
    owner = await bought(stage)
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
    owner = await bought(stage)
    owner.edits(ROLLED)
    await stage.crash()
    stage.tws.muted = {9}
    with pytest.raises(NotSent):
        await owner.submit(leaving())
    stage.tws.muted = set()
    await owner.submit(leaving())
    assert (owner.held(DECEMBER), owner.held(MARCH)) == (0, 0)


@with_environment
async def test_a_contract_is_asked_for_once(stage: Environment) -> None:
    owner = await bought(stage)
    owner.edits(ROLLED)
    await owner.submit(leaving(50))
    stage.tws.muted = {9}
    (told,) = await owner.submit(replace(leaving(50), client_order_id="abc00000000000092"))
    assert told.kind is ReportKind.FILLED
    assert owner.held(DECEMBER) == 0


@with_environment
async def test_what_an_exit_would_free_is_asked_of_what_is_held(stage: Environment) -> None:
    owner = await bought(stage)
    owner.edits(GONE)
    told = await stage.adapter.what_if(owner.spec, leaving())
    assert told.initial_margin == Decimal(2000)
    (said,) = [one for one in stage.tws.said if one[26] == EXIT]
    assert int(said[2]) == DECEMBER
