"""C39–C52: parts, cancels and moved levels."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerError, NotSent, Rejected
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene, new_id
from brokers.conformance.stage import NotApplicable, Offer, Trouble
from brokers.conformance.words import filled, kinds
from brokers.messages import (
    BrokerPosition,
    CancelRequest,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    ReportKind,
)
from common.clocks import machine_time
from common.codes import Code


@case(39, "filled in pieces", Ability.MARKET, Trouble.PIECES)
async def pieces(scene: Scene) -> None:
    """An order that is filled in three executions has three ids, and their sum is its quantity."""
    await scene.stage.begin(Trouble.PIECES)
    entry = await scene.bought()
    found = await scene.told(entry, lambda reports: len(_ids(reports)) >= 3)
    expect(len(_ids(found)) == 3, f"{len(_ids(found))} executions are told")
    expect(filled(found) == entry.quantity, f"together they are {filled(found)}")


@case(40, "filled in part", Ability.LIMIT, Ability.GTC, Trouble.PARTIAL)
async def partial(scene: Scene) -> None:
    """Of an order that is filled in part the part is told, and the rest is not made up."""
    await scene.stage.begin(Trouble.PARTIAL)
    entry = await scene.resting(limit_price=await scene.away(1, Decimal("0.25")))
    told = await scene.told(entry, lambda reports: filled(reports) > 0, await scene.submit(entry))
    expect(filled(told) < entry.quantity, f"{filled(told)} is told")
    await scene.holds(filled(told))


@case(41, "cancel", Ability.LIMIT, Ability.GTC)
async def cancel(scene: Scene) -> None:
    """A resting order is cancelled: told so, gone from the open orders, found as cancelled."""
    entry = await scene.rests()
    told = await scene.cancel(entry)
    await scene.told(entry, _is_cancelled, told)

    async def gone() -> bool:
        return not await scene.is_open(entry)

    await scene.until(gone, "it still rests")
    expect(_is_cancelled(await scene.found(entry.client_order_id)), "it is not found cancelled")


@case(42, "cancel after a fill", Ability.LIMIT, Ability.GTC, Trouble.OVERTAKEN)
async def overtaken(scene: Scene) -> None:
    """A cancel that a fill overtook never says cancelled: the fill is told, and is held."""
    entry = await scene.rests()
    await scene.stage.begin(Trouble.OVERTAKEN)
    told: list[OrderReport] = []
    try:
        told = await scene.cancel(entry)
    except BrokerError as error:
        expect(not isinstance(error, NotSent), f"it says that nothing was sent: {error}")
    await scene.stage.end()
    known = await scene.told(entry, lambda reports: filled(reports) >= entry.quantity, told)
    expect(not _is_cancelled(known), f"it says {kinds(known)}")
    await scene.holds(entry.quantity)


@case(43, "cancel of a part", Ability.LIMIT, Ability.GTC, Trouble.PARTIAL)
async def cancel_rest(scene: Scene) -> None:
    """Cancelling what is left of a half-filled order keeps the half and ends the rest."""
    await scene.stage.begin(Trouble.PARTIAL)
    entry = await scene.resting(limit_price=await scene.away(1, Decimal("0.25")))
    told = await scene.told(entry, lambda reports: filled(reports) > 0, await scene.submit(entry))
    part = filled(told)
    answer = await scene.cancel(entry)
    if any(one.code is Code.REST_OUT_OF_REACH for one in answer):
        expect(not _is_cancelled(answer), f"it is out of reach, and it says {kinds(answer)}")
        expect(await scene.is_open(entry), "it is out of reach, and it is gone")
        await scene.holds(part)
        raise NotApplicable("it is told as out of reach, REST_OUT_OF_REACH, and waits on")
    known = await scene.told(entry, _is_cancelled, answer)
    expect(filled([*told, *known]) == part, f"{filled(known)} is told, not {part}")
    await scene.holds(part)


@case(44, "cancel of an unknown order")
async def cancel_unknown(scene: Scene) -> None:
    """A cancel of what the broker does not have is never told as done."""
    wish = CancelRequest(new_id(), "", scene.stage.symbol)
    try:
        told = await scene.ask(scene.stage.adapter.cancel(scene.spec, wish))
    except BrokerError:
        return
    expect(not _is_cancelled(told), f"it says {kinds(told)}")
    expect(told, "it says nothing at all")


@case(45, "cancel past its time", Ability.LIMIT, Ability.GTC)
async def cancel_late(scene: Scene) -> None:
    """A cancel past its deadline does not leave: NotSent, and the order still rests."""
    entry = await scene.rests()
    try:
        told = await scene.cancel(entry, send_by=machine_time() - 1)
    except NotSent as error:
        expect(error.code is Code.SEND_DEADLINE, f"it says {error.code}")
    else:
        raise Failed(f"it was sent: {kinds(told)}")
    expect(await scene.is_open(entry), "the order is gone")


@case(46, "levels are moved", Ability.MARKET, Ability.MODIFY)
async def modify(scene: Scene) -> None:
    """Moved levels are told by LEVELS and shown by the position; no second order or stop exists."""
    entry = await _protected(scene)
    stop, target = await scene.away(-1, Decimal("0.75")), await scene.away(1, Decimal("0.75"))
    told = await scene.modify(entry, stop, target)
    await _shows(scene, stop, target)
    levels = [one for one in told if one.kind is ReportKind.LEVELS]
    expect(levels, f"it says {kinds(told)}")
    last = levels[-1].stop_loss, levels[-1].take_profit
    expect(last == (stop, target), f"it says {last[0]} and {last[1]}")
    resting = await scene.ask(scene.stage.adapter.open_orders(scene.spec))
    mine = [one for one in resting if one.symbol == scene.stage.symbol]
    expect(not mine, f"{len(mine)} orders rest beside the position")
    if Offer.JOURNAL not in scene.stage.lacks:
        await scene.accepted(entry, 1)


@case(47, "moved stop is the one that holds", Ability.MARKET, Ability.MODIFY, Offer.PRICES)
async def moved_holds(scene: Scene) -> None:
    """After a stop was moved away the old one is never executed."""
    entry = await _protected(scene)
    stop = await scene.away(-1, Decimal(3))
    await scene.modify(entry, stop, None)
    await scene.stage.move(1 - scene.stage.far * 2)
    await _shows(scene, stop, None)
    await scene.holds(entry.quantity)


@case(48, "levels are taken away", Ability.MARKET, Ability.MODIFY)
async def take_away(scene: Scene) -> None:
    """Both levels are taken away, told by LEVELS and shown by the position."""
    entry = await _protected(scene)
    told = await scene.modify(entry, None, None)
    expect(any(one.kind is ReportKind.LEVELS for one in told), f"it says {kinds(told)}")
    await _shows(scene, None, None)


@case(49, "levels past their time", Ability.MARKET, Ability.MODIFY)
async def modify_late(scene: Scene) -> None:
    """Levels past their deadline do not leave: NotSent, and the old ones stay."""
    entry = await _protected(scene)
    held = await scene.position()
    try:
        told = await scene.modify(entry, None, None, send_by=machine_time() - 1)
    except NotSent as error:
        expect(error.code is Code.SEND_DEADLINE, f"it says {error.code}")
    else:
        raise Failed(f"it was sent: {kinds(told)}")
    await _shows(scene, held.stop_loss, held.take_profit)


@case(50, "levels on the wrong side", Ability.MARKET, Ability.MODIFY)
async def modify_wrong(scene: Scene) -> None:
    """A stop on the wrong side of the price is refused, and the old one stays."""
    entry = await _protected(scene)
    held = await scene.position()
    try:
        told = await scene.modify(entry, await scene.away(1, Decimal("0.5")), None)
    except Rejected as error:
        expect(error.code is Code.STOPS_INVALID, f"it says {error.code}")
    else:
        good = [one for one in told if one.code is Code.STOPS_INVALID]
        expect(good, f"it says {kinds(told)}")
    await _shows(scene, held.stop_loss, held.take_profit)


@case(51, "levels of no position", Ability.MODIFY)
async def modify_unknown(scene: Scene) -> None:
    """Levels of a position that there is not are never told as set."""
    stop = await scene.away(-1)
    wish = ModifyRequest(new_id(), "999999999", scene.stage.symbol, stop, None, scene.quantity)
    try:
        told = await scene.ask(scene.stage.adapter.modify(scene.spec, wish))
    except (Rejected, NotSent):
        return
    set_ = [one for one in told if one.kind is ReportKind.LEVELS and one.stop_loss is not None]
    expect(not set_, f"it says {kinds(told)}")


@case(52, "levels are not kept", Ability.MARKET)
async def no_levels(scene: Scene) -> None:
    """An account that claims no levels refuses them, with an order and afterwards."""
    if scene.can.native_stops:
        raise NotApplicable("the account keeps levels: C12 and C46 to C51 are about them")
    stop = await scene.away(-1)
    try:
        told = await scene.submit(scene.order(stop_loss=stop))
    except (Rejected, NotSent):
        pass
    else:
        raise Failed(f"an order with a stop was taken: {kinds(told)}")
    entry = await scene.bought()
    try:
        told = await scene.modify(entry, stop, None)
    except (Rejected, NotSent):
        return
    raise Failed(f"levels were taken: {kinds(told)}")


def _ids(reports: Sequence[OrderReport]) -> set[str]:
    return {fill.broker_fill_id for report in reports for fill in report.fills}


def _is_cancelled(reports: Sequence[OrderReport]) -> bool:
    return any(report.kind is ReportKind.CANCELLED for report in reports)


async def _protected(scene: Scene) -> OrderRequest:
    """A position with both levels, as soon as it shows them."""
    stop, target = await scene.away(-1), await scene.away(1)
    entry = await scene.bought(stop_loss=stop, take_profit=target)
    await _shows(scene, stop, target)
    return entry


async def _shows(scene: Scene, stop: Decimal | None, target: Decimal | None) -> None:
    """Wait until the position shows these levels."""
    seen: list[BrokerPosition] = []

    async def shown() -> bool:
        seen[:] = await scene.positions()
        return [(one.stop_loss, one.take_profit) for one in seen] == [(stop, target)]

    def instead() -> str:
        levels = [f"{one.stop_loss} and {one.take_profit}" for one in seen]
        return f"the position shows {levels or 'nothing'}, not {stop} and {target}"

    await scene.until(shown, instead)
