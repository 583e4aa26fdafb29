"""Stops that a broker takes and lets fall: what it holds is told, never what was sent to it."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerError, OutcomeUnknown, Rejected
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import Trouble
from brokers.conformance.words import filled
from brokers.messages import OrderReport, OrderRequest, ReportKind

NONE = (None, None)


@case(112, "a dropped stop", Ability.MARKET, Ability.STOPS, Trouble.DROPS_LEVELS)
async def dropped(scene: Scene) -> None:
    """Where the broker takes an order and drops its stop and target, nobody says that it holds
    them: reply, events, look-up and position say that there is none, or nothing of it."""
    await scene.stage.begin(Trouble.DROPS_LEVELS)
    entry = await _protected_order(scene)
    told = await scene.sent(entry)
    told = list(await scene.told(entry, lambda known: filled(known) >= entry.quantity, told))
    await _shows_none(scene)
    await _never_held(scene, entry, told)


@case(113, "a dropped stop and no answer", Ability.MARKET, Ability.STOPS, Ability.LOOKUP,
      Trouble.DROPS_LEVELS, Trouble.MUTE)  # fmt: skip
async def dropped_unanswered(scene: Scene) -> None:
    """The same where the answer is lost: the look-up that finds the order knows of no stop."""
    await scene.stage.begin(Trouble.DROPS_LEVELS)
    await scene.stage.begin(Trouble.MUTE)
    entry = await _protected_order(scene)
    try:
        told = await scene.submit(entry)
    except OutcomeUnknown:
        told = []
    await scene.stage.end()
    told = list(await scene.told(entry, lambda known: filled(known) >= entry.quantity, told))
    await _shows_none(scene)
    await _never_held(scene, entry, told)


@case(114, "a moved stop is dropped", Ability.MARKET, Ability.STOPS, Ability.MODIFY,
      Trouble.DROPS_LEVELS)  # fmt: skip
async def dropped_when_moved(scene: Scene) -> None:
    """Where the broker takes a moved stop and drops it, it is never told as moved; what it holds
    then is told."""
    stop, target = await scene.away(-1), await scene.away(1)
    entry = await scene.bought(stop_loss=stop, take_profit=target)

    async def held() -> bool:
        found = (await scene.position()).levels
        return found is not None and (found.stop_loss, found.take_profit) == (stop, target)

    await scene.until(held, "the position does not show both levels")
    await scene.stage.begin(Trouble.DROPS_LEVELS)
    moved, higher = await scene.away(-1, Decimal("0.75")), await scene.away(1, Decimal("0.75"))
    try:
        told = await scene.modify(entry, moved, higher)
    except (OutcomeUnknown, Rejected):
        told = []
    for price in (moved, higher):
        _not_held(told, price)
    await _shows_none(scene)


@case(115, "a stop that is told with its position", Ability.MARKET, Ability.STOPS, Ability.LOOKUP)
async def confirmed(scene: Scene) -> None:
    """A stop and target that the broker holds are confirmed by reply, event, look-up or position:
    one of them says both."""
    stop, target = await scene.away(-1), await scene.away(1)
    entry = await scene.bought(stop_loss=stop, take_profit=target)

    async def said() -> bool:
        found = [one for one in await scene.positions() if one.levels is not None]
        pairs = [one.levels for one in found]
        reports = [*await scene.hear(), *(await scene.found(entry.client_order_id))]
        pairs += [report.levels for report in reports if report.levels is not None]
        return any(one and (one.stop_loss, one.take_profit) == (stop, target) for one in pairs)

    await scene.until(said, "nobody says that the broker holds them")


@case(120, "a stop dropped later is seen", Ability.MARKET, Ability.STOPS, Trouble.DROPS_LATER)
async def dropped_later(scene: Scene) -> None:
    """Where a confirmed stop and target fall away later, a LEVELS event tells it within seconds; of
    a broker without events, which is polled, the positions say it."""
    stop, target = await scene.away(-1), await scene.away(1)
    entry = await scene.bought(stop_loss=stop, take_profit=target)

    async def held() -> bool:
        found = (await scene.position()).levels
        return found is not None and (found.stop_loss, found.take_profit) == (stop, target)

    await scene.until(held, "the position does not show both levels")
    heard = len(await scene.hear())
    await scene.stage.begin(Trouble.DROPS_LATER)

    async def told() -> bool:
        news = (await scene.hear())[heard:]
        pairs = [
            one.levels and (one.levels.stop_loss, one.levels.take_profit)
            for one in news  # what comes with an execution may be older than the books
            if one.kind is ReportKind.LEVELS and one.client_order_id == entry.client_order_id
        ]
        return pairs[-1:] == [NONE]

    if scene.can.event_stream:
        await scene.until(told, "no event tells that there are none now", scene.stage.drop_seen)
    await _shows_none(scene)


async def _protected_order(scene: Scene) -> OrderRequest:
    return scene.order(stop_loss=await scene.away(-1), take_profit=await scene.away(1))


async def _shows_none(scene: Scene) -> None:
    """Wait until the position is shown, and says that it has no levels."""

    async def none() -> bool:
        found = await scene.positions()
        pairs = [one.levels and (one.levels.stop_loss, one.levels.take_profit) for one in found]
        return pairs == [NONE]

    await scene.until(none, "the position does not say that it has no levels")


async def _never_held(scene: Scene, entry: OrderRequest, told: Sequence[OrderReport]) -> None:
    """Raises Failed where anything says that the broker holds what it has dropped."""
    name = entry.client_order_id
    heard = [report for report in await scene.hear() if report.client_order_id == name]
    known = [*told, *heard]
    try:
        known += await scene.find(name) or []
    except BrokerError:
        pass  # it says nothing
    for price in (entry.stop_loss, entry.take_profit):
        _not_held(known, price)


def _not_held(told: Sequence[OrderReport], price: Decimal | None) -> None:
    for report in told:
        if report.levels is None:
            if report.kind is ReportKind.LEVELS:
                raise Failed("a LEVELS report does not say which levels the broker holds")
            continue
        pair = report.levels.stop_loss, report.levels.take_profit
        expect(price not in pair, f"a {report.kind} report says that the broker holds {price}")
