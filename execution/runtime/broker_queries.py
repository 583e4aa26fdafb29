"""What brokers are asked when we compare or poll: snapshots, executions, single orders.

Calls are bounded in number and time, and never inside a transaction. A call that fails proves
nothing: its account is left out, or its order stays as it is.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings

from brokers.call_runner import BrokerCallRunner, Call, HostSkipped
from brokers.registry import adapter_for
from brokers.types import BrokerOrder, BrokerPosition, CancelRequest, OrderReport, ReportKind
from common.clocks import machine_time
from common.sql import columns, rows
from connections.selectors import spec_from_row
from execution.dispatch.report_writer import apply_or_defer
from execution.ids import all_attempts, base_of
from execution.runtime import trading_runtime

T = TypeVar("T")
MAX_CONCURRENT, MAX_PER_HOST = 500, 50
MIN_PER_HOST = 8  # one process compares an account: it has more than the look-ups of one
MAX_SECONDS = 300
# What was executed is no whole answer about an order: what is in flight is looked up besides.
PARTIAL_ANSWER = "executions"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the broker holds on one account."""

    positions: list[BrokerPosition]
    orders: list[BrokerOrder]


def call_runner(*, parts: int = 1) -> BrokerCallRunner[Any]:
    """Calls on this process's loop whose answers come one by one; each of their `parts` has the
    time of a call (`in_time`)."""
    return BrokerCallRunner(
        partial(trading_runtime.get_runtime().dispatcher.run_call, timeout=MAX_SECONDS),
        in_all=MAX_CONCURRENT,
        per_host=MAX_PER_HOST,
        least=MIN_PER_HOST,
        seconds=settings.FILLCAST_CALL_TIMEOUT_SECONDS,
        parts=parts,
    )


async def with_call_timeout(part: Awaitable[T]) -> T:
    """Await a part of a call. Raises TimeoutError after FILLCAST_CALL_TIMEOUT_SECONDS."""
    async with asyncio.timeout(settings.FILLCAST_CALL_TIMEOUT_SECONDS):
        return await part


def snapshots(accounts: Sequence[Any]) -> Iterator[dict[UUID, Snapshot]]:
    """Read positions and orders, and yield them as they come, some accounts at a time; those of
    which a part could not be read are left out."""
    runner = call_runner(parts=2)
    runner.start([(row, partial(_snapshot, row)) for row in accounts])
    for group in runner.groups():
        if read := {row.connection_id: one for row, one in group if isinstance(one, Snapshot)}:
            yield read


async def _snapshot(row: Any) -> Snapshot:
    adapter, spec = adapter_for(row.type), spec_from_row(row)
    positions = await with_call_timeout(adapter.positions(spec))
    return Snapshot(positions, await with_call_timeout(adapter.open_orders(spec)))


def supports_fill_history(row: Any) -> bool:
    """Whether this account's broker can say what was executed on it."""
    return adapter_for(row.type).capabilities(spec_from_row(row)).fills_horizon is not None


def sync_fills(accounts: Sequence[Any], since: Mapping[UUID, datetime]) -> set[UUID]:
    """Apply every execution since a time of the broker's that we have missed.

    Returns the accounts that could not be asked. Executions of strangers' orders are left alone.
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


def _fills(row: Any, since: Mapping[UUID, datetime]) -> Call[list[OrderReport]]:
    adapter = adapter_for(row.type)
    return partial(adapter.fills_since, spec_from_row(row), since[row.connection_id])


def apply_new_fills(reports: Sequence[OrderReport]) -> None:
    """Apply what brokers told of executions and we have not written down yet."""
    if new := _about_us(_not_stored(reports)):
        apply_or_defer(new)


def fully_known_fill_ids(
    accounts: Sequence[Any], since: Mapping[UUID, datetime]
) -> dict[UUID, set[str]]:
    """Ask for every execution since a time of the broker's; return their ids, by account, of those
    accounts on which we know them all. What we did not know is applied."""
    calls = [(row, _fills(row, since)) for row in accounts]
    found: dict[UUID, set[str]] = {}
    missed: list[OrderReport] = []
    for row, answer in zip(accounts, _run_calls(calls), strict=True):
        if isinstance(answer, Exception):
            continue
        if new := _not_stored(answer):
            missed += new
        else:
            found[row.connection_id] = {f.broker_fill_id for one in answer for f in one.fills}
    if ours := _about_us(missed):
        apply_or_defer(ours)
    return found


KNOWN_FILLS = """
SELECT f.connection_id::text, f.broker_fill_id, f.revision FROM execution_fill f
JOIN unnest(%s::uuid[], %s::text[]) AS t(connection_id, fill_id)
  ON t.connection_id = f.connection_id AND t.fill_id = f.broker_fill_id
"""


def _not_stored(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Only what we have not written down yet, or not as corrected: most of it we have."""
    named = [(r.connection_id, f.broker_fill_id) for r in reports for f in r.fills]
    found = rows(KNOWN_FILLS, columns(named, 2))
    known = {(row.connection_id, row.broker_fill_id): row.revision for row in found}
    new = []
    for report in reports:
        fills = [
            f
            for f in report.fills
            if known.get((report.connection_id, f.broker_fill_id), -1) < f.revision
        ]
        if fills:
            new.append(replace(report, fills=tuple(fills), event_id=PARTIAL_ANSWER))
    return new


