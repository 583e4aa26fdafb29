"""Split an entry into slices, and decide how much the next one sends. Pure.

Quantities: base units. Offsets: whole seconds of the market clock from the beginning of the plan.
Source: docs/slices.md.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from common.money import ceil_to_step, floor_to_step
from common.reason_codes import Code
from execution.models.status import AT_BROKER, IN_FLIGHT, Status
from execution.submission.volume_profile import VolumeProfile
from signals.slicing import MIN_SLICE_SECONDS

ZERO = Decimal(0)
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an entry. at: seconds after the beginning of the plan."""

    at: int
    quantity: Decimal


def plan_slices(
    *,
    quantity: Decimal,
    step: Decimal,
    minimum: Decimal,
    duration: int,
    slices: int,
    variation: Decimal,
    seed: int,
    volume: VolumeProfile | None = None,
) -> tuple[Slice, ...]:
    """Return the slices of an entry: their sum is exactly its quantity, each at least the minimum.

    duration: seconds; the first slice is due at once, each other in its own equal part of it.
    variation: percent by which a slice's size, and half of which its distance to its neighbours,
    may deviate; less where slices would come nearer than they may. volume: by which the sizes are
    weighted; None: they are equal. The same arguments give the same plan in every process.

    If the quantity is too small for so many slices, there are fewer; at least one.
    """
    least = _least(minimum, step)
    number = most_slices(quantity, step=step, minimum=minimum, slices=slices)
    draw = random.Random(seed)  # not a secret
    spread = float(variation / HUNDRED)
    weights = [Decimal(str(1 + spread * draw.uniform(-1, 1))) for _ in range(number)]
    if volume is not None:
        usual = volume.weights(duration, number)
        weights = [weight * part for weight, part in zip(weights, usual, strict=True)]
    part = duration / number
    reach = min(spread, max(1 - MIN_SLICE_SECONDS / part, 0.0))
    shifts = [reach * draw.uniform(-0.5, 0.5) for _ in range(number)]
    times = [0, *(round((i + shifts[i]) * part) for i in range(1, number))]
    return tuple(map(Slice, times, _shares(quantity, step, least, weights)))


