"""Query brokers for reconciliation and polling: snapshots, fills, single orders.

Calls are limited in number and time, and never made inside a transaction. A failed call proves
nothing: its account is left out, or its order stays unchanged.
"""

from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.conf import settings

from brokers.call_runner import GROUPING_SECONDS, BrokerCallRunner, Call, HostSkipped
from brokers.call_time import call_timeout
from brokers.registry import adapter_for
from brokers.shared_reads import shared_reads
from brokers.types import (
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Execution,
    OrderReport,
    ReportKind,
)
from common.db.sql import Query, columns, rows
from common.operational.current import settings_now
from connections.selectors import AccountRow, LaneAccount, SpecRow, spec_from_row
from execution.base.statements import opening_entry_join_sql
from execution.dispatch.background_calls import send_deadline
from execution.dispatch.report_writer import apply_or_defer
from execution.ids import all_attempts, base_of
from execution.runtime import trading_runtime

T = TypeVar("T")
MAX_CONCURRENT, MAX_PER_HOST = 500, 50
MIN_PER_HOST = 8  # more than for look-ups: only one process compares an account
MAX_SECONDS = 300
PARTIAL_ANSWER = "executions"
"""The event id of reports that do not state all about an order."""


class OurOrder(NamedTuple):
    """An order of ours, to compare with the broker's. has_ended: the broker no longer has it."""

    id: int
    connection_id: UUID
    client_order_id: str
    broker_order_id: str
    status: str
    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    filled_quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    trail_distance: Decimal | None
    has_ended: bool


class KnownFill(NamedTuple):
    """A fill that is stored already, with its highest revision. swap: None if it is void."""

    connection_id: str
    broker_fill_id: str
    revision: int
    swap: Decimal | None
    commission: Decimal
    commission_currency: str

    def lacks(self, stated: Execution) -> bool:
        """Return whether a report of it states more: a correction, its swap, or a commission that
        came apart."""
        if stated.is_commission_only:
            differs = self.commission != stated.commission or (
                bool(stated.commission) and self.commission_currency != stated.commission_currency
            )
            return self.swap is not None and stated.revision >= self.revision and differs
        if stated.revision != self.revision:
            return stated.revision > self.revision
        return bool(stated.swap) and self.swap is not None and stated.swap != self.swap


class EntryRow(NamedTuple):
    """An open position of ours, by the broker's id, with its entry's client order id."""

    connection_id: str
    broker_position_id: str
    client_order_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The positions and working orders that a broker holds on one account."""

    positions: list[BrokerPosition]
    orders: list[BrokerOrder]


def call_runner(
    *,
    requests_per_call: int = 1,
    grouping_seconds: float = GROUPING_SECONDS,
    counts_waits: bool = True,
) -> BrokerCallRunner[Any]:
    """Return a runner of calls on this process's loop.

    requests_per_call: broker requests in each call; each has a time-out (`with_call_timeout`).
    grouping_seconds: how long results are collected after the first one. counts_waits: whether a
    call as a whole may not last longer because of its broker's rate limit.
    """
    return BrokerCallRunner(
        partial(trading_runtime.get_runtime().dispatcher.run_call, timeout=MAX_SECONDS),
        max_calls=MAX_CONCURRENT,
        max_per_host=MAX_PER_HOST,
        min_per_host=MIN_PER_HOST,
        seconds=lambda: settings_now().execution.call_timeout_seconds,
        requests_per_call=requests_per_call,
        grouping_seconds=grouping_seconds,
        counts_waits=counts_waits,
    )


async def with_call_timeout(request: Awaitable[T]) -> T:
    """Await one request of a call. Raises TimeoutError after call_timeout_seconds, without
    the wait for its broker's rate limit."""
    async with call_timeout(settings_now().execution.call_timeout_seconds):
        return await request


