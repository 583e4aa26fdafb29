"""C84–C88: events that the broker pushes."""

import asyncio
from collections.abc import AsyncIterator

from brokers.base import ReadFailed
from brokers.types import OrderReport, OrderRequest
from conformance.assertions import filled
from conformance.harness import HarnessFeature, NotApplicable
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario


@check(84, "events", Capability.LIMIT, Capability.GTC, Capability.EVENTS, HarnessFeature.PRICES)
async def pushed_fill(scenario: Scenario) -> None:
    """An event reports the fill of a working order, without a query."""
    entry = await _reached(scenario)

    async def received() -> bool:
        own = [
            one
            for one in await scenario.receive_events()
            if one.client_order_id == entry.client_order_id
        ]
        return filled(own) == entry.quantity

    await scenario.until(received, "no event reports the fill")


@check(
    85,
    "events until acknowledged",
    Capability.LIMIT,
    Capability.GTC,
    Capability.EVENTS,
    HarnessFeature.PRICES,
)
async def until_acknowledged(scenario: Scenario) -> None:
    """An event is delivered again until it is acknowledged, and then no more."""
    await _reached(scenario)
    first = await _waiting(scenario)
    second = await _events(scenario)
    names = {one.event_id for one in first}
    expect(names and "" not in names, "an event has no id")
    expect(names <= {one.event_id for one in second}, "an event is gone without an acknowledgement")
    await scenario.harness.adapter.acknowledge(sorted(names))
    left = {one.event_id for one in await _events(scenario)}
    expect(not names & left, "an acknowledged event is delivered again")


@check(
    86,
    "events behind one that waits",
    Capability.LIMIT,
    Capability.GTC,
    Capability.EVENTS,
    HarnessFeature.PRICES,
)
async def read_after(scenario: Scenario) -> None:
    """Reading continues behind an event that must wait: no event is repeated or left out."""
    entries = [await scenario.place_working(), await scenario.place_working()]
    await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
    for entry in entries:
        await _is_reported(scenario, entry)
    every = [one.event_id for one in await _events(scenario)]
    expect(len(every) >= 2, f"{len(every)} events for two orders")
    rest = await scenario.harness.adapter.events(500, after=every[0])
    answer = [one.event_id for one in rest if one.connection_id == scenario.spec.connection_id]
    expect(answer == every[1:], "reading on returns other events than those behind it")
    [one] = await scenario.harness.adapter.events(1)
    expect(one.event_id, "the event of a read limited to one has no id")


@check(
    87, "notifications", Capability.LIMIT, Capability.GTC, Capability.EVENTS, HarnessFeature.PRICES
)
async def notification(scenario: Scenario) -> None:
    """A notification comes when a new event waits, so that no polling is needed."""
    entry = await scenario.place_working()
    await scenario.receive_events()
    notifications = scenario.harness.adapter.stream_events()
    listening = asyncio.ensure_future(_notified(scenario, notifications, entry))
    try:
        await asyncio.wait({listening}, timeout=0.1)  # lets it start to listen
        await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
        async with asyncio.timeout(scenario.harness.read_seconds):
            await listening
    except TimeoutError as error:
        raise CheckFailed("no notification comes for a fill") from error
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@check(88, "notifications, not claimed")
async def no_notifications(scenario: Scenario) -> None:
    """An account that claims no events delivers none, and sends no notifications."""
    if scenario.can.event_stream:
        raise NotApplicable("the account claims events: C84 to C87 test them")
    expect(await scenario.harness.adapter.events(10) == [], "an event is delivered")
    await scenario.harness.adapter.acknowledge([])
    try:
        async with asyncio.timeout(0.2):
            await anext(aiter(scenario.harness.adapter.stream_events()))
    except (ReadFailed, StopAsyncIteration, TimeoutError):
        return
    raise CheckFailed("a notification came")


async def _reached(scenario: Scenario) -> OrderRequest:
    """Place a working order and move the price to it; nothing is read meanwhile."""
    entry = await scenario.place_working()
    await scenario.harness.move(1 - scenario.harness.far_fraction * 2)
    return entry


async def _events(scenario: Scenario) -> list[OrderReport]:
    answer = await scenario.harness.adapter.events(500)
    return [one for one in answer if one.connection_id == scenario.spec.connection_id]


async def _waiting(scenario: Scenario) -> list[OrderReport]:
    """Wait for events and return them, not acknowledged."""
    answer: list[OrderReport] = []

    async def any_there() -> bool:
        answer[:] = await _events(scenario)
        return bool(answer)

    await scenario.until(any_there, "no event arrives")
    return answer


async def _is_reported(scenario: Scenario, entry: OrderRequest) -> None:
    async def reported() -> bool:
        own = [o for o in await _events(scenario) if o.client_order_id == entry.client_order_id]
        return filled(own) == entry.quantity

    await scenario.until(reported, "no event reports the fill")


async def _notified(
    scenario: Scenario, notifications: AsyncIterator[None], entry: OrderRequest
) -> None:
    """Wait until a notification comes for the fill of this order."""
    async for _ in notifications:
        own = [
            o for o in await scenario.receive_events() if o.client_order_id == entry.client_order_id
        ]
        if filled(own) == entry.quantity:
            return
    raise CheckFailed("the stream of notifications ended")
