"""C01–C12: every order type and time in force that an account claims."""

from decimal import Decimal
from typing import Any

from brokers.base import NotSent, Rejected
from brokers.conformance.case import Ability, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import NotApplicable, Offer, Trouble
from brokers.conformance.words import ended, filled, kinds
from brokers.messages import OrderRequest, OrderType, ReportKind, Side, TimeInForce
from common.codes import Code

OUT = Decimal("1.5")  # a move of the price that reaches what was out of its reach


@case(1, "market order", Ability.MARKET)
async def market(scene: Scene) -> None:
    """A market order is filled whole, and told with price, time and an id for each execution."""
    entry = scene.order()
    told = await scene.told(
        entry, lambda reports: filled(reports) >= entry.quantity, await scene.submit(entry)
    )
    expect(filled(told) == entry.quantity, f"{filled(told)} was filled, not {entry.quantity}")
    await scene.holds(entry.quantity)


@case(2, "limit order rests", Ability.LIMIT, Ability.GTC)
async def limit_rests(scene: Scene) -> None:
    """A limit order below the price rests, and is told with its price and quantity."""
    entry = await scene.rests()
    resting = await scene.open_order(entry)
    assert resting is not None
    expect(resting.order_type is OrderType.LIMIT, f"it rests as {resting.order_type}")
    expect(resting.limit_price == entry.limit_price, f"it rests at {resting.limit_price}")
    expect(resting.side is Side.BUY, f"it rests as a {resting.side}")
    _is_whole(resting.quantity, resting.filled, entry)
    expect(await scene.held() == 0, "it was filled at once")


@case(3, "limit order is reached", Ability.LIMIT, Ability.GTC, Offer.PRICES)
async def limit_is_reached(scene: Scene) -> None:
    """A limit order that rests is filled at its price or better when the price comes."""
    entry = await scene.rests()
    await scene.stage.move(1 - scene.stage.far * OUT)
    told = await scene.told(entry, lambda reports: filled(reports) >= entry.quantity)
    prices = [fill.price for report in told for fill in report.fills]
    assert entry.limit_price is not None
    expect(max(prices) <= entry.limit_price, f"filled at {max(prices)}, above its limit")


@case(4, "stop order", Ability.STOP, Ability.GTC)
async def stop_rests(scene: Scene) -> None:
    """A stop order above the price rests, and is told with its stop price."""
    entry = await _stop_order(scene)
    resting = await scene.open_order(entry)
    assert resting is not None
    expect(resting.order_type is OrderType.STOP, f"it rests as {resting.order_type}")
    expect(resting.stop_price == entry.stop_price, f"it rests at {resting.stop_price}")
    _is_whole(resting.quantity, resting.filled, entry)


@case(5, "stop order is reached", Ability.STOP, Ability.GTC, Offer.PRICES)
async def stop_is_reached(scene: Scene) -> None:
    """A stop order is filled when the price passes it."""
    entry = await _stop_order(scene)
    await scene.stage.move(1 + scene.stage.far * OUT)
    await scene.told(entry, lambda reports: filled(reports) >= entry.quantity)
    await scene.holds(entry.quantity)


@case(6, "for the day", Ability.LIMIT, Ability.DAY)
async def day(scene: Scene) -> None:
    """A limit order for the day rests."""
    await scene.rests(time_in_force=TimeInForce.DAY)


@case(7, "immediate or cancel", Ability.LIMIT, Ability.IOC)
async def ioc(scene: Scene) -> None:
    """An immediate-or-cancel order out of reach ends at once: nothing filled, nothing rests."""
    await _ends_at_once(scene, TimeInForce.IOC)


@case(8, "fill or kill", Ability.LIMIT, Ability.FOK)
async def fok(scene: Scene) -> None:
    """A fill-or-kill order out of reach ends at once: nothing filled, nothing rests."""
    await _ends_at_once(scene, TimeInForce.FOK)


