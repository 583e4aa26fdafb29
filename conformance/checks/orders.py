"""C01–C12: every order type and time in force that an account claims."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from brokers.base import NotSent, Rejected
from brokers.types import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.clocks import market_now
from common.reason_codes import Code
from conformance.assertions import describe_kinds, ended, filled
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario

REACH = Decimal("1.5")  # multiple of `far` that reaches a working order


@check(1, "market order", Capability.MARKET)
async def market(scenario: Scenario) -> None:
    """A market order is filled completely; each execution has a price, a time and an id."""
    entry = scenario.order()
    answer = await scenario.reports_of(
        entry, lambda reports: filled(reports) >= entry.quantity, await scenario.submit(entry)
    )
    expect(filled(answer) == entry.quantity, f"{filled(answer)} was filled, not {entry.quantity}")
    await scenario.wait_until_held(entry.quantity)


@check(2, "limit order stays open", Capability.LIMIT, Capability.GTC)
async def limit_rests(scenario: Scenario) -> None:
    """A limit order below the price stays open and is reported with its price and quantity."""
    entry = await scenario.place_working()
    working = await scenario.open_order(entry)
    assert working is not None
    expect(working.order_type is OrderType.LIMIT, f"its type is {working.order_type}")
    expect(working.limit_price == entry.limit_price, f"its price is {working.limit_price}")
    expect(working.side is Side.BUY, f"its side is {working.side}")
    _is_unfilled(working.quantity, working.filled, entry)
    expect(await scenario.held() == 0, "it was filled at once")


@check(3, "limit order is reached", Capability.LIMIT, Capability.GTC, HarnessFeature.PRICES)
async def limit_is_reached(scenario: Scenario) -> None:
    """A working limit order is filled at its price or better when the market reaches it."""
    entry = await scenario.place_working()
    await scenario.harness.move(1 - scenario.harness.far_fraction * REACH)
    answer = await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    prices = [fill.price for report in answer for fill in report.fills]
    assert entry.limit_price is not None
    expect(max(prices) <= entry.limit_price, f"filled at {max(prices)}, above its limit")


@check(4, "stop order", Capability.STOP, Capability.GTC)
async def stop_rests(scenario: Scenario) -> None:
    """A stop order above the price stays open and is reported with its stop price."""
    entry = await _stop_order(scenario)
    working = await scenario.open_order(entry)
    assert working is not None
    expect(working.order_type is OrderType.STOP, f"its type is {working.order_type}")
    expect(working.stop_price == entry.stop_price, f"its price is {working.stop_price}")
    _is_unfilled(working.quantity, working.filled, entry)


@check(5, "stop order is reached", Capability.STOP, Capability.GTC, HarnessFeature.PRICES)
async def stop_is_reached(scenario: Scenario) -> None:
    """A stop order is filled when the market reaches its price."""
    entry = await _stop_order(scenario)
    await scenario.harness.move(1 + scenario.harness.far_fraction * REACH)
    await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    await scenario.wait_until_held(entry.quantity)


@check(6, "for the day", Capability.LIMIT, Capability.DAY)
async def day(scenario: Scenario) -> None:
    """A limit order for the day stays open."""
    await scenario.place_working(time_in_force=TimeInForce.DAY)


@check(7, "immediate or cancel", Capability.LIMIT, Capability.IOC)
async def ioc(scenario: Scenario) -> None:
    """An immediate-or-cancel order away from the market ends at once: not filled, not open."""
    await _ends_at_once(scenario, TimeInForce.IOC)


@check(8, "fill or kill", Capability.LIMIT, Capability.FOK)
async def fok(scenario: Scenario) -> None:
    """A fill-or-kill order away from the market ends at once: not filled, not open."""
    await _ends_at_once(scenario, TimeInForce.FOK)


@check(9, "immediate or cancel, within reach", Capability.LIMIT, Capability.IOC)
async def ioc_fills(scenario: Scenario) -> None:
    """An immediate-or-cancel order that the market price satisfies is filled."""
    price = await scenario.away(1, Decimal("0.25"))
    terms: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": price}
    try:
        await scenario.buy(**terms, time_in_force=TimeInForce.IOC)
    except Rejected as error:
        if error.code is Code.ORDER_TYPE_UNSUPPORTED:  # claims are not made by order type
            raise NotApplicable("only market orders may be immediate or cancel here") from error
        raise


@check(10, "fill or kill of a part", Capability.LIMIT, Capability.FOK, InjectedFault.PARTIAL)
async def fok_part(scenario: Scenario) -> None:
    """A fill-or-kill order is not filled at all if only a part of it could be."""
    await scenario.harness.begin(InjectedFault.PARTIAL)
    price = await scenario.away(1, Decimal("0.25"))
    entry = scenario.order(
        order_type=OrderType.LIMIT, limit_price=price, time_in_force=TimeInForce.FOK
    )
    await _ends(scenario, entry)
    expect(await scenario.held() == 0, "a part of it was filled")


@check(11, "what is not claimed")
async def not_claimed(scenario: Scenario) -> None:
    """An order type or time in force that the account does not claim is refused, never replaced by
    another one."""
    unclaimed = [kind for kind in OrderType if kind not in scenario.can.order_types]
    unclaimed_times = [tif for tif in TimeInForce if tif not in scenario.can.times_in_force]
    if not unclaimed and not unclaimed_times:
        raise NotApplicable("the account claims every order type and time in force")
    for kind in unclaimed:
        await _is_refused(scenario, await _of_type(scenario, kind))
    for tif in unclaimed_times:
        until = market_now() + timedelta(hours=1) if tif is TimeInForce.GTD else None
        request = await scenario.working_order(time_in_force=tif, expires_at=until)
        await _is_refused(scenario, request)


@check(12, "stop and target with the order", Capability.MARKET, Capability.STOPS)
async def protected(scenario: Scenario) -> None:
    """The broker holds a market order's stop and target and reports them with the position."""
    stop, target = await scenario.away(-1), await scenario.away(1)
    await scenario.buy(stop_loss=stop, take_profit=target)

    async def held() -> bool:
        position = await scenario.position()
        return (position.stop_loss, position.take_profit) == (stop, target)

    await scenario.until(held, "the position does not show both levels")


