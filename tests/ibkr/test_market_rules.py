"""Each price of each order, level and change lies on the grid that counts at this price."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent, Rejected
from brokers.types import (
    ChangeRequest,
    ModifyRequest,
    OrderRequest,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
)
from common.reason_codes import Code
from tests.fakes.tws import messages
from tests.ibkr.factories import Environment, exit_of, order, with_environment

ID = "abc00000000000001"
D = Decimal
LIMIT, STOP = OrderType.LIMIT, OrderType.STOP


def share(**changed: Any) -> OrderRequest:
    """Return an order to buy shares whose step depends on the price: 0.02 from 100 on, 0.05 from
    200 on, 0.005 below 100."""
    return order(**{"symbol": "SIE", "quantity": D(10), **changed})


@with_environment
async def test_limit_and_stop_prices_lie_on_their_market_rules_grid(stage: Environment) -> None:
    cases = (
        (Side.BUY, LIMIT, "180.0175", "180"), (Side.SELL, LIMIT, "180.0175", "180.02"),
        (Side.BUY, STOP, "199.99", "200"), (Side.SELL, STOP, "99.9999", "99.995"),
        (Side.BUY, LIMIT, "200.04", "200"), (Side.BUY, LIMIT, "9.99999", "9.9999"),
        (Side.SELL, LIMIT, "9.99999", "10"),
    )  # fmt: skip
    for n, (side, kind, price, expected) in enumerate(cases):
        name = "limit_price" if kind is LIMIT else "stop_price"
        request = share(
            client_order_id=f"abc0000000000001{n}", side=side, order_type=kind, **{name: D(price)}
        )
        (report,) = await stage.submit(request)
        placed = stage.venue.order(request.client_order_id)
        assert report.kind is ReportKind.ACCEPTED
        assert (placed.limit or placed.aux) == expected, f"{side} {kind} {price}"


@with_environment
async def test_levels_of_an_entry_each_lie_on_their_own_grid(stage: Environment) -> None:
    stage.venue.quote("SIE", "180.00", "180.02")
    (report,) = await stage.submit(share(stop_loss=D("98.1234"), take_profit=D("210.01")))
    assert report.kind is ReportKind.FILLED
    assert stage.venue.order(f"{ID}:sl").aux == "98.125"
    assert stage.venue.order(f"{ID}:tp").limit == "210.05"


@with_environment
async def test_moved_levels_lie_on_their_own_grid(stage: Environment) -> None:
    stage.venue.quote("SIE", "180.00", "180.02")
    await stage.submit(share(stop_loss=D(98), take_profit=D(210)))
    sie = str(stage.venue.security("SIE").con_id)
    (held,) = await stage.adapter.modify(
        stage.spec, ModifyRequest(ID, sie, "SIE", D("101.011"), D("199.999"), quantity=D(10))
    )
    assert (held.stop_loss, held.take_profit) == (D("101.02"), D(200))


@with_environment
async def test_changed_order_lies_on_its_market_rules_grid(stage: Environment) -> None:
    await stage.submit(share(order_type=OrderType.LIMIT, limit_price=D("99.995")))
    terms = OrderTerms(D(10), D("99.995"))
    (report,) = await stage.adapter.change_order(
        stage.spec,
        ChangeRequest(
            ID, "", "c1", "SIE", Side.BUY, OrderType.LIMIT, OrderTerms(D(10), D("150.01")), terms
        ),
    )
    assert report.terms == OrderTerms(D(10), D(150))


@with_environment
async def test_trailing_stop_lies_on_its_market_rules_grid(stage: Environment) -> None:
    await stage.submit(
        share(order_type=OrderType.TRAILING_STOP, stop_price=D("150.01"), trail_distance=D("1.011"))
    )
    placed = stage.venue.order(ID)
    assert (placed.trail_stop, placed.aux) == ("150.02", "1.02")


@with_environment
async def test_what_if_asks_for_a_price_on_the_grid(stage: Environment) -> None:
    request = share(order_type=OrderType.LIMIT, limit_price=D("180.0175"))
    await stage.adapter.what_if(stage.spec, request)
    placed = messages.read_order(stage.tws.order_messages[-1])
    assert (placed.what_if, placed.limit) == (True, "180")


@with_environment
async def test_market_rule_is_read_once_and_again_after_a_refusal(stage: Environment) -> None:
    sie = stage.venue.security("SIE")
    first = share(order_type=OrderType.LIMIT, limit_price=D("180.02"))
    await stage.submit(first)
    await stage.submit(replace(first, client_order_id="abc00000000000002"))
    assert stage.tws.rule_requests.count(sie.con_id) == 1

    coarser = replace(sie, steps=(("0", "0.5"),))
    stage.venue.securities[sie.con_id] = coarser
    with pytest.raises(Rejected) as refused:
        await stage.submit(replace(first, client_order_id="abc00000000000003"))
    assert refused.value.code is Code.PRICE_INVALID
    (report,) = await stage.submit(replace(first, client_order_id="abc00000000000004"))
    assert report.kind is ReportKind.ACCEPTED
    assert stage.venue.order("abc00000000000004").limit == "180"


@with_environment
async def test_entry_waits_for_its_market_rule_and_an_exit_does_not(stage: Environment) -> None:
    stage.venue.quote("SIE", "180.00", "180.02")
    stage.venue.give("DU1234567", "SIE", "10", "170")
    stage.tws.muted = {91}
    with pytest.raises(NotSent) as waits:
        await stage.submit(share(order_type=OrderType.LIMIT, limit_price=D("180.0175")))
    assert waits.value.code is Code.BROKER_UNREACHABLE
    sie = str(stage.venue.security("SIE").con_id)
    closing = replace(exit_of(quantity=10), symbol="SIE", closes="", broker_position_id=sie)
    (report,) = await stage.submit(closing)
    assert report.kind is ReportKind.FILLED


@with_environment
async def test_listed_tick_counts_when_tws_has_no_market_rule(stage: Environment) -> None:
    stage.venue.has_no_rules = True
    stage.venue.quote("AAPL", "180.00", "180.02")
    (report,) = await stage.submit(
        order(symbol="AAPL", quantity=D(1), order_type=OrderType.LIMIT, limit_price=D("170.019"))
    )
    assert (report.kind, stage.venue.order(ID).limit) == (ReportKind.ACCEPTED, "170.01")
