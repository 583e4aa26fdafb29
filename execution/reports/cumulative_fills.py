"""Cumulative quantities that a broker reported without fill ids, and the fills that replace them.

What an order has executed is max(largest cumulative quantity, Σ fills with ids). The part of the
cumulative quantity without fills is stored as one fill of the order, marked inferred, at the
average price of the cumulative report. It shrinks as fills with ids arrive and is deleted with the
last of them. So nothing is counted twice, whatever the order of arrival.

A corrected execution (a higher revision) replaces the earlier one with its id in all totals; one
that is corrected to nothing is no fill any more, and none later (`voided_fills.py`). A
cumulative report from before a correction that arrives after it looks like a new one: the next
reconciliation shows the difference.

The caller has locked the orders, so their fills do not change.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import NamedTuple, Protocol

from brokers.types import Execution
from common.db.sql import Query, array, columns, rows, run
from common.money import divide
from execution.reports.fees import SAME_CURRENCY, FeeRate, FeeRates, converted, withheld_fee
from execution.reports.sql import NewFill, OrderRow
from execution.reports.voided_fills import VoidedFillRow, load_voided, store_voided

ZERO = Decimal(0)


class QuantityCorrectedError(Exception):
    """A broker corrected all that an order had executed to nothing: an operator must decide."""


@dataclass(slots=True)
class FillDelta:
    """What a batch of reports adds to an order. Corrections may make each figure negative.

    opened: what an entry's position gets of `quantity`, after fees in the base currency.
    commission: account currency, without fees that could not be converted.
    prices: of new executions; of a cumulative quantity its average.
    """

    quantity: Decimal = ZERO
    value: Decimal = ZERO
    opened: Decimal = ZERO
    opened_value: Decimal = ZERO
    commission: Decimal = ZERO
    is_unconverted: bool = False  # there is a fee without a rate
    times: list[datetime] = field(default_factory=list)
    fill_ids: list[str] = field(default_factory=list)
    prices: list[Decimal] = field(default_factory=list)
    inferred: Decimal = ZERO  # of the order, afterwards
    replaced: Decimal = ZERO  # inferred quantity that executions with ids replaced
    corrected: int = 0  # executions
    shift: Decimal = ZERO  # of their quantities; part of `quantity`

    def count(self, sign: int, fill: "StoredFill") -> None:
        """Add an execution (sign 1) or subtract it (-1)."""
        net = fill.quantity - fill.fee_in_base
        self.quantity += sign * fill.quantity
        self.value += sign * fill.quantity * fill.price
        self.opened += sign * net
        self.opened_value += sign * net * fill.price
        self.commission += sign * converted(fill.commission, fill.commission_rate)
        self.is_unconverted |= bool(fill.commission) and fill.commission_rate is None

    @property
    def is_restated(self) -> bool:
        """Whether fills that were counted before have changed: the position must be rebuilt."""
        return bool(self.replaced or self.corrected or self.inferred)

    @property
    def changes_anything(self) -> bool:
        """Whether the order's fills have changed."""
        return bool(self.quantity or self.replaced or self.corrected)


NO_CHANGE = FillDelta()


