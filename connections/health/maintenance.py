"""Which accounts are in a maintenance window of their broker's, and what that means for them.

In a window entries wait for its end (`closed`), or as long as the account does not answer; exits
are tried as ever. Who does not answer then is in doubt, and neither in error nor a reason to open
a circuit: it is read again until it answers.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings

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
from common.sql import rows
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


def windows() -> list[Window]:
    """Return all that count: the brokers' published ones and the operators' own."""
    published = BUILT_IN if settings.FILLCAST_BROKER_MAINTENANCE_WINDOWS else ()
    return [*published, *_operator_windows()]


def _operator_windows() -> Iterator[Window]:
    """The operators' windows. One whose zone this machine does not know (any more) is left out: it
    must not keep everybody's trouble from being written."""
    for one in MaintenanceWindow.objects.filter(is_active=True):
        try:
            ZoneInfo(one.zone)
        except (KeyError, ValueError, OSError):
            log.exception("a maintenance window does not count", id=one.pk)
        else:
            yield one.as_window()


def windows_open_now() -> tuple[Maintenance, ...]:
    """Return the windows that are open by the market clock."""
    return open_windows(market_now(), windows())


def maintenance_scope(account: Any) -> WindowTarget:
    """Return what windows ask of an account, or of a row that has these columns of it."""
    region = str(account.settings.get(REGION) or "")
    return WindowTarget(account.type, account.exchange_name, account.broker_host, region)


def deferred_entries(
    entries: Iterable[Any], found: Sequence[Maintenance]
) -> dict[str, Maintenance]:
    """Return which of these rows' accounts (by connection_id) take no entries now, and for what."""
    concerned = {}
    for row in entries:
        if one := window_for(maintenance_scope(row), found):
            concerned[row.connection_id] = one
    conditional = [key for key, one in concerned.items() if not one.window.closed]
    unanswered = (
        {row.connection_id for row in rows(_UNANSWERED, (conditional,))} if conditional else set()
    )
    return {key: one for key, one in concerned.items() if one.window.closed or key in unanswered}


def suppressed_errors(connection_ids: Collection[UUID]) -> dict[UUID, Maintenance]:
    """Return those of these accounts that need not answer now."""
    if not connection_ids or not (found := windows_open_now()):
        return {}
    accounts = rows(_ACCOUNTS, (list(connection_ids),))
    return {row.id: one for row in accounts if (one := window_for(maintenance_scope(row), found))}


def describe_window(one: Maintenance) -> str:
    """Until when, and why: for owners."""
    return f"until {one.until:%d %b %H:%M} UTC. {one.window.note}"


@dataclass(frozen=True, slots=True)
class MaintenanceNotice:
    """What an account's page says. now: the window that it is in; later: its next one."""

    now: str
    later: str


def describe(account: Any) -> MaintenanceNotice:
    """Return in words when an account's broker is maintained; '' where nothing is known."""
    moment, theirs, known = market_now(), maintenance_scope(account), windows()
    present = window_for(theirs, open_windows(moment, known))
    coming = [
        (begin, window)
        for window in known
        if Maintenance(window, moment).applies_to(theirs)
        and (begin := window.next_start(moment)) is not None
    ]
    begin, window = min(coming, key=lambda pair: pair[0], default=(None, None))
    now = ""
    if present:
        what = "Entries wait" if present.window.closed else "Entries wait if it does not answer"
        now = f"Maintenance {describe_window(present)} {what}; exits are tried."
    later = ""
    if begin and window:
        later = f"Next maintenance: {begin:%a %d %b %H:%M} UTC, {window.minutes} minutes."
        later = f"{later} {window.note}"
    return MaintenanceNotice(now, later)
