"""Allot what one order at the broker executes to the orders that were sent as it. Pure.

Each execution is shared in proportion to what its members still lack, by largest remainder in whole
quantity steps, and so that as few members as possible have less than can be closed
(`member_shares.py`). So the shares of an execution add up to it exactly, no member gets more than
it lacks or loses a share while the order works, and the execution that completes the order
completes every member.

A cumulative quantity without fill ids is shared in the same way. Executions with ids that are
reported afterwards replace it: they go first to the members whose share of it they explain.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, localcontext
from functools import partial
from hashlib import sha256

from brokers.types import Execution
from execution.reports.member_shares import share_out

ZERO = Decimal(0)
FEE_PLACES = -8  # fees are shared in units this small, or smaller if the fee has more digits
_EXACT = Context(prec=80)  # quantities have up to 38 digits
MAX_RAW_ID = 70  # characters of a fill id; the ids of longer ones have a digest


def by_largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Return shares of `total` in proportion to the weights; they add up to it exactly.

    Each is the exact share, rounded down or up; of equal remainders the first member's is rounded
    up. total >= 0, weights >= 0 with a sum > 0. If total <= sum(weights), no share is larger than
    its weight.
    """
    whole = sum(weights)
    shares, rest = [], []
    for number, weight in enumerate(weights):
        share, remainder = divmod(total * weight, whole)
        shares.append(share)
        rest.append((-remainder, number))
    for _, number in sorted(rest)[: total - sum(shares)]:
        shares[number] += 1
    return shares


def allot(amount: Decimal, weights: Sequence[Decimal], step: Decimal = ZERO) -> list[Decimal]:
    """Return shares of an amount in proportion to the weights; they add up to it exactly.

    step: the shares are multiples of it where amount and weights are; else of the smallest decimal
    among them. 0: none. amount >= 0, weights >= 0.
    """
    if amount == 0 or not any(weights):
        return [ZERO] * len(weights)
    with localcontext(_EXACT):
        unit = _unit((amount, *weights), step)
        units = by_largest_remainder(int(amount / unit), [int(weight / unit) for weight in weights])
        return [unit * number for number in units]