def _is_unfilled(quantity: Decimal, done: Decimal, entry: OrderRequest) -> None:
    expect(quantity == entry.quantity, f"its quantity is {quantity}, not {entry.quantity}")
    expect(done == 0, f"{done} of it is reported as filled")


async def _stop_order(scenario: Scenario) -> OrderRequest:
    entry = scenario.order(order_type=OrderType.STOP, stop_price=await scenario.away(1))
    await scenario.submit(entry)
    await scenario.until(lambda: scenario.is_open(entry), "it is not open")
    return entry


async def _of_type(scenario: Scenario, kind: OrderType) -> OrderRequest:
    prices = {}
    if kind is OrderType.TRAILING_STOP:
        price = await scenario.away(1)
        prices = {"stop_price": price, "trail_distance": scenario.rounded(price / 50)}
    if kind.has_limit_price:
        prices["limit_price"] = await scenario.away(-1)
    if kind.has_stop_price:
        prices["stop_price"] = await scenario.away(1)
    return scenario.order(order_type=kind, **prices)


async def _ends_at_once(scenario: Scenario, tif: TimeInForce) -> None:
    entry = await scenario.working_order(time_in_force=tif)
    await _ends(scenario, entry)
    expect(not await scenario.is_open(entry), "it is open")
    expect(await scenario.held() == 0, "it was filled")


async def _ends(scenario: Scenario, entry: OrderRequest) -> None:
    """Place an order and wait until it is reported as ended without a fill."""
    try:
        answer = await scenario.submit(entry)
    except Rejected:
        return
    answer = list(await scenario.reports_of(entry, ended, answer))
    expect(filled(answer) == 0, f"{filled(answer)} of it was filled")


async def _is_refused(scenario: Scenario, request: OrderRequest) -> None:
    what = f"{request.order_type} {request.time_in_force}"
    try:
        answer = await scenario.submit(request)
    except (Rejected, NotSent):
        pass
    else:
        refused = any(report.kind is ReportKind.REJECTED for report in answer)
        expect(refused, f"{what} was not refused but {describe_kinds(answer)}")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.expect_accepted(request, 0)
