"""Two persons act on one signal, draft, feed or address at the same time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.permissions import Role
from common.sealing import new_private_key
from signals import services
from signals.feeds.approval_requests import grant_approval, refuse_approval, request_approval
from signals.feeds.services import (
    create_feed,
    create_feed_token,
    revoke_feed_token,
    rotate_feed_token,
)
from signals.models import (
    Action,
    ApprovalRequest,
    Feed,
    FeedToken,
    SavedDraft,
    Signal,
)
from signals.publishing.drafts import discard_draft, publish_draft, store_draft
from tests.changes.races import Race, require_one_winner
from tests.connections import make
from tests.roles import staff
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"symbol": "EUR/USD", "direction": "BUY"}
CONFLICT = "STATE_CONFLICT"
CHAT = -1001


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Tokens can be sealed, and a session waits for as long as the test."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = None
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = [new_private_key()]
    limits(lock_timeout=60_000)


def _operators() -> tuple[User, User]:
    return staff(Role.OPERATOR, name="olga"), staff(Role.OPERATOR, name="otto")


def _feed(**fields: Any) -> Feed:
    return create_feed(owner=make.user("paula"), name="Majors", **{"is_approved": True, **fields})


def _of_signal(
    first: Callable[..., bool], second: Callable[..., bool], answer: str, approval: str
) -> Race:
    """Two operators decide about one signal; what the first one has decided stays."""
    olga, otto = _operators()
    signal = make.signal(make.feed(is_approved=False), approval="PENDING")

    def left() -> tuple[str, Any]:
        now = Signal.objects.get(pk=signal.pk)
        return now.approval, (now.approved_by_id or now.cancelled_by_id) == olga.pk

    return Race(
        lambda: first(signal.pk, by=olga), lambda: second(signal.pk, by=otto), ("True", answer),
        left, (approval, True),
    )  # fmt: skip


def two_approvals() -> Race:
    return _of_signal(services.approve, services.approve, "False", "APPROVED")


def two_rejections() -> Race:
    return _of_signal(services.reject, services.reject, "False", "REJECTED")


def rejection_of_what_is_being_approved() -> Race:
    return _of_signal(services.approve, services.reject, CONFLICT, "APPROVED")


def approval_of_what_is_being_rejected() -> Race:
    return _of_signal(services.reject, services.approve, CONFLICT, "REJECTED")


def approval_of_what_is_being_cancelled() -> Race:
    return _of_signal(services.cancel, services.approve, "SIGNAL_ENDED", "PENDING")


def two_cancellations() -> Race:
    return _of_signal(services.cancel, services.cancel, "False", "PENDING")


def publication_of_what_is_being_cancelled() -> Race:
    signal = make.signal(_feed())

    def left() -> object:
        return Signal.objects.get(pk=signal.pk).published_at

    return Race(
        lambda: services.cancel(signal.pk, by=None), lambda: services.publish(signal.pk, by=None),
        ("True", "SIGNAL_ENDED"), left, None,
    )  # fmt: skip


def cancellation_of_a_close_that_is_being_published() -> Race:
    feed = _feed()
    opened = make.signal(feed)
    services.publish(opened.pk, by=None)
    close = make.signal(feed, action="CLOSE", refers_to=opened)

    def left() -> object:
        return Signal.objects.get(pk=close.pk).cancelled_at

    return Race(
        lambda: services.publish(close.pk, by=None), lambda: services.cancel(close.pk, by=None),
        ("True", CONFLICT), left, None,
    )  # fmt: skip


def _draft() -> tuple[SavedDraft, User]:
    feed = _feed()
    return store_draft(feed.pk, action=Action.OPEN, body=BODY, by=feed.owner), feed.owner


def _of_draft() -> tuple[int, bool]:
    return Signal.objects.count(), SavedDraft.objects.get().discarded_at is not None


def two_publications_of_a_draft() -> Race:
    draft, owner = _draft()

    def publish() -> object:
        return publish_draft(draft.pk, version=1, by=owner)

    return Race(publish, publish, ("True", "False"), _of_draft, (1, False))


def publication_of_a_draft_that_is_being_discarded() -> Race:
    draft, owner = _draft()
    return Race(
        lambda: discard_draft(draft.pk, by=owner), lambda: publish_draft(draft.pk, by=owner),
        ("True", CONFLICT), _of_draft, (0, True),
    )  # fmt: skip


def discarding_of_a_draft_that_is_being_published() -> Race:
    draft, owner = _draft()
    return Race(
        lambda: publish_draft(draft.pk, by=owner), lambda: discard_draft(draft.pk, by=owner),
        ("True", CONFLICT), _of_draft, (1, False),
    )  # fmt: skip


def publication_of_a_draft_that_is_being_changed() -> Race:
    draft, owner = _draft()
    changed = {**BODY, "direction": "SELL"}
    return Race(
        lambda: store_draft(draft.feed_id, action=Action.OPEN, body=changed, key=draft.key,
                            version=1, by=owner),
        lambda: publish_draft(draft.pk, version=1, by=owner),
        ("done", CONFLICT), _of_draft, (0, False),
    )  # fmt: skip


def two_changes_of_a_draft() -> Race:
    """Of a close: drafts of new trades wait for each other because of their quota."""
    feed = _feed()
    draft = store_draft(feed.pk, action=Action.CLOSE, body={"note": "0"}, by=feed.owner)

    def change(note: str) -> object:
        body = {"note": note}
        return store_draft(
            feed.pk, action=Action.CLOSE, body=body, key=draft.key, version=1, by=feed.owner
        )

    def left() -> tuple[str, int]:
        now = SavedDraft.objects.get()
        return now.body["note"], now.version

    return Race(lambda: change("1"), lambda: change("2"), ("done", CONFLICT), left, ("1", 2))


def two_requests_for_approval() -> Race:
    feed = _feed(is_approved=False)

    def ask() -> object:
        return request_approval(feed.pk, by=feed.owner)

    return Race(ask, ask, ("True", "False"), ApprovalRequest.objects.count, 1)


def refusal_of_what_is_being_granted() -> Race:
    olga, otto = _operators()
    feed = _feed(is_approved=False)
    request_approval(feed.pk, by=feed.owner)

    def left() -> tuple[str, bool]:
        return ApprovalRequest.objects.get().outcome, Feed.objects.get().is_approved

    return Race(
        lambda: grant_approval(feed.pk, by=olga),
        lambda: refuse_approval(feed.pk, sentence="Not yet.", by=otto),
        ("True", CONFLICT), left, ("GRANTED", True),
    )  # fmt: skip


def _token() -> FeedToken:
    return create_feed_token(_feed())[0]


def two_replacements_of_an_address() -> Race:
    token = _token()

    def replace() -> object:
        return rotate_feed_token(token.pk, old_ends_at=None)

    def left() -> int:
        return FeedToken.objects.filter(revoked_at=None).count()

    return Race(replace, replace, ("done", CONFLICT), left, 1)


def replacement_of_an_address_that_is_being_revoked() -> Race:
    token = _token()
    return Race(
        lambda: revoke_feed_token(token.pk),
        lambda: rotate_feed_token(token.pk, old_ends_at=datetime.now(UTC) + timedelta(hours=1)),
        ("True", CONFLICT), FeedToken.objects.count, 1,
    )  # fmt: skip


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        two_approvals,
        two_rejections,
        rejection_of_what_is_being_approved,
        approval_of_what_is_being_rejected,
        approval_of_what_is_being_cancelled,
        two_cancellations,
        publication_of_what_is_being_cancelled,
        cancellation_of_a_close_that_is_being_published,
        two_publications_of_a_draft,
        publication_of_a_draft_that_is_being_discarded,
        discarding_of_a_draft_that_is_being_published,
        publication_of_a_draft_that_is_being_changed,
        two_changes_of_a_draft,
        two_requests_for_approval,
        refusal_of_what_is_being_granted,
        two_replacements_of_an_address,
        replacement_of_an_address_that_is_being_revoked,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_decision_about_a_signal_has_one_winner(name: str) -> None:
    require_one_winner(RACES[name]())
