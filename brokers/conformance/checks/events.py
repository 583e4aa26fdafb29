"""C84–C88: what the broker tells by itself."""

import asyncio
from collections.abc import AsyncIterator

from brokers.base import ReadFailed
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import NotApplicable, Offer
from brokers.conformance.words import filled
from brokers.messages import OrderReport, OrderRequest


@case(84, "events", Ability.LIMIT, Ability.GTC, Ability.EVENTS, Offer.PRICES)
async def told_by_event(scene: Scene) -> None:
    """The fill of an order that rested is told by an event, without being asked for."""
    entry = await _reached(scene)

    async def heard() -> bool:
        own = [one for one in await scene.hear() if one.client_order_id == entry.client_order_id]
        return filled(own) == entry.quantity

    await scene.until(heard, "no event tells the fill")


@case(85, "events until acknowledged", Ability.LIMIT, Ability.GTC, Ability.EVENTS, Offer.PRICES)
async def until_acknowledged(scene: Scene) -> None:
    """An event is told again until it is acknowledged, and then no more."""
    await _reached(scene)
    first = await _waiting(scene)
    again = await _events(scene)
    names = {one.event_id for one in first}
    expect(names and "" not in names, "an event has no id")
    expect(names <= {one.event_id for one in again}, "an event is gone that nobody acknowledged")
    await scene.stage.adapter.acknowledge(sorted(names))
    left = {one.event_id for one in await _events(scene)}
    expect(not names & left, "an acknowledged event is told again")


@case(86, "events behind one that waits", Ability.LIMIT, Ability.GTC, Ability.EVENTS, Offer.PRICES)
async def behind(scene: Scene) -> None:
    """Events are read on behind one that must wait: none twice, none left out."""
    entries = [await scene.rests(), await scene.rests()]
    await scene.stage.move(1 - scene.stage.far * 2)
    for entry in entries:
        await _is_told(scene, entry)
    every = [one.event_id for one in await _events(scene)]
    expect(len(every) >= 2, f"{len(every)} events for two orders")
    rest = await scene.stage.adapter.events(500, after=every[0])
    told = [one.event_id for one in rest if one.connection_id == scene.spec.connection_id]
    expect(told == every[1:], "reading on tells others than those behind it")
    [one] = await scene.stage.adapter.events(1)
    expect(one.event_id, "the one event of a small read has no id")


@case(87, "the bell", Ability.LIMIT, Ability.GTC, Ability.EVENTS, Offer.PRICES)
async def bell(scene: Scene) -> None:
    """The bell rings when something new waits, so that nobody has to poll for it."""
    entry = await scene.rests()
    await scene.hear()
    bell = scene.stage.adapter.stream_events()
    ringing = asyncio.ensure_future(_rung(scene, bell, entry))
    try:
        await asyncio.wait({ringing}, timeout=0.1)  # it begins to listen
        await scene.stage.move(1 - scene.stage.far * 2)
        async with asyncio.timeout(scene.stage.patience):
            await ringing
    except TimeoutError as error:
        raise Failed("the bell does not ring for a fill") from error
    finally:
        ringing.cancel()
        await asyncio.gather(ringing, return_exceptions=True)


@case(88, "the bell, not claimed")
async def no_bell(scene: Scene) -> None:
    """An account without events tells none, and its bell does not pretend to ring."""
    if scene.can.event_stream:
        raise NotApplicable("the account claims events: C84 to C87 are about them")
    expect(await scene.stage.adapter.events(10) == [], "an event is told")
    await scene.stage.adapter.acknowledge([])
    try:
        async with asyncio.timeout(0.2):
            await anext(aiter(scene.stage.adapter.stream_events()))
    except (ReadFailed, StopAsyncIteration, TimeoutError):
        return
    raise Failed("its bell rings")


async def _reached(scene: Scene) -> OrderRequest:
    """A resting order that the price has reached; nothing is read meanwhile."""
    entry = await scene.rests()
    await scene.stage.move(1 - scene.stage.far * 2)
    return entry


async def _events(scene: Scene) -> list[OrderReport]:
    told = await scene.stage.adapter.events(500)
    return [one for one in told if one.connection_id == scene.spec.connection_id]


async def _waiting(scene: Scene) -> list[OrderReport]:
    """The events, as soon as there are any; read once and not acknowledged."""
    told: list[OrderReport] = []

    async def any_there() -> bool:
        told[:] = await _events(scene)
        return bool(told)

    await scene.until(any_there, "no event comes")
    return told


async def _is_told(scene: Scene, entry: OrderRequest) -> None:
    async def told() -> bool:
        own = [o for o in await _events(scene) if o.client_order_id == entry.client_order_id]
        return filled(own) == entry.quantity

    await scene.until(told, "no event tells the fill")


async def _rung(scene: Scene, bell: AsyncIterator[None], entry: OrderRequest) -> None:
    """Listen until the bell rings for a fill of this order."""
    async for _ in bell:
        own = [o for o in await scene.hear() if o.client_order_id == entry.client_order_id]
        if filled(own) == entry.quantity:
            return
    raise Failed("the bell ended")
