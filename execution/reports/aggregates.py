"""Reports about orders that were sent as one: each becomes a report about every member.

The broker knows the client order id of the first member only. What it executes is allotted
(`allotment.py`); what else it states is true of all members, and so are our decisions about the
call. `apply.py` calls this in the transaction that applies the reports.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import structlog

from brokers.types import DECISIONS, Execution, OrderReport, ReportKind
from common.db.sql import IdRow, Query, array, rows, run
from common.reason_codes import Code
from connections.selectors import connection_join_sql, instrument_join_sql
from execution.ids import all_attempts
from execution.models import Status
from execution.reports.allotment import Aggregate, Member, fill_id_of
from execution.reports.member_shares import MINIMUM_COLUMNS, least_closable
from execution.reports.voided_fills import without_voided

log = structlog.get_logger(__name__)


class AggregatesFoundError(Exception):
    """Reports name orders that were sent as one with others, whose rows are not locked yet.

    leaders: the first members.
    """

    def __init__(self, leaders: Iterable[int]) -> None:
        super().__init__("the reports are about aggregates")
        self.leaders = frozenset(leaders)


class MemberRow(NamedTuple):
    """A member of an aggregate.

    step, quantity_min, close_min, close_worth_min: of its instrument; 0 if unknown. price: its
    average, or the one that was expected.
    """

    id: int
    aggregate_id: int
    client_order_id: str
    connection_id: str
    status: str
    fence: int
    quantity: Decimal
    filled_quantity: Decimal
    inferred_quantity: Decimal
    price: Decimal
    step: Decimal
    quantity_min: Decimal
    close_min: Decimal
    close_worth_min: Decimal


class ShareRow(NamedTuple):
    """A member's share of an execution, as it is stored."""

    order_id: int
    broker_fill_id: str
    quantity: Decimal
    revision: int


# All orders of the reports in the order of their ids, as everywhere.
LOCK = Query(
    IdRow,
    """
SELECT id FROM execution_order WHERE id IN (
  SELECT id FROM execution_order WHERE client_order_id = ANY(%(ids)s::text[])
  UNION
  SELECT id FROM execution_order WHERE aggregate_id = ANY(%(leaders)s::bigint[]))
ORDER BY id FOR NO KEY UPDATE
""",
)
MEMBERS = Query(
    MemberRow,
    f"""
SELECT o.id, o.aggregate_id, o.client_order_id, o.connection_id::text, o.status, o.fence,
  o.quantity, o.filled_quantity, o.inferred_quantity,
  coalesce(nullif(o.avg_fill_price, 0), o.expected_price, 0) AS price,
  {MINIMUM_COLUMNS}
FROM execution_order o
{connection_join_sql("o.connection_id")}
{instrument_join_sql("o.symbol")}
WHERE o.aggregate_id = ANY(%s::bigint[]) ORDER BY o.id
""",
)
SHARES = Query(
    ShareRow,
    """
SELECT order_id, broker_fill_id, quantity, revision FROM execution_fill
WHERE order_id = ANY(%s::bigint[]) AND NOT inferred
""",
)
DISSOLVE = """
UPDATE execution_order SET aggregate_id = NULL WHERE aggregate_id = ANY(%s::bigint[])
"""


def expand(reports: Sequence[OrderReport], leaders: Iterable[int]) -> list[OrderReport]:
    """Return the reports with those about these aggregates replaced by one for each member.

    Locks all orders of the reports. A report about another attempt, about levels, or about an exit
    that the broker made stays as it is.
    """
    ids = {cid for r in reports if r.client_order_id for cid in all_attempts(r.client_order_id)}
    rows(LOCK, {"ids": array(ids), "leaders": array(leaders)})
    reports = without_voided(reports)
    members: dict[int, list[MemberRow]] = {}
    for row in rows(MEMBERS, (array(leaders),)):
        members.setdefault(row.aggregate_id, []).append(row)
    of_name = {
        (row.connection_id, row.client_order_id): group
        for leader, group in members.items()
        for row in group
        if row.id == leader
    }
    stored = _stored_shares([row.id for group in members.values() for row in group])
    aggregates = {leader: _aggregate_of(group) for leader, group in members.items()}
    expanded: list[OrderReport] = []
    for report in reports:
        group = of_name.get((report.connection_id, report.client_order_id))
        if group is None or not concerns_all(report):
            expanded.append(report)
        elif report.kind in DECISIONS:
            expanded += _decisions(report, group)
        else:
            aggregate = aggregates[group[0].aggregate_id]
            _recall(aggregate, report.fills, stored)
            expanded += _facts(report, group, aggregate)
    return expanded


