"""Commissions that come apart from their executions: into the stored fill, and nothing else.

Some brokers send the commission of an execution some time after it, perhaps to another process.
What states only that is taken out of the reports before they are applied, so no quantity, price,
status or exit can depend on it, and is booked afterwards in a transaction of its own. An execution
that is not stored is none to add: it may exceed what was open, or be corrected to nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from brokers.types import Execution, OrderReport, ReportKind
from common.db.sql import IdRow, Query, columns, rows, run
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.exits.reservations import lock_positions_of
from execution.reports import sql
from execution.reports.aggregate_ends import FILLS
from execution.reports.allotment import allot_fee
from execution.reports.fees import (
    FeeRate,
    converted,
    load_fee_rates,
    update_unconverted_fees,
)
from execution.reports.moved_fills import MemberFill, execution_of
from positions.joins import entry_position_join_sql, position_join_sql
from positions.quantities import add_commissions_sql


class StatedCommission(NamedTuple):
    """The commission of a broker's execution. revision: of the execution that it belongs to."""

    connection_id: str
    broker_fill_id: str
    revision: int
    commission: Decimal
    currency: str


class Charge(NamedTuple):
    """A fill's new commission. before: the fill as it is stored. rate: of the new commission."""

    before: MemberFill
    commission: Decimal
    currency: str
    rate: FeeRate

    @property
    def change(self) -> Decimal:
        """What it adds to totals in the account's currency."""
        return converted(self.commission, self.rate.rate) - converted(
            self.before.commission, self.before.commission_rate
        )

    @property
    def is_unconverted(self) -> bool:
        """Whether the commission had no rate, or has none now."""
        return self.rate.rate is None or self.before.commission_rate is None


# The fill that has the broker's own id, with another commission; orders that were sent as one have
# a share of it each.
FIND = Query(
    IdRow,
    """
WITH found AS (
  SELECT DISTINCT f.order_id FROM execution_fill f
  JOIN unnest(%s::uuid[], %s::text[], %s::int[], %s::numeric[], %s::text[])
    AS d(connection_id, broker_fill_id, revision, commission, currency)
    ON d.connection_id = f.connection_id AND d.broker_fill_id = f.broker_fill_id
  WHERE NOT f.inferred AND f.revision <= d.revision AND (f.commission <> d.commission
    OR d.commission <> 0 AND f.commission_currency <> d.currency)
)
SELECT order_id AS id FROM found
UNION
SELECT m.id FROM found JOIN execution_order o ON o.id = found.order_id
JOIN execution_order m ON m.aggregate_id = o.aggregate_id
""",
)

STORE = """
UPDATE execution_fill f SET commission = d.commission, commission_currency = d.currency,
  commission_rate = d.rate, commission_rate_at = d.rate_at
FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::text[], %s::numeric[], %s::timestamptz[])
  AS d(order_id, broker_fill_id, commission, currency, rate, rate_at)
WHERE f.order_id = d.order_id AND f.broker_fill_id = d.broker_fill_id
"""

_CHANGED = "WITH d AS (SELECT * FROM unnest(%s::bigint[], %s::numeric[]) AS t(id, commission))"
ADD_TO_ORDERS = f"""
{_CHANGED}
UPDATE execution_order o SET commission = o.commission + d.commission FROM d WHERE o.id = d.id
"""
ADD_TO_POSITIONS = f"""
{_CHANGED}, charged AS (
  SELECT id, sum(commission) AS commission FROM (
    SELECT p.id, d.commission FROM d JOIN execution_order o USING (id)
    {position_join_sql("o.position_id")}
    UNION ALL
    SELECT p.id, d.commission FROM d JOIN execution_order o USING (id)
    {entry_position_join_sql("o")} WHERE o.position_id IS NULL) x
  GROUP BY id
)
{add_commissions_sql("charged")}
"""

_LINES = """unnest(%s::bigint[], %s::text[], %s::numeric[], %s::text[])
  AS d(id, broker_fill_id, commission, currency) JOIN execution_order m USING (id)"""
LOG = insert_log_sql(
    log_rows_sql(
        _LINES,
        code="%s",
        detail="%s",
        numbers="""jsonb_build_object('broker_fill_ids', d.broker_fill_id,
  'commission', trim_scale(d.commission)::text, 'currency', d.currency)""",
    )
)


@dataclass(slots=True)
class SplitReports:
    """Reports without what states only a commission, and that. originals: by id of a report that
    was changed, as it came."""

    reports: list[OrderReport] = field(default_factory=list)
    commissions: list[StatedCommission] = field(default_factory=list)
    originals: dict[int, OrderReport] = field(default_factory=dict)

    def as_they_came(self, reports: Sequence[OrderReport]) -> list[OrderReport]:
        """Return reports of these as they came: they are applied again, or compared by identity."""
        return [self.originals.get(id(report), report) for report in reports]