def most_slices(quantity: Decimal, *, step: Decimal, minimum: Decimal, slices: int) -> int:
    """Return into how many of the wanted slices a quantity can be divided; at least one."""
    least = _least(minimum, step)
    return max(1, min(slices, int(quantity // least))) if least > 0 else slices


def smallest_with_targets(minimum: Decimal, step: Decimal, fractions: Sequence[Decimal]) -> Decimal:
    """Return the smallest slice of which each target can close its part on its own.

    On a hedging account each slice is a position of its own, and the broker's minimum applies to
    every exit. Example: 0.01 lot and two targets of a half each need slices of 0.02 lot.

    What the targets leave needs nothing: the last one takes a rest below the minimum
    (`exits.orders.exit_quantity`), such as 0.0001 after three targets of 0.3333.
    """
    if not fractions or minimum <= 0:
        return minimum
    smallest = minimum / min(fractions)
    return ceil_to_step(smallest, step) if step > 0 else smallest


def slices_needed(possible: int) -> int:
    """Return how many slices targets must leave of those that the size alone would allow.

    Half of them, and at least two: a trader who asks for slices does not want one large order.
    """
    return min(possible, max(2, -(-possible // 2)))


def _least(minimum: Decimal, step: Decimal) -> Decimal:
    return max(ceil_to_step(minimum, step), step) if step > 0 else minimum


def slice_number(leg: str) -> int:
    """Return which slice of its plan an entry is, from 1: `entry` 1, `entry-2` 2."""
    return int(leg.removeprefix("entry-")) if leg.startswith("entry-") else 1


def is_last_number(number: int, planned: int) -> bool:
    """Return whether it is the slice after all planned ones: what is left at the end."""
    return number > planned


def _shares(
    quantity: Decimal, step: Decimal, least: Decimal, weights: Sequence[Decimal]
) -> list[Decimal]:
    """Divide a quantity by weights into multiples of the step, none below `least`."""
    shares, total, passed, given = [], sum(weights, ZERO), ZERO, ZERO
    for weight in weights[:-1]:
        passed += weight
        share = floor_to_step(quantity * passed / total, step) - given
        shares.append(share)
        given += share
    shares.append(quantity - given)
    for number, share in enumerate(shares):
        lacking = least - share
        while lacking > 0:  # the others have more than `least` on average
            largest = max(range(len(shares)), key=shares.__getitem__)
            taken = min(lacking, max(shares[largest] - least, step))
            shares[largest] -= taken
            shares[number] += taken
            lacking -= taken
    return shares


@dataclass(frozen=True, slots=True)
class Sibling:
    """The order of another slice of the plan.

    number: from 1, in the order of the plan. is_partly_known: it has ended, and its broker is still
    asked what it executed.
    """

    number: int
    status: str
    reason: str
    quantity: Decimal
    filled: Decimal
    is_partly_known: bool = False

    @property
    def used(self) -> Decimal:
        """What of the plan it has used: filled, may still fill, or must never be sent again."""
        if self.status == Status.PENDING:
            return ZERO
        if self.status in SPENT:
            return self.quantity
        return self.filled


# A FAILED slice is given up for good: nothing may be sent twice, however late it turns up.
SPENT = frozenset({*IN_FLIGHT, *AT_BROKER, Status.FAILED})
# The plan goes on after a slice that ended for one of these; all else ends it.
GOES_ON = frozenset({
    Code.SLICE_PRICE_LIMIT, Code.SLICE_MISSED, Code.SLICE_NOT_NEEDED, Code.SPREAD_LIMIT,
    Code.QUOTE_MISSING, Code.QUOTE_STALE, Code.NO_CONVERSION_RATE, Code.CONVERSION_RATE_STALE,
    Code.SLIPPAGE_LIMIT, Code.NEVER_ARRIVED, Code.MAX_ORDERS_PER_MINUTE, Code.ACCOUNT_DATA_STALE,
    Code.TARGET_WRONG_SIDE, Code.STOP_TOO_NEAR, Code.PRICE_UNREASONABLE,
})  # fmt: skip
UNFINISHED = frozenset({Status.DENIED, Status.CANCELLED, Status.EXPIRED, Status.REJECTED,
                        Status.FAILED})  # fmt: skip
ENDS_PLAN_SQL = (
    f"o.status = ANY('{{{','.join(sorted(UNFINISHED))}}}') "
    f"AND o.reason <> ALL('{{{','.join(sorted(GOES_ON))}}}')"
)
"""Whether an order `o` of a plan has ended it: `ending_of` in SQL."""


@dataclass(frozen=True, slots=True)
class PlanState:
    """A plan while one of its slices is decided.

    number: which slice. planned: the quantities of the plan in their order; beyond the last one is
    the slice that sends what is left at the end. is_late: the next slice is due already. free: what
    of the signal's position is open and not being closed; None: nothing has filled yet.
    targets: the next one of the position that this slice adds to, if any; None: all of the signal.
    """

    number: int
    planned: tuple[Decimal, ...]
    step: Decimal
    minimum: Decimal
    catches_up: bool
    is_late: bool
    siblings: tuple[Sibling, ...]
    free: Decimal | None = None
    targets: tuple[Decimal, ...] | None = None

    @property
    def total(self) -> Decimal:
        """The whole quantity of the plan."""
        return sum(self.planned, ZERO)

    @property
    def used(self) -> Decimal:
        """What its other slices have used."""
        return sum((sibling.used for sibling in self.siblings), ZERO)

    def quantity(self) -> Decimal:
        """Return what this slice sends: never more than the plan has left; 0: nothing to send."""
        left = self.total - self.used
        if self.number > len(self.planned):
            wanted = left
        elif self.catches_up:
            wanted = sum(self.planned[: self.number], ZERO) - self.used
        else:
            wanted = self.planned[self.number - 1]
        quantity = floor_to_step(max(min(wanted, left), ZERO), self.step)
        return quantity if quantity >= self.minimum else ZERO

    def ended_by(self) -> Code | None:
        """Return why no more slices are sent; None: the plan goes on."""
        if self.free is not None and self.free <= 0:
            return Code.SLICES_POSITION_CLOSED
        return ending_of(self.siblings)

    def has_unknown(self) -> bool:
        """Return whether the outcome of a slice is not known: until it is, nothing is sent."""
        return any(
            sibling.status == Status.UNKNOWN or sibling.is_partly_known for sibling in self.siblings
        )


def ending_of(siblings: Iterable[Sibling]) -> Code | None:
    """Return why the first slice that ended a plan did so; None: none has."""
    for sibling in sorted(siblings, key=lambda one: one.number):
        if sibling.status in UNFINISHED and sibling.reason not in GOES_ON:
            return Code[sibling.reason] if sibling.reason in Code.__members__ else Code.SLICES_ENDED
    return None
