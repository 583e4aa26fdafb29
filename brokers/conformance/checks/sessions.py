"""C97–C104: connecting, losing the line, and being let go."""

from dataclasses import replace

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene, new_id
from brokers.conformance.stage import Offer, Trouble
from brokers.conformance.words import filled, kinds


@case(97, "connect")
async def connect(scene: Scene) -> None:
    """Connecting works, and once more, and calls go on."""
    await scene.ask(scene.stage.adapter.connect(scene.spec))
    await scene.ask(scene.stage.adapter.connect(scene.spec))
    await scene.ask(scene.stage.adapter.account(scene.spec))


@case(98, "connect in vain", Offer.HOST)
async def connect_in_vain(scene: Scene) -> None:
    """Connecting to a host where nobody listens, where that needs a session, says so."""
    spec = await scene.stage.mistaken(Offer.HOST)
    try:
        await scene.ask(scene.stage.adapter.connect(spec), spec)
    except ReadFailed:
        pass
    else:
        expect(not scene.can.session, "it says that it is connected")
    await scene.stage.adapter.disconnect(spec)


@case(99, "disconnect", Ability.MARKET)
async def disconnect(scene: Scene) -> None:
    """After a session was ended, and when it is ended twice, the next call works."""
    entry = await scene.bought()
    for spec in (scene.spec, scene.spec, None):
        await scene.stage.adapter.disconnect(spec)
    await scene.holds(entry.quantity)
    await scene.stage.adapter.disconnect(scene.spec)
    await scene.close(entry)


@case(100, "disconnect one", Ability.MARKET, Offer.SECOND)
async def disconnect_one(scene: Scene) -> None:
    """Ending one account's session leaves another's calls as they were."""
    other = await scene.stage.second()
    await scene.ask(scene.stage.adapter.account(other), other)
    await scene.stage.adapter.disconnect(other)
    await scene.bought()
    await scene.ask(scene.stage.adapter.account(other), other)


@case(101, "the broker restarts", Ability.LIMIT, Ability.GTC, Ability.LOOKUP, Offer.RESTART)
async def restart(scene: Scene) -> None:
    """After the broker's process restarted calls work again, and what rested is found."""
    entry = await scene.rests()
    await scene.stage.restart()
    await scene.until(lambda: scene.is_open(entry), "what rested is not seen again")
    await scene.absent(new_id())

    await scene.bought()


@case(102, "filled while we were away", Ability.MARKET, Ability.LOOKUP, Offer.RESTART, Offer.ANEW)
async def away(scene: Scene) -> None:
    """What was filled before the broker and we both began anew is found, with its executions."""
    entry = await scene.bought()
    await scene.stage.restart()
    await scene.stage.anew()
    known = await scene.told(entry, lambda reports: filled(reports) >= entry.quantity)
    expect(filled(known) == entry.quantity, f"{filled(known)} is found")
    await scene.holds(entry.quantity)


@case(103, "the broker is away", Ability.MARKET, Trouble.DOWN)
async def down(scene: Scene) -> None:
    """While the broker is out of reach reads fail and no order is told as taken; then all works."""
    await scene.ask(scene.stage.adapter.account(scene.spec))
    await scene.stage.begin(Trouble.DOWN)
    entry = scene.order()
    try:
        told = await scene.submit(entry)
    except (NotSent, OutcomeUnknown):
        pass  # unknown: it was written before anybody knew that the line is dead
    except BrokerError as error:
        raise Failed(f"an order is told as {type(error).__name__} {error}") from error
    else:
        raise Failed(f"an order was taken: {kinds(told)}")
    for name, read in (("positions", scene.positions), ("the look-up", lambda: scene.find("x"))):
        try:
            found = await read()
        except ReadFailed:
            continue
        raise Failed(f"{name} says {found}")
    await scene.stage.end()

    async def back() -> bool:
        await scene.positions()
        return True

    await scene.until(back, "reads do not come back")
    if Offer.JOURNAL not in scene.stage.lacks:
        await scene.accepted(entry, 0)


@case(104, "what it claims")
async def claims(scene: Scene) -> None:
    """What an account claims fits together, and is the same when it is asked again."""
    can, now = scene.can, scene.stage.adapter.capabilities(scene.spec)
    now = replace(now, lookup_horizon=can.lookup_horizon, fills_horizon=can.fills_horizon)
    expect(can == now, "it claims something else now")  # a horizon may begin at midnight
    expect(can.order_types and can.times_in_force, "no order type or time in force at all")
    expect(can.position_modes, "no position mode at all")
    for horizon in (can.lookup_horizon, can.fills_horizon):
        expect(horizon is None or horizon.total_seconds() >= 0, "it looks into the future")
    expect(scene.stage.adapter.instrument_book(scene.spec), "its list of instruments has no name")
    expect(scene.stage.adapter.kind, "it has no kind")
