"""What the services refuse on an archived feed, an archived account, and a subscription that ended.

A page or an operation may leave the check to them. What is not named is allowed: it writes, reads
or ends what can do no harm there.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from analytics.preflight.services import request_preflight
from connections import services
from signals.feeds.services import archive_feed, create_feed_token, rotate_feed_token
from signals.models import FeedToken
from tests.users.rights_table import ACTS, Act, Rows
from tests.users.test_rights_and_state import outcome
from users.services import create_api_key, revoke_api_key

pytestmark = pytest.mark.django_db
CONFLICT = "STATE_CONFLICT"


def _feeds(rows: Rows) -> None:
    for feed in (rows.private, rows.public):
        archive_feed(feed.pk)
        feed.refresh_from_db()


ENDS: dict[str, Callable[[Rows], object]] = {
    "nothing": lambda _: None,
    "its feeds": _feeds,
    "its account": lambda rows: services.archive_connection(
        rows.account.pk, by=None, although_open=True
    ),
    "its subscription": lambda rows: services.unsubscribe(rows.subscription.pk, by=None),
}
FURTHER_ACTS: dict[str, Act] = {
    "make an address": lambda rows, by: create_feed_token(rows.private, by=by),
    "replace an address": lambda rows, by: rotate_feed_token(
        rows.private.tokens.get().pk, old_ends_at=None, by=by
    ),
    "ask for a test": lambda rows, by: services.request_test(rows.account.pk, by=by),
    "subscribe": lambda rows, by: services.subscribe(
        connection_id=rows.account.pk, feed_id=rows.public.pk, by=by
    ),
    "ask for a preflight of a feed not taken": lambda rows, by: request_preflight(
        connection_id=rows.account.pk, feed_id=rows.public.pk, by=by
    ),
    "change a subscription": lambda rows, by: services.update_subscription(
        rows.subscription.pk, by=by, expires_at=None
    ),
}
REFUSED: dict[str, dict[str, str]] = {
    "nothing": {},
    "its feeds": {
        "publish a signal": CONFLICT,
        "publish a draft": "FEED_UNKNOWN",
        "ask for approval": CONFLICT,
        "make an address": CONFLICT,
        "replace an address": CONFLICT,
        "subscribe": CONFLICT,
        "ask for a preflight of a feed not taken": "NOT_FOUND",
    },
    "its account": {
        "pause an account": CONFLICT,
        "pause a subscription": CONFLICT,
        "change a subscription": CONFLICT,
        "subscribe": CONFLICT,
        "ask for a test": CONFLICT,
        "ask for a preflight": "NOT_FOUND",
        "ask for a preflight of a feed not taken": "NOT_FOUND",
    },
    "its subscription": {"pause a subscription": CONFLICT, "change a subscription": CONFLICT},
}
OTHERS = {"approve a signal", "reject a signal", "grant approval", "halt everything", "invite",
          "change rights", "make a key", "enter a deposit"}  # fmt: skip
"""Acts of operators, about a user, or, on an archived account, one that finds no row."""


def test_address_whose_key_was_revoked_is_not_replaced() -> None:
    """The new one would work again, of what the revocation has ended."""
    rows = Rows()
    key, _ = create_api_key(rows.alice, "k")
    token, _ = create_feed_token(rows.private)
    FeedToken.objects.filter(pk=token.pk).update(made_with=key)
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    for old_ends_at in (None, ends_at):
        assert outcome(lambda: rotate_feed_token(token.pk, old_ends_at=old_ends_at)) == "allowed"  # noqa: B023
    revoke_api_key(key.pk)
    for old_ends_at in (None, ends_at):
        assert outcome(lambda: rotate_feed_token(token.pk, old_ends_at=old_ends_at)) == CONFLICT  # noqa: B023


@pytest.mark.parametrize("what", ENDS)
def test_what_has_ended_is_refused_by_the_services(what: str) -> None:
    rows, wrong = Rows(), list[str]()
    create_feed_token(rows.private)
    ENDS[what](rows)
    for name, act in {**ACTS, **FURTHER_ACTS}.items():
        if name in OTHERS:
            continue
        with transaction.atomic():
            found = outcome(lambda: act(rows, rows.alice))  # noqa: B023
        if found != (expected := REFUSED[what].get(name, "allowed")):
            wrong.append(f"{name}, where {what} has ended: expected {expected}, found {found}")
    assert not wrong, "\n".join(wrong)
