"""C105–C109, C111: an id sent twice, two entries, short positions, other accounts, clocks."""

from datetime import datetime, timedelta

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.types import (
    BrokerPosition,
    CheckResult,
    OrderReport,
    OrderRequest,
    PositionMode,
    Side,
)
from common.clocks import market_now
from common.reason_codes import Code
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import IS_SUPPORTED, Capability, check, expect
from conformance.scenario import Scenario, new_id

A_POLL = timedelta(minutes=1)  # polls read again the executions before the last poll
NO_SHORTS = (
    Code.NO_MONEY, Code.NO_POSITION, Code.TRADING_DISABLED, Code.SIDE_NOT_ALLOWED,
    Code.SYMBOL_TRADING_DISABLED, Code.VOLUME_INVALID,
)  # fmt: skip


@check(105, "one id twice", Capability.MARKET, Capability.LOOKUP, HarnessFeature.JOURNAL)
async def one_id_twice(scenario: Scenario) -> None:
    """A second order with the same id is refused, or reported as executed: the reports match the
    position."""
    entry = await scenario.buy()
    try:
        await scenario.submit(entry)
    except (Rejected, NotSent, OutcomeUnknown):
        pass
    times = await scenario.harness.accepted(entry.client_order_id)
    expect(times in (1, 2), f"the broker accepted it {times} times")
    await scenario.wait_until_held(entry.quantity * times)
    await scenario.reports_of(entry, lambda reports: filled(reports) == entry.quantity * times)


@check(106, "two entries", Capability.MARKET)
async def two_entries(scenario: Scenario) -> None:
    """Two entries make two positions on a hedging account and one on a netting account; closing the
    second position leaves the first one open."""
    first, second = await scenario.buy(), await scenario.buy()
    await scenario.wait_until_held(first.quantity + second.quantity)
    mode = (await scenario.call(scenario.harness.adapter.account(scenario.spec))).position_mode
    held = await scenario.positions()
    expect(len(held) == (2 if mode is PositionMode.HEDGING else 1), f"{len(held)} positions")
    last = max(held, key=lambda item: _opening_order(item, second.client_order_id))
    request = scenario.exit(second, last, quantity=second.quantity)
    answer = await scenario.sent(request)
    await scenario.reports_of(request, lambda reports: filled(reports) >= request.quantity, answer)
    await scenario.wait_until_held(first.quantity)
    if mode is PositionMode.HEDGING:
        [left] = await scenario.positions()
        expect(left.broker_position_id != last.broker_position_id, "the first one was closed")


@check(107, "sold", Capability.MARKET)
async def sold(scenario: Scenario) -> None:
    """An entry can sell: the position is reported as short, and a buy order closes it."""
    entry = scenario.order(side=Side.SELL)
    try:
        answer = await scenario.sent(entry)
    except Rejected as error:
        if error.code in NO_SHORTS:
            raise NotApplicable("this account cannot sell short") from error
        raise
    await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity, answer)
    await scenario.wait_until_held(-entry.quantity)
    expect((await scenario.position()).side is Side.SELL, "the position is reported as long")
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)


@check(108, "another account", Capability.MARKET, Capability.LOOKUP, HarnessFeature.SECOND_ACCOUNT)
async def another_account(scenario: Scenario) -> None:
    """An account's positions and orders are not reported for another account at the same broker."""
    entry = await scenario.buy()
    await scenario.wait_until_held(entry.quantity)
    adapter, other = scenario.harness.adapter, await scenario.harness.second_account()
    held = await scenario.call(adapter.positions(other), other)
    expect(
        not [one for one in held if one.quantity], "the position is reported for the other account"
    )
    try:
        found = await scenario.call(
            adapter.find_order(other, entry.client_order_id, entry.symbol), other
        )
    except BrokerError as error:
        expect(isinstance(error, ReadFailed), f"it raises {type(error).__name__} {error}")
    else:
        expect(not found, f"the other account's look-up returns {describe_kinds(found or [])}")
    await scenario.wait_until_held(entry.quantity)


@check(109, "another clock", Capability.MARKET, Capability.LOOKUP, InjectedFault.CLOCK_AHEAD)
async def another_clock(scenario: Scenario) -> None:
    """If the broker's clock is ahead of ours, the connection test reports it; earlier and later
    orders are still reported, read, closed and found."""
    began, first = market_now() - timedelta(minutes=2), await scenario.buy()
    await scenario.close(first)
    await scenario.harness.begin(InjectedFault.CLOCK_AHEAD)
    second = await _bought_after_a_jump(scenario)
    await scenario.wait_until_held(second.quantity)
    await scenario.until(
        lambda: _reports_clock(scenario), "the test does not report the clock difference"
    )
    if IS_SUPPORTED[Capability.FILLS](scenario.can):
        await scenario.until(
            lambda: _reads(scenario, began, first), "the first execution is not read"
        )
        await scenario.until(
            lambda: _reads(scenario, began, second), "the second execution is not read"
        )
    await scenario.absent(new_id())
    await scenario.close(second)
    await scenario.wait_until_held(second.quantity * 0)


@check(
    111,
    "a clock behind",
    Capability.MARKET,
    Capability.LOOKUP,
    Capability.FILLS,
    InjectedFault.CLOCK_BEHIND,
)
async def a_clock_behind(scenario: Scenario) -> None:
    """If the broker's clock is behind ours, a read of the executions since a minute ago by our
    clock, as polls do it, contains what is executed now."""
    if scenario.can.event_stream:
        raise NotApplicable("events report executions: no poll reads them by our clock")
    await scenario.harness.begin(InjectedFault.CLOCK_BEHIND)
    entry = await _bought_after_a_jump(scenario)
    since = market_now() - A_POLL
    await scenario.until(lambda: _reads(scenario, since, entry), "the execution is not read")
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)


async def _bought_after_a_jump(scenario: Scenario) -> OrderRequest:
    """Buy. A broker may refuse the first order for its time with an unclear error: then the look-up
    must prove it absent, and a second order is sent."""
    request = scenario.order()
    try:
        answer = await scenario.submit(request)
    except NotSent:
        return await scenario.buy()
    except OutcomeUnknown:
        answer = []
    known: list[OrderReport] | None = answer

    async def sure() -> bool:
        nonlocal known
        try:
            known = answer or await scenario.find(request.client_order_id)
        except ReadFailed:
            return False
        return True

    await scenario.until(
        sure, "an order is neither found nor proven absent", scenario.harness.absence_seconds
    )
    if known is None:
        return await scenario.buy()
    await scenario.reports_of(request, lambda reports: filled(reports) >= request.quantity, known)
    return request


async def _reports_clock(scenario: Scenario) -> bool:
    checks = await scenario.call(scenario.harness.adapter.test(scenario.spec))
    wrong = [one.name for one in checks if one.result is not CheckResult.OK]
    return any("clock" in name or "time" in name for name in wrong)


async def _reads(scenario: Scenario, since: datetime, entry: OrderRequest) -> bool:
    answer = await scenario.call(scenario.harness.adapter.fills_since(scenario.spec, since))
    own = [one for one in answer if one.client_order_id == entry.client_order_id]
    return filled([one for one in own if one.close_cause is None]) == entry.quantity


def _opening_order(held: BrokerPosition, client_order_id: str) -> tuple[bool, int, str]:
    """Sort key: positions in the order of opening, the position of this entry last."""
    name = held.broker_position_id
    return held.client_order_id == client_order_id, len(name), name
