"""Trailing stop orders that TWS holds: what is sent, how they follow, and what is read of them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import OutcomeUnknown, Rejected
from brokers.types import (
    BrokerOrder,
    CancelRequest,
    ChangeRequest,
    OrderRequest,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.clocks import market_now
from common.reason_codes import Code
from tests.fakes.tws.messages import by_hand
from tests.ibkr.factories import Environment, order, with_environment

ID = "abc00000000000001"
DISTANCE = Decimal("0.005")


def trailing(client_order_id: str = ID, **changed: Any) -> OrderRequest:
    """Return a buy that begins 0.005 above the ask, which is 1.1002."""
    usual: dict[str, Any] = {
        "order_type": OrderType.TRAILING_STOP, "stop_price": Decimal("1.1052"),
        "trail_distance": DISTANCE,
    }  # fmt: skip
    return order(client_order_id, **usual | changed)


async def listed(stage: Environment) -> BrokerOrder:
    (found,) = await stage.adapter.open_orders(stage.spec)
    return found


@with_environment
async def test_trailing_stop_is_sent_with_its_distance_and_first_stop_price(
    stage: Environment,
) -> None:
    wanted = trailing(stop_price=Decimal("1.105237"), trail_distance=Decimal("0.005024"))
    (report,) = await stage.submit(wanted)
    assert report.kind is ReportKind.ACCEPTED
    sent = stage.venue.order(ID)
    assert (sent.kind, sent.aux, sent.limit) == ("TRAIL", "0.00505", "")
    assert (sent.trail_stop, sent.trigger_method) == ("1.10525", "4")  # by bid and ask


@with_environment
async def test_first_stop_price_is_rounded_apart_from_the_market(stage: Environment) -> None:
    stage.venue.quotes.clear()  # else it follows at once
    await stage.submit(trailing(stop_price=Decimal("1.105237")))
    sell = trailing(
        "abc00000000000002", side=Side.SELL, stop_price=Decimal("1.095037"),
    )  # fmt: skip
    await stage.submit(sell)
    assert [one.trail_stop for one in stage.venue.orders] == ["1.10525", "1.095"]


@with_environment
async def test_buy_follows_the_ask_down_and_is_filled_when_it_turns(stage: Environment) -> None:
    await stage.submit(trailing(time_in_force=TimeInForce.DAY))
    stage.venue.quote("EURUSD", "1.0900", "1.0902")
    stage.venue.quote("EURUSD", "1.0940", "1.0942")  # it does not move back up
    now = await listed(stage)
    assert (now.order_type, now.trail_distance) == (OrderType.TRAILING_STOP, DISTANCE)
    assert (now.stop_price, now.filled) == (Decimal("1.0952"), Decimal(0))
    # The bid triggers a buy: here only the ask is at the stop price.
    stage.venue.quote("EURUSD", "1.09515", "1.09535")
    assert stage.venue.order(ID).filled == 0
    stage.venue.quote("EURUSD", "1.0952", "1.0954")
    (report,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert [(fill.quantity, fill.price) for fill in report.fills] == [
        (Decimal(20000), Decimal("1.0954"))
    ]


@with_environment
async def test_sell_follows_the_bid_up_and_is_filled_when_it_turns(stage: Environment) -> None:
    await stage.submit(trailing(side=Side.SELL, stop_price=Decimal("1.095")))
    stage.venue.quote("EURUSD", "1.1100", "1.1102")
    stage.venue.quote("EURUSD", "1.1060", "1.1062")
    assert (await listed(stage)).stop_price == Decimal("1.105")
    stage.venue.quote("EURUSD", "1.1048", "1.1050")
    (report,) = await stage.wait_for_reports(ReportKind.FILLED)
    assert [fill.price for fill in report.fills] == [Decimal("1.1048")]


@with_environment
async def test_order_that_moves_is_reported_once(stage: Environment) -> None:
    """Its acceptance is one event, however often TWS moves its stop price."""
    await stage.submit(trailing())
    for bid in ("1.0990", "1.0980", "1.0970"):
        stage.venue.quote("EURUSD", bid, str(Decimal(bid) + Decimal("0.0002")))
    assert (await listed(stage)).stop_price == Decimal("1.1022")
    assert [one.kind for one in await stage.drain_events()] == [ReportKind.ACCEPTED]


@with_environment
async def test_levels_of_a_trailing_entry_wait_for_its_fill(stage: Environment) -> None:
    wanted = trailing(stop_loss=Decimal("1.08"), take_profit=Decimal("1.12"))
    await stage.submit(wanted)
    stage.venue.quote("EURUSD", "1.0900", "1.0902")
    held = await listed(stage)
    assert (held.stop_loss, held.take_profit) == (Decimal("1.08"), Decimal("1.12"))
    stage.venue.quote("EURUSD", "1.0960", "1.0962")
    await stage.wait_for_reports(ReportKind.FILLED)
    (position,) = await stage.adapter.positions(stage.spec)
    assert (position.stop_loss, position.take_profit) == (Decimal("1.08"), Decimal("1.12"))


@with_environment
async def test_order_accepted_before_a_disconnect_is_unknown_then_found_once(
    stage: Environment,
) -> None:
    stage.fault("accept and cut")
    with pytest.raises(OutcomeUnknown):
        await stage.submit(trailing())
    stage.venue.quote("EURUSD", "1.0900", "1.0902")
    found = await stage.find(ID)
    assert [report.kind for report in found or []] == [ReportKind.ACCEPTED]
    assert stage.venue.accepted == [ID]
    assert (await listed(stage)).stop_price == Decimal("1.0952")


@with_environment
async def test_restarted_process_lists_and_cancels_it(stage: Environment) -> None:
    await stage.submit(trailing())
    stage.venue.quote("EURUSD", "1.0900", "1.0902")
    await stage.crash()
    now = await listed(stage)
    assert (now.client_order_id, now.stop_price, now.trail_distance) == (
        ID, Decimal("1.0952"), DISTANCE,
    )  # fmt: skip
    reports = await stage.adapter.cancel(stage.spec, CancelRequest(ID, "", "EURUSD"))
    assert [report.kind for report in reports] == [ReportKind.CANCELLED]
    stage.venue.quote("EURUSD", "1.2000", "1.2002")
    assert stage.venue.order(ID).filled == 0


@with_environment
async def test_expiry_ends_it(stage: Environment) -> None:
    start = market_now()
    end = start + timedelta(seconds=2)
    stage.venue.now = lambda: start  # accepted and then expired, whenever it arrives
    await stage.submit(trailing(time_in_force=TimeInForce.GTD, expires_at=end))
    (report,) = await stage.wait_for_reports(ReportKind.EXPIRED)
    assert report.code is Code.TIME_IN_FORCE_ENDED


@with_environment
async def test_change_is_refused_and_nothing_is_sent(stage: Environment) -> None:
    await stage.submit(trailing())
    stage.venue.quote("EURUSD", "1.0900", "1.0902")
    present = (await listed(stage)).terms
    request = ChangeRequest(
        ID, "", "c1", "EURUSD", Side.BUY, OrderType.TRAILING_STOP,
        replace(present, quantity=Decimal(30000)), present,
    )  # fmt: skip
    sent = len(stage.tws.order_messages)
    with pytest.raises(Rejected) as refused:
        await stage.adapter.change_order(stage.spec, request)
    assert refused.value.code is Code.CHANGE_UNSUPPORTED
    assert len(stage.tws.order_messages) == sent
    assert (await listed(stage)).terms == OrderTerms(Decimal(20000), None, Decimal("1.0952"))


@pytest.mark.parametrize("changed", [{"trail_distance": None}, {"stop_price": None}])
def test_trailing_stop_without_all_its_terms_is_refused(changed: dict[str, Any]) -> None:
    @with_environment
    async def submitted(stage: Environment) -> None:
        with pytest.raises(Rejected) as refused:
            await stage.submit(trailing(**changed))
        assert refused.value.code is Code.PRICE_INVALID
        assert stage.venue.received == []

    submitted()


@pytest.mark.parametrize(
    ("aux", "kind", "distance"),
    [("0.005", OrderType.TRAILING_STOP, DISTANCE), ("", OrderType.STOP, None)],
)
def test_trailing_stop_of_its_owner_is_listed(
    aux: str, kind: OrderType, distance: Decimal | None
) -> None:
    """One that follows by percent has no distance: it is listed as a stop order."""

    @with_environment
    async def read(stage: Environment) -> None:
        con_id = stage.venue.security("EURUSD").con_id
        placed = by_hand(1, con_id, "SELL", Decimal(1000), "DU1234567")
        stage.venue.quotes.clear()
        stage.venue.place(0, replace(placed, kind="TRAIL", aux=aux, trail_stop="1.09"))
        found = await listed(stage)
        assert (found.order_type, found.trail_distance) == (kind, distance)
        assert found.stop_price == Decimal("1.09")

    read()


@with_environment
async def test_what_if_of_a_trailing_stop(stage: Environment) -> None:
    margin = await stage.adapter.what_if(stage.spec, trailing())
    assert margin.initial_margin == Decimal(2000)
    assert stage.venue.received == []