class StoredFill(Protocol):
    """What `FillDelta.count` reads of a fill."""

    @property
    def quantity(self) -> Decimal: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def commission(self) -> Decimal: ...
    @property
    def commission_rate(self) -> Decimal | None: ...
    @property
    def fee_in_base(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class InferredFill:
    """The inferred fill of an order; with a quantity of 0 there is none."""

    quantity: Decimal = ZERO
    price: Decimal = ZERO
    commission: Decimal = ZERO
    time: datetime | None = None
    currency: str = ""
    fee_rate: FeeRate = SAME_CURRENCY
    fee_in_base: Decimal = ZERO  # fees of a cumulative quantity are known with its fills only

    @property
    def commission_rate(self) -> Decimal | None:
        return self.fee_rate.rate


def inferred_fill_after(
    inferred: InferredFill,
    cumulative: Iterable[Execution],
    filled: Decimal,
    new: Decimal,
    rate_of: Callable[[Execution], FeeRate] = lambda _: SAME_CURRENCY,
) -> InferredFill:
    """Return the inferred fill after a batch. Pure.

    cumulative: the cumulative reports of the batch. filled: the order's quantity with the current
    inferred part and with corrections. new: quantity of executions with ids that were not counted
    yet. Average price and time are those of the largest cumulative quantity ever reported.
    """
    with_ids = filled - inferred.quantity + new
    largest = max(cumulative, key=lambda fill: fill.quantity, default=None)
    if largest is not None and largest.quantity > max(filled, with_ids):
        quantity = largest.quantity - with_ids
        commission = divide(largest.commission * quantity, largest.quantity)
        return InferredFill(
            quantity, largest.price, commission, largest.time, largest.commission_currency,
            rate_of(largest),
        )  # fmt: skip
    quantity = max(filled - with_ids, ZERO)
    if quantity == inferred.quantity:
        return inferred
    if quantity == 0:
        return InferredFill()
    commission = divide(inferred.commission * quantity, inferred.quantity)
    return replace(inferred, quantity=quantity, commission=commission)


class FillRow(NamedTuple):
    """A fill as it is stored."""

    order_id: int
    broker_fill_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    commission_currency: str
    commission_rate: Decimal | None
    commission_rate_at: datetime | None
    fee_in_base: Decimal
    revision: int
    inferred: bool
    time: datetime


LOAD = Query(
    FillRow,
    """
SELECT order_id, broker_fill_id, quantity, price, commission, commission_currency, commission_rate,
  commission_rate_at, fee_in_base, revision, inferred, time
FROM execution_fill WHERE order_id = ANY(%s)
  AND (inferred OR broker_fill_id = ANY(%s::text[]))
""",
)

CORRECT = """
UPDATE execution_fill f SET quantity = d.quantity, price = d.price, commission = d.commission,
  commission_currency = d.currency, commission_rate = d.rate, commission_rate_at = d.rate_at,
  fee_in_base = d.fee_in_base, time = d.time, revision = d.revision
FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[],
  %s::numeric[], %s::timestamptz[], %s::numeric[], %s::timestamptz[], %s::int[])
  AS d(order_id, broker_fill_id, quantity, price, commission, currency, rate, rate_at, fee_in_base,
    time, revision)
WHERE f.order_id = d.order_id AND f.broker_fill_id = d.broker_fill_id
"""

VOID = "DELETE FROM execution_fill WHERE order_id = %s AND broker_fill_id = %s"

ADD = """
INSERT INTO execution_fill (connection_id, broker_fill_id, order_id, side, quantity, price,
  commission, commission_currency, commission_rate, commission_rate_at, fee_in_base, time, revision)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::text[], %s::numeric[], %s::timestamptz[], %s::numeric[],
  %s::timestamptz[], %s::int[])
"""

UPSERT_INFERRED = """
INSERT INTO execution_fill (connection_id, broker_fill_id, order_id, side, quantity, price,
  commission, commission_currency, commission_rate, commission_rate_at, time, inferred)
SELECT *, true FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::text[], %s::numeric[], %s::timestamptz[], %s::timestamptz[])
ON CONFLICT (connection_id, broker_fill_id) DO UPDATE SET quantity = EXCLUDED.quantity,
  price = EXCLUDED.price, commission = EXCLUDED.commission, time = EXCLUDED.time,
  commission_currency = EXCLUDED.commission_currency, commission_rate = EXCLUDED.commission_rate,
  commission_rate_at = EXCLUDED.commission_rate_at
"""
DELETE_INFERRED = "DELETE FROM execution_fill WHERE order_id = ANY(%s) AND inferred"
SET_INFERRED_QUANTITY = """
UPDATE execution_order o SET inferred_quantity = d.quantity
FROM unnest(%s::bigint[], %s::numeric[]) AS d(id, quantity) WHERE o.id = d.id
"""


@dataclass(slots=True)
class FillCorrections:
    """What a batch states about one order beyond new executions.

    new: executions with ids that were inserted just now. corrections: cumulative quantities and
    corrected executions.
    """

    row: OrderRow
    new: Sequence[NewFill]
    corrections: Sequence[Execution]


def reconcile_fills(
    corrections: Sequence[FillCorrections], rates: FeeRates
) -> dict[int, FillDelta]:
    """Write cumulative quantities and corrections to the fills; return what changes of each order.

    rates: fee rates of the batch. Raises QuantityCorrectedError: the report becomes drift.
    """
    ids = [order.row.id for order in corrections]
    revised = {
        fill.broker_fill_id
        for order in corrections
        for fill in order.corrections
        if not fill.inferred
    }
    stored: dict[tuple[int, str], FillRow] = {}
    inferred: dict[int, InferredFill] = {}
    for row in rows(LOAD, (ids, array(revised))):
        if row.inferred:
            inferred[row.order_id] = InferredFill(
                row.quantity, row.price, row.commission, row.time, row.commission_currency,
                FeeRate(row.commission_rate, row.commission_rate_at), row.fee_in_base,
            )  # fmt: skip
        else:
            stored[row.order_id, row.broker_fill_id] = row
    voided = load_voided(
        (order.row.connection_id, fill.broker_fill_id)
        for order in corrections
        for fill in order.corrections
        if not fill.inferred
    )
    deltas: dict[int, FillDelta] = {}
    after: dict[int, InferredFill] = {}
    for order in corrections:
        before = inferred.get(order.row.id, InferredFill())
        delta = deltas[order.row.id] = count_new(order.new)
        _correct(order, stored, voided, delta, rates)
        now = after[order.row.id] = inferred_fill_after(
            before,
            [fill for fill in order.corrections if fill.inferred],
            order.row.filled_quantity + delta.shift,
            delta.quantity - delta.shift,
            partial(rates.of, order.row),
        )
        _count_inferred(delta, before, now)
    _write_inferred(corrections, inferred, after)
    return deltas


def count_new(fills: Sequence[NewFill]) -> FillDelta:
    """Return what new executions with ids add."""
    delta = FillDelta(
        times=[f.time for f in fills],
        fill_ids=[f.broker_fill_id for f in fills],
        prices=[f.price for f in fills],
    )
    for fill in fills:
        delta.count(1, fill)
    return delta


def _count_inferred(delta: FillDelta, before: InferredFill, now: InferredFill) -> None:
    """Add the change of an order's inferred fill to its delta."""
    delta.inferred = now.quantity
    delta.replaced = max(before.quantity - now.quantity, ZERO)
    delta.count(-1, before)
    delta.count(1, now)
    if now.quantity > before.quantity and now.time is not None:
        delta.times.append(now.time)
        delta.fill_ids.append("inferred")
        delta.prices.append(now.price)


def _correct(
    order: FillCorrections,
    stored: dict[tuple[int, str], FillRow],
    voided: dict[tuple[str, str], int],
    delta: FillDelta,
    rates: FeeRates,
) -> None:
    """Replace executions by their highest revision; an unknown execution is added."""
    latest: dict[str, Execution] = {}
    for fill in order.corrections:
        other = latest.get(fill.broker_fill_id)
        if not fill.inferred and (other is None or fill.revision > other.revision):
            latest[fill.broker_fill_id] = fill
    account = order.row.connection_id
    gone = []
    for fill_id in sorted(latest):
        fill, known = latest[fill_id], stored.get((order.row.id, fill_id))
        if voided.get((account, fill_id), -1) >= fill.revision:
            continue
        if known is not None and known.revision >= fill.revision:
            continue
        if fill.quantity == 0:
            gone.append(VoidedFillRow(account, fill_id, fill.revision))
            if known is not None:
                _void(known, delta)
        elif known is None:
            _add(order.row, fill, delta, rates)
        else:
            if fill.quantity < 0:
                raise QuantityCorrectedError(f"{fill_id}: {known.quantity} → {fill.quantity}")
            _replace(order.row, known, fill, delta, rates)
    store_voided(gone)


def _void(known: FillRow, delta: FillDelta) -> None:
    """Delete an execution that was corrected to nothing."""
    run(VOID, (known.order_id, known.broker_fill_id))
    delta.count(-1, known)
    delta.shift -= known.quantity
    delta.corrected += 1


def _add(row: OrderRow, fill: Execution, delta: FillDelta, rates: FeeRates) -> None:
    """Insert a corrected execution whose earlier revision was never reported."""
    rate = rates.of(row, fill)
    record = (
        row.connection_id, fill.broker_fill_id, row.id, row.side, fill.quantity, fill.price,
        fill.commission, fill.commission_currency, *rate, withheld_fee(row, fill), fill.time,
        fill.revision,
    )  # fmt: skip
    run(ADD, columns([record], 13))
    delta.count(1, _as_stored(row, fill, rate))
    delta.times.append(fill.time)
    delta.fill_ids.append(fill.broker_fill_id)
    delta.prices.append(fill.price)


def _replace(
    row: OrderRow, known: FillRow, fill: Execution, delta: FillDelta, rates: FeeRates
) -> None:
    """Update a stored execution to a higher revision."""
    rate = rates.replacing(row, known, fill)
    record = (
        row.id, fill.broker_fill_id, fill.quantity, fill.price, fill.commission,
        fill.commission_currency, *rate, withheld_fee(row, fill), fill.time, fill.revision,
    )  # fmt: skip
    run(CORRECT, columns([record], 11))
    delta.count(-1, known)
    delta.count(1, _as_stored(row, fill, rate))
    delta.shift += fill.quantity - known.quantity
    if fill.quantity > known.quantity:  # it opens or closes a quantity, as a new execution does
        delta.times.append(fill.time)
    if fill.price != known.price:
        delta.prices.append(fill.price)
    delta.corrected += 1


def _as_stored(row: OrderRow, fill: Execution, rate: FeeRate) -> InferredFill:
    """Return an execution as it was just written."""
    return InferredFill(
        fill.quantity, fill.price, fill.commission, fill.time, fill.commission_currency, rate,
        withheld_fee(row, fill),
    )  # fmt: skip


def _write_inferred(
    corrections: Sequence[FillCorrections],
    before: dict[int, InferredFill],
    after: dict[int, InferredFill],
) -> None:
    """Insert, update or delete the inferred fills that have changed."""
    changed = [
        order.row
        for order in corrections
        if after[order.row.id] != before.get(order.row.id, InferredFill())
    ]
    if not changed:
        return
    run(SET_INFERRED_QUANTITY, columns([(row.id, after[row.id].quantity) for row in changed], 2))
    if replaced := [row.id for row in changed if after[row.id].quantity == 0]:
        run(DELETE_INFERRED, (replaced,))
    if kept := [(row, after[row.id]) for row in changed if after[row.id].quantity > 0]:
        records = [
            (row.connection_id, f"inferred:{row.id}", row.id, row.side, now.quantity, now.price,
             now.commission, now.currency, *now.fee_rate, now.time)
            for row, now in kept
        ]  # fmt: skip
        run(UPSERT_INFERRED, columns(records, 11))
