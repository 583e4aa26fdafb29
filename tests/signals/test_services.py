"""Publishing: once, only if allowed, and only together with its orders."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from common.clocks import market_now
from common.errors import ConflictError
from common.reason_codes import Code
from events.models import Event, EventKind
from signals import services
from signals.locks import candidates_exclusive
from signals.models import Action, Approval, Feed, Signal
from signals.signals import signal_cancelled, signal_published
from tests.lock_waits import until_one_waits
from tests.signals.test_ingest import at_once
from tests.statements import sent_statements
from users.models import User

LATER = market_now() + timedelta(days=1)


def make(feed: Feed, **fields: Any) -> Signal:
    fields = {
        "approval": Approval.APPROVED,
        "currency_pair": "EUR/USD",
        "direction": "BUY",
    } | fields
    return Signal.objects.create(feed=feed, **fields)


def approved_feed() -> Feed:
    owner = User.objects.create_user("p")
    return Feed.objects.create(slug="race", name="Race", owner=owner, is_approved=True)


@pytest.fixture
def sent_signals() -> Iterator[list[tuple[str, int]]]:
    """Return the list of the Django signals that services send from now on."""
    sent_signals: list[tuple[str, int]] = []

    def published(signal: Signal, **_: Any) -> None:
        assert signal.published_at is not None
        sent_signals.append(("published", signal.pk))

    def cancelled(signal: Signal, **_: Any) -> None:
        sent_signals.append(("cancelled", signal.pk))

    signal_published.connect(published)
    signal_cancelled.connect(cancelled)
    yield sent_signals
    signal_published.disconnect(published)
    signal_cancelled.disconnect(cancelled)


def test_signal_is_published_once(
    feed: Feed, operator: User, sent_signals: list[tuple[str, int]]
) -> None:
    signal = make(feed)
    before = market_now()
    assert services.publish(signal.pk, by=operator) is True
    assert services.publish(signal.pk, by=None) is False
    signal.refresh_from_db()
    assert signal.published_at is not None
    assert before <= signal.published_at <= market_now()
    assert signal.published_by == operator
    assert sent_signals == [("published", signal.pk)]
    event = Event.objects.get(signal_id=signal.pk)
    assert (event.kind, event.user_id) == (EventKind.SIGNAL_PUBLISHED, feed.owner_id)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"approval": Approval.PENDING}, Code.SIGNAL_NOT_APPROVED),
        ({"approval": Approval.REJECTED}, Code.SIGNAL_NOT_APPROVED),
        ({"cancelled_at": market_now()}, Code.SIGNAL_ENDED),
        ({"valid_until": market_now() - timedelta(seconds=1)}, Code.SIGNAL_ENDED),
    ],
)
def test_unapproved_or_ended_signal_is_not_published(
    feed: Feed, sent_signals: list[tuple[str, int]], fields: dict[str, Any], code: Code
) -> None:
    signal = make(feed, **fields)
    with pytest.raises(ConflictError) as caught:
        services.publish(signal.pk, by=None)
    assert caught.value.code == code
    assert not Signal.objects.published().exists()
    assert not sent_signals
    assert not Event.objects.exists()


def test_signal_of_archived_feed_is_not_published(
    feed: Feed, sent_signals: list[tuple[str, int]]
) -> None:
    signal = make(feed)
    Feed.objects.update(archived_at=market_now())
    with pytest.raises(ConflictError) as caught:
        services.publish(signal.pk, by=None)
    assert caught.value.code == Code.STATE_CONFLICT
    assert not sent_signals


def test_signal_of_archived_feed_can_only_be_rejected(feed: Feed, operator: User) -> None:
    signal = make(feed, approval=Approval.PENDING)
    Feed.objects.update(archived_at=market_now())
    with pytest.raises(ConflictError) as caught:
        services.approve(signal.pk, by=operator)
    assert caught.value.code == Code.STATE_CONFLICT
    assert services.reject(signal.pk, by=operator)


def test_follow_up_is_published_only_after_its_reference(
    feed: Feed, sent_signals: list[tuple[str, int]]
) -> None:
    opened = make(feed)
    close = make(feed, action=Action.CLOSE, refers_to=opened)
    with pytest.raises(ConflictError) as caught:
        services.publish(close.pk, by=None)
    assert caught.value.code == Code.SIGNAL_NOT_PUBLISHED
    assert services.publish(opened.pk, by=None)
    assert services.publish(close.pk, by=None)
    assert sent_signals == [("published", opened.pk), ("published", close.pk)]


def _fields(signal: Signal) -> dict[str, Any]:
    return {field.attname: getattr(signal, field.attname) for field in Signal._meta.concrete_fields}


@pytest.mark.parametrize(
    ("feed_fields", "signal_fields"),
    [
        ({"is_public": False, "is_approved": True, "approved_by_owner": True}, {}),
        ({"is_approved": True, "is_public": True}, {"sl": D("1.09"), "valid_until": LATER}),
        ({}, {"by_operator": True, "target_prices": [D("1.2")], "target_fractions": [D(1)]}),
    ],
)
def test_receivers_get_what_the_publication_stored(
    operator: User, feed_fields: dict[str, bool], signal_fields: dict[str, Any]
) -> None:
    owner = User.objects.create_user("p", is_active=True)
    feed = Feed.objects.create(slug="read", name="Read", owner=owner, **feed_fields)
    by = {"approved_by": operator} if signal_fields.pop("by_operator", False) else {}
    signal, given = make(feed, **signal_fields, **by), []

    def published(signal: Signal, **_: Any) -> None:
        given.append((_fields(signal), _fields(Signal.objects.get(pk=signal.pk)), signal.feed))

    signal_published.connect(published)
    try:
        assert services.publish(signal.pk, by=operator)
    finally:
        signal_published.disconnect(published)
    ((got, stored, its_feed),) = given
    assert got == stored
    assert stored["published_by_id"] == operator.pk
    assert stored["owner_only"] is feed_fields.get("approved_by_owner", False)
    assert its_feed == feed


def test_publication_without_accounts_sends_twelve_statements(feed: Feed) -> None:
    signal = make(feed)
    with sent_statements() as sent:
        assert services.publish(signal.pk, by=None)
    assert len(sent) == 12, "\n".join(" ".join(text.split())[:100] for text in sent)


def test_failing_receiver_rolls_the_publication_back(feed: Feed) -> None:
    signal = make(feed)

    def fail(**_: Any) -> None:
        Event.objects.create(kind=EventKind.ORDER_FILLED)  # as if some orders were written
        raise RuntimeError("no orders")

    signal_published.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            services.publish(signal.pk, by=None)
    finally:
        signal_published.disconnect(fail)
    assert not Signal.objects.published().exists()
    assert not Event.objects.exists()
    assert services.publish(signal.pk, by=None)


def test_approval_is_decided_once(unapproved: Feed, operator: User) -> None:
    signal = make(unapproved, approval=Approval.PENDING)
    assert services.approve(signal.pk, by=operator) is True
    assert services.approve(signal.pk, by=operator) is False
    with pytest.raises(ConflictError) as caught:
        services.reject(signal.pk, by=operator)
    assert caught.value.code == Code.STATE_CONFLICT
    signal.refresh_from_db()
    assert (signal.approval, signal.approved_by) == (Approval.APPROVED, operator)
    rejected = make(unapproved, approval=Approval.PENDING)
    assert services.reject(rejected.pk, by=operator)
    cancelled = make(unapproved, approval=Approval.PENDING, cancelled_at=market_now())
    with pytest.raises(ConflictError) as caught:
        services.approve(cancelled.pk, by=operator)
    assert caught.value.code == Code.SIGNAL_ENDED


def test_cancellation_is_sent_only_for_published_signals(
    feed: Feed, operator: User, sent_signals: list[tuple[str, int]]
) -> None:
    waiting, published = make(feed), make(feed)
    services.publish(published.pk, by=None)
    sent_signals.clear()
    for signal in (waiting, published):
        assert services.cancel(signal.pk, by=operator) is True
        assert services.cancel(signal.pk, by=operator) is False
    assert sent_signals == [("cancelled", published.pk)]
    published.refresh_from_db()
    assert published.is_published
    assert published.cancelled_by == operator


@pytest.mark.parametrize(
    ("action", "hint"),
    [
        ("CLOSE", "To hold the trade again, publish an OPEN."),
        ("MODIFY", "To change them, publish another MODIFY."),
    ],
)
def test_published_follow_up_is_not_cancelled(
    feed: Feed, operator: User, sent_signals: list[tuple[str, int]], action: str, hint: str
) -> None:
    opened = make(feed)
    services.publish(opened.pk, by=None)
    waiting, published = (make(feed, action=action, refers_to=opened) for _ in range(2))
    services.publish(published.pk, by=None)
    sent_signals.clear()
    assert services.cancel(waiting.pk, by=operator) is True
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            services.cancel(published.pk, by=operator)
        assert caught.value.code == Code.STATE_CONFLICT
        assert str(caught.value.detail).endswith(hint)
    assert sent_signals == []
    published.refresh_from_db()
    assert published.cancelled_at is None


@pytest.mark.django_db(transaction=True)
def test_concurrent_publications_are_one(
    sent_signals: list[tuple[str, int]],
) -> None:
    feed = approved_feed()
    for _ in range(5):
        sent_signals.clear()
        signal = make(feed)
        results = at_once(*[partial(services.publish, signal.pk, by=None)] * 4)
        assert sorted(results) == [False, False, False, True]
        assert sent_signals == [("published", signal.pk)]
        assert Event.objects.filter(signal_id=signal.pk).count() == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_publish_and_cancel_leave_a_cancelled_signal(
    sent_signals: list[tuple[str, int]],
) -> None:
    feed = approved_feed()
    for _ in range(8):
        sent_signals.clear()
        signal = make(feed)
        published, cancelled = at_once(
            partial(services.publish, signal.pk, by=None),
            partial(services.cancel, signal.pk, by=None),
        )
        assert cancelled is True
        if published is True:  # then the publication was cancelled again
            assert sent_signals == [("published", signal.pk), ("cancelled", signal.pk)]
        else:
            assert isinstance(published, ConflictError)
            assert sent_signals == []


@pytest.mark.django_db(transaction=True)
def test_publication_waits_for_a_change_of_the_candidates() -> None:
    feed = approved_feed()
    signal = make(feed)
    done: list[bool] = []

    def publish() -> None:
        done.append(services.publish(signal.pk, by=None))
        connection.close()

    with transaction.atomic():
        candidates_exclusive(feed.pk)
        thread = threading.Thread(target=publish)
        thread.start()
        until_one_waits(lock="advisory")
        changed_at = market_now()
    thread.join(60)
    signal.refresh_from_db()
    assert done == [True]
    assert signal.published_at is not None
    assert signal.published_at > changed_at