@case(9, "immediate or cancel, within reach", Ability.LIMIT, Ability.IOC)
async def ioc_fills(scene: Scene) -> None:
    """An immediate-or-cancel order within reach is filled."""
    price = await scene.away(1, Decimal("0.25"))
    words: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": price}
    try:
        await scene.bought(**words, time_in_force=TimeInForce.IOC)
    except Rejected as error:
        if error.code is Code.ORDER_TYPE_UNSUPPORTED:  # claims are not made by order type
            raise NotApplicable("only market orders may be immediate or cancel here") from error
        raise


@case(10, "fill or kill of a part", Ability.LIMIT, Ability.FOK, Trouble.PARTIAL)
async def fok_part(scene: Scene) -> None:
    """Fill or kill takes nothing where only a part of it could be had."""
    await scene.stage.begin(Trouble.PARTIAL)
    price = await scene.away(1, Decimal("0.25"))
    entry = scene.order(
        order_type=OrderType.LIMIT, limit_price=price, time_in_force=TimeInForce.FOK
    )
    await _ends(scene, entry)
    expect(await scene.held() == 0, "a part of it was filled")


@case(11, "what is not claimed")
async def not_claimed(scene: Scene) -> None:
    """An order type or time in force that the account does not claim is refused, never changed into
    another one."""
    unclaimed = [kind for kind in OrderType if kind not in scene.can.order_types]
    never = [tif for tif in TimeInForce if tif not in scene.can.times_in_force]
    if not unclaimed and not never:
        raise NotApplicable("the account claims every order type and time in force")
    for kind in unclaimed:
        await _is_refused(scene, await _of_type(scene, kind))
    for tif in never:
        await _is_refused(scene, await scene.resting(time_in_force=tif))


@case(12, "stop and target with the order", Ability.MARKET, Ability.STOPS)
async def protected(scene: Scene) -> None:
    """A market order's stop and target are held by the broker and told with the position."""
    stop, target = await scene.away(-1), await scene.away(1)
    await scene.bought(stop_loss=stop, take_profit=target)

    async def held() -> bool:
        position = await scene.position()
        return (position.stop_loss, position.take_profit) == (stop, target)

    await scene.until(held, "the position does not show both levels")


def _is_whole(quantity: Decimal, done: Decimal, entry: OrderRequest) -> None:
    expect(quantity == entry.quantity, f"it rests with {quantity}, not {entry.quantity}")
    expect(done == 0, f"{done} of it is said to be filled")


async def _stop_order(scene: Scene) -> OrderRequest:
    entry = scene.order(order_type=OrderType.STOP, stop_price=await scene.away(1))
    await scene.submit(entry)
    await scene.until(lambda: scene.is_open(entry), "it does not rest")
    return entry


async def _of_type(scene: Scene, kind: OrderType) -> OrderRequest:
    price = await scene.away(1 if kind is OrderType.STOP else -1)
    prices = {OrderType.LIMIT: {"limit_price": price}, OrderType.STOP: {"stop_price": price}}
    return scene.order(order_type=kind, **prices.get(kind, {}))


async def _ends_at_once(scene: Scene, tif: TimeInForce) -> None:
    entry = await scene.resting(time_in_force=tif)
    await _ends(scene, entry)
    expect(not await scene.is_open(entry), "it rests")
    expect(await scene.held() == 0, "it was filled")


async def _ends(scene: Scene, entry: OrderRequest) -> None:
    """Place an order and wait until it is told that nothing came of it."""
    try:
        told = await scene.submit(entry)
    except Rejected:
        return
    told = list(await scene.told(entry, ended, told))
    expect(filled(told) == 0, f"{filled(told)} of it was filled")


async def _is_refused(scene: Scene, request: OrderRequest) -> None:
    what = f"{request.order_type} {request.time_in_force}"
    try:
        told = await scene.submit(request)
    except (Rejected, NotSent):
        pass
    else:
        refused = any(report.kind is ReportKind.REJECTED for report in told)
        expect(refused, f"{what} was not refused but {kinds(told)}")
    if Offer.JOURNAL not in scene.stage.lacks:
        await scene.accepted(request, 0)