def snapshots(accounts: Sequence[AccountRow]) -> Iterator[dict[UUID, Snapshot]]:
    """Read positions and orders of accounts, and yield them in groups as they come.

    Accounts that could not be read completely are left out.
    """
    runner = call_runner(requests_per_call=2)
    runner.start([(row, partial(_snapshot, row)) for row in accounts])
    for group in runner.groups():
        if read := {row.connection_id: item for row, item in group if isinstance(item, Snapshot)}:
            yield read


async def _snapshot(row: AccountRow) -> Snapshot:
    adapter, spec = adapter_for(row.type), spec_from_row(row)
    with shared_reads():
        positions = await with_call_timeout(adapter.positions(spec))
        return Snapshot(positions, await with_call_timeout(adapter.open_orders(spec)))


def supports_fill_history(row: SpecRow) -> bool:
    """Return whether this account's broker can list past fills."""
    return adapter_for(row.type).capabilities(spec_from_row(row)).fills_horizon is not None


def sync_fills(accounts: Sequence[AccountRow], since: Mapping[UUID, datetime]) -> set[UUID]:
    """Apply the fills since a broker's time, by account, that are not stored yet.

    Returns the accounts that could not be queried. Fills of orders that are not ours are ignored.
    """
    calls = [(row, _fills(row, since)) for row in accounts]
    reports: list[OrderReport] = []
    failed: set[UUID] = set()
    for row, answer in zip(accounts, _run_calls(calls), strict=True):
        if isinstance(answer, Exception):
            failed.add(row.connection_id)
        else:
            reports += answer
    apply_new_fills(reports)
    return failed


def _fills(row: AccountRow, since: Mapping[UUID, datetime]) -> Call[list[OrderReport]]:
    adapter = adapter_for(row.type)
    return partial(adapter.fills_since, spec_from_row(row), since[row.connection_id])


def apply_new_fills(reports: Sequence[OrderReport]) -> None:
    """Apply the fills of our orders that are not stored yet."""
    if new := _about_us(_not_stored(reports)):
        apply_or_defer(new)


def fully_known_fill_ids(
    accounts: Sequence[AccountRow], since: Mapping[UUID, datetime]
) -> dict[UUID, set[str]]:
    """Query the fills since a broker's time; return their ids for accounts where all are stored.

    Fills that are not stored are applied, and their accounts left out.
    """
    calls = [(row, _fills(row, since)) for row in accounts]
    known_ids: dict[UUID, set[str]] = {}
    missed: list[OrderReport] = []
    for row, answer in zip(accounts, _run_calls(calls), strict=True):
        if isinstance(answer, Exception):
            continue
        missed += (new := _not_stored(answer))
        if not any(_is_execution(fill) for report in new for fill in report.fills):
            known_ids[row.connection_id] = {f.broker_fill_id for r in answer for f in r.fills}
    if ours := _about_us(missed):
        apply_or_defer(ours)
    return known_ids


def _is_execution(fill: Execution) -> bool:
    """Whether a fill that is not stored changes what was executed. One of no quantity is never
    stored, unless it corrects another to nothing."""
    return not fill.is_commission_only and bool(fill.quantity or fill.revision)


KNOWN_FILLS = Query(
    KnownFill,
    """
SELECT f.connection_id::text, f.broker_fill_id, f.revision, f.swap, f.commission,
  f.commission_currency FROM (
  SELECT connection_id, broker_fill_id, revision, swap, commission, commission_currency
  FROM execution_fill
  UNION ALL SELECT connection_id, broker_fill_id, revision, NULL, 0, ''
  FROM execution_voidedfill) f
JOIN unnest(%s::uuid[], %s::text[]) AS t(connection_id, fill_id)
  ON t.connection_id = f.connection_id AND t.fill_id = f.broker_fill_id
ORDER BY f.revision
""",
)