def concerns_all(report: OrderReport) -> bool:
    """Return whether a report about an aggregate's order is about all of its members."""
    return report.close_cause is None and report.kind is not ReportKind.LEVELS


def dissolve(leaders: Iterable[int]) -> None:
    """End aggregates that were certainly not sent: each member goes on alone, under its own id.

    Must run in the transaction that has locked the members.
    """
    if found := sorted(set(leaders)):
        run(DISSOLVE, (found,))


Stored = Mapping[tuple[int, str], ShareRow]


def _stored_shares(order_ids: Sequence[int]) -> Stored:
    found = rows(SHARES, (array(order_ids),)) if order_ids else []
    return {(share.order_id, share.broker_fill_id): share for share in found}


def _aggregate_of(group: Sequence[MemberRow]) -> Aggregate:
    members = [
        Member(row.id, row.quantity, row.filled_quantity, row.inferred_quantity) for row in group
    ]
    return Aggregate(members, group[0].step, least_closable(group[0]))


def _recall(aggregate: Aggregate, fills: Iterable[Execution], stored: Stored) -> None:
    """Store in an aggregate which shares of these executions its members have already."""
    for raw in {fill.broker_fill_id for fill in fills if not fill.inferred}:
        if raw in aggregate.revisions:
            continue
        for member in aggregate.members:
            whole = stored.get((member.order_id, raw))
            share = whole or stored.get((member.order_id, fill_id_of(raw, member.order_id)))
            if share is None:
                continue
            member.shares[raw] = share.quantity
            aggregate.revisions[raw] = share.revision
            if whole is not None:
                aggregate.holders[raw] = member.order_id


def _decisions(report: OrderReport, group: Sequence[MemberRow]) -> list[OrderReport]:
    """Return a decision about the call of an aggregate for its members.

    None of them is sent again unless all are free to be: if one has been taken over meanwhile, the
    order at the broker is looked up instead.
    """
    leader = next(row for row in group if row.id == row.aggregate_id)
    if leader.fence != report.fence:
        return []
    in_call = [row for row in group if row.status == Status.SUBMITTING]
    if report.kind is ReportKind.NOT_SENT and len(in_call) < len(group):
        report = replace(report, kind=ReportKind.UNKNOWN, code=Code.WORKER_LOST)
    return [
        replace(report, client_order_id=row.client_order_id, fence=row.fence) for row in in_call
    ]


def _facts(
    report: OrderReport, group: Sequence[MemberRow], aggregate: Aggregate
) -> list[OrderReport]:
    """Return a broker's report for each member, with its shares of the executions."""
    if report.terms is not None:  # only the account's owner can have changed it
        log.warning("terms of an aggregate are not followed", order=report.client_order_id)
    shares: dict[int, list[Execution]] = {row.id: [] for row in group}
    for fill in report.fills:
        for order_id, share in aggregate.allot(fill).items():
            shares[order_id].append(share)
    filled = {member.order_id: member.filled for member in aggregate.members}
    return [
        replace(
            report,
            client_order_id=row.client_order_id,
            fills=tuple(shares[row.id]),
            kind=_kind(report, is_filled=filled[row.id] > 0),
            terms=None,
        )
        for row in group
    ]


def _kind(report: OrderReport, *, is_filled: bool) -> ReportKind:
    """Return what a report is for a member: one that got nothing yet is only accepted."""
    if report.kind is ReportKind.FILLED and not is_filled:
        return ReportKind.ACCEPTED
    return report.kind
