"""C127–C129, C144: orders that end at a given time, by their broker or by us."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal

from brokers.types import OrderRequest, ReportKind, TimeInForce
from common.clocks import market_now
from common.reason_codes import Code
from conformance.assertions import ended, filled
from conformance.harness import HarnessFeature, NotApplicable
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario

SOON = timedelta(seconds=3)
AN_HOUR = timedelta(hours=1)


@check(127, "good till date", Capability.LIMIT, Capability.GTD)
async def rests(scenario: Scenario) -> None:
    """A limit order with an expiry an hour ahead stays open."""
    await _placed(scenario, market_now() + AN_HOUR)


@check(128, "the expiry is reached", Capability.LIMIT, Capability.GTD, HarnessFeature.PRICES)
async def expires(scenario: Scenario) -> None:
    """The broker ends the order at its expiry, not before: it is reported as expired, with the
    code, and is not filled afterwards."""
    if scenario.can.shortest_gtd > SOON:
        shortest = f"{scenario.can.shortest_gtd / timedelta(minutes=1):g} minutes"
        raise NotApplicable(f"the broker takes no expiry that is nearer than {shortest}")
    expiry = market_now() + SOON
    entry = await _placed(scenario, expiry)
    await asyncio.sleep(max(0.0, (expiry - market_now()).total_seconds()) + 0.5)
    await scenario.harness.move(Decimal(1))  # a broker may notice it with the next price only
    answer = await scenario.reports_of(entry, ended)
    last = next(report for report in answer if report.kind is not ReportKind.ACCEPTED)
    expect(last.kind is ReportKind.EXPIRED, f"it is reported as {last.kind}")
    expect(last.code is Code.TIME_IN_FORCE_ENDED, f"its code is {last.code}")
    expect(not await scenario.is_open(entry), "it is still open")
    await scenario.harness.move(1 - scenario.harness.far_fraction * Decimal("1.5"))
    expect(await scenario.held() == 0, "it was filled after its expiry")


@check(129, "the expiry has passed", Capability.LIMIT, Capability.GTD)
async def has_passed(scenario: Scenario) -> None:
    """An order whose expiry has passed is refused or ends at once; one without an expiry is
    refused. Neither stays open."""
    for expiry in (market_now() - AN_HOUR, None):
        entry = await scenario.working_order(time_in_force=TimeInForce.GTD, expires_at=expiry)
        await scenario.refusal(entry)
        expect(not await scenario.is_open(entry), "it is open")


@check(
    144,
    "good till a date that we end",
    Capability.LIMIT,
    Capability.GTC,
    HarnessFeature.NEW_PROCESS,
    HarnessFeature.PRICES,
)
async def ended_by_us(scenario: Scenario) -> None:
    """How we end an order where the broker has no good till date: a restarted process finds the
    order, sent as good till cancelled, under our id and cancels it. It is reported as cancelled,
    and a price that reaches it afterwards does not fill it."""
    entry = await scenario.place_working()
    await scenario.harness.new_process()
    await scenario.found(entry.client_order_id)
    await scenario.until(lambda: scenario.is_open(entry), "it is not listed under our id")
    answer = await scenario.cancel(entry)
    known = await scenario.reports_of(entry, ended, answer)
    kinds = {report.kind for report in known}
    expect(ReportKind.CANCELLED in kinds, f"it is reported as {kinds}")
    expect(not await scenario.is_open(entry), "it is still open")
    await scenario.harness.move(1 - scenario.harness.far_fraction * Decimal("1.5"))
    expect(await scenario.held() == 0, "it was filled after its end")


async def _placed(scenario: Scenario, expiry: datetime) -> OrderRequest:
    entry = await scenario.place_working(time_in_force=TimeInForce.GTD, expires_at=expiry)
    found = await scenario.open_order(entry)
    expect(found is not None and not filled(await scenario.found(entry.client_order_id)), "filled")
    return entry
