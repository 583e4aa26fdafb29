"""Levels that the price has passed: IBKR accepts them and closes the position at once."""

from collections.abc import Awaitable
from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.base import Rejected
from brokers.ibkr.order_encoding import require_level_sides
from brokers.types import ModifyRequest, Side
from common.reason_codes import Code
from tests.ibkr.factories import Environment, limit, order, protected, with_environment

ID = "abc00000000000001"


def level_change(stop: str | None, target: str | None) -> ModifyRequest:
    prices = [None if price is None else Decimal(price) for price in (stop, target)]
    return ModifyRequest(ID, "12087792", "EURUSD", prices[0], prices[1])


@with_environment
async def test_levels_that_would_close_at_once_are_rejected_if_price_is_known(
    stage: Environment,
) -> None:
    below, above = Decimal("1.0900"), Decimal("1.1200")
    await stage.submit(order())
    await stage.adapter.quote(stage.spec, "EURUSD")
    calls: list[Awaitable[object]] = [
        stage.submit(order("abc00000000000002", stop_loss=above)),
        stage.submit(order("abc00000000000002", take_profit=below)),
        stage.adapter.modify(stage.spec, level_change("1.1200", None)),
        stage.adapter.modify(stage.spec, level_change(None, "1.0900")),
    ]
    for call in calls:
        with pytest.raises(Rejected) as refused:
            await call
        assert refused.value.code is Code.STOPS_INVALID
    for side, good in ((Side.BUY, (below, above)), (Side.SELL, (above, below))):
        require_level_sides(side, *good, Decimal("1.1"), Decimal("1.1002"))
    assert stage.venue.received == [ID]


@with_environment
async def test_level_change_checks_the_price_first(stage: Environment) -> None:
    """IBKR would accept it and close the position at once. No price was requested before."""
    await stage.submit(protected())
    with pytest.raises(Rejected) as refused:
        await stage.adapter.modify(stage.spec, level_change("1.1200", "1.1300"))
    assert refused.value.code is Code.STOPS_INVALID
    assert stage.venue.order(f"{ID}:sl").aux == "1.09"
    await stage.adapter.disconnect(stage.spec)
    stage.tws.refused_prices[12087792] = (354, "Requested market data is not subscribed.")
    (report,) = await stage.adapter.modify(stage.spec, level_change("1.0950", "1.1300"))
    assert report.stop_loss == Decimal("1.095")  # without a price IBKR decides


@with_environment
async def test_levels_of_priced_order_are_checked_against_its_price(stage: Environment) -> None:
    wrong = replace(limit(price="1.0900"), stop_loss=Decimal("1.0950"))
    with pytest.raises(Rejected) as refused:
        await stage.submit(wrong)
    assert refused.value.code is Code.STOPS_INVALID
    await stage.submit(replace(wrong, stop_loss=Decimal("1.0850")))
