"""Which entries of an account are sent as one order. Pure; docs/adr/0030 states why so few are.

A market entry of an account with a window waits for others of its symbol and side, until it is as
old as the window. Then all that wait are sent together. Each has been decided on its own, by every
limit, so this only decides when and with which others it is sent. One that is older, because it has
waited for something else, does not wait; those that do are sent with it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from brokers.types import OrderType, PositionMode
from common.money import plain
from common.reason_codes import Code
from execution.models import BY_HAND_PRIORITY
from execution.reports.member_shares import are_divisible
from execution.submission.outcomes import Decision, Deferred, Intent
from execution.submission.rows import OrderRow

MARKET, NETTING = OrderType.MARKET.value, PositionMode.NETTING.value
Offer = tuple[OrderRow, Intent]


class Bounds(NamedTuple):
    """What a broker takes as one order, base units. minimum: the least that it can be closed in."""

    maximum: Decimal
    minimum: Decimal
    step: Decimal


BoundsOf = Callable[[OrderRow, Intent], Bounds | None]


class Terms(NamedTuple):
    """What entries have in common that may be sent as one order."""

    connection_id: str
    pair: str
    symbol: str
    side: str
    time_in_force: str
    worst_price: Decimal | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Decisions with the waits of this step, and the orders that are sent as one: their ids."""

    decisions: list[tuple[OrderRow, Decision]]
    groups: list[list[int]] = field(default_factory=list)


def may_join(row: OrderRow) -> bool:
    """Return whether an entry may be sent as one order with others.

    Not where each order is a position of its own; nor what was sent before, was triggered, retried
    or routed, or is a slice: their time has come. Nor what a person published by hand: it goes
    before the entries of feeds, so it does not wait for them.
    """
    return (
        row.aggregation_ms > 0
        and row.position_id is None
        and row.leg == "entry"
        and row.order_type == MARKET
        and row.position_mode == NETTING
        and row.client_order_id is None
        and row.retried_at is None
        and not row.route_state
        and not row.is_held_leg
        and row.priority > BY_HAND_PRIORITY
    )


def join(
    decisions: Sequence[tuple[OrderRow, Decision]],
    guests: Collection[int],
    bounds_of: BoundsOf,
) -> Joined:
    """Return what becomes of decided orders: those that wait, and those that are sent as one.

    guests: orders that wait and that this bundle does not contain: they are sent with others or
    left as they are. bounds_of: what an entry's broker takes; None if it lists no instrument.
    """
    offers: dict[Terms, list[Offer]] = {}
    for row, decision in decisions:
        if isinstance(decision, Intent) and not decision.slices and may_join(row):
            offers.setdefault(_terms(row, decision), []).append((row, decision))
    changed: dict[int, Decision] = {}
    groups: list[list[int]] = []
    taken: set[int] = set()
    for offered in offers.values():
        if (wait := _wait([row for row, _ in offered])) is not None:
            changed |= {row.id: wait for row, _ in offered if row.id not in guests}
            continue
        for pack in _packs(offered, guests, bounds_of):
            if len(pack) > 1:
                changed |= _as_one(pack)
                groups.append(sorted(row.id for row, _ in pack))
                taken.update(groups[-1])
    kept = [
        (row, changed.get(row.id, decision))
        for row, decision in decisions
        if row.id not in guests or row.id in taken
    ]
    return Joined(kept, groups)


def _terms(row: OrderRow, intent: Intent) -> Terms:
    return Terms(
        row.connection_id, row.pair, intent.symbol, row.side, row.time_in_force, intent.worst_price
    )


def _wait(rows: Sequence[OrderRow]) -> Deferred | None:
    """Return the wait of entries that may be joined; None if the window of one of them has ended.

    A new entry waits only as long as the first one that waits already.
    """
    left = min(row.aggregation_ms / 1000 - row.age for row in rows)
    if left <= 0:
        return None
    row = rows[0]
    detail = f"{row.side} {row.pair}, at most {plain(Decimal(row.aggregation_ms) / 1000)} s"
    return Deferred(Code.AGGREGATION_AWAITED, detail=detail, wait=left)


def _packs(
    offered: Sequence[Offer], guests: Collection[int], bounds_of: BoundsOf
) -> list[list[Offer]]:
    """Return which entries are sent as one order each.

    Each order has an entry of the bundle: guests that fit nowhere are left out.
    """
    packs: list[list[Offer]] = []
    for offer in sorted(offered, key=lambda offer: offer[0].id in guests):
        bounds = bounds_of(*offer)
        for pack in packs:
            if _fit([*pack, offer], bounds):
                pack.append(offer)
                break
        else:
            if offer[0].id not in guests:
                packs.append([offer])
    return packs


def _fit(pack: Sequence[Offer], bounds: Bounds | None) -> bool:
    """Return whether the broker takes entries as one order, whatever part of it is executed.

    Else they are sent apart: one of them could be left with less than can be closed.
    """
    if bounds is None:
        return True
    quantities = [intent.quantity for _, intent in pack]
    return sum(quantities, Decimal(0)) <= bounds.maximum and are_divisible(
        quantities, bounds.minimum, bounds.step
    )


def _as_one(pack: Sequence[Offer]) -> dict[int, Decision]:
    """Return the intents of entries that are sent as one: the engine guards their levels.

    A broker holds one stop for an order, and each of these has its own.
    """
    return {row.id: intent._replace(stop_loss=None, take_profit=None) for row, intent in pack}
