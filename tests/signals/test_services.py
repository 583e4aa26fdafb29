"""Publishing: once, only what may be, and only together with its orders."""

import threading
from collections.abc import Iterator
from datetime import timedelta
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
from tests.signals.test_ingest import at_once
from users.models import User


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
def heard() -> Iterator[list[tuple[str, int]]]:
    """What the rooms above were told."""
    heard: list[tuple[str, int]] = []

    def published(signal: Signal, **_: Any) -> None:
        assert signal.published_at is not None
        heard.append(("published", signal.pk))

    def cancelled(signal: Signal, **_: Any) -> None:
        heard.append(("cancelled", signal.pk))

    signal_published.connect(published)
    signal_cancelled.connect(cancelled)
    yield heard
    signal_published.disconnect(published)
    signal_cancelled.disconnect(cancelled)


def test_published_once(feed: Feed, operator: User, heard: list[tuple[str, int]]) -> None:
    signal = make(feed)
    before = market_now()
    assert services.publish(signal.pk, by=operator) is True
    assert services.publish(signal.pk, by=None) is False
    signal.refresh_from_db()
    assert signal.published_at is not None
    assert before <= signal.published_at <= market_now()
    assert signal.published_by == operator
    assert heard == [("published", signal.pk)]
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
def test_what_may_not_be_published(
    feed: Feed, heard: list[tuple[str, int]], fields: dict[str, Any], code: Code
) -> None:
    signal = make(feed, **fields)
    with pytest.raises(ConflictError) as caught:
        services.publish(signal.pk, by=None)
    assert caught.value.code == code
    assert not Signal.objects.published().exists()
    assert not heard
    assert not Event.objects.exists()


def test_an_archived_feed_publishes_nothing(feed: Feed, heard: list[tuple[str, int]]) -> None:
    signal = make(feed)
    Feed.objects.update(archived_at=market_now())
    with pytest.raises(ConflictError) as caught:
        services.publish(signal.pk, by=None)
    assert caught.value.code == Code.STATE_CONFLICT
    assert not heard


def test_a_follower_waits_for_what_it_refers_to(feed: Feed, heard: list[tuple[str, int]]) -> None:
    opened = make(feed)
    close = make(feed, action=Action.CLOSE, refers_to=opened)
    with pytest.raises(ConflictError) as caught:
        services.publish(close.pk, by=None)
    assert caught.value.code == Code.SIGNAL_NOT_PUBLISHED
    assert services.publish(opened.pk, by=None)
    assert services.publish(close.pk, by=None)
    assert heard == [("published", opened.pk), ("published", close.pk)]


def test_a_failing_receiver_takes_the_publication_back(feed: Feed) -> None:
    signal = make(feed)

    def fail(**_: Any) -> None:
        Event.objects.create(kind=EventKind.ORDER_FILLED)  # as if orders were half written
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


def test_cancelling_tells_only_of_what_was_published(
    feed: Feed, operator: User, heard: list[tuple[str, int]]
) -> None:
    waiting, published = make(feed), make(feed)
    services.publish(published.pk, by=None)
    heard.clear()
    for signal in (waiting, published):
        assert services.cancel(signal.pk, by=operator) is True
        assert services.cancel(signal.pk, by=operator) is False
    assert heard == [("cancelled", published.pk)]
    published.refresh_from_db()
    assert published.is_published
    assert published.cancelled_by == operator


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("CLOSE", "To hold the trade again, publish an OPEN."),
        ("MODIFY", "To change them, publish another MODIFY."),
    ],
)
def test_published_follow_up_is_not_cancelled(
    feed: Feed, operator: User, heard: list[tuple[str, int]], action: str, says: str
) -> None:
    opened = make(feed)
    services.publish(opened.pk, by=None)
    waiting, published = (make(feed, action=action, refers_to=opened) for _ in range(2))
    services.publish(published.pk, by=None)
    heard.clear()
    assert services.cancel(waiting.pk, by=operator) is True
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            services.cancel(published.pk, by=operator)
        assert caught.value.code == Code.STATE_CONFLICT
        assert str(caught.value.detail).endswith(says)
    assert heard == []
    published.refresh_from_db()
    assert published.cancelled_at is None


@pytest.mark.django_db(transaction=True)
def test_published_from_many_processes_at_once_is_one_publication(
    heard: list[tuple[str, int]],
) -> None:
    feed = approved_feed()
    for _ in range(5):
        heard.clear()
        signal = make(feed)
        results = at_once(*[partial(services.publish, signal.pk, by=None)] * 4)
        assert sorted(results) == [False, False, False, True]
        assert heard == [("published", signal.pk)]
        assert Event.objects.filter(signal_id=signal.pk).count() == 1


@pytest.mark.django_db(transaction=True)
def test_publish_and_cancel_at_once_leave_nothing_uncancelled(
    heard: list[tuple[str, int]],
) -> None:
    feed = approved_feed()
    for _ in range(8):
        heard.clear()
        signal = make(feed)
        published, cancelled = at_once(
            partial(services.publish, signal.pk, by=None),
            partial(services.cancel, signal.pk, by=None),
        )
        assert cancelled is True
        if published is True:  # then what was written was withdrawn again
            assert heard == [("published", signal.pk), ("cancelled", signal.pk)]
        else:
            assert isinstance(published, ConflictError)
            assert heard == []


@pytest.mark.django_db(transaction=True)
def test_publishing_waits_for_who_changes_the_candidates_and_is_stamped_after() -> None:
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
        _wait_until_somebody_waits_for_a_lock()
        changed_at = market_now()
    thread.join(10)
    signal.refresh_from_db()
    assert done == [True]
    assert signal.published_at is not None
    assert signal.published_at > changed_at


def _wait_until_somebody_waits_for_a_lock() -> None:
    deadline = market_now() + timedelta(seconds=10)
    while market_now() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype='advisory' AND NOT granted"
            )
            (waiting,) = cursor.fetchone()
        if waiting:
            return
    raise AssertionError("publishing did not wait for the candidate lock")
