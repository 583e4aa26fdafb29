"""Book funding of perpetuals to the positions that were open when it was charged or paid.

An exchange nets: what it books is for all of a symbol on the account. Each of our positions gets
its part by the quantity that it had at that time. If the exchange states that more was held than
ours, the rest belongs to trades elsewhere and is in no position. A payment is marked in the
transaction that books it, so it is booked once, whatever dies.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, localcontext
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from common.db.sql import Query, columns, rows, run
from common.failpoints import failpoint
from common.money import DIGITS
from connections.services import mark_funding_booked, unbooked_funding
from execution.base.statements import is_partly_known_sql, opens_position_sql
from execution.reports.allotment import by_largest_remainder
from positions.joins import positions_since_sql
from positions.quantities import add_funding_sql
from positions.row_locks import lock_positions

SETTLE_SECONDS = 60.0  # until then fills of just before may still be reported
LONGEST_SECONDS = 3600.0  # payments wait for orders without an answer so long
BATCH = 200
UNIT = Decimal("1e-8")
ZERO = Decimal(0)


class HeldThen(NamedTuple):
    """What a position held at the time of a payment. held: base units, below 0 if it was sold."""

    payment_id: int
    position_id: int
    held: Decimal


HELD = Query(
    HeldThen,
    f"""
SELECT d.payment_id, p.id AS position_id,
  q.entered - q.exited AS held
FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::timestamptz[])
  AS d(payment_id, connection_id, symbol, at)
CROSS JOIN LATERAL ({positions_since_sql("d.connection_id", "d.symbol", "d.at")}) p
CROSS JOIN LATERAL (SELECT
  (SELECT coalesce(sum(f.quantity - f.fee_in_base), 0) FROM execution_order n
   JOIN execution_fill f ON f.order_id = n.id AND f.time <= d.at
   WHERE {opens_position_sql("n", "p")})
    * CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END AS entered,
  (SELECT coalesce(sum(f.quantity), 0) FROM execution_order x
   JOIN execution_fill f ON f.order_id = x.id AND f.time <= d.at
   WHERE x.position_id = p.id) * CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END AS exited) q
WHERE p.opened_at <= d.at AND q.entered <> q.exited
ORDER BY 1, 2
""",
)


class Unsettled(NamedTuple):
    """An account and symbol with an order that may have filled without our knowing."""

    connection_id: UUID
    symbol: str


UNSETTLED = Query(
    Unsettled,
    f"""
SELECT connection_id, symbol FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')
UNION
SELECT connection_id, symbol FROM execution_order o WHERE {is_partly_known_sql("o")}
""",
)
ADD = add_funding_sql("unnest(%s::bigint[], %s::numeric[]) AS paid(id, amount)")


def book_funding(*, settle_seconds: float = SETTLE_SECONDS) -> int:
    """Book payments that were read a while ago; return how many.

    Those of a symbol with an order in flight wait for its outcome.
    """
    with transaction.atomic():
        payments = unbooked_funding(
            older_than_seconds=settle_seconds,
            limit=BATCH,
            unsettled=rows(UNSETTLED),
            longest_seconds=LONGEST_SECONDS,
        )
        if not payments:
            return 0
        known = [one for one in payments if one.currency == one.account_currency]
        held = _held([(one.id, one.connection_id, one.symbol, one.at) for one in known])
        shares: dict[int, Mapping[int, Decimal]] = {one.id: {} for one in payments}
        for one in known:
            shares[one.id] = shares_of(one.amount, held.get(one.id, {}), one.quantity)
        _add(shares)
        mark_funding_booked(shares)
        failpoint("funding.booked")
    return len(payments)


def shares_of(
    amount: Decimal, held: Mapping[int, Decimal], quantity: Decimal | None
) -> dict[int, Decimal]:
    """Return what each position gets of a payment. Pure.

    held: by position, base units, below 0 if it was sold. quantity: of all that the exchange held;
    None: what is ours. Positions against the account's net side get nothing: they only lowered it.
    The shares add up to our part, to the eighth place, and none is more than that.
    """
    net = sum(held.values(), ZERO)
    if not net:
        return {}
    with localcontext(prec=2 * DIGITS):
        ours = amount
        if quantity is not None and quantity > abs(net):
            ours = (amount * abs(net) / quantity).quantize(UNIT)
        side = {pk: value for pk, value in held.items() if value * net > 0}
        total = sum(side.values(), ZERO)
        return _allotted(ours, {pk: value / total for pk, value in side.items()})


def _allotted(amount: Decimal, ratio: Mapping[int, Decimal]) -> dict[int, Decimal]:
    """Return shares in proportion, by largest remainder in units of the amount's last digit."""
    exponent = amount.as_tuple().exponent
    unit = min(UNIT, Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0))
    weights = [int(part.scaleb(20)) for part in ratio.values()]
    parts = by_largest_remainder(int(abs(amount) / unit), weights)
    sign = 1 if amount > 0 else -1
    return {pk: unit * part * sign for pk, part in zip(ratio, parts, strict=True)}


def _held(payments: Sequence[tuple[int, object, str, datetime]]) -> dict[int, dict[int, Decimal]]:
    found: dict[int, dict[int, Decimal]] = {}
    for row in rows(HELD, columns(payments, 4)) if payments else ():
        found.setdefault(row.payment_id, {})[row.position_id] = row.held
    return found


def _add(shares: Mapping[int, Mapping[int, Decimal]]) -> None:
    total: dict[int, Decimal] = {}
    for parts in shares.values():
        for position_id, amount in parts.items():
            total[position_id] = total.get(position_id, ZERO) + amount
    if total:
        lock_positions(sorted(total))
        run(ADD, columns(sorted(total.items()), 2))
