"""Taking a feed and leaving it; what stands in the intervals, also against a publication."""

from datetime import datetime, timedelta
from decimal import Decimal
from threading import Event as Flag
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, transaction

from common.clocks import market_now
from common.db.sql import rows, run
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from connections import eligibility, services
from connections.models import ExecutionConnection, Subscription, SubscriptionInterval
from signals.locks import candidates_exclusive, candidates_shared
from signals.models import Feed
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.until import until


@pytest.fixture
def alices(db: None) -> ExecutionConnection:
    return make.ready(make.connection())


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


def take(row: ExecutionConnection, feed: Feed, **fields: Any) -> Subscription:
    return services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=row.user, **fields)


def intervals(subscription: Subscription) -> list[bool]:
    """Oldest first: is it over?"""
    found = SubscriptionInterval.objects.filter(subscription=subscription).order_by("started_at")
    return [interval.ended_at is not None for interval in found]


def test_subscribing_leaving_and_subscribing_again(alices: ExecutionConnection, feed: Feed) -> None:
    first = take(alices, feed)
    assert intervals(first) == [False]
    with pytest.raises(ConflictError, match="already"):
        take(alices, feed)
    assert services.unsubscribe(first.pk, by=alices.user) is True
    assert services.unsubscribe(first.pk, by=alices.user) is False
    assert intervals(first) == [True]
    again = take(alices, feed, multiplier=Decimal(2))
    assert (again.pk, again.multiplier, again.archived_at) == (first.pk, 2, None)
    assert intervals(again) == [True, False]


def test_overrides_are_validated_strictly(alices: ExecutionConnection, feed: Feed) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"multiplier": Decimal(0)}, "multiplier"),
        ({"directions": "UP"}, "directions"),
        ({"priority": 0}, "priority"),
        ({"priority": 4}, "priority"),
        ({"priority": 1}, "priority"),  # only an operator gives it
        ({"symbol_map": {"NO PAIR": "X"}}, "symbol_map"),
    ]
    for fields, field in bad:
        with pytest.raises(InvalidInputError) as refused:
            take(alices, feed, **fields)
        assert refused.value.field == field
    taken = take(alices, feed, symbol_map={"eurusd": "EURUSD.m"}, directions="BUY")
    assert taken.symbol_map == {"EUR/USD": "EURUSD.m"}


def test_private_feed_is_only_for_its_owner(alices: ExecutionConnection) -> None:
    private = make.feed(is_public=False)
    with pytest.raises(NotAllowedError) as refused:
        take(alices, private)
    assert refused.value.code is Code.NOT_FOUND
    own = make.ready(make.connection(private.owner))
    assert take(own, private).pk
    archived = make.feed(archived_at=market_now())
    with pytest.raises(ConflictError):
        take(alices, archived)


def test_subscription_is_paused_renewed_and_changed(
    alices: ExecutionConnection, feed: Feed
) -> None:
    taken, by = take(alices, feed), alices.user
    assert services.pause_subscription(taken.pk, by=by) is True
    assert services.pause_subscription(taken.pk, by=by) is False
    why = eligibility.reason_for(connection_id=alices.pk, feed_id=feed.pk, direction="BUY")
    assert why is Code.SUBSCRIPTION_PAUSED
    assert services.resume_subscription(taken.pk, by=by) is True
    end = market_now() + timedelta(days=1)
    assert services.update_subscription(taken.pk, by=by, expires_at=end) is True
    assert services.update_subscription(taken.pk, by=by, expires_at=end) is False
    with pytest.raises(InvalidInputError):
        services.update_subscription(taken.pk, by=by, expires_at=market_now())
    assert services.update_subscription(taken.pk, by=by, directions="SELL") is True
    with pytest.raises(InvalidInputError):
        services.update_subscription(taken.pk, by=by, feed=1)
    assert intervals(taken) == [False], "who is a candidate did not change"
    services.unsubscribe(taken.pk, by=by)
    with pytest.raises(ConflictError):
        services.resume_subscription(taken.pk, by=by)


def test_only_operators_give_high_priority(alices: ExecutionConnection, feed: Feed) -> None:
    olga = make.user("olga", is_staff=True, is_superuser=True)
    taken = take(alices, feed, priority=3)
    assert taken.priority == 3
    with pytest.raises(InvalidInputError, match="Only an operator"):
        services.update_subscription(taken.pk, by=alices.user, priority=1)
    assert services.update_subscription(taken.pk, by=olga, priority=1) is True
    # The owner may leave it as it is, lower it, and then no longer raise it.
    assert services.update_subscription(taken.pk, by=alices.user, priority=1) is False
    assert services.update_subscription(taken.pk, by=alices.user, priority=2) is True
    with pytest.raises(InvalidInputError, match="Only an operator"):
        services.update_subscription(taken.pk, by=alices.user, priority=1)


