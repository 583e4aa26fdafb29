"""C53–C62: exits, ours and the broker's."""

from collections.abc import Sequence

from brokers.base import BrokerError, NotSent, Rejected
from brokers.conformance.case import Ability, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import Offer, Trouble
from brokers.conformance.words import filled
from brokers.messages import CloseCause, OrderReport, OrderRequest, OrderType, ReportKind
from common.clocks import market_now


@case(53, "close", Ability.MARKET)
async def close(scene: Scene) -> None:
    """A position is closed by an order as our exits leave: nothing is held, nothing rests."""
    entry = await scene.bought()
    await scene.close(entry)
    await scene.holds(entry.quantity * 0)
    resting = await scene.ask(scene.stage.adapter.open_orders(scene.spec))
    expect(not [one for one in resting if one.symbol == entry.symbol], "something rests")


@case(54, "close a part", Ability.MARKET, Ability.PARTS)
async def close_part(scene: Scene) -> None:
    """A part is closed and the rest stays open, under a position that can be closed too."""
    entry = await scene.bought()
    part = scene.on_step(entry.quantity / 2)
    await scene.close(entry, quantity=part)
    await scene.holds(entry.quantity - part)
    await scene.close(entry)
    await scene.holds(entry.quantity * 0)


@case(55, "close twice", Ability.MARKET, Ability.NO_REVERSE)
async def close_twice(scene: Scene) -> None:
    """A second exit of a closed position is refused or fills nothing: it never opens the other
    side."""
    entry = await scene.bought()
    held = await scene.position()
    await scene.close(entry)
    await scene.holds(entry.quantity * 0)
    await _fills_nothing(scene, scene.exit(entry, held))


@case(56, "close more than is open", Ability.MARKET, Ability.NO_REVERSE)
async def close_more(scene: Scene) -> None:
    """An exit of more than is open closes at most what is open: it never opens the other side."""
    entry = await scene.bought()
    held = await scene.position()
    request = scene.exit(entry, held, quantity=held.quantity * 2)
    try:
        told = await scene.submit(request)
    except (Rejected, NotSent):
        await scene.holds(entry.quantity)
        return
    await scene.told(request, lambda reports: filled(reports) >= held.quantity, told)
    await scene.holds(entry.quantity * 0)


@case(57, "close with nothing open", Ability.MARKET, Ability.NO_REVERSE)
async def close_nothing(scene: Scene) -> None:
    """An order that only reduces opens nothing where nothing is open."""
    entry = scene.order()
    request = scene.order(
        side=entry.side.opposite, reduce_only=True, broker_position_id="999999999",
        closes=entry.client_order_id,
    )  # fmt: skip
    await _fills_nothing(scene, request)


@case(58, "close what is protected", Ability.MARKET, Ability.STOPS)
async def close_protected(scene: Scene) -> None:
    """Closing a protected position takes its stop and target with it: nothing is left to fill."""
    entry = await scene.bought(stop_loss=await scene.away(-1), take_profit=await scene.away(1))
    await scene.close(entry)
    await scene.holds(entry.quantity * 0)

    async def clean() -> bool:
        resting = await scene.ask(scene.stage.adapter.open_orders(scene.spec))
        return not [one for one in resting if one.symbol == entry.symbol]

    await scene.until(clean, "an order is left resting")
    if Offer.PRICES not in scene.stage.lacks:
        await scene.stage.move(1 - scene.stage.far * 2)
        await scene.stage.move(1 + scene.stage.far * 2)
        await scene.holds(entry.quantity * 0)


@case(59, "stop loss", Ability.MARKET, Ability.STOPS, Ability.FILLS, Offer.PRICES)
async def stop_loss(scene: Scene) -> None:
    """The broker's stop is told with the entry's id, STOP_LOSS, the position and its fills."""
    levels = {"stop_loss": await scene.away(-1), "take_profit": await scene.away(1)}
    entry = await scene.bought(**levels)
    await scene.stage.move(1 - scene.stage.far * 2)
    await _told_exit(scene, entry, CloseCause.STOP_LOSS)


