"""C121–C126: stop-limit orders."""

from decimal import Decimal

from brokers.types import OrderRequest, OrderType, Side
from common.reason_codes import Code
from conformance.assertions import filled
from conformance.harness import HarnessFeature
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario

HALF, QUARTER = Decimal("0.5"), Decimal("0.25")
REFUSED = (Code.PRICE_INVALID, Code.ORDER_TYPE_UNSUPPORTED, Code.REJECTED_BY_BROKER)


@check(121, "stop-limit order stays open", Capability.STOP_LIMIT, Capability.GTC)
async def rests(scenario: Scenario) -> None:
    """A stop-limit order above the price stays open and is reported with both prices."""
    entry = await _placed(scenario, limit=HALF)
    working = await scenario.open_order(entry)
    assert working is not None
    expect(working.order_type is OrderType.STOP_LIMIT, f"its type is {working.order_type}")
    expect(working.stop_price == entry.stop_price, f"its stop price is {working.stop_price}")
    expect(working.limit_price == entry.limit_price, f"its limit is {working.limit_price}")
    expect(working.side is Side.BUY, f"its side is {working.side}")
    expect(working.quantity == entry.quantity, f"its quantity is {working.quantity}")
    expect(await scenario.held() == 0, "it was filled at once")


@check(
    122,
    "stop-limit order is triggered",
    Capability.STOP_LIMIT,
    Capability.GTC,
    HarnessFeature.PRICES,
)
async def is_triggered(scenario: Scenario) -> None:
    """Before its stop price is reached it is not filled, even at its limit. Beyond the stop price
    it waits for its limit, and is then filled there or better."""
    entry = await _placed(scenario, limit=HALF)
    await _move(scenario, QUARTER)
    await _still_waits(scenario, entry)
    await _move(scenario, Decimal("1.5"))
    await _still_waits(scenario, entry)
    await _move(scenario, QUARTER)
    await _fills_within_limit(scenario, entry)


@check(
    123, "limit beyond the stop price", Capability.STOP_LIMIT, Capability.GTC, HarnessFeature.PRICES
)
async def limit_beyond_stop(scenario: Scenario) -> None:
    """A buy with its limit above its stop price is filled between them when the market is there.
    An account that claims to refuse such orders refuses it."""
    if _refuses_beyond(scenario):
        await scenario.expect_refused(await _order(scenario, limit=Decimal(2)), *REFUSED)
        return
    entry = await _placed(scenario, limit=Decimal(2))
    await _move(scenario, Decimal("1.5"))
    await _fills_within_limit(scenario, entry)


@check(124, "gap over the limit", Capability.STOP_LIMIT, Capability.GTC, HarnessFeature.PRICES)
async def gap_over_limit(scenario: Scenario) -> None:
    """A price that jumps over stop price and limit fills nothing: the order waits at its limit, and
    can be cancelled there."""
    limit = HALF if _refuses_beyond(scenario) else Decimal("1.25")
    entry = await _placed(scenario, limit=limit)
    await _move(scenario, Decimal("2.5"))
    await _still_waits(scenario, entry)
    await scenario.cancel(entry)

    async def gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(gone, "it is still open after its cancel")
    await _move(scenario, QUARTER)
    expect(await scenario.held() == 0, "it was filled after its cancel")


@check(125, "a stop-limit order without a price", Capability.STOP_LIMIT)
async def no_price(scenario: Scenario) -> None:
    """Without its limit, or without its stop price, it is refused; it never becomes an order of
    another type."""
    whole = await _order(scenario, limit=HALF)
    for prices in ({"stop_price": whole.stop_price}, {"limit_price": whole.limit_price}):
        await scenario.expect_refused(
            scenario.order(order_type=OrderType.STOP_LIMIT, **prices), *REFUSED
        )
    expect(await scenario.held() == 0, "one was filled")


@check(
    126,
    "stop-limit order after our restart",
    Capability.STOP_LIMIT,
    Capability.GTC,
    Capability.LOOKUP,
    HarnessFeature.NEW_PROCESS,
)
async def found_after_restart(scenario: Scenario) -> None:
    """A restarted process finds a working stop-limit order under our id, and can cancel it."""
    entry = await _placed(scenario, limit=HALF)
    await scenario.harness.new_process()
    await scenario.found(entry.client_order_id)
    await scenario.until(lambda: scenario.is_open(entry), "it is not listed under our id")
    await scenario.cancel(entry)

    async def gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(gone, "it is still open after its cancel")


def _refuses_beyond(scenario: Scenario) -> bool:
    return OrderType.LIMIT in scenario.can.refuses_reached


async def _order(scenario: Scenario, *, limit: Decimal) -> OrderRequest:
    """Return a buy that is triggered far above the price. limit: in the same distances."""
    return scenario.order(
        order_type=OrderType.STOP_LIMIT,
        stop_price=await scenario.away(1),
        limit_price=await scenario.away(1, limit),
    )


async def _placed(scenario: Scenario, *, limit: Decimal) -> OrderRequest:
    entry = await _order(scenario, limit=limit)
    await scenario.sent(entry)
    await scenario.until(lambda: scenario.is_open(entry), "it is not open")
    return entry


async def _move(scenario: Scenario, distances: Decimal) -> None:
    await scenario.harness.move(1 + scenario.harness.far_fraction * distances)


async def _still_waits(scenario: Scenario, entry: OrderRequest) -> None:
    await scenario.until(lambda: scenario.is_open(entry), "it is no longer open")
    expect(await scenario.held() == 0, "it was filled")


async def _fills_within_limit(scenario: Scenario, entry: OrderRequest) -> None:
    answer = await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    assert entry.limit_price is not None
    worst = max(fill.price for report in answer for fill in report.fills)
    expect(worst <= entry.limit_price, f"filled at {worst}, above its limit")
    await scenario.wait_until_held(entry.quantity)
