"""Brokers that tell nothing by themselves: their working orders and open positions are polled, and
which stops and targets the broker holds for them: it may drop one that it has confirmed.

One pick of due accounts for each process and round, with SKIP LOCKED; what is told goes through
apply_reports like everything else. An account is due each `update_interval_seconds` of its
settings, FILLCAST_UPDATE_INTERVAL_SECONDS unless it says so.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from time import monotonic
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings

from brokers.call_runner import BrokerCallRunner
from brokers.registry import adapter_for, broker_types
from brokers.types import BrokerOrder, BrokerPosition, ConnectionSpec, OrderReport
from common.bisection import process_with_bisection
from common.clocks import market_at, market_now
from common.errors import MisconfiguredError
from common.sql import array, columns, rows, run
from connections.health.status_updates import (
    CONTACT_OPERATORS,
    OWN_FAULTS,
    UNUSABLE_ERRORS,
    RetryPolicy,
)
from connections.selectors import SPEC_COLUMNS, spec_from_row
from connections.services import mark_errors
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from execution.reconciliation.open_orders import ReconciliationRun, settle_orders, start_run
from execution.reconciliation.reconcile import reconcile, store_level_reads
from execution.runtime import broker_queries, trading_runtime

log = structlog.get_logger(__name__)

MIN_SECONDS = 0.2
COMPARISON_SECONDS = 5  # between comparisons where executions cannot be asked for
FAILED_SECONDS = 5  # after who could not be asked
UNUSABLE_SECONDS = 30  # at most, after an answer that could not be used: less than SOON_SECONDS
PATIENCE_SECONDS = 1.0
MAX_UNDER_WAY = 2000  # under way in one process
OVERLAP = timedelta(seconds=60)  # the broker's clock and books may lag behind ours

# While an account is being asked nobody else takes it; if its process dies, somebody does then.
DUE = f"""
WITH due AS (
  SELECT r.connection_id FROM execution_accountsyncstate r
  JOIN connections_executionconnection c ON c.id = r.connection_id
  WHERE c.type = ANY(%(kinds)s::text[]) AND c.archived_at IS NULL AND {IN_HELD_LANES_SQL}
    AND c.broker_host NOT IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
    AND (r.poll_after IS NULL OR r.poll_after <= clock_timestamp())
    AND (EXISTS (SELECT FROM execution_order o WHERE o.connection_id = c.id
        AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
      OR EXISTS (SELECT FROM positions_executionposition p WHERE p.connection_id = c.id
        AND p.quantity > 0))
  ORDER BY r.poll_after NULLS FIRST LIMIT %(limit)s FOR NO KEY UPDATE OF r SKIP LOCKED
), taken AS (
  UPDATE execution_accountsyncstate r
  SET poll_after = clock_timestamp() + make_interval(secs => %(lease)s)
  FROM due WHERE r.connection_id = due.connection_id
  RETURNING r.connection_id, r.fills_synced_until
)
SELECT t.connection_id, {SPEC_COLUMNS}, c.broker_host, coalesce(t.fills_synced_until, least(
    (SELECT min(p.opened_at) FROM positions_executionposition p
     WHERE p.connection_id = c.id AND p.quantity > 0),
    (SELECT min(s.published_at) FROM execution_order o JOIN signals_signal s ON s.id = o.signal_id
     WHERE o.connection_id = c.id AND o.status IN ('SUBMITTED', 'PARTIALLY_FILLED',
       'CANCEL_REQUESTED')))) AS since, statement_timestamp() AS began,
  EXISTS (SELECT FROM positions_executionposition p WHERE p.connection_id = c.id
    AND p.quantity > 0 AND (p.sl_guardian = 'BROKER' OR p.tp_guardian = 'BROKER')) AS keeps_levels
FROM taken t JOIN connections_executionconnection c ON c.id = t.connection_id
"""

# Rows are locked in the order of their ids, as by whoever asks for comparisons.
DONE = """
WITH told AS (
  SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::double precision[])
  AS t(connection_id, fills_synced_until, began, every)
), locked AS (
  SELECT r.connection_id FROM execution_accountsyncstate r JOIN told USING (connection_id)
  ORDER BY r.connection_id FOR NO KEY UPDATE OF r
)
UPDATE execution_accountsyncstate r SET fills_synced_until = coalesce(t.fills_synced_until,
  r.fills_synced_until),
  poll_after = greatest(clock_timestamp(), t.began + make_interval(secs => t.every))
