"""C53–C62: exits, sent by us and by the broker."""

from collections.abc import Sequence
from datetime import timedelta

from brokers.base import BrokerError, NotSent, Rejected
from brokers.types import CloseCause, OrderReport, OrderRequest, OrderType, ReportKind
from common.clocks import market_now
from conformance.assertions import filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, check, expect
from conformance.scenario import Scenario


@check(53, "close", Capability.MARKET)
async def close(scenario: Scenario) -> None:
    """An order like our exits closes a position: no position and no working order is left."""
    entry = await scenario.buy()
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)
    working = await scenario.call(scenario.harness.adapter.open_orders(scenario.spec))
    expect(not [one for one in working if one.symbol == entry.symbol], "an order is still open")


@check(54, "close a part", Capability.MARKET, Capability.PARTS)
async def close_part(scenario: Scenario) -> None:
    """A part is closed; the remainder stays open as a position that can be closed too."""
    entry = await scenario.buy()
    part = scenario.on_step(entry.quantity / 2)
    await scenario.close(entry, quantity=part)
    await scenario.wait_until_held(entry.quantity - part)
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)


@check(55, "close twice", Capability.MARKET, Capability.NO_REVERSE)
async def close_twice(scenario: Scenario) -> None:
    """A second exit of a closed position is refused or fills nothing: it never reverses the
    position."""
    entry = await scenario.buy()
    held = await scenario.position()
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)
    await _fills_nothing(scenario, scenario.exit(entry, held))


@check(56, "close more than is open", Capability.MARKET, Capability.NO_REVERSE)
async def close_more(scenario: Scenario) -> None:
    """An exit of more than is open closes at most what is open: it never reverses the position. If
    it closes less than it asked for, it is reported as ended."""
    entry = await scenario.buy()
    held = await scenario.position()
    request = scenario.exit(entry, held, quantity=held.quantity * 2)
    try:
        answer = await scenario.submit(request)
    except (Rejected, NotSent):
        await scenario.wait_until_held(entry.quantity)
        return
    await scenario.reports_of(
        request, lambda reports: filled(reports) == held.quantity and _has_ended(reports), answer
    )
    await scenario.wait_until_held(entry.quantity * 0)


