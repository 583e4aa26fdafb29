"""A position's stop and target at an exchange: conditional orders that only reduce. Pure.

Each belongs to one entry by its name: the entry's client order id, `s` for the stop or `t` for the
target, and a number. So several positions of one symbol have separate levels, none closes more than
its own quantity, and an answer that was lost is read by that name. A level that has ended gets the
next number, because Bybit never takes an id twice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from brokers.types import CloseCause, HeldLevels, Side


class Leg(StrEnum):
    """Which level of a position an order is; the letter in its name."""

    STOP = "s"
    TARGET = "t"


CAUSES = {Leg.STOP: CloseCause.STOP_LOSS, Leg.TARGET: CloseCause.TAKE_PROFIT}
_NAME = re.compile(r"([a-z0-9]{18})([st])([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class LevelName:
    """The client order id of a level. entry: that of its position's entry."""

    entry: str
    leg: Leg
    number: int

    def __str__(self) -> str:
        return f"{self.entry}{self.leg}{self.number}"

    @classmethod
    def read(cls, client_order_id: str) -> "LevelName | None":
        """Return the parts of a level's client order id; None: it is no level of ours."""
        found = _NAME.fullmatch(client_order_id)
        return cls(found[1], Leg(found[2]), int(found[3])) if found else None


@dataclass(frozen=True, slots=True)
class LevelOrder:
    """A level that rests at the exchange. quantity: what it may still close, base units."""

    name: LevelName
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    broker_order_id: str = ""


class Action(StrEnum):
    """What one request does with a level."""

    PLACE = "PLACE"
    AMEND = "AMEND"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class Step:
    """One request. order: the level that it changes; price: that of PLACE and AMEND."""

    action: Action
    leg: Leg
    order: LevelOrder | None = None
    price: Decimal | None = None


def plan(
    live: Sequence[LevelOrder],
    wanted: Mapping[Leg, Decimal | None],
    quantity: Decimal,
    *,
    amends: bool,
) -> list[Step]:
    """Return the requests after which an entry has these levels only; none if it has them.

    live: the entry's levels at the exchange. The stop comes first, and what is to go comes last.
    Where an exchange does not amend, the old level goes only when the new one is listed.
    """
    changes: list[Step] = []
    cancels: list[Step] = []
    for leg in Leg:
        price = wanted[leg]
        orders = sorted((one for one in live if one.name.leg is leg), key=_number, reverse=True)
        kept = [one for one in orders if (one.price, one.quantity) == (price, quantity)][:1]
        if price is not None and not kept:
            if orders and amends:
                kept = orders[:1]
                changes.append(Step(Action.AMEND, leg, kept[0], price))
            else:
                kept = orders
                changes.append(Step(Action.PLACE, leg, None, price))
        cancels += [Step(Action.CANCEL, leg, one) for one in orders if one not in kept]
    return [*changes, *cancels]


def plan_pair(
    live: Sequence[LevelOrder], wanted: Mapping[Leg, Decimal | None], quantity: Decimal
) -> list[Step]:
    """As `plan`, where both levels reserve the same coins: they are one pair under one number.

    What rests is cancelled before the new pair is placed: the coins are needed for it. PLACE is
    for all levels together.
    """
    prices = {leg: price for leg, price in wanted.items() if price is not None}
    held = {one.name.leg: one.price for one in live if one.quantity == quantity}
    numbers = {one.name.number: one for one in live}
    if held == prices and len(live) == len(prices) and len(numbers) <= 1:
        return []
    cancels = [Step(Action.CANCEL, one.name.leg, one) for one in numbers.values()]
    return [*cancels, *[Step(Action.PLACE, leg) for leg in prices][:1]]


def _number(order: LevelOrder) -> int:
    return order.name.number


def next_number(live: Sequence[LevelOrder], leg: Leg) -> int:
    """Return the first number for a new level that none of the live ones has."""
    return max((one.name.number + 1 for one in live if one.name.leg is leg), default=0)


def held_levels(live: Sequence[LevelOrder]) -> HeldLevels:
    """Return the levels of one entry.

    protected: what its stops cover together, so that two stops of one position are a difference; of
    a position without a stop, what its targets do.
    """
    by_leg = {leg: [one for one in live if one.name.leg is leg] for leg in Leg}
    stops, targets = by_leg[Leg.STOP], by_leg[Leg.TARGET]
    covering = stops or targets
    return HeldLevels(
        stop_loss=stops[-1].price if stops else None,
        take_profit=targets[-1].price if targets else None,
        protected=sum((one.quantity for one in covering), Decimal(0)) if covering else None,
    )


def levels_by_entry(live: Sequence[LevelOrder], symbol: str) -> dict[str, HeldLevels]:
    """Return the levels on one symbol, by the client order id of the entry."""
    by_entry: dict[str, list[LevelOrder]] = {}
    for one in live:
        if one.symbol == symbol:
            by_entry.setdefault(one.name.entry, []).append(one)
    return {entry: held_levels(orders) for entry, orders in by_entry.items()}
