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

from brokers.windows import (
    BUILT_IN,
    REGION,
    Maintenance,
    Whose,
    Window,
    maintenance_of,
    open_at,
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
    published = BUILT_IN if settings.FILLCAST_PUBLISHED_WINDOWS else ()
    return [*published, *_own()]


def _own() -> Iterator[Window]:
    """The operators' windows. One whose zone this machine does not know (any more) is left out: it
    must not keep everybody's trouble from being written."""
    for one in MaintenanceWindow.objects.filter(is_active=True):
        try:
            ZoneInfo(one.zone)
        except (KeyError, ValueError, OSError):
            log.exception("a maintenance window does not count", id=one.pk)
        else:
            yield one.as_window()


def open_now() -> tuple[Maintenance, ...]:
    """Return the windows that are open by the market clock."""
    return open_at(market_now(), windows())


def whose(account: Any) -> Whose:
    """Return what windows ask of an account, or of a row that has these columns of it."""
    region = str(account.settings.get(REGION) or "")
    return Whose(account.type, account.exchange_name, account.broker_host, region)


def held_back(entries: Iterable[Any], found: Sequence[Maintenance]) -> dict[str, Maintenance]:
    """Return which of these rows' accounts (by connection_id) take no entries now, and for what."""
    concerned = {}
    for row in entries:
        if one := maintenance_of(whose(row), found):
            concerned[row.connection_id] = one
    doubted = [key for key, one in concerned.items() if not one.window.closed]
    silent = {row.connection_id for row in rows(_UNANSWERED, (doubted,))} if doubted else set()
    return {key: one for key, one in concerned.items() if one.window.closed or key in silent}


def forgiven(connection_ids: Collection[UUID]) -> dict[UUID, Maintenance]:
    """Return those of these accounts that need not answer now."""
    if not connection_ids or not (found := open_now()):
        return {}
    asked = rows(_ACCOUNTS, (list(connection_ids),))
    return {row.id: one for row in asked if (one := maintenance_of(whose(row), found))}


def words(one: Maintenance) -> str:
    """Until when, and why: for owners."""
    return f"until {one.until:%d %b %H:%M} UTC. {one.window.note}"


@dataclass(frozen=True, slots=True)
class Shown:
    """What an account's page says. now: the window that it is in; later: its next one."""

    now: str
    later: str


def shown_of(account: Any) -> Shown:
    """Return in words when an account's broker is maintained; '' where nothing is known."""
    moment, theirs, known = market_now(), whose(account), windows()
    present = maintenance_of(theirs, open_at(moment, known))
    coming = [
        (begin, window)
        for window in known
        if Maintenance(window, moment).concerns(theirs)
        and (begin := window.next_begin(moment)) is not None
    ]
    begin, window = min(coming, key=lambda pair: pair[0], default=(None, None))
    now = ""
    if present:
        what = "Entries wait" if present.window.closed else "Entries wait if it does not answer"
        now = f"Maintenance {words(present)} {what}; exits are tried."
    later = ""
    if begin and window:
        later = f"Next maintenance: {begin:%a %d %b %H:%M} UTC, {window.minutes} minutes."
        later = f"{later} {window.note}"
    return Shown(now, later)