def _has_ended(reports: Sequence[OrderReport]) -> bool:
    ends = (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
    return any(report.kind in ends for report in reports)


@check(57, "close with nothing open", Capability.MARKET, Capability.NO_REVERSE)
async def close_nothing(scenario: Scenario) -> None:
    """A reduce-only order opens nothing if no position is open."""
    entry = scenario.order()
    request = scenario.order(
        side=entry.side.opposite, reduce_only=True, broker_position_id="999999999",
        closes=entry.client_order_id,
    )  # fmt: skip
    await _fills_nothing(scenario, request)


@check(58, "close what is protected", Capability.MARKET, Capability.STOPS)
async def close_protected(scenario: Scenario) -> None:
    """Closing a protected position removes its stop and target: no order is left to fill."""
    entry = await scenario.buy(
        stop_loss=await scenario.away(-1), take_profit=await scenario.away(1)
    )
    await scenario.close(entry)
    await scenario.wait_until_held(entry.quantity * 0)

    async def clean() -> bool:
        working = await scenario.call(scenario.harness.adapter.open_orders(scenario.spec))
        return not [one for one in working if one.symbol == entry.symbol]

    await scenario.until(clean, "an order is still open")
    if HarnessFeature.PRICES not in scenario.harness.unavailable:
        await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
        await scenario.harness.move(1 + scenario.harness.far_fraction * 2)
        await scenario.wait_until_held(entry.quantity * 0)


@check(
    59, "stop loss", Capability.MARKET, Capability.STOPS, Capability.FILLS, HarnessFeature.PRICES
)
async def stop_loss(scenario: Scenario) -> None:
    """The broker's stop is reported with the entry's id, STOP_LOSS, the position and its fills."""
    levels = {"stop_loss": await scenario.away(-1), "take_profit": await scenario.away(1)}
    entry = await scenario.buy(**levels)
    await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
    await _reported_exit(scenario, entry, CloseCause.STOP_LOSS)


@check(
    60, "take profit", Capability.MARKET, Capability.STOPS, Capability.FILLS, HarnessFeature.PRICES
)
async def take_profit(scenario: Scenario) -> None:
    """The broker's target is reported with the entry's id, TAKE_PROFIT, the position and its
    fills."""
    levels = {"stop_loss": await scenario.away(-1), "take_profit": await scenario.away(1)}
    entry = await scenario.buy(**levels)
    await scenario.harness.move(1 + scenario.harness.far_fraction * 2)
    await _reported_exit(scenario, entry, CloseCause.TAKE_PROFIT)


@check(61, "the owner closes", Capability.MARKET, Capability.FILLS, HarnessFeature.OWNER)
async def owner_closes(scenario: Scenario) -> None:
    """A position that its owner closes at the broker is reported as EXTERNAL."""
    entry = await scenario.buy()
    await scenario.harness.owner_closes((await scenario.position()).broker_position_id)
    await _reported_exit(scenario, entry, CloseCause.EXTERNAL)


@check(62, "close without an answer", Capability.MARKET, Capability.LOOKUP, InjectedFault.NO_ANSWER)
async def close_without_answer(scenario: Scenario) -> None:
    """An exit whose reply is lost is unknown; the look-up finds it, and it closed once."""
    entry = await scenario.buy()
    request = scenario.exit(entry, await scenario.position())
    await scenario.harness.begin(InjectedFault.NO_ANSWER)
    try:
        await scenario.submit(request)
    except BrokerError as error:
        is_unknown = not isinstance(error, NotSent | Rejected)
        expect(is_unknown, f"it raises {type(error).__name__} {error}")
    await scenario.harness.end()
    found = await scenario.reports_of(request, lambda reports: filled(reports) >= request.quantity)
    expect(filled(found) == request.quantity, f"{filled(found)} is reported")
    await scenario.wait_until_held(entry.quantity * 0)


async def _fills_nothing(scenario: Scenario, request: OrderRequest) -> None:
    try:
        answer = await scenario.submit(request)
    except (Rejected, NotSent):
        answer = []
    expect(filled(answer) == 0, f"{filled(answer)} was filled")
    await scenario.wait_until_held(request.quantity * 0)
    if request.order_type is OrderType.MARKET:
        expect(not await scenario.is_open(request), "it is open")


async def _reported_exit(scenario: Scenario, entry: OrderRequest, cause: CloseCause) -> None:
    """Wait until events and the executions read report an exit that we did not send."""
    began = market_now() - timedelta(minutes=2)  # before the exit, also after midnight
    await scenario.wait_until_held(entry.quantity * 0)

    async def read() -> list[OrderReport]:
        answer = await scenario.call(scenario.harness.adapter.fills_since(scenario.spec, began))
        return _exits(answer, entry)

    async def is_read() -> bool:
        return closed_quantity(await read()) == entry.quantity

    await scenario.until(is_read, "the executions read do not have the exit")
    _has_right_cause(await read(), cause)
    # On a netting account a broker cannot always name the entry that a foreign order closed. Such
    # an exit is only read, since an event without an entry cannot be assigned to a position.
    if scenario.can.event_stream and any(one.client_order_id for one in await read()):

        async def is_reported() -> bool:
            return closed_quantity(_exits(await scenario.receive_events(), entry)) == entry.quantity

        await scenario.until(is_reported, "no event reports the exit")
        _has_right_cause(_exits(scenario.received, entry), cause)


def _exits(reports: Sequence[OrderReport], entry: OrderRequest) -> list[OrderReport]:
    return [
        report
        for report in reports
        if report.close_cause is not None
        and report.kind is ReportKind.FILLED
        and report.client_order_id in ("", entry.client_order_id)
    ]


def closed_quantity(exits: Sequence[OrderReport]) -> object:
    """Return the closed quantity; a repeated execution counts once."""
    return sum({f.broker_fill_id: f.quantity for one in exits for f in one.fills}.values())


def _has_right_cause(exits: Sequence[OrderReport], cause: CloseCause) -> None:
    for one in exits:
        expect(one.close_cause is cause, f"it is reported as {one.close_cause}, not {cause}")
        exit_id = one.client_order_id or one.broker_position_id
        expect(exit_id, "it names neither the entry nor the position")