ENTRY_OF = """
SELECT p.connection_id::text, p.broker_position_id, e.client_order_id
FROM positions_executionposition p
JOIN unnest(%s::uuid[], %s::text[]) AS t(connection_id, ticket)
  ON t.connection_id = p.connection_id AND t.ticket = p.broker_position_id
JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
  AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
WHERE p.quantity > 0 AND e.client_order_id IS NOT NULL
ORDER BY p.id
"""


def _about_us(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """What is about us: by our tag, or an exit of a position of ours whose entry had no id there
    (adopted ones; a broker that keeps no ids)."""
    nameless = [r for r in reports if not r.client_order_id and r.close_cause is not None]
    positions = columns([(r.connection_id, r.broker_position_id) for r in nameless], 2)
    entries = {
        (row.connection_id, row.broker_position_id): row.client_order_id
        for row in rows(ENTRY_OF, positions)
    }
    tag = settings.FILLCAST_INSTALLATION_TAG
    ours = [report for report in reports if report.client_order_id.startswith(tag)]
    return ours + [
        replace(report, client_order_id=entry)
        for report in nameless
        if (entry := entries.get((report.connection_id, report.broker_position_id)))
    ]


OrderQuery = tuple[Any, str, str]
"""An order to ask for: its account, its client order id, the broker's symbol."""


def query_orders(queries: Sequence[OrderQuery]) -> dict[tuple[UUID, str], bool]:
    """Ask for single orders and apply what is told.

    Returns whether each is known to its broker; what could not be asked is left out.
    """
    known: dict[tuple[UUID, str], bool] = {}
    reports: list[OrderReport] = []
    for (row, cid, _), answer in zip(queries, _find_orders(queries), strict=True):
        if isinstance(answer, Exception):
            continue
        known[row.connection_id, cid] = answer is not None
        reports += answer or []
    if reports:
        apply_or_defer(reports)
    return known


def entry_filled_quantities(queries: Sequence[OrderQuery]) -> dict[tuple[UUID, str], Decimal]:
    """Ask how much entry orders that we have no row of have filled; others are left out."""
    found: dict[tuple[UUID, str], Decimal] = {}
    for (row, cid, _), answer in zip(queries, _find_orders(queries), strict=True):
        if isinstance(answer, list):
            own = [report for report in answer if report.close_cause is None]
            fills = {f.broker_fill_id: f.quantity for report in own for f in report.fills}
            found[row.connection_id, cid] = sum(fills.values(), Decimal(0))
    return found


def _find_orders(queries: Sequence[OrderQuery]) -> list[list[OrderReport] | Exception | None]:
    calls = [
        (row, partial(adapter_for(row.type).find_order, spec_from_row(row), cid, symbol))
        for row, cid, symbol in queries
    ]
    return _run_calls(calls)


def cancel(requests: Sequence[tuple[Any, CancelRequest]]) -> set[tuple[UUID, str]]:
    """Have orders cancelled that somebody decided about; return those that are.

    Their lane is busy meanwhile. Each has its time from when it has its place: others wait for
    slow neighbours of theirs, and a lane is prolonged meanwhile.
    """
    calls = [(row, partial(_cancel, row, one)) for row, one in requests]
    done: set[tuple[UUID, str]] = set()
    reports: list[OrderReport] = []
    for (row, one), answer in zip(requests, _run_calls(calls), strict=True):
        if isinstance(answer, list):
            reports += answer
            if any(report.kind is ReportKind.CANCELLED for report in answer):
                done.add((row.connection_id, one.client_order_id))
    if reports:
        apply_or_defer(reports)
    return done


async def _cancel(row: Any, cancel_request: CancelRequest) -> list[OrderReport]:
    dispatcher, lanes = (
        trading_runtime.get_runtime().dispatcher,
        trading_runtime.get_runtime().lanes,
    )
    within = machine_time() + float(settings.FILLCAST_SEND_DEADLINE_SECONDS)
    with dispatcher.background_calls.tracked(row.lane):
        request = replace(cancel_request, send_by=min(within, lanes.until(row.lane)))
        return await adapter_for(row.type).cancel(spec_from_row(row), request)


ORDERS_BY_CLIENT_ID = """
SELECT o.id, o.connection_id, o.client_order_id, o.broker_order_id, o.status, o.symbol, o.side,
  o.order_type, o.quantity, o.filled_quantity, o.limit_price, o.stop_price, o.stop_loss,
  o.take_profit, o.status = 'PENDING' OR o.done_at < %s AS has_ended
FROM execution_order o WHERE o.client_order_id = ANY(%s)
"""


def orders_by_client_id(client_order_ids: Iterable[str], began: datetime) -> dict[str, Any]:
    """Our rows of ids that a broker named, by their base; has_ended: before the read began."""
    ids = [other for cid in set(client_order_ids) if cid for other in all_attempts(cid)]
    return {base_of(row.client_order_id): row for row in rows(ORDERS_BY_CLIENT_ID, (began, ids))}


@dataclass(frozen=True, slots=True)
class _CallKey:
    """Where a call stands among others."""

    number: int
    broker_host: str
    connection_id: UUID


def _run_calls(calls: Sequence[tuple[Any, Call[T]]]) -> list[T | Exception]:
    """Make calls, each about an account (its row says at which host), and wait for all of them;
    return their answers in their order. A host that answers nobody is given up."""
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
