"""A user's sessions in browsers: what each is, and ending them.

A session's row is its only record, so one that is deleted is signed out with its next request. The
key of a session is a secret: outside of this module a session is named by a digest of it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import structlog
from django.contrib.auth import SESSION_KEY
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from common.errors import InvalidInputError
from common.reason_codes import Code
from common.web import user_agents
from users.models import LoginSession, User
from users.sign_in.attempt_limits import client_address

log = structlog.get_logger(__name__)
BEGUN, SEEN = "session_begun", "session_seen"  # where the session keeps them
SEEN_EVERY_SECONDS = 600
MAX_LISTED = 200
EXPORTED = ("device", "address", "begun_at", "seen_at", "ends_at")


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """One session. seen_at: within ten minutes. address: of the last sighting."""

    reference: str
    is_current: bool
    device: str
    address: str
    begun_at: datetime | None
    seen_at: datetime | None
    ends_at: datetime


def record_sign_in(request: HttpRequest) -> None:
    """Store in the session when, from where and with what it was begun."""
    agent = request.headers.get("User-Agent", "")[:300]
    now = {"at": time.time(), "address": client_address(request)}
    request.session[BEGUN] = {**now, "agent": agent}
    request.session[SEEN] = now


def sessions_of(user: User, current_key: str | None) -> list[BrowserSession]:
    """Return the user's sessions that have not ended, the current one first, then the latest."""
    found = [
        _as_session(row, current_key) for row in _rows(user).order_by("-expire_date")[:MAX_LISTED]
    ]
    earliest = datetime.min.replace(tzinfo=UTC)
    found.sort(key=lambda one: one.seen_at or earliest, reverse=True)
    return sorted(found, key=lambda one: not one.is_current)


def exported_sessions(user: User) -> Iterator[dict[str, Any]]:
    """Yield the user's sessions for the archive of their data, without what opens one."""
    for one in sessions_of(user, None):
        yield {name: getattr(one, name) for name in EXPORTED}


@transaction.atomic
def end_session(user: User, reference: str) -> None:
    """Sign one of the user's sessions out. Raises InvalidInputError NOT_FOUND."""
    for key in _rows(user).values_list("session_key", flat=True):
        if reference_of(key) == reference:
            LoginSession.objects.filter(session_key=key, user_id=user.pk).delete()
            log.info("session_ended", user_id=user.pk)
            return
    raise InvalidInputError(Code.NOT_FOUND, "This session has ended already.", field="id")


@transaction.atomic
def end_sessions(user: User, *, except_key: str | None = None) -> int:
    """Sign the user out everywhere; return how many sessions ended. except_key: of one to keep."""
    mine = LoginSession.objects.filter(user_id=user.pk)
    ended, _ = mine.exclude(session_key=except_key or "").delete()
    log.info("sessions_ended", user_id=user.pk, sessions=ended)
    return ended


def reference_of(session_key: str) -> str:
    """Return the name of a session for pages and the API, which does not open it."""
    return sha256(f"fillcast session {session_key}".encode()).hexdigest()[:24]


class LastSeenMiddleware:
    """Stores in the session when it was seen last. Must come after the authentication."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        seen: Mapping[str, Any] = {}
        if request.user.is_authenticated and SESSION_KEY in request.session:
            seen = request.session.get(SEEN) or {"at": 0.0}
        if seen and time.time() - float(seen["at"]) > SEEN_EVERY_SECONDS:
            request.session[SEEN] = {"at": time.time(), "address": client_address(request)}
        return self.get_response(request)


def device_of(agent: str) -> str:
    """Return the browser and system that a User-Agent header names, such as Firefox on Linux."""
    browser, device = user_agents.browser_of(agent), user_agents.device_of(agent)
    if browser and device:
        return f"{browser} on {device}"
    return browser or device or ("curl" if "curl/" in agent else "Unknown browser")


def _rows(user: User) -> Any:
    return LoginSession.objects.filter(user_id=user.pk, expire_date__gt=timezone.now())


def _as_session(row: LoginSession, current_key: str | None) -> BrowserSession:
    data: Mapping[str, Any] = row.get_decoded()
    begun, seen = data.get(BEGUN) or {}, data.get(SEEN) or {}
    return BrowserSession(
        reference=reference_of(row.session_key),
        is_current=row.session_key == current_key,
        device=device_of(str(begun.get("agent", ""))),
        address=str(seen.get("address", "")),
        begun_at=_moment(begun),
        seen_at=_moment(seen),
        ends_at=row.expire_date,
    )


def _moment(fact: Mapping[str, Any]) -> datetime | None:
    return datetime.fromtimestamp(float(fact["at"]), UTC) if "at" in fact else None