def test_reopened_subscription_has_normal_priority(alices: ExecutionConnection, feed: Feed) -> None:
    taken = take(alices, feed, priority=3)
    services.unsubscribe(taken.pk, by=alices.user)
    assert take(alices, feed).priority == 2


def test_reopened_subscription_is_not_paused(alices: ExecutionConnection, feed: Feed) -> None:
    taken = take(alices, feed)
    services.pause_subscription(taken.pk, by=alices.user)
    services.unsubscribe(taken.pk, by=alices.user)
    assert not take(alices, feed).is_paused


def test_account_of_a_route_takes_the_feed_itself_once_the_route_has_ended(
    alices: ExecutionConnection, feed: Feed
) -> None:
    taken, other = take(alices, feed), make.ready(make.connection(alices.user, account="2"))
    accounts = [services.RouteAccount(alices.pk), services.RouteAccount(other.pk)]
    services.set_route(taken.pk, by=alices.user, policy="PRICE", accounts=accounts)
    with pytest.raises(ConflictError):
        take(other, feed)
    services.unsubscribe(taken.pk, by=alices.user)
    assert take(other, feed).archived_at is None


def test_database_refuses_unknown_priority(alices: ExecutionConnection, feed: Feed) -> None:
    with pytest.raises(IntegrityError, match="subscription_priority_known"):
        make.subscription(alices, feed, priority=4)


def test_other_tenant_is_refused(alices: ExecutionConnection, feed: Feed) -> None:
    taken, bob = take(alices, feed), make.user("bob")
    for attempt in (
        lambda: services.subscribe(connection_id=alices.pk, feed_id=make.feed().pk, by=bob),
        lambda: services.unsubscribe(taken.pk, by=bob),
        lambda: services.pause_subscription(taken.pk, by=bob),
        lambda: services.update_subscription(taken.pk, by=bob, expires_at=None),
    ):
        with pytest.raises(NotAllowedError):
            attempt()


def _publish(feed: Feed, done: Flag) -> tuple[datetime, int]:
    """What a publication does, held open until `done`: (published_at, candidates)."""
    with transaction.atomic():
        candidates_shared(feed.pk)
        published_at = market_now()
        assert done.wait(60)
        found = rows(
            f"SELECT count(*) AS n FROM {eligibility.CANDIDATES_SQL}",
            eligibility.eligibility_parameters(feed_id=feed.pk, direction="BUY"),
        )
    return published_at, found[0].n


_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
_HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = {}"


def _until_locked(feed: Feed) -> None:
    _until(_HELD.format(feed.pk))


def _until(query: str) -> None:
    until(lambda: rows(query)[0].count, query)


@pytest.mark.usefixtures("inline_commits")
class TestAgainstPublication:
    """Two connections: one publishes, one changes who is a candidate."""

    @pytest.mark.django_db(transaction=True)
    def test_subscription_during_publication_takes_effect_after_it(self) -> None:
        row, feed, done = make.ready(make.connection()), make.feed(), Flag()
        with elsewhere(lambda: _publish(feed, done)) as published:
            _until_locked(feed)
            with elsewhere(lambda: take(row, feed)) as subscribed:
                _until(_WAITING)
                done.set()
        ((published_at, candidates),) = published
        started = SubscriptionInterval.objects.get(subscription=subscribed[0]).started_at
        assert (candidates, started > published_at) == (0, True)

    @pytest.mark.django_db(transaction=True)
    def test_leaving_during_publication_keeps_candidate(self) -> None:
        row, feed = make.ready(make.connection()), make.feed()
        taken = take(row, feed)
        done = Flag()
        with elsewhere(lambda: _publish(feed, done)) as published:
            _until_locked(feed)
            done.set()
            assert services.unsubscribe(taken.pk, by=row.user) is True
        ((published_at, candidates),) = published
        ended = SubscriptionInterval.objects.get(subscription=taken).ended_at
        assert (candidates, ended > published_at) == (1, True)

    @pytest.mark.django_db(transaction=True)
    def test_publications_of_a_feed_do_not_wait_for_each_other(self) -> None:
        feed, done = make.feed(), Flag()
        with elsewhere(lambda: _publish(feed, done)):
            _until_locked(feed)
            with transaction.atomic():
                run("SET LOCAL lock_timeout = 2000")
                candidates_shared(feed.pk)
            done.set()

    @pytest.mark.django_db(transaction=True)
    def test_publication_blocks_admin_owned_accounts_not_other_feeds(self) -> None:
        feed, other, done = make.feed(), make.feed(), Flag()
        with elsewhere(lambda: _publish(feed, done)):
            _until_locked(feed)
            with transaction.atomic():
                candidates_exclusive(other.pk)
            rows("SET lock_timeout = 200")
            with pytest.raises(OperationalError, match="lock timeout"), transaction.atomic():
                candidates_exclusive(None)
            rows("RESET lock_timeout")
            done.set()


def test_candidates_lock_needs_a_transaction() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        candidates_exclusive(1)