FROM told t JOIN locked USING (connection_id) WHERE r.connection_id = t.connection_id
"""


EXTEND_CLAIM = """
UPDATE execution_accountsyncstate SET poll_after = clock_timestamp() + make_interval(secs => %s)
WHERE connection_id IN (SELECT connection_id FROM execution_accountsyncstate
  WHERE connection_id = ANY(%s::uuid[]) ORDER BY connection_id FOR NO KEY UPDATE)
"""


@dataclass(eq=False, slots=True)
class PolledAccount:
    """An account under way. since: from when on its executions are asked for, None where they
    cannot be; fills: what it told of them, None if nothing; positions: read for their levels, None
    if that was not needed or failed."""

    row: Any
    run: ReconciliationRun
    read_to: datetime
    since: datetime | None
    fills: list[OrderReport] | None = None
    positions: list[BrokerPosition] | None = None
    is_usable: bool = True

    @property
    def broker_host(self) -> str:
        """Where it is asked."""
        return str(self.row.broker_host)

    @property
    def connection_id(self) -> UUID:
        """Which account it is."""
        found: UUID = self.row.connection_id
        return found


Orders = list[BrokerOrder]
PollResults = Sequence[tuple[PolledAccount, Orders | Exception]]
# What this process has asked and not written yet: who hangs is written in a later round.
_under_way: WeakKeyDictionary[trading_runtime.TradingRuntime, BrokerCallRunner[Orders]] = (
    WeakKeyDictionary()
)


def poll(limit: int = 200) -> int:
    """Ask the accounts that are due what became of their orders; return how many were asked.

    Waits a second for them; what comes later is written by the next round.
    """
    broker_types = polled_broker_types()
    if not broker_types:
        return 0
    calls = _under_way.setdefault(
        trading_runtime.get_runtime(), broker_queries.call_runner(parts=3)
    )
    until = monotonic() + PATIENCE_SECONDS
    polled = 0
    while calls.left < MAX_UNDER_WAY:
        begun = _begin(calls, broker_types, limit)
        polled += begun
        if begun < limit:
            break
    while calls.left and (seconds := until - monotonic()) > 0:
        if group := calls.group(seconds):
            write_with_bisection(group)
            _compare(group)
    return polled


def _begin(calls: BrokerCallRunner[Orders], broker_types: Sequence[str], limit: int) -> int:
    due = rows(
        DUE,
        {
            "kinds": array(broker_types),
            "limit": limit,
            "lease": _lease(),
            **held_lanes_parameters(),
        },
    )
    if not due:
        return 0
    # By the database's clock: the next poll may be another host's, and hosts' clocks differ.
    read_to = market_at(due[0].began)
    run_ = start_run({row.connection_id: row for row in due})
    accounts = [PolledAccount(row, run_, read_to, _since(row, read_to)) for row in due]
    calls.start([(one, partial(_read_account, one)) for one in accounts])
    return len(due)


def _since(row: Any, read_to: datetime) -> datetime | None:
    """Where our clock is behind the database's, by ours: adapters put right by how much ours is
    ahead of the broker's, and know nothing of the database's."""
    if not broker_queries.supports_fill_history(row):
        return None
    ahead = max(timedelta(0), read_to - market_now())
    return min(row.since or read_to, read_to) - ahead - OVERLAP


async def _read_account(account: PolledAccount) -> Orders:
    adapter, spec = adapter_for(account.row.type), spec_from_row(account.row)
    if account.since is not None:
        with suppress(Exception):  # they are asked for again, from the same time on
            account.fills = await broker_queries.with_call_timeout(
                adapter.fills_since(spec, account.since)
            )
        if account.row.keeps_levels:  # elsewhere positions are compared
            with suppress(Exception):  # they are read again by the next poll
                account.positions = await broker_queries.with_call_timeout(adapter.positions(spec))
    return await broker_queries.with_call_timeout(adapter.open_orders(spec))


def write_with_bisection(group: PollResults) -> None:
    """Write what accounts told; one whose answer cannot be used is in error, and nobody else's.

    What is no account's fault is raised.
    """
    process_with_bisection(
        group,
        _write,
        lambda told, fault: _mark_unusable(told[0], fault),
        faults=UNUSABLE_ERRORS,
        ours=OWN_FAULTS,
    )


def _mark_unusable(account: PolledAccount, error: Exception) -> None:
    """Its owner reads why. It is noted at each poll, and polled oftener than accounts are read:
    so the error stays until its orders can be used again, and ends with the next read."""
    log.error(
        "an account cannot be polled", connection=str(account.row.connection_id), exc_info=error
    )
    sentence = (
        f"What the broker says of the orders cannot be used ({type(error).__name__}). "
        f"{CONTACT_OPERATORS}"
    )
    connection_id = account.row.connection_id
    mark_errors(
        [(connection_id, sentence)],
        retry=RetryPolicy.NEXT_ROUND,
        began={connection_id: account.row.began},
    )
    account.fills = None  # nothing of it is known to be written
    account.is_usable = False
    run(DONE, columns([_done(account, is_answered=False)], 4))


def _write(group: PollResults) -> None:
    """Executions first: what they do not explain of the orders is looked up."""
    broker_queries.apply_new_fills(
        [report for account, _ in group for report in account.fills or ()]
    )
    answered = {account: answer for account, answer in group if isinstance(answer, list)}
    for look in {id(account.run): account.run for account in answered}.values():
        theirs = {a.row.connection_id: orders for a, orders in answered.items() if a.run is look}
        settle_orders(look, theirs)  # what is left of it is the comparison's
        store_level_reads(
            look,
            {
                a.row.connection_id: broker_queries.Snapshot(a.positions, orders)
                for a, orders in answered.items()
                if a.run is look and a.positions is not None
            },
        )
    compared = {account for account in answered if account.since is None}
    run(EXTEND_CLAIM, (_lease(), array([account.row.connection_id for account in compared])))
    done = [_done(account, account in answered) for account, _ in group if account not in compared]
    run(DONE, columns(done, 4))


def _compare(group: PollResults) -> None:
    """Where executions cannot be asked for, positions are compared; only then are they done."""
    if others := [
        account
        for account, answer in group
        if account.since is None and account.is_usable and isinstance(answer, list)
    ]:
        reconcile([account.row.connection_id for account in others])
        run(DONE, columns([_done(account, is_answered=True) for account in others], 4))


def _lease() -> float:
    """Seconds for which nobody else asks an account that is being asked."""
    return 4 * float(settings.FILLCAST_CALL_TIMEOUT_SECONDS)


def _done(account: PolledAccount, is_answered: bool) -> tuple[Any, ...]:
    seconds = interval_of(account.row.settings)
    if account.since is None:
        seconds = max(COMPARISON_SECONDS, seconds)
    if not is_answered:
        seconds = max(FAILED_SECONDS, seconds)
    if not account.is_usable:
        seconds = min(UNUSABLE_SECONDS, seconds)
    read_to = None if account.fills is None else account.read_to
    return account.row.connection_id, read_to, account.run.began, seconds


def interval_of(connection_settings: Any) -> float:
    """Seconds between two polls of an account; nonsense in its settings counts as not said."""
    seconds = connection_settings.get("update_interval_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = settings.FILLCAST_UPDATE_INTERVAL_SECONDS
    return max(MIN_SECONDS, float(seconds))


@cache
def polled_broker_types() -> tuple[str, ...]:
    """The broker kinds of this process that tell nothing by themselves."""
    return tuple(broker_type for broker_type in broker_types() if _has_no_event_stream(broker_type))


def _has_no_event_stream(broker_type: str) -> bool:
    try:
        capabilities = adapter_for(broker_type).capabilities(
            ConnectionSpec(connection_id="", account="")
        )
    except (ImportError, MisconfiguredError):
        return False  # another process has this kind's library and polls it
    return not capabilities.event_stream
