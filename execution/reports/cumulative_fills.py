"""Sums that a broker told without ids, and the executions that replace them.

What an order has executed is max(the largest sum told, Σ of the executions with ids). What the sum
says beyond those stands in one fill row of the order, marked inferred, at the sum's own average; it
shrinks as they come and vanishes with the last of them. Thus no order of arrival counts anything
twice. A corrected execution (a higher revision) replaces the earlier ones under its id, in all that
follows from them: what was counted shrinks or grows with it. A sum that was told before a
correction and comes after it cannot be told from a new one: the next comparison shows it.

Orders are locked by the caller, so their fills hold still.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from brokers.types import Execution
from common.money import divide
from common.sql import array, columns, rows, run
from execution.reports.fees import SAME, FeeRate, FeeRates, converted, withheld

ZERO = Decimal(0)


class QuantityCorrectedError(Exception):
    """A broker took back all that an order had executed: people must look."""


@dataclass(slots=True)
class FillDelta:
    """What a flush adds to an order. Corrections may make each of it negative.

    opened: what an entry's position gets of `quantity`, after fees in the base currency.
    commission: account currency, without fees that could not be converted.
    """

    quantity: Decimal = ZERO
    value: Decimal = ZERO
    opened: Decimal = ZERO
    opened_value: Decimal = ZERO
    commission: Decimal = ZERO
    is_unconverted: bool = False  # a fee came that has no rate
    times: list[datetime] = field(default_factory=list)
    fill_ids: list[str] = field(default_factory=list)
    prices: list[Decimal] = field(default_factory=list)  # of new executions; a sum's is its average
    inferred: Decimal = ZERO  # of the order, afterwards
    replaced: Decimal = ZERO  # of what had been inferred, by executions with ids
    corrected: int = 0  # executions
    shift: Decimal = ZERO  # of their quantities; part of `quantity`

    def count(self, sign: int, fill: "StoredFill") -> None:
        """Add what an execution effects (sign 1), or take it away (-1)."""
        net = fill.quantity - fill.fee_in_base
        self.quantity += sign * fill.quantity
        self.value += sign * fill.quantity * fill.price
        self.opened += sign * net
        self.opened_value += sign * net * fill.price
        self.commission += sign * converted(fill.commission, fill.commission_rate)
        self.is_unconverted |= bool(fill.commission) and fill.commission_rate is None

    @property
    def is_restated(self) -> bool:
        """Whether what was counted before has changed: the position is then worked out anew."""
        return bool(self.replaced or self.corrected or self.inferred)

    @property
    def changes_anything(self) -> bool:
        return bool(self.quantity or self.replaced or self.corrected)


NO_CHANGE = FillDelta()


class StoredFill(Protocol):
    """A fill as it is stored: `execution_fill`."""

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
    """The inferred fill of an order. Nothing: a quantity of 0."""

    quantity: Decimal = ZERO
    price: Decimal = ZERO
    commission: Decimal = ZERO
    time: datetime | None = None
    currency: str = ""
    fee_rate: FeeRate = SAME
    fee_in_base: Decimal = ZERO  # a sum's fees are known with its executions

    @property
    def commission_rate(self) -> Decimal | None:
        return self.fee_rate.rate


def inferred_fill_after(
    inferred: InferredFill,
    delta: Iterable[Execution],
    filled: Decimal,
    new: Decimal,
    rate_of: Callable[[Execution], FeeRate] = lambda _: SAME,
) -> InferredFill:
    """What the inferred fill becomes. Pure.

    filled: the order's, with the present inferred part and as corrected; new: of executions with
    ids that were not counted yet. The average and the time are those of the largest sum that was
    ever told.
    """
    named = filled - inferred.quantity + new
    largest = max(delta, key=lambda one: one.quantity, default=None)
    if largest is not None and largest.quantity > max(filled, named):
        quantity = largest.quantity - named
        commission = divide(largest.commission * quantity, largest.quantity)
        return InferredFill(
            quantity, largest.price, commission, largest.time, largest.commission_currency,
            rate_of(largest),
        )  # fmt: skip
    quantity = max(filled - named, ZERO)
    if quantity == inferred.quantity:
        return inferred
    if quantity == 0:
        return InferredFill()
    commission = divide(inferred.commission * quantity, inferred.quantity)
    return replace(inferred, quantity=quantity, commission=commission)


LOAD = """
SELECT order_id, broker_fill_id, quantity, price, commission, commission_currency, commission_rate,
  commission_rate_at, fee_in_base, revision, inferred, time
FROM execution_fill WHERE order_id = ANY(%s)
  AND (inferred OR broker_fill_id = ANY(%s::text[]))
