"""Polling of accounts whose broker has no event stream.

A poll reads the account's working orders, its executions where the broker lists them, and the stops
and targets that the broker holds (a broker may drop one that it has confirmed). Reports go through
`apply_reports`, as those of an event stream do.

Each process claims due accounts with SKIP LOCKED, so two processes never poll the same account. The
interval is `update_interval_seconds` in the connection's settings, by default
fill_tracking.update_interval_seconds. `wake_polls` makes an account due earlier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from time import monotonic
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog

from brokers.base import outcome_of
from brokers.call_runner import BrokerCallRunner
from brokers.registry import adapter_for, broker_types, capabilities_if_usable
from brokers.shared_reads import shared_reads
from brokers.types import BrokerOrder, BrokerPosition, OrderReport
from common.bisection import process_with_bisection
from common.clocks import market_at, market_now
from common.db.sql import array, columns, periodic_rows, run
from common.operational.current import settings_now
from connections.error_messages import explain
from connections.selectors import spec_from_row
from connections.services import (
    CONTACT_OPERATORS,
    OWN_FAULTS,
    UNUSABLE_ERRORS,
    RetryPolicy,
    mark_errors,
)
from connections.session_lanes import held_lanes_parameters
from execution.reconciliation.open_orders import (
    ReconciliationRun,
    resolve_order_differences,
    start_run,
)
from execution.reconciliation.open_positions import store_level_reads
from execution.reconciliation.reconcile import reconcile
from execution.recovery.poll_claims import DUE, END_CLAIM, EXTEND_CLAIM, DueAccount
from execution.runtime import broker_queries, poll_wakes, trading_runtime
from execution.runtime.poll_wakes import wake_polls

log = structlog.get_logger(__name__)

__all__ = ["interval_of", "poll", "polled_broker_types", "wake_polls"]
MIN_SECONDS = 0.2
COMPARISON_SECONDS = 5  # between comparisons, where the broker lists no executions
FAILED_SECONDS = 5  # after a read that failed
# At most, after an unusable answer: less than `status_updates.NEXT_ROUND_SECONDS`.
UNUSABLE_SECONDS = 30
WAIT_SECONDS = 1.0  # how long one round waits for answers
GROUPING_SECONDS = 0.01  # answers that arrive this soon after the first one are written with it
LONGEST_SECONDS = 120.0  # how long a poll keeps its account at most
MAX_IN_FLIGHT = 2000  # polls of one process
UNREAD_FILLS = timedelta(minutes=2)
"""How long executions may be unreadable, while orders are read, before the owner is notified."""
OVERLAP = timedelta(seconds=60)  # the broker's clock and books may lag behind ours


@dataclass(eq=False, slots=True)
class PolledAccount:
    """An account that is being polled.

    since: start of the executions to read; None where the broker lists none. fills: the executions
    read; None if that failed, with `fills_error`. positions: read for their levels; None if not
    needed or failed.
    """

    row: DueAccount
    run: ReconciliationRun[DueAccount]
    read_until: datetime
    since: datetime | None
    fills: list[OrderReport] | None = None
    fills_error: Exception | None = None
    positions: list[BrokerPosition] | None = None
    is_usable: bool = True

    @property
    def broker_host(self) -> str:
        """The broker host that is called."""
        return self.row.broker_host

    @property
    def connection_id(self) -> UUID:
        return self.row.connection_id


Orders = list[BrokerOrder]
PollResults = Sequence[tuple[PolledAccount, Orders | Exception]]
# Calls whose results are not stored yet: a slow answer is stored by a later round.
_in_flight: WeakKeyDictionary[trading_runtime.TradingRuntime, BrokerCallRunner[Orders]] = (
    WeakKeyDictionary()
)

# The accounts that are being polled, each since when.
_waiting: WeakKeyDictionary[trading_runtime.TradingRuntime, dict[PolledAccount, float]] = (
    WeakKeyDictionary()
)


def poll(limit: int = 200) -> int:
    """Poll the accounts that are due and return how many calls were started.

    Waits up to WAIT_SECONDS for answers; the next round stores later ones.
    """
    broker_types = polled_broker_types()
    if not broker_types:
        return 0
    calls = _in_flight.setdefault(
        trading_runtime.get_runtime(),
        broker_queries.call_runner(
            requests_per_call=3, grouping_seconds=GROUPING_SECONDS, counts_waits=False
        ),
    )
    waiting = _waiting.setdefault(trading_runtime.get_runtime(), {})
    _keep_claims(waiting)
    alarm = poll_wakes.polls
    alarm.listen("poll", calls.interrupt)  # a wake does not wait for answers of other accounts
    deadline = monotonic() + WAIT_SECONDS
    alarm.take()
    polled = _start_all_due(calls, broker_types, limit)
    while calls.remaining and (seconds := deadline - monotonic()) > 0:
        if group := calls.group(max(0.0, min(seconds, alarm.seconds()))):
            for account, _ in group:
                waiting.pop(account, None)
            write_with_bisection(group)
            _compare(group)
        if alarm.take():
            polled += _start_all_due(calls, broker_types, limit)
    return polled


def _start_all_due(calls: BrokerCallRunner[Orders], broker_types: Sequence[str], limit: int) -> int:
    polled = 0
    while calls.remaining < MAX_IN_FLIGHT:
        started = _start_due(calls, broker_types, limit)
        polled += started
        if started < limit:
            break
    return polled


def _start_due(calls: BrokerCallRunner[Orders], broker_types: Sequence[str], limit: int) -> int:
    due = periodic_rows(
        DUE,
        {
            "broker_types": array(broker_types),
            "limit": limit,
            "lease": _claim_seconds(),
            "yesterday": market_now() - timedelta(days=1),
            **held_lanes_parameters(),
        },
    )
    if not due:
        return 0
    # The database's clock: another host may make the next poll, and hosts' clocks differ.
    read_until = market_at(due[0].began)
    reconciliation_run = start_run({row.connection_id: row for row in due})
    accounts = [
        PolledAccount(row, reconciliation_run, read_until, _since(row, read_until)) for row in due
    ]
    calls.start([(account, partial(_read_account, account)) for account in accounts])
    _waiting[trading_runtime.get_runtime()] |= dict.fromkeys(accounts, monotonic())
    return len(due)


def _keep_claims(waiting: dict[PolledAccount, float]) -> None:
    """Keep the accounts whose calls wait for their broker's rate limit: another poll of them would
    wait behind this one. waiting: since when, by monotonic()."""
    now = monotonic()
    for account in [one for one, since in waiting.items() if now - since > LONGEST_SECONDS]:
        del waiting[account]  # no result came, or it is lost
    lease = _claim_seconds()
    if old := [one.connection_id for one, since in waiting.items() if now - since > lease / 2]:
        run(EXTEND_CLAIM, (lease, array(old)))


def _since(row: DueAccount, read_until: datetime) -> datetime | None:
    """Return the start of the executions to read, by this host's clock.

    Adapters correct the difference between this host's clock and the broker's. They do not know the
    database's clock, so its lead over ours is subtracted here.
    """
    if not broker_queries.supports_fill_history(row):
        return None
    database_lead = max(timedelta(0), read_until - market_now())
    return min(row.since or read_until, read_until) - database_lead - OVERLAP


async def _read_account(account: PolledAccount) -> Orders:
    adapter, spec = adapter_for(account.row.type), spec_from_row(account.row)
    if account.since is not None:
        # Of a failed read nothing is stored; the next poll reads again.
        fills = await outcome_of(
            broker_queries.with_call_timeout(adapter.fills_since(spec, account.since))
        )
        if isinstance(fills, Exception):
            account.fills_error = fills
        else:
            account.fills = fills
    with shared_reads():
        if account.since is not None and account.row.broker_holds_levels:
            positions = await outcome_of(broker_queries.with_call_timeout(adapter.positions(spec)))
            account.positions = None if isinstance(positions, Exception) else positions
        return await broker_queries.with_call_timeout(adapter.open_orders(spec))


def write_with_bisection(group: PollResults) -> None:
    """Store the results of polls. An unusable answer puts only its own account in error.

    Raises errors that no account's data caused, such as a lost database connection.
    """
    process_with_bisection(
        group,
        _write,
        lambda result, error: _mark_unusable(result[0], error),
        item_errors=UNUSABLE_ERRORS,
        bug_errors=OWN_FAULTS,
    )


def _mark_unusable(account: PolledAccount, error: Exception) -> None:
    """Put the account in error, with a reason for its owner.

    Each failed poll records the error again, and polls run more often than account reads. So the
    error stays until the orders are usable, and the next account read ends it.
    """
    log.error(
        "an account cannot be polled", connection=str(account.row.connection_id), exc_info=error
    )
    sentence = (
        f"The broker's answer about the orders is not usable ({type(error).__name__}). "
        f"{CONTACT_OPERATORS}"
    )
    connection_id = account.row.connection_id
    mark_errors(
        [(connection_id, sentence)],
        retry=RetryPolicy.NEXT_ROUND,
        began={connection_id: account.row.began},
    )
    account.fills = None  # it is not certain that any of it was stored
    account.is_usable = False
    _end_claims([_polled(account, is_answered=False)])


def _mark_unread_fills(accounts: Sequence[PolledAccount]) -> None:
    """Put accounts in error whose executions cannot be read, although their orders are.

    Stops and targets that the broker has executed are missing here meanwhile.
    """
    errors = []
    for account in accounts:
        since, error = account.row.fills_failing_since, account.fills_error
        if since is None or error is None or account.row.began - since < UNREAD_FILLS:
            continue
        found = explain(error, account.row.type)
        log.error(
            "executions cannot be read", connection=str(account.connection_id), exc_info=error
        )
        sentence = (
            f"Executions have not been read since {since:%Y-%m-%d %H:%M} UTC, so what the broker"
            f" closed may still be open here: {found.code.sentence} {found.remedy}"
        )
        account.is_usable = False  # polled again before the next account read ends the error
        errors.append((account.connection_id, sentence))
    if errors:
        began = {account.connection_id: account.row.began for account in accounts}
        mark_errors(errors, retry=RetryPolicy.NEXT_ROUND, began=began)


def _write(group: PollResults) -> None:
    """Store executions first, then query the orders that these do not explain."""
    broker_queries.apply_new_fills(
        [report for account, _ in group for report in account.fills or ()]
    )
    answered = {account: answer for account, answer in group if isinstance(answer, list)}
    for run_ in {id(account.run): account.run for account in answered}.values():
        of_run = {account: orders for account, orders in answered.items() if account.run is run_}
        # Differences that remain are left to the next comparison.
        resolve_order_differences(
            run_, {account.connection_id: orders for account, orders in of_run.items()}
        )
        store_level_reads(
            run_,
            {
                account.connection_id: broker_queries.Snapshot(account.positions, orders)
                for account, orders in of_run.items()
                if account.positions is not None
            },
        )
    _mark_unread_fills(list(answered))
    compared = {account for account in answered if account.since is None}
    compared_ids = array([account.connection_id for account in compared])
    run(EXTEND_CLAIM, (_claim_seconds(), compared_ids))
    done = [
        _polled(account, account in answered) for account, _ in group if account not in compared
    ]
    _end_claims(done)


def _compare(group: PollResults) -> None:
    """Compare positions of accounts whose broker lists no executions, then end their claims."""
    if accounts := [
        account
        for account, answer in group
        if account.since is None and account.is_usable and isinstance(answer, list)
    ]:
        reconcile([account.row.connection_id for account in accounts])
        _end_claims([_polled(account, is_answered=True) for account in accounts])


def _end_claims(polled: Sequence[tuple[Any, ...]]) -> None:
    if polled:
        [woken] = periodic_rows(END_CLAIM, columns(polled, 6))
        if woken.seconds is not None:
            poll_wakes.poll_in(woken.seconds)


def _claim_seconds() -> float:
    """Return the seconds for which a poll claims its account."""
    return 4 * float(settings_now().execution.call_timeout_seconds)


def _polled(account: PolledAccount, is_answered: bool) -> tuple[Any, ...]:
    seconds = interval_of(account.row.settings)
    if account.since is None:
        seconds = max(COMPARISON_SECONDS, seconds)
    if not is_answered:
        seconds = max(FAILED_SECONDS, seconds)
    if not account.is_usable:
        seconds = min(UNUSABLE_SECONDS, seconds)
    read_until = None if account.fills is None else account.read_until
    has_failed_fills = account.fills_error is not None
    return (
        account.connection_id, read_until, account.run.began, seconds, is_answered,
        has_failed_fills,
    )  # fmt: skip


def interval_of(connection_settings: Mapping[str, Any]) -> float:
    """Return the seconds between two polls of an account; an invalid setting is ignored."""
    seconds = connection_settings.get("update_interval_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = settings_now().fill_tracking.update_interval_seconds
    return max(MIN_SECONDS, float(seconds))


@cache
def polled_broker_types() -> tuple[str, ...]:
    """Return the broker types of this process that have no event stream."""
    return tuple(broker_type for broker_type in broker_types() if _has_no_event_stream(broker_type))


def _has_no_event_stream(broker_type: str) -> bool:
    """False also if this process cannot use the type: another one has its library and polls it."""
    capabilities = capabilities_if_usable(broker_type, with_library=False)
    if capabilities is None or capabilities.event_stream:
        return False  # without importing a library that this process may never need
    return capabilities_if_usable(broker_type, with_library=True) is not None