def allot_fee(fee: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Return shares of a fee, which is negative for a rebate; they add up to it exactly."""
    if fee == 0 or not any(weights):
        return [ZERO] * len(weights)
    with localcontext(_EXACT):
        unit = Decimal(1).scaleb(min(FEE_PLACES, _exponent(fee)))
        of_weights = Decimal(1).scaleb(min(_exponent(weight) for weight in weights))
        units = by_largest_remainder(
            int(abs(fee) / unit), [int(weight / of_weights) for weight in weights]
        )
        return [unit * number * (1 if fee > 0 else -1) for number in units]


def _unit(amounts: Collection[Decimal], step: Decimal) -> Decimal:
    if step > 0 and all(amount % step == 0 for amount in amounts):
        return step
    return Decimal(1).scaleb(min(_exponent(amount) for amount in amounts))


def _exponent(amount: Decimal) -> int:
    """Return the exponent of the last digit that is not 0."""
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    return min(exponent, 0)


@dataclass(slots=True)
class Member:
    """An order that was sent as one with others. Quantities: base units.

    inferred: the part of `filled` without fill ids. shares: of executions with ids, by the
    broker's fill id: the quantity that it has got.
    """

    order_id: int
    quantity: Decimal
    filled: Decimal = ZERO
    inferred: Decimal = ZERO
    shares: dict[str, Decimal] = field(default_factory=dict)

    @property
    def lacking(self) -> Decimal:
        """What it may still get."""
        return max(self.quantity - self.filled, ZERO)


def fill_id_of(broker_fill_id: str, order_id: int) -> str:
    """Return the id of a member's share of an execution, except of the first one's.

    The first member with a share keeps the broker's id, so that the execution is known by it.
    """
    raw = broker_fill_id
    if len(raw) > MAX_RAW_ID:
        raw = sha256(raw.encode()).hexdigest()[:32]
    return f"{raw}#{order_id}"


@dataclass(slots=True)
class Aggregate:
    """The members of one order at the broker, in the order of their ids.

    step: the broker's quantity step; 0 if unknown. minimum: the least that can be closed on its
    own. revisions, holders: of the executions that are known, and the order whose share has the
    broker's own id.
    """

    members: list[Member]
    step: Decimal = ZERO
    minimum: Decimal = ZERO
    revisions: dict[str, int] = field(default_factory=dict)
    holders: dict[str, int] = field(default_factory=dict)

    @property
    def filled(self) -> Decimal:
        """What the order at the broker has executed."""
        return sum((member.filled for member in self.members), ZERO)

    def allot(self, fill: Execution) -> Mapping[int, Execution]:
        """Return the members' shares of an execution, by order id; it counts from then on.

        Nothing is returned for one that is known already, or for a cumulative quantity that states
        nothing new. An unknown one that was corrected to 0 is the first member's, whose report
        stores that. What is beyond all that the members lack is the
        first member's: it cannot be stored there, and so becomes a difference that a person sees.
        """
        if fill.inferred:
            return self._allot_cumulative(fill)
        known = self.revisions.get(fill.broker_fill_id)
        if known is not None and known >= fill.revision:
            return {}
        if known is not None:
            return self._correct(fill)
        if fill.quantity == 0:  # corrected to nothing before it was ever reported
            self.revisions[fill.broker_fill_id] = fill.revision
            return {self.members[0].order_id: fill} if fill.revision else {}
        replaced = [member.inferred for member in self.members]
        part = min(fill.quantity, sum(replaced, ZERO))
        before = allot(part, replaced, self.step)
        new = self._new(fill.quantity - part)
        shares = []
        for member, old, more in zip(self.members, before, new, strict=True):
            member.inferred -= old
            member.filled += more
            shares.append(old + more)
        return self._with_ids(fill, shares)

    def _new(self, quantity: Decimal) -> list[Decimal]:
        """Return shares of a quantity that no member has got yet."""
        lacking = [member.lacking for member in self.members]
        part = min(quantity, sum(lacking, ZERO))
        shares = share_out(part, self.members, self.minimum, partial(allot, step=self.step))
        shares[0] += quantity - part
        return shares

    def _allot_cumulative(self, fill: Execution) -> Mapping[int, Execution]:
        if fill.quantity <= self.filled:
            return {}
        grown = self._new(fill.quantity - self.filled)
        for member, more in zip(self.members, grown, strict=True):
            member.filled += more
            member.inferred += more
        fees = allot_fee(fill.commission, [member.filled for member in self.members])
        return {
            member.order_id: replace(fill, quantity=member.filled, commission=fee)
            for member, more, fee in zip(self.members, grown, fees, strict=True)
            if more
        }

    def _correct(self, fill: Execution) -> Mapping[int, Execution]:
        """Return the shares of an execution that the broker has corrected."""
        held = [member.shares.get(fill.broker_fill_id, ZERO) for member in self.members]
        total = sum(held, ZERO)
        if fill.quantity <= total:
            shares = allot(fill.quantity, held, self.step)
        else:
            more = self._new(fill.quantity - total)
            shares = [old + new for old, new in zip(held, more, strict=True)]
        for member, old, now in zip(self.members, held, shares, strict=True):
            member.filled += now - old
        return self._with_ids(fill, shares)

    def _with_ids(self, fill: Execution, shares: Sequence[Decimal]) -> Mapping[int, Execution]:
        """Return the shares as executions; one that falls to 0 is returned as such."""
        raw = fill.broker_fill_id
        if raw not in self.holders:
            sharing = zip(self.members, shares, strict=True)
            self.holders[raw] = next(member.order_id for member, share in sharing if share)
        fees = allot_fee(fill.commission, shares)
        in_base = allot_fee(fill.fee_in_base, shares)
        swaps = allot_fee(fill.swap, shares)
        result: dict[int, Execution] = {}
        for member, share, fee, base, swap in zip(
            self.members, shares, fees, in_base, swaps, strict=True
        ):
            if not share and raw not in member.shares:
                continue
            is_holder = self.holders[raw] == member.order_id
            name = raw if is_holder else fill_id_of(raw, member.order_id)
            member.shares[raw] = share
            result[member.order_id] = replace(
                fill, broker_fill_id=name, quantity=share, commission=fee, fee_in_base=base,
                swap=swap,
            )  # fmt: skip
        self.revisions[raw] = fill.revision
        return result
