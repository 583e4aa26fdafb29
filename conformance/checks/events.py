"""C84–C88: what the broker tells by itself."""

import asyncio
from collections.abc import AsyncIterator

from brokers.base import ReadFailed
from brokers.types import OrderReport, OrderRequest
from conformance.assertions import filled
from conformance.harness import HarnessFeature, NotApplicable
from conformance.registry import Ability, CheckFailed, case, expect
from conformance.scenario import Scenario


@case(84, "events", Ability.LIMIT, Ability.GTC, Ability.EVENTS, HarnessFeature.PRICES)
async def pushed_fill(scenario: Scenario) -> None:
    """The fill of an order that rested is told by an event, without being asked for."""
    entry = await _reached(scenario)

    async def received() -> bool:
        own = [
            one
            for one in await scenario.receive_events()
            if one.client_order_id == entry.client_order_id
        ]
        return filled(own) == entry.quantity

    await scenario.until(received, "no event tells the fill")


@case(
    85,
    "events until acknowledged",
    Ability.LIMIT,
    Ability.GTC,
    Ability.EVENTS,
    HarnessFeature.PRICES,
)
async def until_acknowledged(scenario: Scenario) -> None:
    """An event is told again until it is acknowledged, and then no more."""
    await _reached(scenario)
    first = await _waiting(scenario)
    again = await _events(scenario)
    names = {one.event_id for one in first}
    expect(names and "" not in names, "an event has no id")
    expect(names <= {one.event_id for one in again}, "an event is gone that nobody acknowledged")
    await scenario.harness.adapter.acknowledge(sorted(names))
    left = {one.event_id for one in await _events(scenario)}
    expect(not names & left, "an acknowledged event is told again")


@case(
    86,
    "events behind one that waits",
    Ability.LIMIT,
    Ability.GTC,
    Ability.EVENTS,
    HarnessFeature.PRICES,
)
async def read_after(scenario: Scenario) -> None:
    """Events are read on behind one that must wait: none twice, none left out."""
    entries = [await scenario.place_working(), await scenario.place_working()]
    await scenario.harness.move(1 - scenario.harness.far * 2)
    for entry in entries:
        await _is_reported(scenario, entry)
    every = [one.event_id for one in await _events(scenario)]
    expect(len(every) >= 2, f"{len(every)} events for two orders")
    rest = await scenario.harness.adapter.events(500, after=every[0])
    answer = [one.event_id for one in rest if one.connection_id == scenario.spec.connection_id]
    expect(answer == every[1:], "reading on tells others than those behind it")
    [one] = await scenario.harness.adapter.events(1)
    expect(one.event_id, "the one event of a small read has no id")


@case(87, "the bell", Ability.LIMIT, Ability.GTC, Ability.EVENTS, HarnessFeature.PRICES)
async def notification(scenario: Scenario) -> None:
    """The bell rings when something new waits, so that nobody has to poll for it."""
    entry = await scenario.place_working()
    await scenario.receive_events()
    bell = scenario.harness.adapter.stream_events()
    ringing = asyncio.ensure_future(_notified(scenario, bell, entry))
    try:
        await asyncio.wait({ringing}, timeout=0.1)  # it begins to listen
        await scenario.harness.move(1 - scenario.harness.far * 2)
        async with asyncio.timeout(scenario.harness.patience):
            await ringing
    except TimeoutError as error:
        raise CheckFailed("the bell does not ring for a fill") from error
    finally:
        ringing.cancel()
        await asyncio.gather(ringing, return_exceptions=True)


@case(88, "the bell, not claimed")
async def no_notifications(scenario: Scenario) -> None:
    """An account without events tells none, and its bell does not pretend to ring."""
    if scenario.can.event_stream:
        raise NotApplicable("the account claims events: C84 to C87 are about them")
    expect(await scenario.harness.adapter.events(10) == [], "an event is told")
    await scenario.harness.adapter.acknowledge([])
    try:
        async with asyncio.timeout(0.2):
            await anext(aiter(scenario.harness.adapter.stream_events()))
    except (ReadFailed, StopAsyncIteration, TimeoutError):
        return
    raise CheckFailed("its bell rings")


async def _reached(scenario: Scenario) -> OrderRequest:
    """A resting order that the price has reached; nothing is read meanwhile."""
    entry = await scenario.place_working()
    await scenario.harness.move(1 - scenario.harness.far * 2)
    return entry


async def _events(scenario: Scenario) -> list[OrderReport]:
    answer = await scenario.harness.adapter.events(500)
    return [one for one in answer if one.connection_id == scenario.spec.connection_id]


async def _waiting(scenario: Scenario) -> list[OrderReport]:
    """The events, as soon as there are any; read once and not acknowledged."""
    answer: list[OrderReport] = []

    async def any_there() -> bool:
        answer[:] = await _events(scenario)
        return bool(answer)

    await scenario.until(any_there, "no event comes")
    return answer


async def _is_reported(scenario: Scenario, entry: OrderRequest) -> None:
    async def answer() -> bool:
        own = [o for o in await _events(scenario) if o.client_order_id == entry.client_order_id]
        return filled(own) == entry.quantity

    await scenario.until(answer, "no event tells the fill")


async def _notified(scenario: Scenario, bell: AsyncIterator[None], entry: OrderRequest) -> None:
    """Listen until the bell rings for a fill of this order."""
    async for _ in bell:
        own = [
            o for o in await scenario.receive_events() if o.client_order_id == entry.client_order_id
        ]
        if filled(own) == entry.quantity:
            return
    raise CheckFailed("the bell ended")
