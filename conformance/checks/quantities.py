"""C29–C38: valid orders: symbols, quantity steps and limits, stop distances, money, hours."""

from decimal import Decimal

from brokers.base import BrokerError, NotSent, Rejected
from brokers.types import OrderReport, OrderType, ReportKind
from common.reason_codes import Code
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario

JOURNAL = HarnessFeature.JOURNAL


@check(29, "unknown symbol", Capability.MARKET)
async def unknown_symbol(scenario: Scenario) -> None:
    """An order for a symbol that the broker does not list is refused with that code."""
    await scenario.expect_refused(
        scenario.order(symbol="NOSUCHSYMBOL"), Code.UNKNOWN_SYMBOL_AT_BROKER
    )


@check(30, "between the steps", Capability.MARKET)
async def between_steps(scenario: Scenario) -> None:
    """A quantity between two steps is refused or rounded down, and never filled for more."""
    step = scenario.instrument.quantity_step
    entry = scenario.order(quantity=scenario.on_step(scenario.quantity) + step / 2)
    try:
        answer = await scenario.submit(entry)
    except (Rejected, NotSent) as error:
        expect(error.code is Code.VOLUME_INVALID, f"its code is {error.code}")
        return
    lower = scenario.on_step(scenario.quantity)
    got = await scenario.reports_of(entry, lambda reports: filled(reports) >= lower, answer)
    expect(filled(got) == lower, f"{filled(got)} was filled of {entry.quantity}")


@check(31, "below the minimum", Capability.MARKET)
async def below_minimum(scenario: Scenario) -> None:
    """A quantity below the minimum is refused with that code, and never rounded up."""
    minimum = scenario.instrument.quantity_min
    await scenario.expect_refused(scenario.order(quantity=minimum / 2), Code.VOLUME_INVALID)


@check(32, "above the maximum", Capability.MARKET, HarnessFeature.EXTREMES)
async def above_maximum(scenario: Scenario) -> None:
    """A quantity above the maximum is refused and never reduced."""
    maximum = scenario.instrument.quantity_max
    request = scenario.order(quantity=maximum + scenario.instrument.quantity_step)
    await scenario.expect_refused(request, Code.VOLUME_INVALID, Code.NO_MONEY)


@check(33, "invalid quantity", Capability.MARKET)
async def invalid_quantity(scenario: Scenario) -> None:
    """Zero, negative and non-finite quantities are refused by the adapter or the broker."""
    for text in ("0", "-1", "NaN", "Infinity"):
        request = scenario.order(quantity=Decimal(text))
        try:
            answer = await scenario.submit(request)
        except (Rejected, NotSent):
            continue
        except BrokerError as error:
            raise CheckFailed(f"{text} raised {type(error).__name__} {error}") from error
        raise CheckFailed(f"{text} was accepted: {describe_kinds(answer)}")
    expect(await scenario.held() == 0, "a position is open")


@check(34, "stop on the wrong side", Capability.MARKET, Capability.STOPS)
async def wrong_side(scenario: Scenario) -> None:
    """A stop on the wrong side is refused; or the entry is filled and its lost stop reported."""
    await _invalid_stop(scenario, await scenario.away(1))


@check(35, "stop too near", Capability.MARKET, Capability.STOPS, InjectedFault.STOPS_NEAR)
async def too_near(scenario: Scenario) -> None:
    """A stop nearer than the broker allows is refused; or the entry is filled and its lost stop
    reported."""
    await scenario.harness.begin(InjectedFault.STOPS_NEAR)
    tick = scenario.harness.tick or Decimal(1).scaleb(-scenario.instrument.digits)
    await _invalid_stop(scenario, scenario.rounded((await scenario.harness.quote()).bid) - tick)


@check(36, "market closed", Capability.MARKET, InjectedFault.CLOSED)
async def closed(scenario: Scenario) -> None:
    """An order to a closed market is refused with that code."""
    entry = scenario.order()
    await scenario.harness.begin(InjectedFault.CLOSED)
    await scenario.expect_refused(entry, Code.MARKET_CLOSED)


@check(37, "no money", Capability.MARKET, InjectedFault.NO_MONEY)
async def no_money(scenario: Scenario) -> None:
    """An order that the account cannot pay for is refused with that code."""
    await scenario.harness.begin(InjectedFault.NO_MONEY)
    await scenario.expect_refused(scenario.order(), Code.NO_MONEY)


@check(38, "a price is missing", Capability.LIMIT)
async def no_price(scenario: Scenario) -> None:
    """A limit order without a price is refused; it never becomes a market order."""
    await scenario.expect_refused(scenario.order(order_type=OrderType.LIMIT))
    expect(await scenario.held() == 0, "it was filled")


async def _invalid_stop(scenario: Scenario, stop: Decimal) -> None:
    entry = scenario.order(stop_loss=stop)
    try:
        answer = await scenario.submit(entry)
    except (Rejected, NotSent) as error:
        expect(error.code is Code.STOPS_INVALID, f"its code is {error.code}")
        if JOURNAL not in scenario.harness.unavailable:
            await scenario.expect_accepted(entry, 0)
        return
    known = await scenario.reports_of(
        entry, lambda reports: any(map(_of_lost_stop, reports)), answer
    )
    if any(report.kind is ReportKind.REJECTED for report in known):
        expect(await scenario.held() == 0, "it was refused and yet filled")


def _of_lost_stop(report: OrderReport) -> bool:
    answer = report.kind in (ReportKind.LEVELS, ReportKind.REJECTED)
    return answer and report.code is Code.STOPS_INVALID