def split_commissions(reports: Sequence[OrderReport]) -> SplitReports:
    """Take out of reports what states only a commission. A report with nothing else is left out."""
    split = SplitReports()
    for report in reports:
        if not any(fill.is_commission_only for fill in report.fills):
            split.reports.append(report)
            continue
        for fill in report.fills:
            if fill.is_commission_only:
                split.commissions.append(_stated(report, fill))
        fills = tuple(fill for fill in report.fills if not fill.is_commission_only)
        if fills or report.kind is not ReportKind.FILLED:
            without = replace(report, fills=fills)
            split.reports.append(without)
            split.originals[id(without)] = report
    return split


def _stated(report: OrderReport, fill: Execution) -> StatedCommission:
    return StatedCommission(
        report.connection_id, fill.broker_fill_id, fill.revision, fill.commission,
        fill.commission_currency,
    )  # fmt: skip


def book_commissions(
    stated: Sequence[StatedCommission],
    *,
    code: Code = Code.COMMISSION_REPORTED,
    detail: str = "",
) -> int:
    """Book commissions on the fills that are stored, their orders and positions, each once.

    Of several for one execution the highest revision counts, of equal ones the last. One that is
    booked already changes nothing. code, detail: of the log lines. Returns how many fills changed.
    """
    latest: dict[tuple[str, str], StatedCommission] = {}
    for one in stated:
        known = latest.get(one[:2])
        if known is None or known.revision <= one.revision:
            latest[one[:2]] = one
    found = rows(FIND, columns([latest[key] for key in sorted(latest)], 5)) if latest else []
    if not found:
        return 0
    order_ids = sorted(row.id for row in found)
    with transaction.atomic():
        orders = rows(sql.LOAD, {"ids": order_ids, "client_order_ids": "{}"})  # locks them
        lock_positions_of(order_ids)
        fills = rows(FILLS, (order_ids,))  # again: the previous holder of a lock may change them
        if charges := _charges(latest, fills, {row.id: row for row in orders}):
            _write(charges, code, detail)
    return len(charges)


def _charges(
    stated: dict[tuple[str, str], StatedCommission],
    fills: Sequence[MemberFill],
    orders: dict[int, sql.OrderRow],
) -> list[Charge]:
    """Return the new commissions of those fills that have another one."""
    shares: dict[tuple[str, str], list[MemberFill]] = {}
    for fill in sorted(fills, key=lambda fill: fill.order_id):
        if not fill.inferred:
            shares.setdefault((fill.connection_id, execution_of(fill)), []).append(fill)
    wanted: list[tuple[MemberFill, Execution]] = []
    for fill in fills:
        one = stated.get((fill.connection_id, fill.broker_fill_id))
        if one is not None and not fill.inferred and fill.revision <= one.revision:
            wanted += _shares_of(one, shares[fill.connection_id, execution_of(fill)])
    rates = load_fee_rates((orders[fill.order_id], charged) for fill, charged in wanted)
    return [
        Charge(
            fill, charged.commission, charged.commission_currency,
            rates.replacing(orders[fill.order_id], fill, charged),
        )
        for fill, charged in wanted
    ]  # fmt: skip


def _shares_of(
    stated: StatedCommission, shares: Sequence[MemberFill]
) -> list[tuple[MemberFill, Execution]]:
    """Return each share of an execution with its part of the commission; [] if it is booked."""
    is_booked = sum(fill.commission for fill in shares) == stated.commission and all(
        fill.commission_currency == stated.currency for fill in shares if fill.commission
    )
    if is_booked:
        return []
    fees = allot_fee(stated.commission, [fill.quantity for fill in shares])
    return [
        (
            fill,
            Execution(
                fill.broker_fill_id, fill.quantity, fill.price, fill.time, fee, stated.currency
            ),
        )
        for fill, fee in zip(shares, fees, strict=True)
    ]


def _write(charges: Sequence[Charge], code: Code, detail: str) -> None:
    """Write commissions to fills, orders, positions and the log. All of them are locked."""
    run(
        STORE,
        columns(
            [
                (c.before.order_id, c.before.broker_fill_id, c.commission, c.currency, *c.rate)
                for c in charges
            ],
            6,
        ),
    )
    changes: dict[int, Decimal] = {}
    for charge in charges:
        order_id = charge.before.order_id
        changes[order_id] = changes.get(order_id, Decimal(0)) + charge.change
    run(ADD_TO_ORDERS, columns(sorted(changes.items()), 2))
    run(ADD_TO_POSITIONS, columns(sorted(changes.items()), 2))
    update_unconverted_fees(sorted({c.before.order_id for c in charges if c.is_unconverted}))
    lines = [
        (c.before.order_id, c.before.broker_fill_id, c.commission, c.currency) for c in charges
    ]
    run(LOG, (code.value, detail, *columns(lines, 4)))
