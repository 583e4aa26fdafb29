"""Share out a quantity so that no member of one order is left with too little to close. Pure.

What a broker accepts as an order has a minimum, and a position below it cannot be closed on its
own. So a member gets nothing or at least the minimum, as far as the executions allow that: if they
are small, one member at most is below it while the order works. At the order's end that one gets
what it lacks from the others (`moves_at_end`). `are_divisible` says which entries may be sent as
one: whatever part of their order is executed, if it can be closed at all it can be divided.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from common.money import ceil_to_step
from positions.exit_minimums import DUST_SHARE

ZERO = Decimal(0)
Allot = Callable[[Decimal, Sequence[Decimal]], list[Decimal]]  # shares by weights, exact in sum


class Holder(Protocol):
    """A member: the size of its order and what it has got, base units."""

    @property
    def quantity(self) -> Decimal: ...
    @property
    def filled(self) -> Decimal: ...


class Holding(NamedTuple):
    """What a member has at the order's end. Base units.

    floor: the least that it can close. spare: what it can give away and still close the rest; 0
    while an exit of it is under way. may_get: nothing of it has been closed yet.
    """

    order_id: int
    filled: Decimal
    floor: Decimal
    spare: Decimal
    may_get: bool


class ShareMove(NamedTuple):
    """A part of what one member has got that becomes another one's."""

    giver: int
    getter: int
    quantity: Decimal


def closing_minimum(
    *, quantity_min: Decimal, close_min: Decimal, worth_min: Decimal, price: Decimal, step: Decimal
) -> Decimal:
    """Return the least quantity that can be closed on its own, in whole steps.

    worth_min: the least value of an exit, quote currency. Where there is no minimum of exits, the
    one of all orders counts. Where there is one, fees may be taken out of what is bought.
    """
    least = max(quantity_min, close_min * (1 + DUST_SHARE))
    if worth_min > 0 and price > 0:
        least = max(least, worth_min / price)
    return in_steps(least, step)


class ExitMinimums(Protocol):
    """What `least_closable` reads of an order or an instrument. Base units but the value."""

    @property
    def step(self) -> Decimal: ...
    @property
    def quantity_min(self) -> Decimal: ...
    @property
    def close_min(self) -> Decimal: ...
    @property
    def close_worth_min(self) -> Decimal: ...
    @property
    def price(self) -> Decimal: ...


# Of an order o and its instrument i, as `ExitMinimums` has them; 0 if unknown.
MINIMUM_COLUMNS = """coalesce(i.quantity_step, 0) AS step,
  coalesce(i.quantity_min, 0) AS quantity_min, coalesce(i.close_min, 0) AS close_min,
  coalesce(i.close_worth_min, 0) AS close_worth_min"""


def least_closable(member: ExitMinimums) -> Decimal:
    """Return the least of a member's position that can be closed on its own, base units."""
    return closing_minimum(
        quantity_min=member.quantity_min, close_min=member.close_min,
        worth_min=member.close_worth_min, price=member.price, step=member.step,
    )  # fmt: skip


def in_steps(quantity: Decimal, step: Decimal) -> Decimal:
    """Return a quantity rounded up to whole steps."""
    return ceil_to_step(quantity, step) if step > 0 else quantity


def are_divisible(quantities: Iterable[Decimal], minimum: Decimal, step: Decimal) -> bool:
    """Return whether any executed part of at least the minimum leaves each entry 0 or the minimum.

    That is so if the largest entries, however many, leave no gap to what one more of them needs.
    """
    sizes = sorted(quantities, reverse=True)
    whole = ZERO
    for number, size in enumerate(sizes[:-1], 1):
        whole += size
        if whole + step < (number + 1) * minimum:
            return False
    return True


def share_out(
    amount: Decimal, members: Sequence[Holder], minimum: Decimal, allot: Allot
) -> list[Decimal]:
    """Return shares of an amount; they add up to it exactly. It is not above what all lack.

    First the member that is below the minimum gets what it needs. Then it is shared in proportion
    to what each lacks; a share below the minimum is raised to it. If that needs more than there is,
    the smallest entry without a share, of equal ones the youngest, waits. What those that take part
    do not lack begins with the next one that waits.
    """
    shares = [ZERO] * len(members)
    left = amount
    for number, member in enumerate(members):
        if 0 < member.filled < minimum:
            shares[number] = min(left, max(min(minimum, member.quantity) - member.filled, ZERO))
            left -= shares[number]
    held = [member.filled + share for member, share in zip(members, shares, strict=True)]
    begun = [number for number, got in enumerate(held) if got > 0]
    waiting = [number for number, got in enumerate(held) if got == 0]
    waiting.sort(key=lambda number: (-members[number].quantity, number))
    for count in range(len(waiting), -1, -1):
        chosen = sorted((*begun, *waiting[:count]))
        found = _in_proportion(left, chosen, members, held, minimum, allot)
        if found is not None:
            break
    else:
        found = {}
    for number, share in found.items():
        shares[number] += share
        left -= share
    for number in waiting:  # an execution too small for another minimum
        if left > 0 and number not in found:
            shares[number] = min(left, members[number].quantity)
            left -= shares[number]
    return shares


def _in_proportion(
    amount: Decimal, chosen: Sequence[int], members: Sequence[Holder], held: Sequence[Decimal],
    minimum: Decimal, allot: Allot,
) -> dict[int, Decimal] | None:  # fmt: skip
    """Return shares of as much of an amount as the chosen members lack; None: it is too little."""
    lacking = {number: max(members[number].quantity - held[number], ZERO) for number in chosen}
    amount = min(amount, sum(lacking.values(), ZERO))
    raised: dict[int, Decimal] = {}
    while True:
        others = [number for number in chosen if number not in raised]
        rest = amount - sum(raised.values(), ZERO)
        if rest < 0:
            return None
        shares = dict(zip(others, allot(rest, [lacking[one] for one in others]), strict=True))
        needs = {number: min(minimum, members[number].quantity) for number in others}
        below = [
            number for number, share in shares.items() if held[number] + share < needs[number]
        ]  # fmt: skip
        if not below:
            return {**raised, **shares}
        raised |= {number: needs[number] - held[number] for number in below}


def moves_at_end(holdings: Sequence[Holding], allot: Allot) -> list[ShareMove]:
    """Return what members give to those that are left below their minimum, in whole.

    The others give in proportion to what they can spare. If that is too little, nothing is moved.
    """
    spare = {one.order_id: one.spare for one in holdings}
    moves = []
    for getter in holdings:
        need = getter.floor - getter.filled
        if not getter.may_get or getter.filled <= 0 or need <= 0:
            continue
        givers = [one.order_id for one in holdings if one is not getter]
        weights = [spare[giver] for giver in givers]
        if sum(weights, ZERO) < need:
            continue
        for giver, part in zip(givers, allot(need, weights), strict=True):
            if part > 0:
                spare[giver] -= part
                moves.append(ShareMove(giver, getter.order_id, part))
    return moves
