"""Which accounts are in a maintenance window of their broker, and how they are treated.

In a window entries wait for its end (if `closed`), or as long as the account does not answer; exits
are sent as always. An account that does not answer in a window is not in error and opens no
circuit: it is read again until it answers.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from brokers.maintenance_windows import (
    BUILT_IN,
    REGION,
    Maintenance,
    Window,
    WindowTarget,
    open_windows,
    window_for,
)
from common.clocks import market_now
from common.db.sql import rows
from common.operational.current import settings_now
from connections.models.maintenance import MaintenanceWindow

log = structlog.get_logger(__name__)

_ACCOUNTS = """
SELECT id, type, exchange_name, broker_host, settings
FROM connections_executionconnection WHERE id = ANY(%s::uuid[])
"""
_UNANSWERED = """
SELECT connection_id::text FROM connections_connectionhealth
WHERE connection_id = ANY(%s::uuid[]) AND unreachable_at IS NOT NULL
"""


ANY_WINDOW = """
SELECT EXISTS (SELECT FROM connections_maintenancewindow WHERE is_active) AS is_any
"""
"""Whether operators have windows of their own: most have none."""


def windows(*, has_own: bool = True) -> list[Window]:
    """Return all windows: those that brokers published, if enabled, and those of the operators.

    has_own: False if operators are known to have none.
    """
    published = BUILT_IN if settings_now().maintenance.broker_windows else ()
    return [*published, *(_operator_windows() if has_own else ())]


def _operator_windows() -> Iterator[Window]:
    """Yield the operators' windows, without those whose time zone this machine does not know.

    Such a window must not prevent the health of all accounts from being stored.
    """
    for record in MaintenanceWindow.objects.filter(is_active=True):
        try:
            ZoneInfo(record.zone)
        except (KeyError, ValueError, OSError):
            log.exception("a maintenance window is ignored", id=record.pk)
        else:
            yield record.as_window()


def windows_open_now(*, has_own: bool = True) -> tuple[Maintenance, ...]:
    """Return the windows that are open by the market clock. has_own: as for `windows`."""
    return open_windows(market_now(), windows(has_own=has_own))


def maintenance_scope(account: Any) -> WindowTarget:
    """Return what decides which windows apply to an account, or to a row with its columns."""
    region = str(account.settings.get(REGION) or "")
    return WindowTarget(account.type, account.exchange_name, account.broker_host, region)


def deferred_entries(
    entries: Iterable[Any], open_now: Sequence[Maintenance]
) -> dict[str, Maintenance]:
    """Return the accounts of these rows that take no entries now, by connection_id, and why.

    entries: rows with `connection_id` and the columns of `maintenance_scope`. open_now: from
    `windows_open_now`.
    """
    matching = {}
    for row in entries:
        if maintenance := window_for(maintenance_scope(row), open_now):
            matching[row.connection_id] = maintenance
    conditional = [key for key, maintenance in matching.items() if not maintenance.window.closed]
    unanswered = (
        {row.connection_id for row in rows(_UNANSWERED, (conditional,))} if conditional else set()
    )
    return {
        key: maintenance
        for key, maintenance in matching.items()
        if maintenance.window.closed or key in unanswered
    }


def suppressed_errors(connection_ids: Collection[UUID]) -> dict[UUID, Maintenance]:
    """Return those of these accounts whose errors are suppressed now, with their window."""
    if not connection_ids or not (open_now := windows_open_now()):
        return {}
    accounts = rows(_ACCOUNTS, (list(connection_ids),))
    return {
        row.id: maintenance
        for row in accounts
        if (maintenance := window_for(maintenance_scope(row), open_now))
    }


def describe_window(maintenance: Maintenance) -> str:
    """Return the end and the reason of a window, for owners."""
    return f"until {maintenance.until:%d %b %H:%M} UTC. {maintenance.window.note}"


@dataclass(frozen=True, slots=True)
class MaintenanceNotice:
    """The notice on an account's page. now: the open window; later: the next one; '' for none."""

    now: str
    later: str


def describe(account: Any) -> MaintenanceNotice:
    """Return the open and the next maintenance window of an account's broker, as sentences."""
    moment, scope, known = market_now(), maintenance_scope(account), windows()
    present = window_for(scope, open_windows(moment, known))
    coming = [
        (begin, window)
        for window in known
        if Maintenance(window, moment).applies_to(scope)
        and (begin := window.next_start(moment)) is not None
    ]
    begin, window = min(coming, key=lambda pair: pair[0], default=(None, None))
    now = ""
    if present:
        what = "Entries wait" if present.window.closed else "Entries wait if it does not answer"
        now = f"Maintenance {describe_window(present)} {what}; exits are sent."
    later = ""
    if begin and window:
        later = f"Next maintenance: {begin:%a %d %b %H:%M} UTC, {window.minutes} minutes."
        later = f"{later} {window.note}"
    return MaintenanceNotice(now, later)
