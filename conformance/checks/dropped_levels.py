"""C112–C115, C120: levels that a broker accepts and drops are not reported as held."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerError, OutcomeUnknown, Rejected
from brokers.types import OrderReport, OrderRequest, ReportKind
from conformance.assertions import filled
from conformance.harness import InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario

NONE = (None, None)


@check(112, "a dropped stop", Capability.MARKET, Capability.STOPS, InjectedFault.DROPS_LEVELS)
async def dropped(scenario: Scenario) -> None:
    """If the broker accepts an order and drops its stop and target, nothing reports that it holds
    them: reply, events, look-up and position report no levels, or nothing about levels."""
    await scenario.harness.begin(InjectedFault.DROPS_LEVELS)
    entry = await _protected_order(scenario)
    answer = await scenario.sent(entry)
    answer = list(
        await scenario.reports_of(entry, lambda known: filled(known) >= entry.quantity, answer)
    )
    await _shows_none(scenario)
    await _never_held(scenario, entry, answer)


@check(113, "a dropped stop and no answer", Capability.MARKET, Capability.STOPS, Capability.LOOKUP,
      InjectedFault.DROPS_LEVELS, InjectedFault.NO_ANSWER)  # fmt: skip
async def dropped_unanswered(scenario: Scenario) -> None:
    """The same if the reply is lost: the look-up finds the order and reports no stop."""
    await scenario.harness.begin(InjectedFault.DROPS_LEVELS)
    await scenario.harness.begin(InjectedFault.NO_ANSWER)
    entry = await _protected_order(scenario)
    try:
        answer = await scenario.submit(entry)
    except OutcomeUnknown:
        answer = []
    await scenario.harness.end()
    answer = list(
        await scenario.reports_of(entry, lambda known: filled(known) >= entry.quantity, answer)
    )
    await _shows_none(scenario)
    await _never_held(scenario, entry, answer)


@check(114, "a moved stop is dropped", Capability.MARKET, Capability.STOPS, Capability.MODIFY,
      InjectedFault.DROPS_LEVELS)  # fmt: skip
async def dropped_when_moved(scenario: Scenario) -> None:
    """If the broker accepts a moved stop and drops it, the stop is never reported as moved; the
    levels that it holds are reported."""
    stop, target = await scenario.away(-1), await scenario.away(1)
    entry = await scenario.buy(stop_loss=stop, take_profit=target)

    async def held() -> bool:
        found = (await scenario.position()).levels
        return found is not None and (found.stop_loss, found.take_profit) == (stop, target)

    await scenario.until(held, "the position does not show both levels")
    await scenario.harness.begin(InjectedFault.DROPS_LEVELS)
    moved, higher = (
        await scenario.away(-1, Decimal("0.75")),
        await scenario.away(1, Decimal("0.75")),
    )
    try:
        answer = await scenario.modify(entry, moved, higher)
    except (OutcomeUnknown, Rejected):
        answer = []
    for price in (moved, higher):
        _not_held(answer, price)
    await _shows_none(scenario)


@check(115, "a confirmed stop", Capability.MARKET, Capability.STOPS, Capability.LOOKUP)
async def confirmed(scenario: Scenario) -> None:
    """A stop and target that the broker holds are confirmed: a reply, event, look-up or position
    states both."""
    stop, target = await scenario.away(-1), await scenario.away(1)
    entry = await scenario.buy(stop_loss=stop, take_profit=target)

    async def confirmed_by_any() -> bool:
        found = [one for one in await scenario.positions() if one.levels is not None]
        pairs = [one.levels for one in found]
        reports = [*await scenario.receive_events(), *(await scenario.found(entry.client_order_id))]
        pairs += [report.levels for report in reports if report.levels is not None]
        return any(one and (one.stop_loss, one.take_profit) == (stop, target) for one in pairs)

    await scenario.until(confirmed_by_any, "no report confirms that the broker holds them")


@check(
    120,
    "a stop dropped later is seen",
    Capability.MARKET,
    Capability.STOPS,
    InjectedFault.DROPS_LATER,
)
async def dropped_later(scenario: Scenario) -> None:
    """If a confirmed stop and target are dropped later, a LEVELS event reports it within seconds;
    at a polled broker without events the positions show it."""
    stop, target = await scenario.away(-1), await scenario.away(1)
    entry = await scenario.buy(stop_loss=stop, take_profit=target)

    async def held() -> bool:
        found = (await scenario.position()).levels
        return found is not None and (found.stop_loss, found.take_profit) == (stop, target)

    await scenario.until(held, "the position does not show both levels")
    received = len(await scenario.receive_events())
    await scenario.harness.begin(InjectedFault.DROPS_LATER)

    async def reported() -> bool:
        new_events = (await scenario.receive_events())[received:]
        pairs = [
            one.levels and (one.levels.stop_loss, one.levels.take_profit)
            for one in new_events  # levels with an execution may be older than the books
            if one.kind is ReportKind.LEVELS and one.client_order_id == entry.client_order_id
        ]
        return pairs[-1:] == [NONE]

    if scenario.can.event_stream:
        await scenario.until(
            reported, "no event reports that the levels are gone", scenario.harness.drop_seconds
        )
    await _shows_none(scenario)


async def _protected_order(scenario: Scenario) -> OrderRequest:
    return scenario.order(stop_loss=await scenario.away(-1), take_profit=await scenario.away(1))


async def _shows_none(scenario: Scenario) -> None:
    """Wait until the position is reported without levels."""

    async def none() -> bool:
        found = await scenario.positions()
        pairs = [one.levels and (one.levels.stop_loss, one.levels.take_profit) for one in found]
        return pairs == [NONE]

    await scenario.until(none, "the position is not reported without levels")


async def _never_held(
    scenario: Scenario, entry: OrderRequest, answer: Sequence[OrderReport]
) -> None:
    """Raise CheckFailed if any report states that the broker holds a dropped level."""
    name = entry.client_order_id
    received = [
        report for report in await scenario.receive_events() if report.client_order_id == name
    ]
    known = [*answer, *received]
    try:
        known += await scenario.find(name) or []
    except BrokerError:
        pass  # an error reports no levels
    for price in (entry.stop_loss, entry.take_profit):
        _not_held(known, price)


def _not_held(answer: Sequence[OrderReport], price: Decimal | None) -> None:
    for report in answer:
        if report.levels is None:
            if report.kind is ReportKind.LEVELS:
                raise CheckFailed("a LEVELS report has no levels")
            continue
        pair = report.levels.stop_loss, report.levels.take_profit
        expect(price not in pair, f"a {report.kind} report states that the broker holds {price}")
