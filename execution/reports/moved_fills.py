"""Parts of executions that become another member's, as the fills that are stored then. Pure.

An execution of an order that was sent as several is one fill of each member with a share of it:
the first keeps the broker's id, the others have it with the order's number (`allotment.py`).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple

from common.money import divide
from execution.reports.allotment import MAX_RAW_ID, allot_fee
from execution.reports.member_shares import ShareMove

ZERO = Decimal(0)
INFERRED = "inferred"  # the share of a cumulative quantity, of which each member has one


class MemberFill(NamedTuple):
    """A fill of a member as it is stored. quantity: base units."""

    order_id: int
    connection_id: str
    broker_fill_id: str
    side: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    commission_currency: str
    commission_rate: Decimal | None
    commission_rate_at: datetime | None
    fee_in_base: Decimal
    time: datetime
    inferred: bool
    revision: int
    swap: Decimal = ZERO


def after_moves(fills: Iterable[MemberFill], moves: Sequence[ShareMove]) -> list[MemberFill]:
    """Return the fills of all members after moves: the newest of a giver go first.

    What they execute, cost and are charged in base units is the same in all.
    """
    held = {(fill.order_id, execution_of(fill)): fill for fill in fills}
    for move in moves:
        left = move.quantity
        own = [(key, fill) for key, fill in held.items() if fill.order_id == move.giver]
        for (giver, execution), fill in sorted(own, key=_newest_first):
            if left <= 0:
                break
            part, rest = _split(fill, min(left, fill.quantity))
            left -= part.quantity
            if rest is None:
                del held[giver, execution]
            else:
                held[giver, execution] = rest
            key = (move.getter, execution)
            keeps_broker_id = rest is None and fill.broker_fill_id == _broker_id(fill)
            held[key] = _joined(held.get(key), part, move.getter, keeps_broker_id=keeps_broker_id)
    return list(held.values())


def _newest_first(item: tuple[tuple[int, str], MemberFill]) -> tuple[bool, float, str]:
    fill = item[1]
    return not fill.inferred, -fill.time.timestamp(), fill.broker_fill_id


def _broker_id(fill: MemberFill) -> str:
    """Return the id without the number of a share that is not the first one's."""
    return fill.broker_fill_id.removesuffix(f"#{fill.order_id}")


def execution_of(fill: MemberFill) -> str:
    """Return what names the same execution in the fills of all members."""
    if fill.inferred:
        return INFERRED
    raw = _broker_id(fill)
    return sha256(raw.encode()).hexdigest()[:32] if len(raw) > MAX_RAW_ID else raw


def _split(fill: MemberFill, quantity: Decimal) -> tuple[MemberFill, MemberFill | None]:
    """Return a part of a fill with its part of the fees, and the rest; None: nothing is left."""
    rest = fill.quantity - quantity
    if rest == 0:
        return fill, None
    (fee, fee_left), (base, base_left), (swap, swap_left) = (
        allot_fee(fill.commission, [quantity, rest]),
        allot_fee(fill.fee_in_base, [quantity, rest]),
        allot_fee(fill.swap, [quantity, rest]),
    )
    return (
        fill._replace(quantity=quantity, commission=fee, fee_in_base=base, swap=swap),
        fill._replace(quantity=rest, commission=fee_left, fee_in_base=base_left, swap=swap_left),
    )


def _joined(
    own: MemberFill | None, part: MemberFill, getter: int, *, keeps_broker_id: bool
) -> MemberFill:
    """Return a member's fill with a part of the same execution of another one."""
    if part.inferred:
        name = f"{INFERRED}:{getter}"
    elif keeps_broker_id:
        name = part.broker_fill_id
    else:
        name = own.broker_fill_id if own else f"{execution_of(part)}#{getter}"
    if own is None:
        return part._replace(order_id=getter, broker_fill_id=name)
    quantity = own.quantity + part.quantity
    return own._replace(
        broker_fill_id=name,
        quantity=quantity,
        price=divide(own.quantity * own.price + part.quantity * part.price, quantity),
        commission=own.commission + part.commission,
        fee_in_base=own.fee_in_base + part.fee_in_base,
        swap=own.swap + part.swap,
        time=max(own.time, part.time),
    )


def inferred_of(fills: Iterable[MemberFill]) -> dict[int, Decimal]:
    """Return the inferred quantities by order."""
    return {fill.order_id: fill.quantity for fill in fills if fill.inferred}
