"""C39–C52: partial fills, cancels and changed levels."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerError, NotSent, Rejected
from brokers.types import (
    BrokerPosition,
    CancelRequest,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    ReportKind,
)
from common.clocks import machine_time
from common.reason_codes import Code
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario, new_id


@check(39, "filled in pieces", Capability.MARKET, InjectedFault.THREE_FILLS)
async def pieces(scenario: Scenario) -> None:
    """An order filled in three executions has three execution ids; their sum is its quantity."""
    await scenario.harness.begin(InjectedFault.THREE_FILLS)
    entry = await scenario.buy()
    found = await scenario.reports_of(entry, lambda reports: len(_ids(reports)) >= 3)
    expect(len(_ids(found)) == 3, f"{len(_ids(found))} executions are reported")
    expect(filled(found) == entry.quantity, f"their sum is {filled(found)}")


@check(40, "filled in part", Capability.LIMIT, Capability.GTC, InjectedFault.PARTIAL)
async def partial(scenario: Scenario) -> None:
    """Of a partially filled order only the executed part is reported."""
    await scenario.harness.begin(InjectedFault.PARTIAL)
    entry = await scenario.working_order(limit_price=await scenario.away(1, Decimal("0.25")))
    answer = await scenario.reports_of(
        entry, lambda reports: filled(reports) > 0, await scenario.submit(entry)
    )
    expect(filled(answer) < entry.quantity, f"{filled(answer)} is reported")
    await scenario.wait_until_held(filled(answer))


@check(41, "cancel", Capability.LIMIT, Capability.GTC)
async def cancel(scenario: Scenario) -> None:
    """A working order is cancelled: it is reported, no longer open, and found as cancelled."""
    entry = await scenario.place_working()
    answer = await scenario.cancel(entry)
    await scenario.reports_of(entry, _is_cancelled, answer)

    async def gone() -> bool:
        return not await scenario.is_open(entry)

    await scenario.until(gone, "it is still open")
    expect(
        _is_cancelled(await scenario.found(entry.client_order_id)),
        "the look-up does not find it as cancelled",
    )


@check(42, "cancel after a fill", Capability.LIMIT, Capability.GTC, InjectedFault.OVERTAKEN)
async def overtaken(scenario: Scenario) -> None:
    """A cancel that comes after a fill never reports a cancellation: the fill is reported."""
    entry = await scenario.place_working()
    await scenario.harness.begin(InjectedFault.OVERTAKEN)
    answer: list[OrderReport] = []
    try:
        answer = await scenario.cancel(entry)
    except BrokerError as error:
        expect(not isinstance(error, NotSent), f"it states that nothing was sent: {error}")
    await scenario.harness.end()
    known = await scenario.reports_of(
        entry, lambda reports: filled(reports) >= entry.quantity, answer
    )
    expect(not _is_cancelled(known), f"it reports {describe_kinds(known)}")
    await scenario.wait_until_held(entry.quantity)


@check(43, "cancel of a part", Capability.LIMIT, Capability.GTC, InjectedFault.PARTIAL)
async def cancel_rest(scenario: Scenario) -> None:
    """Cancelling a half-filled order keeps the filled half and ends the remainder."""
    await scenario.harness.begin(InjectedFault.PARTIAL)
    entry = await scenario.working_order(limit_price=await scenario.away(1, Decimal("0.25")))
    before = await scenario.reports_of(
        entry, lambda reports: filled(reports) > 0, await scenario.submit(entry)
    )
    part = filled(before)
    answer = await scenario.cancel(entry)
    if any(one.code is Code.REMAINDER_NOT_CANCELLABLE for one in answer):
        expect(
            not _is_cancelled(answer),
            f"it is not cancellable, but {describe_kinds(answer)} is reported",
        )
        expect(await scenario.is_open(entry), "it is not cancellable, but no longer open")
        await scenario.wait_until_held(part)
        raise NotApplicable("the remainder is reported as REMAINDER_NOT_CANCELLABLE and stays open")
    known = await scenario.reports_of(entry, _is_cancelled, answer)
    expect(filled([*before, *known]) == part, f"{filled(known)} is reported, not {part}")
    await scenario.wait_until_held(part)


@check(44, "cancel of an unknown order")
async def cancel_unknown(scenario: Scenario) -> None:
    """A cancel of an order that the broker does not have is never reported as done."""
    change = CancelRequest(new_id(), "", scenario.harness.symbol)
    try:
        answer = await scenario.call(scenario.harness.adapter.cancel(scenario.spec, change))
    except BrokerError:
        return
    expect(not _is_cancelled(answer), f"it reports {describe_kinds(answer)}")
    expect(answer, "it returns no report")


@check(45, "cancel past its time", Capability.LIMIT, Capability.GTC)
async def cancel_late(scenario: Scenario) -> None:
    """A cancel past its deadline is not sent: it raises NotSent, and the order stays open."""
    entry = await scenario.place_working()
    try:
        answer = await scenario.cancel(entry, send_by=machine_time() - 1)
    except NotSent as error:
        expect(error.code is Code.SEND_DEADLINE, f"its code is {error.code}")
    else:
        raise CheckFailed(f"it was sent: {describe_kinds(answer)}")
    expect(await scenario.is_open(entry), "the order is no longer open")


@check(46, "levels are moved", Capability.MARKET, Capability.MODIFY)
async def modify(scenario: Scenario) -> None:
    """Changed levels are reported by LEVELS and shown by the position; no second order exists."""
    entry = await _protected(scenario)
    stop, target = await scenario.away(-1, Decimal("0.75")), await scenario.away(1, Decimal("0.75"))
    answer = await scenario.modify(entry, stop, target)
    await _shows(scenario, stop, target)
    levels = [one for one in answer if one.kind is ReportKind.LEVELS]
    expect(levels, f"it reports {describe_kinds(answer)}")
    last = levels[-1].stop_loss, levels[-1].take_profit
    expect(last == (stop, target), f"it reports {last[0]} and {last[1]}")
    working = await scenario.call(scenario.harness.adapter.open_orders(scenario.spec))
    mine = [one for one in working if one.symbol == scenario.harness.symbol]
    expect(not mine, f"{len(mine)} open orders besides the position")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.expect_accepted(entry, 1)


@check(
    47,
    "moved stop is the one that holds",
    Capability.MARKET,
    Capability.MODIFY,
    HarnessFeature.PRICES,
)
async def moved_holds(scenario: Scenario) -> None:
    """After a stop was moved, the old stop is never executed."""
    entry = await _protected(scenario)
    stop = await scenario.away(-1, Decimal(3))
    await scenario.modify(entry, stop, None)
    await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
    await _shows(scenario, stop, None)
    await scenario.wait_until_held(entry.quantity)


@check(48, "levels are taken away", Capability.MARKET, Capability.MODIFY)
async def take_away(scenario: Scenario) -> None:
    """Both levels are removed: it is reported by LEVELS and shown by the position."""
    entry = await _protected(scenario)
    answer = await scenario.modify(entry, None, None)
    expect(
        any(one.kind is ReportKind.LEVELS for one in answer), f"it reports {describe_kinds(answer)}"
    )
    await _shows(scenario, None, None)


@check(49, "levels past their time", Capability.MARKET, Capability.MODIFY)
async def modify_late(scenario: Scenario) -> None:
    """A change of levels past its deadline is not sent: NotSent, and the old levels stay."""
    entry = await _protected(scenario)
    held = await scenario.position()
    try:
        answer = await scenario.modify(entry, None, None, send_by=machine_time() - 1)
    except NotSent as error:
        expect(error.code is Code.SEND_DEADLINE, f"its code is {error.code}")
    else:
        raise CheckFailed(f"it was sent: {describe_kinds(answer)}")
    await _shows(scenario, held.stop_loss, held.take_profit)


@check(50, "levels on the wrong side", Capability.MARKET, Capability.MODIFY)
async def modify_wrong(scenario: Scenario) -> None:
    """A stop on the wrong side of the price is refused, and the old one stays."""
    entry = await _protected(scenario)
    held = await scenario.position()
    try:
        answer = await scenario.modify(entry, await scenario.away(1, Decimal("0.5")), None)
    except Rejected as error:
        expect(error.code is Code.STOPS_INVALID, f"its code is {error.code}")
    else:
        good = [one for one in answer if one.code is Code.STOPS_INVALID]
        expect(good, f"it reports {describe_kinds(answer)}")
    await _shows(scenario, held.stop_loss, held.take_profit)


@check(51, "levels of no position", Capability.MODIFY)
async def modify_unknown(scenario: Scenario) -> None:
    """Levels of a position that does not exist are never reported as set."""
    stop = await scenario.away(-1)
    change = ModifyRequest(
        new_id(), "999999999", scenario.harness.symbol, stop, None, scenario.quantity
    )
    try:
        answer = await scenario.call(scenario.harness.adapter.modify(scenario.spec, change))
    except (Rejected, NotSent):
        return
    reported = [
        one for one in answer if one.kind is ReportKind.LEVELS and one.stop_loss is not None
    ]
    expect(not reported, f"it reports {describe_kinds(answer)}")


@check(52, "levels are not kept", Capability.MARKET)
async def no_levels(scenario: Scenario) -> None:
    """An account that does not claim levels refuses them, with an order and later."""
    if scenario.can.native_stops:
        raise NotApplicable("the account claims levels: C12 and C46 to C51 test them")
    stop = await scenario.away(-1)
    try:
        answer = await scenario.submit(scenario.order(stop_loss=stop))
    except (Rejected, NotSent):
        pass
    else:
        raise CheckFailed(f"an order with a stop was accepted: {describe_kinds(answer)}")
    entry = await scenario.buy()
    try:
        answer = await scenario.modify(entry, stop, None)
    except (Rejected, NotSent):
        return
    raise CheckFailed(f"levels were accepted: {describe_kinds(answer)}")


def _ids(reports: Sequence[OrderReport]) -> set[str]:
    return {fill.broker_fill_id for report in reports for fill in report.fills}


def _is_cancelled(reports: Sequence[OrderReport]) -> bool:
    return any(report.kind is ReportKind.CANCELLED for report in reports)


async def _protected(scenario: Scenario) -> OrderRequest:
    """Open a position with both levels; return when it shows them."""
    stop, target = await scenario.away(-1), await scenario.away(1)
    entry = await scenario.buy(stop_loss=stop, take_profit=target)
    await _shows(scenario, stop, target)
    return entry


async def _shows(scenario: Scenario, stop: Decimal | None, target: Decimal | None) -> None:
    """Wait until the position shows these levels."""
    seen: list[BrokerPosition] = []

    async def matches() -> bool:
        seen[:] = await scenario.positions()
        return [(one.stop_loss, one.take_profit) for one in seen] == [(stop, target)]

    def describe() -> str:
        levels = [f"{one.stop_loss} and {one.take_profit}" for one in seen]
        return f"the position shows {levels or 'no levels'}, not {stop} and {target}"

    await scenario.until(matches, describe)
