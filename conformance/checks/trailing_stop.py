"""C150–C155: trailing stop orders that the broker itself holds."""

from decimal import Decimal

from brokers.types import BrokerOrder, OrderRequest, OrderType, Side
from common.reason_codes import Code
from conformance.assertions import filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario

HALF, QUARTER = Decimal("0.5"), Decimal("0.25")
REFUSED = (Code.PRICE_INVALID, Code.ORDER_TYPE_UNSUPPORTED, Code.REJECTED_BY_BROKER)


@check(150, "trailing stop stays open", Capability.TRAILING_STOP, Capability.GTC)
async def rests(scenario: Scenario) -> None:
    """A trailing stop stays open and is reported with its distance and its first stop price."""
    entry = await _placed(scenario)
    working = await _working(scenario, entry)
    expect(working.order_type is OrderType.TRAILING_STOP, f"its type is {working.order_type}")
    expect(working.trail_distance == entry.trail_distance, f"it follows {working.trail_distance}")
    expect(_is_near(scenario, working, entry.stop_price), f"its stop is {working.stop_price}")
    expect(working.limit_price is None, f"its limit is {working.limit_price}")
    expect(working.side is Side.BUY, f"its side is {working.side}")
    expect(working.quantity == entry.quantity, f"its quantity is {working.quantity}")
    expect(await scenario.held() == 0, "it was filled at once")


@check(
    151,
    "trailing stop follows the market",
    Capability.TRAILING_STOP,
    Capability.GTC,
    HarnessFeature.PRICES,
)
async def follows(scenario: Scenario) -> None:
    """The stop price of a buy follows the market down at its distance, and never moves back up."""
    entry = await _placed(scenario)
    lowest = await _moved(scenario, entry, -HALF)
    await scenario.harness.move(1 - scenario.harness.far_fraction * QUARTER)
    working = await _working(scenario, entry)
    expect(working.stop_price == lowest.stop_price, f"it moved back to {working.stop_price}")
    expect(await scenario.held() == 0, "it was filled before the market turned by its distance")


@check(
    152,
    "trailing stop is triggered",
    Capability.TRAILING_STOP,
    Capability.GTC,
    HarnessFeature.PRICES,
)
async def is_triggered(scenario: Scenario) -> None:
    """A buy is filled at market when the market has turned by its distance from the lowest price,
    and not before; its first stop price no longer counts."""
    entry = await _placed(scenario)
    lowest = await _moved(scenario, entry, -HALF)
    await scenario.harness.move(1 + scenario.harness.far_fraction * QUARTER)
    expect(await scenario.is_open(entry), "it is no longer open")
    expect(await scenario.held() == 0, "it was filled before the market turned by its distance")
    await scenario.harness.move(1 + scenario.harness.far_fraction * (HALF + QUARTER))
    reports = await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    price = min(fill.price for report in reports for fill in report.fills)
    assert lowest.stop_price is not None
    expect(price >= lowest.stop_price, f"filled at {price}, before its stop price")
    await scenario.wait_until_held(entry.quantity)


@check(153, "a trailing stop without a distance", Capability.TRAILING_STOP)
async def no_distance(scenario: Scenario) -> None:
    """Without its distance, or without its first stop price, it is refused; it never becomes an
    order of another type."""
    whole = await _order(scenario)
    for terms in ({"stop_price": whole.stop_price}, {"trail_distance": whole.trail_distance}):
        await scenario.expect_refused(
            scenario.order(order_type=OrderType.TRAILING_STOP, **terms), *REFUSED
        )
    expect(await scenario.held() == 0, "one was filled")


@check(
    154,
    "trailing stop after our restart",
    Capability.TRAILING_STOP,
    Capability.GTC,
    Capability.LOOKUP,
    HarnessFeature.NEW_PROCESS,
    HarnessFeature.PRICES,
)
async def found_after_restart(scenario: Scenario) -> None:
    """A restarted process finds a working trailing stop under our id, with the stop price that it
    has reached, and can cancel it; then it is not filled any more."""
    entry = await _placed(scenario)
    lowest = await _moved(scenario, entry, -HALF)
    await scenario.harness.new_process()
    await scenario.found(entry.client_order_id)
    await scenario.until(lambda: scenario.is_open(entry), "it is not listed under our id")
    working = await _working(scenario, entry)
    expect(working.stop_price == lowest.stop_price, f"its stop price is {working.stop_price}")
    await scenario.cancel(entry)

    async def gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(gone, "it is still open after its cancel")
    await scenario.harness.move(1 + scenario.harness.far_fraction * 2)
    expect(await scenario.held() == 0, "it was filled after its cancel")


@check(
    155,
    "trailing stop without an answer",
    Capability.TRAILING_STOP,
    Capability.GTC,
    Capability.LOOKUP,
    InjectedFault.NO_ANSWER,
    HarnessFeature.JOURNAL,
)
async def no_answer(scenario: Scenario) -> None:
    """A trailing stop that was accepted without an answer is unknown; the look-up finds it,
    accepted once and working."""
    entry = await _order(scenario)
    await scenario.left_unknown(entry, InjectedFault.NO_ANSWER)
    await scenario.found(entry.client_order_id)
    await scenario.expect_accepted(entry, 1)
    await scenario.until(lambda: scenario.is_open(entry), "it is not listed under our id")


async def _order(scenario: Scenario) -> OrderRequest:
    """Return a buy that is triggered when the market rises by the harness's far fraction."""
    quote = await scenario.harness.quote()
    distance = scenario.rounded(quote.ask * scenario.harness.far_fraction)
    return scenario.order(
        order_type=OrderType.TRAILING_STOP,
        stop_price=quote.ask + distance,
        trail_distance=distance,
    )


async def _placed(scenario: Scenario) -> OrderRequest:
    entry = await _order(scenario)
    await scenario.sent(entry)
    await scenario.until(lambda: scenario.is_open(entry), "it is not open")
    return entry


async def _working(scenario: Scenario, entry: OrderRequest) -> BrokerOrder:
    found = await scenario.open_order(entry)
    if found is None:
        raise CheckFailed("it is no longer open")
    return found


async def _moved(scenario: Scenario, entry: OrderRequest, fractions: Decimal) -> BrokerOrder:
    """Move the market, which has not moved yet; return the order when it has followed."""
    quote = await scenario.harness.quote()
    factor = 1 + scenario.harness.far_fraction * fractions
    await scenario.harness.move(factor)
    assert entry.trail_distance is not None
    expected = quote.ask * factor + entry.trail_distance

    async def has_followed() -> bool:
        found = await scenario.open_order(entry)
        spread = quote.ask - quote.bid
        return found is not None and _is_near(scenario, found, expected, spread)

    await scenario.until(has_followed, f"its stop price does not follow to {expected}")
    return await _working(scenario, entry)


def _is_near(
    scenario: Scenario, order: BrokerOrder, price: Decimal | None, spread: Decimal = Decimal(0)
) -> bool:
    """Return whether its stop price is this one, up to a tick, and the spread: a broker may follow
    the other side of the market."""
    tick = scenario.harness.tick or Decimal(1).scaleb(-scenario.instrument.digits)
    if order.stop_price is None or price is None:
        return False
    return abs(order.stop_price - price) <= spread + tick
