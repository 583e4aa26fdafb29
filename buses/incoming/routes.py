"""Operators let subjects of a bus in, and take that back."""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction

from buses.incoming.intake import right_for
from buses.incoming.models import FILLS, SIGNALS, BusRoute
from common.db.sql import database_now
from common.errors import ConflictError, InvalidInputError
from common.permissions import require
from common.reason_codes import Code
from connections.models import ExecutionConnection
from signals.models import Feed
from users.models import User

_REST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # of fills: consumers read mt5.fills.*


@transaction.atomic
def add_route(
    subject: str, *, feed: Feed | None = None, account: ExecutionConnection | None = None, by: User
) -> BusRoute:
    """Let signals of `signals.approved.…` into a feed, or fills of `mt5.fills.…` to an account.

    Raises InvalidInputError for another subject or target, ConflictError STATE_CONFLICT if the
    subject has a route, NotAllowedError: only staff who may approve signals, or decide about
    differences, may let them come in by a bus.
    """
    root = SIGNALS if feed is not None else FILLS
    if (feed is None) == (account is None):
        detail = "Name the feed of signals, or the account of fills."
        raise InvalidInputError(Code.FIELD_INVALID, detail)
    rest, what = (_REST, "a name") if root == SIGNALS else (_NAME, "one name without dots")
    if not subject.startswith(root) or not rest.fullmatch(subject.removeprefix(root)):
        detail = f"{subject[:100]!r} must be {root} and {what}, without wildcards."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="subject")
    if len(subject) > 200:
        raise InvalidInputError(Code.FIELD_INVALID, "It is too long.", field="subject")
    require(by, right_for(subject))
    try:
        with transaction.atomic():
            return BusRoute.objects.create(
                subject=subject, feed=feed, connection=account, created_by=by
            )
    except IntegrityError as error:
        detail = f"{subject} has a route already; end that first."
        raise ConflictError(Code.STATE_CONFLICT, detail) from error


@transaction.atomic
def end_route(route_id: int, *, by: User) -> bool:
    """Let nothing more in by a route. Returns False if it had ended. Raises NotAllowedError."""
    route = BusRoute.objects.get(pk=route_id)
    require(by, right_for(route.subject))
    return bool(BusRoute.objects.filter(pk=route_id, ended_at=None).update(ended_at=database_now()))