def _not_stored(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Return the reports with only their fills that are not stored, or of which more is stated."""
    named = [(r.connection_id, f.broker_fill_id) for r in reports for f in r.fills]
    stored = rows(KNOWN_FILLS, columns(named, 2))
    known = {(row.connection_id, row.broker_fill_id): row for row in stored}
    new = []
    for report in reports:
        fills = [
            f
            for f in report.fills
            if not (row := known.get((report.connection_id, f.broker_fill_id))) or row.lacks(f)
        ]
        if fills:
            new.append(replace(report, fills=tuple(fills), event_id=PARTIAL_ANSWER))
    return new


ENTRY_OF = Query(
    EntryRow,
    f"""
SELECT p.connection_id::text, p.broker_position_id, e.client_order_id
FROM positions_executionposition p
JOIN unnest(%s::uuid[], %s::text[]) AS t(connection_id, ticket)
  ON t.connection_id = p.connection_id AND t.ticket = p.broker_position_id
{opening_entry_join_sql("p")}
WHERE p.quantity > 0 AND e.client_order_id IS NOT NULL
ORDER BY p.id
""",
)


def _about_us(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Return the reports of our orders: those with our tag, and exits of positions of ours.

    The latter are for adopted positions and for brokers that store no client order ids; the result
    names their entry's id. What states only commissions is about fills that are stored here: it
    needs no open position.
    """
    tag = settings.FILLCAST_INSTALLATION_TAG
    ours: list[OrderReport] = []
    nameless: list[OrderReport] = []
    for report in reports:
        states_commissions = all(fill.is_commission_only for fill in report.fills)
        if states_commissions or report.client_order_id.startswith(tag):
            ours.append(report)
        elif not report.client_order_id and report.close_cause is not None:
            nameless.append(report)
    positions = columns([(r.connection_id, r.broker_position_id) for r in nameless], 2)
    entries = {
        (row.connection_id, row.broker_position_id): row.client_order_id
        for row in rows(ENTRY_OF, positions)
    }
    return ours + [
        replace(report, client_order_id=entry)
        for report in nameless
        if (entry := entries.get((report.connection_id, report.broker_position_id)))
    ]


OrderQuery = tuple[AccountRow, str, str]
"""An order to query: its account's row, its client order id, the broker's symbol."""


def query_orders(queries: Sequence[OrderQuery]) -> dict[tuple[UUID, str], bool]:
    """Query single orders and apply the reports.

    Returns whether each is known to its broker; orders that could not be queried are left out.
    """
    known: dict[tuple[UUID, str], bool] = {}
    reports: list[OrderReport] = []
    for (row, client_order_id, _), answer in zip(queries, _find_orders(queries), strict=True):
        if isinstance(answer, Exception):
            continue
        known[row.connection_id, client_order_id] = answer is not None
        reports += answer or []
    if reports:
        apply_or_defer(reports)
    return known


def entry_filled_quantities(queries: Sequence[OrderQuery]) -> dict[tuple[UUID, str], Decimal]:
    """Return the filled quantities of entry orders, those found, that we have no row of."""
    quantities: dict[tuple[UUID, str], Decimal] = {}
    for (row, client_order_id, _), answer in zip(queries, _find_orders(queries), strict=True):
        if isinstance(answer, list):
            own = [report for report in answer if report.close_cause is None]
            fills = {f.broker_fill_id: f.quantity for report in own for f in report.fills}
            quantities[row.connection_id, client_order_id] = sum(fills.values(), Decimal(0))
    return quantities


def _find_orders(queries: Sequence[OrderQuery]) -> list[list[OrderReport] | Exception | None]:
    calls = [
        (
            row,
            partial(adapter_for(row.type).find_order, spec_from_row(row), client_order_id, symbol),
        )
        for row, client_order_id, symbol in queries
    ]
    return _run_calls(calls)


def cancel(requests: Sequence[tuple[LaneAccount, CancelRequest]]) -> set[tuple[UUID, str]]:
    """Cancel orders after a person's decision; return those that are, as (connection, order id).

    Their lanes are busy meanwhile. The deadline of each begins once it has a slot: it may wait for
    slow calls to the same host, and its lane is renewed meanwhile.
    """
    calls = [(row, partial(_cancel, row, request)) for row, request in requests]
    done: set[tuple[UUID, str]] = set()
    reports: list[OrderReport] = []
    for (row, request), answer in zip(requests, _run_calls(calls), strict=True):
        if isinstance(answer, list):
            reports += answer
            if any(report.kind is ReportKind.CANCELLED for report in answer):
                done.add((row.connection_id, request.client_order_id))
    if reports:
        apply_or_defer(reports)
    return done


def as_partial_answer(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Return the reports of an answer that need not state all about its order.

    Those to a cancel or a change lack fills of before: if the order is to be looked up, because the
    reply to it was lost, it still is.
    """
    return [replace(report, event_id=report.event_id or PARTIAL_ANSWER) for report in reports]


async def send_cancel(
    row: LaneAccount, request: CancelRequest, send_by: float
) -> list[OrderReport]:
    """Cancel an order at its broker, while this process holds the lane. send_by: machine time.

    Raises what the adapter raises.
    """
    send_by = min(send_by, trading_runtime.get_runtime().lanes.until(row.lane))
    request = replace(request, send_by=send_by)
    return as_partial_answer(await adapter_for(row.type).cancel(spec_from_row(row), request))


async def _cancel(row: LaneAccount, request: CancelRequest) -> list[OrderReport]:
    send_by = send_deadline()
    with trading_runtime.get_runtime().dispatcher.background_calls.tracked(row.lane):
        return await send_cancel(row, request, send_by)


ORDERS_BY_CLIENT_ID = Query(
    OurOrder,
    """
SELECT o.id, o.connection_id, o.client_order_id, o.broker_order_id, o.status, o.symbol, o.side,
  o.order_type, o.quantity, o.filled_quantity, o.limit_price, o.stop_price, o.stop_loss,
  o.take_profit, o.trail_distance,
  coalesce(o.status = 'PENDING' OR o.done_at < %(began)s, false) AND NOT (
    o.aggregate_id IS NOT NULL AND EXISTS (SELECT FROM execution_order m
      WHERE m.aggregate_id = o.aggregate_id AND coalesce(m.done_at >= %(began)s, true))
  ) AS has_ended
FROM execution_order o WHERE o.client_order_id = ANY(%(ids)s)
UNION ALL
SELECT a.id, a.connection_id, a.client_order_id, a.broker_order_id, a.status, a.symbol, a.side,
  a.order_type, coalesce(a.quantity, 0), 0, a.limit_price, a.stop_price, NULL, NULL, NULL, true
FROM execution_archivedorder a WHERE a.client_order_id = ANY(%(ids)s)
""",
)


def orders_by_client_id(client_order_ids: Iterable[str], began: datetime) -> dict[str, OurOrder]:
    """Return our orders with these ids, of any attempt, by the base of their id; also archived.

    has_ended: the order is not sent, or had ended before the read began at `began`, with all that
    it was sent with as one.
    """
    ids = [attempt for known in set(client_order_ids) if known for attempt in all_attempts(known)]
    return {
        base_of(row.client_order_id): row
        for row in rows(ORDERS_BY_CLIENT_ID, {"began": began, "ids": ids})
    }


@dataclass(frozen=True, slots=True)
class _CallKey:
    """What a call is about: its number in the list, its host and its account."""

    number: int
    broker_host: str
    connection_id: UUID


def _run_calls(calls: Sequence[tuple[AccountRow, Call[T]]]) -> list[T | Exception]:
    """Make calls, each for an account's row; wait for all and return the answers in order.

    The remaining calls to a host that does not answer are skipped (HostSkipped).
    """
    answers: list[T | Exception] = [HostSkipped(row.broker_host) for row, _ in calls]
    runner = call_runner()
    runner.start(
        [
            (_CallKey(n, row.broker_host, row.connection_id), call)
            for n, (row, call) in enumerate(calls)
        ]
    )
    for group in runner.groups():
        for key, answer in group:
            answers[key.number] = answer
    return answers