"""

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
NOTE = """
UPDATE execution_order o SET inferred_quantity = d.quantity
FROM unnest(%s::bigint[], %s::numeric[]) AS d(id, quantity) WHERE o.id = d.id
"""


@dataclass(slots=True)
class FillCorrections:
    """What a flush says about one order beyond plain new executions.

    new: executions with ids that were inserted just now.
    """

    row: Any
    new: Sequence[Any]
    corrections: Sequence[Execution]  # sums, and corrected executions


def reconcile_fills(
    corrections: Sequence[FillCorrections], rates: FeeRates
) -> dict[int, FillDelta]:
    """Write sums and corrections to the fills; return by order what changes because of all told.

    rates: what fees are converted by. Raises QuantityCorrectedError: the report becomes drift.
    """
    ids = [one.row.id for one in corrections]
    revised = {
        fill.broker_fill_id for one in corrections for fill in one.corrections if not fill.inferred
    }
    there: dict[tuple[int, str], Any] = {}
    inferred: dict[int, InferredFill] = {}
    for row in rows(LOAD, (ids, array(revised))):
        if row.inferred:
            inferred[row.order_id] = InferredFill(
                row.quantity, row.price, row.commission, row.time, row.commission_currency,
                FeeRate(row.commission_rate, row.commission_rate_at), row.fee_in_base,
            )  # fmt: skip
        else:
            there[row.order_id, row.broker_fill_id] = row
    delta = {}
    after: dict[int, InferredFill] = {}
    for one in corrections:
        before = inferred.get(one.row.id, InferredFill())
        counted = delta[one.row.id] = count_new(one.new)
        _correct(one, there, counted, rates)
        now = after[one.row.id] = inferred_fill_after(
            before,
            [fill for fill in one.corrections if fill.inferred],
            one.row.filled_quantity + counted.shift,
            counted.quantity - counted.shift,
            partial(rates.of, one.row),
        )
        _count_inferred(counted, before, now)
    _write_inferred(corrections, inferred, after)
    return delta


def count_new(fills: Sequence[Any]) -> FillDelta:
    """What executions with ids add, that were not counted yet."""
    delta = FillDelta(
        times=[f.time for f in fills],
        fill_ids=[f.broker_fill_id for f in fills],
        prices=[f.price for f in fills],
    )
    for fill in fills:
        delta.count(1, fill)
    return delta


def _count_inferred(counted: FillDelta, before: InferredFill, now: InferredFill) -> None:
    counted.inferred = now.quantity
    counted.replaced = max(before.quantity - now.quantity, ZERO)
    counted.count(-1, before)
    counted.count(1, now)
    if now.quantity > before.quantity and now.time is not None:
        counted.times.append(now.time)
        counted.fill_ids.append("inferred")
        counted.prices.append(now.price)


def _correct(
    one: FillCorrections, there: dict[tuple[int, str], Any], counted: FillDelta, rates: FeeRates
) -> None:
    """Replace executions by their highest revision; one that is not known yet is a new one."""
    latest: dict[str, Execution] = {}
    for fill in one.corrections:
        known = latest.get(fill.broker_fill_id)
        if not fill.inferred and (known is None or fill.revision > known.revision):
            latest[fill.broker_fill_id] = fill
    for fill_id in sorted(latest):
        fill, known = latest[fill_id], there.get((one.row.id, fill_id))
        if known is None:
            _add(one.row, fill, counted, rates)
        elif known.revision < fill.revision:
            if fill.quantity <= 0:
                raise QuantityCorrectedError(f"{fill_id}: {known.quantity} → {fill.quantity}")
            _replace(one.row, known, fill, counted, rates)


def _add(row: Any, fill: Execution, counted: FillDelta, rates: FeeRates) -> None:
    rate = rates.of(row, fill)
    record = (
        row.connection_id, fill.broker_fill_id, row.id, row.side, fill.quantity, fill.price,
        fill.commission, fill.commission_currency, *rate, withheld(row, fill), fill.time,
        fill.revision,
    )  # fmt: skip
    run(ADD, columns([record], 13))
    counted.count(1, _stored(row, fill, rate))
    counted.times.append(fill.time)
    counted.fill_ids.append(fill.broker_fill_id)
    counted.prices.append(fill.price)


def _replace(row: Any, known: Any, fill: Execution, counted: FillDelta, rates: FeeRates) -> None:
    rate = rates.of(row, fill)
    if rate.rate is None and _has_rate_for(known, fill.commission_currency):
        rate = FeeRate(known.commission_rate, known.commission_rate_at)  # the one that was kept
    record = (
        row.id, fill.broker_fill_id, fill.quantity, fill.price, fill.commission,
        fill.commission_currency, *rate, withheld(row, fill), fill.time, fill.revision,
    )  # fmt: skip
    run(CORRECT, columns([record], 11))
    counted.count(-1, known)
    counted.count(1, _stored(row, fill, rate))
    counted.shift += fill.quantity - known.quantity
    if fill.quantity > known.quantity:  # it opens or closes something, as an execution does
        counted.times.append(fill.time)
    if fill.price != known.price:
        counted.prices.append(fill.price)
    counted.corrected += 1


def _has_rate_for(known: Any, currency: str) -> bool:
    """Whether a fill has a fee in this currency, with the rate that it was converted by."""
    return bool(known.commission) and known.commission_currency == currency


def _stored(row: Any, fill: Execution, rate: FeeRate) -> InferredFill:
    """An execution as it was just written."""
    return InferredFill(
        fill.quantity, fill.price, fill.commission, fill.time, fill.commission_currency, rate,
        withheld(row, fill),
    )  # fmt: skip


def _write_inferred(
    corrections: Sequence[FillCorrections],
    before: dict[int, InferredFill],
    after: dict[int, InferredFill],
) -> None:
    changed = [
        one.row
        for one in corrections
        if after[one.row.id] != before.get(one.row.id, InferredFill())
    ]
    if not changed:
        return
    run(NOTE, columns([(row.id, after[row.id].quantity) for row in changed], 2))
    if gone := [row.id for row in changed if after[row.id].quantity == 0]:
        run(DELETE_INFERRED, (gone,))
    if kept := [(row, after[row.id]) for row in changed if after[row.id].quantity > 0]:
        records = [
            (row.connection_id, f"inferred:{row.id}", row.id, row.side, now.quantity, now.price,
             now.commission, now.currency, *now.fee_rate, now.time)
            for row, now in kept
        ]  # fmt: skip
        run(UPSERT_INFERRED, columns(records, 11))
