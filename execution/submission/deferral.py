"""Orders that wait: until when, why, and what is asked for them meanwhile. In the claim's
transaction."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from brokers.maintenance_windows import Maintenance
from common.clocks import machine_seconds_until
from common.reason_codes import Code
from common.sql import array, columns, rows, run
from connections.health import maintenance
from execution.base.reconciliation_requests import request_reconciliation
from execution.exits.safety import ExitBlocker
from execution.submission import claim_sql as sql
from execution.submission.evaluate import seconds_left
from execution.submission.outcomes import DEFERRAL_SECONDS, Deferred, EvaluationContext

UNANSWERED_SECONDS = 1  # then a terminal that takes one command at a time has one there

WAKEABLE = frozenset(DEFERRAL_SECONDS) - {Code.BROKER_MAINTENANCE}
"""Waits that an event ends: an account was compared, a host answers."""


def defer_orders(deferred: Iterable[tuple[int, Deferred, float]]) -> None:
    """Have rows wait so many seconds; each says why and since when, and its log once."""
    told = [(order_id, why.code.value, why.detail, after) for order_id, why, after in deferred]
    if told:
        run(sql.DEFER, columns(told, 4))


def request_comparisons(deferred: Iterable[tuple[Any, Deferred]], exits: Mapping[int, Any]) -> None:
    """Have the accounts compared whose exits begin to wait for that, or of which none was made
    since although none is requested any more. exits: rows of `claim_sql.EXITS`, by order.

    Must run after `postpone`: only a request that follows the wait's beginning counts.
    """
    code = Code.EXIT_AWAITS_COMPARISON
    accounts = {
        row.connection_id
        for row, why in deferred
        if why.code is code and (row.reason != code or exits[row.id].needs_comparison)
    }
    if accounts:
        request_reconciliation([UUID(account) for account in sorted(accounts)])


def wake(connection_ids: Collection[UUID]) -> int:
    """Have entries that wait for their accounts judged again now; return how many.

    Each is judged by its age, its price and every limit. Cancels that are requested less and less
    often are due now, too.
    """
    if not connection_ids:
        return 0
    ids = array(connection_ids)
    run(sql.WAKE_CANCELS, (ids, settings.FILLCAST_CALL_TIMEOUT_SECONDS * 2 + 1))
    return run(sql.WAKE, (ids, [code.value for code in WAKEABLE]))


def wake_look_ups(connection_ids: Collection[UUID]) -> int:
    """Have orders of unknown outcome looked up now; return how many. For one process to call: each
    call has them looked up once more."""
    return run(sql.WAKE_LOOK_UPS, (array(connection_ids),)) if connection_ids else 0


def wake_hosts(hosts: Collection[str]) -> int:
    """The same for all accounts of hosts that answer again."""
    if not hosts:
        return 0
    return wake([row.id for row in rows(sql.ACCOUNTS_OF_HOSTS, (list(hosts),))])


def hold_for_restore_check(order_ids: Sequence[int]) -> None:
    """Have due orders wait, with a code, while this may be a restored database."""
    later = Deferred(Code.RESTORE_CHECK)
    due = rows(sql.STILL_DUE, (array(order_ids),))
    defer_orders((row.id, later, later.seconds) for row in due)


def due_after(row: Any, deferred: Deferred, context: EvaluationContext) -> float:
    """Seconds until a row that waits is judged again: before its signal is too old, not after."""
    if row.position_id is not None or row.max_signal_age_seconds is None:
        return min(deferred.seconds, 1.0)
    left = seconds_left(row, context.signals[row.signal_id], context)
    ends = machine_seconds_until(context.now + timedelta(seconds=left))
    return max(0.2, min(deferred.seconds, ends + 0.1))


def accounts_with_open_command(entries: Sequence[Any], unanswered: Collection[str]) -> set[str]:
    """Return the accounts, of entries whose terminal takes one command at a time, that still have
    one there, or an older entry waiting for it that is not among these: they leave in order.

    Elsewhere an unanswered order keeps nobody waiting: it counts as filled in every limit.
    """
    oldest: dict[str, int] = {}
    for row in entries:
        oldest[row.connection_id] = min(row.id, oldest.get(row.connection_id, row.id))
    if not oldest:
        return set()
    parameters = (array(oldest), Code.EARLIER_COMMAND.value)
    first = {row.connection_id: row.id for row in rows(sql.FIRST_BEHIND, parameters)}
    return {one for one, own in oldest.items() if one in unanswered or first.get(one, own) < own}


def deferred_by_brokers(
    entries: Sequence[Any], hosts_down: Collection[str], windows: Sequence[Maintenance]
) -> dict[str, Deferred]:
    """Return which connections' entries of these rows wait for their broker: its host is away, or
    it is in a maintenance window."""
    deferred = {
        row.connection_id: Deferred(Code.BROKER_HOST_DOWN)
        for row in entries
        if row.broker_host in hosts_down
    }
    if windows:
        deferred |= {
            connection_id: Deferred(
                Code.BROKER_MAINTENANCE, detail=maintenance.describe_window(one)
            )
            for connection_id, one in maintenance.deferred_entries(entries, windows).items()
        }
    return deferred


def request_prerequisites(deferred: Sequence[tuple[int, Deferred]]) -> None:
    """Ask for what exits that wait need of their positions meanwhile."""
    requested = [
        (order_id, why.blocker is ExitBlocker.LIFT)
        for order_id, why in deferred
        if why.blocker in (ExitBlocker.LIFT, ExitBlocker.READ, ExitBlocker.NUMBER)
    ]
    if requested:
        run(sql.REQUEST_PREREQUISITES, columns(requested, 2))
    if halted := [order_id for order_id, why in deferred if why.blocker is ExitBlocker.RELEASE]:
        run(sql.PUT_BACK, (halted,))