@case(60, "take profit", Ability.MARKET, Ability.STOPS, Ability.FILLS, Offer.PRICES)
async def take_profit(scene: Scene) -> None:
    """The broker's target is told with the entry's id, TAKE_PROFIT, the position and its fills."""
    levels = {"stop_loss": await scene.away(-1), "take_profit": await scene.away(1)}
    entry = await scene.bought(**levels)
    await scene.stage.move(1 + scene.stage.far * 2)
    await _told_exit(scene, entry, CloseCause.TAKE_PROFIT)


@case(61, "the owner closes", Ability.MARKET, Ability.FILLS, Offer.OWNER)
async def owner_closes(scene: Scene) -> None:
    """What the owner closes by hand is told as EXTERNAL."""
    entry = await scene.bought()
    await scene.stage.owner_closes((await scene.position()).broker_position_id)
    await _told_exit(scene, entry, CloseCause.EXTERNAL)


@case(62, "close without an answer", Ability.MARKET, Ability.LOOKUP, Trouble.MUTE)
async def close_mute(scene: Scene) -> None:
    """An exit whose answer is lost is unknown, is found again, and has closed once."""
    entry = await scene.bought()
    request = scene.exit(entry, await scene.position())
    await scene.stage.begin(Trouble.MUTE)
    try:
        await scene.submit(request)
    except BrokerError as error:
        unsure = not isinstance(error, NotSent | Rejected)
        expect(unsure, f"it says {type(error).__name__} {error}")
    await scene.stage.end()
    found = await scene.told(request, lambda reports: filled(reports) >= request.quantity)
    expect(filled(found) == request.quantity, f"{filled(found)} is told")
    await scene.holds(entry.quantity * 0)


async def _fills_nothing(scene: Scene, request: OrderRequest) -> None:
    try:
        told = await scene.submit(request)
    except (Rejected, NotSent):
        told = []
    expect(filled(told) == 0, f"{filled(told)} was filled")
    await scene.holds(request.quantity * 0)
    if request.order_type is OrderType.MARKET:
        expect(not await scene.is_open(request), "it rests")


async def _told_exit(scene: Scene, entry: OrderRequest, cause: CloseCause) -> None:
    """Wait until an exit that we did not send is told by an event, and by the executions read."""
    await scene.holds(entry.quantity * 0)
    began = market_now().replace(hour=0, minute=0, second=0)

    async def read() -> list[OrderReport]:
        told = await scene.ask(scene.stage.adapter.fills_since(scene.spec, began))
        return _exits(told, entry)

    async def is_read() -> bool:
        return sum_of(await read()) == entry.quantity

    await scene.until(is_read, "the executions read do not have the exit")
    _is_right(await read(), cause)
    # On a netted account a broker cannot always say whose entry a stranger's order closed; such an
    # exit is read and compared, since an event that names nothing could not be told to a position.
    if scene.can.event_stream and any(one.client_order_id for one in await read()):

        async def is_heard() -> bool:
            return sum_of(_exits(await scene.hear(), entry)) == entry.quantity

        await scene.until(is_heard, "no event tells the exit")
        _is_right(_exits(scene.heard, entry), cause)


def _exits(reports: Sequence[OrderReport], entry: OrderRequest) -> list[OrderReport]:
    return [
        report
        for report in reports
        if report.close_cause is not None
        and report.kind is ReportKind.FILLED
        and report.client_order_id in ("", entry.client_order_id)
    ]


def sum_of(exits: Sequence[OrderReport]) -> object:
    """How much was closed; an execution told twice counts once."""
    return sum({f.broker_fill_id: f.quantity for one in exits for f in one.fills}.values())


def _is_right(exits: Sequence[OrderReport], cause: CloseCause) -> None:
    for one in exits:
        expect(one.close_cause is cause, f"it is told as {one.close_cause}, not {cause}")
        whose = one.client_order_id or one.broker_position_id
        expect(whose, "it says neither whose position it was nor which")
