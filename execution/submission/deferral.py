"""Deferred orders: store why and until when they wait, request what they need, wake them.

The functions that the claim calls run in its transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from brokers.maintenance_windows import Maintenance
from common.clocks import machine_seconds_until
from common.db.sql import array, columns, periodic_run, rows, run
from common.operational.current import settings_now
from common.process.job_alarm import JobAlarm
from common.reason_codes import Code
from connections.selectors import deferred_entries, describe_window
from execution.base.market_facts import doubt_facts
from execution.base.reconciliation_requests import request_reconciliation
from execution.exits.safety import ExitBlocker
from execution.submission import deferral_sql as sql
from execution.submission.claim_sql import OLDEST_WAITING
from execution.submission.conditions import seconds_until_judged
from execution.submission.outcomes import DEFERRAL_SECONDS, Deferred, EvaluationContext
from execution.submission.rows import ExitRow, OrderRow
from execution.submission.validity import seconds_left

AWAITS_BROKER = (ExitBlocker.LEVELS_REMOVAL, ExitBlocker.BROKER_READ, ExitBlocker.POSITION_ID)
# A command unanswered for this long occupies a terminal that takes one command at a time.
UNANSWERED_SECONDS = 1

prerequisites = JobAlarm()
"""Of this process's job that does for exits what `request_prerequisites` has requested."""

WAKEABLE = frozenset(DEFERRAL_SECONDS) - {Code.BROKER_MAINTENANCE, Code.DECISION_AWAITED}
"""Waits that an event ends, such as a reconciled account or a host that answers again."""


def defer_orders(deferred: Iterable[tuple[int, Deferred, float]]) -> None:
    """Defer orders: (order id, reason, seconds). A new reason gets one line in the order's log."""
    records = [(order_id, why.code.value, why.detail, after) for order_id, why, after in deferred]
    if records:
        periodic_run(sql.DEFER, columns(records, 4))


def request_comparisons(
    deferred: Iterable[tuple[OrderRow, Deferred]], exits: Mapping[int, ExitRow]
) -> None:
    """Request a comparison of accounts whose exits begin to wait for one.

    A comparison that was requested and then lost is requested again. exits: rows of
    `claim_sql.EXITS`, by order id. Call it after `defer_orders`: only a comparison that begins
    after the wait counts.
    """
    code = Code.EXIT_AWAITS_COMPARISON
    accounts = {
        row.connection_id
        for row, why in deferred
        if why.code is code and (row.reason != code or exits[row.id].needs_comparison)
    }
    if accounts:
        request_reconciliation([UUID(account) for account in sorted(accounts)])


def request_facts(deferred: Iterable[tuple[OrderRow, Deferred]]) -> None:
    """Have what brokers list read again, for exits that begin to wait for it."""
    code = Code.EXIT_AWAITS_FACTS
    doubt_facts(
        {
            UUID(row.connection_id)
            for row, why in deferred
            if why.code is code and row.reason != code and row.attempt == 0
        }
    )


def wake(connection_ids: Collection[UUID]) -> int:
    """Make the entries due that wait for these accounts; return how many.

    The claim decides them again by age, price and every limit. Cancels that backed off become due,
    too.
    """
    if not connection_ids:
        return 0
    ids = array(connection_ids)
    run(sql.WAKE_CANCELS, (ids, settings_now().execution.call_timeout_seconds * 2 + 1))
    return run(sql.WAKE, (ids, [code.value for code in WAKEABLE]))


def wake_look_ups(connection_ids: Collection[UUID]) -> int:
    """Make the look-ups of unknown orders due now; return how many.

    Only one process may call it for an account: each call causes another look-up.
    """
    return run(sql.WAKE_LOOK_UPS, (array(connection_ids),)) if connection_ids else 0


def wake_hosts(hosts: Collection[str]) -> int:
    """Call `wake` for all accounts of hosts that answer again; return how many entries are due."""
    if not hosts:
        return 0
    return wake([row.id for row in rows(sql.ACCOUNTS_OF_HOSTS, (list(hosts),))])


def hold_for_restore_check(order_ids: Sequence[int]) -> None:
    """Defer due orders while it is unknown whether the database was restored from a backup."""
    deferred = Deferred(Code.RESTORE_CHECK)
    due = rows(sql.STILL_DUE, (array(order_ids),))
    defer_orders((row.id, deferred, deferred.seconds) for row in due)


def seconds_until_due(row: OrderRow, deferred: Deferred, context: EvaluationContext) -> float:
    """Return when a deferred row is decided again: no later than an entry's signal expires."""
    if deferred.code is Code.AWAITING_CONDITION and row.id in context.awaited:
        valid_until = context.signal_of(row).valid_until
        return seconds_until_judged(context.awaited[row.id], valid_until)
    if row.position_id is not None or row.terms.max_signal_age_seconds is None:
        return min(deferred.seconds, 1.0)
    if row.id in context.plans:  # its age does not end it; the next slice does
        return min(deferred.seconds, 2.0)
    left = seconds_left(row, context.signal_of(row), context)
    ends = machine_seconds_until(context.now + timedelta(seconds=left))
    return max(0.2, min(deferred.seconds, ends + 0.1))


def accounts_with_open_command(
    entries: Sequence[OrderRow], unanswered: Collection[str]
) -> set[str]:
    """Return the accounts whose terminal is occupied by an earlier command.

    entries: those of terminals that take one command at a time. An account is occupied while it has
    an unanswered command, or an older entry waits that is not among these: entries leave in order.
    At other brokers an unanswered order delays no entry: it counts as filled in every limit.
    """
    oldest: dict[str, int] = {}
    for row in entries:
        oldest[row.connection_id] = min(row.id, oldest.get(row.connection_id, row.id))
    if not oldest:
        return set()
    parameters = (array(oldest), Code.EARLIER_COMMAND.value)
    first = {row.connection_id: row.id for row in rows(OLDEST_WAITING, parameters)}
    return {
        account
        for account, order_id in oldest.items()
        if account in unanswered or first.get(account, order_id) < order_id
    }


def deferred_by_brokers(
    entries: Sequence[OrderRow], hosts_down: Collection[str], windows: Sequence[Maintenance]
) -> dict[str, Deferred]:
    """Return the connections whose entries wait for their broker, with the reason.

    Its host is down, or the broker is in a maintenance window.
    """
    deferred = {
        row.connection_id: Deferred(Code.BROKER_HOST_DOWN)
        for row in entries
        if row.broker_host in hosts_down
    }
    if windows:
        deferred |= {
            connection_id: Deferred(Code.BROKER_MAINTENANCE, detail=describe_window(window))
            for connection_id, window in deferred_entries(entries, windows).items()
        }
    return deferred


def request_prerequisites(deferred: Sequence[tuple[int, Deferred]]) -> None:
    """Request what deferred exits need: a read of the broker, or a change of their levels.

    While an exit waits for the end of a halt, its position's suspended levels are placed again.
    Rings `prerequisites` after the commit: people wait for exits.
    """
    requested = [
        (order_id, why.blocker is ExitBlocker.LEVELS_REMOVAL)
        for order_id, why in deferred
        if why.blocker in AWAITS_BROKER
    ]
    if requested:
        periodic_run(sql.REQUEST_PREREQUISITES, columns(requested, 2))
        transaction.on_commit(prerequisites.set)
    if halted := [order_id for order_id, why in deferred if why.blocker is ExitBlocker.HALT_END]:
        run(sql.RESTORE_LEVELS, (halted,))
