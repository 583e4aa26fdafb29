"""C117 and C118: which orders an account lists. The audit judges real accounts by it."""

from datetime import datetime, timedelta

from brokers.conformance.case import HAS, Ability, case, expect
from brokers.conformance.scene import Scene
from brokers.conformance.stage import Offer
from brokers.listing import ListedOrder, listed_orders
from common.clocks import market_now

BEFORE = timedelta(minutes=2)


@case(117, "listed orders", Ability.MARKET, Ability.LISTING, Offer.JOURNAL)
async def listed(scene: Scene) -> None:
    """What the account lists and what the broker's journal accepted agree, order by order: an
    entry, one that was closed again and, where there are limit orders, one that rests."""
    began = market_now() - BEFORE
    closed = await scene.bought()
    leaving = await scene.close(closed)
    entry = await scene.bought()
    waiting = await scene.rests() if _can_rest(scene) else None
    placed = [closed, entry, *([waiting] if waiting else [])]

    async def agrees() -> bool:
        known = await _listed(scene, began)
        return all(len(known.get(one.client_order_id, ())) == 1 for one in placed)

    await scene.until(agrees, "an order that the broker accepted is not listed once")
    known = await _listed(scene, began)
    for one in placed:
        accepted = await scene.stage.accepted(one.client_order_id)
        expect(accepted == 1, f"the journal has {accepted} of {one.client_order_id}")
        (found,) = known[one.client_order_id]
        executed = 0 if one is waiting else one.quantity
        expect(found.executed == executed, f"{found.executed} of {executed} listed as executed")
    sent = {one.client_order_id for one in (*placed, leaving)}
    expect(set(known) <= sent, f"listed, and never sent: {sorted(set(known) - sent)}")
    if waiting is None:
        return
    await scene.cancel(waiting)

    async def gone() -> bool:
        return waiting.client_order_id not in await _listed(scene, began)

    await scene.until(gone, "a cancelled order is listed")


def _can_rest(scene: Scene) -> bool:
    return HAS[Ability.LIMIT](scene.can) and HAS[Ability.GTC](scene.can)


@case(118, "an order executed twice is listed twice", Ability.MARKET, Ability.LISTING, Offer.AGAIN)
async def executed_twice(scene: Scene) -> None:
    """An order that the broker executed a second time is listed as two, or with more executed than
    was ordered."""
    began = market_now() - BEFORE
    entry = await scene.bought()
    await scene.stage.again(entry)

    async def seen() -> bool:
        found = (await _listed(scene, began)).get(entry.client_order_id, [])
        return len(found) > 1 or sum(one.executed for one in found) > entry.quantity

    await scene.until(seen, "the second execution is not listed")


async def _listed(scene: Scene, began: datetime) -> dict[str, list[ListedOrder]]:
    """The orders of this play and its like by our id; what others placed is left out."""
    found: dict[str, list[ListedOrder]] = {}
    told = await scene.ask(listed_orders(scene.stage.adapter, scene.spec, began))
    for one in told:
        found.setdefault(one.client_order_id, []).append(one)
    return found
