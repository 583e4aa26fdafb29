"""What waits for a quota has locked nothing yet, so it holds up no one and no two wait in turn."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from common.errors import ConflictError
from common.web.quotas import lock_quota, require_quota
from connections import services
from connections.models import LossLimit, TradingPreset
from signals.feeds.approval_requests import request_approval
from signals.feeds.services import create_feed_token, rotate_feed_token
from signals.feeds.terms import change_terms
from signals.models import Action
from signals.publishing.drafts import store_draft
from tests.changes.concurrent_forms import SECONDS, wait_until_they_wait
from tests.connections import make
from users.models import User
from users.services import create_api_key, user_for_key

HELD = """
SELECT l.locktype, l.mode, l.relation::regclass::text AS name FROM pg_locks l
WHERE l.granted AND (l.locktype = 'advisory' OR l.mode IN ('RowShareLock', 'RowExclusiveLock'))
  AND l.pid IN (SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'advisory')
"""
"""Locks of what waits for an advisory lock: a table's mode states whether its rows were locked."""
Act = Callable[[], object]


def subscribing(owner: User) -> Act:
    row, feed = make.connection(owner), make.feed()
    return lambda: services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)


def drafting(owner: User) -> Act:
    feed = make.feed(owner)
    return lambda: store_draft(feed.pk, action=Action.OPEN, body={}, by=owner)


def asking(owner: User) -> Act:
    feed = make.feed(owner, is_public=True, is_approved=False)
    return lambda: request_approval(feed.pk, by=owner)


def changing_terms(owner: User) -> Act:
    feed = make.feed(owner)
    return lambda: change_terms(feed.pk, "Two a day.", by=owner)


def replacing_an_address(owner: User) -> Act:
    token, _ = create_feed_token(make.feed(owner), "charts")
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    return lambda: rotate_feed_token(token.pk, old_ends_at=ends_at, by=owner)


def creating_a_key(owner: User) -> Act:
    by = user_for_key(create_api_key(owner, "first")[1])
    return lambda: create_api_key(owner, "second", by=by)


def opening_a_paper_account(owner: User) -> Act:
    return lambda: services.open_paper_account(by=owner)


def starting_a_twin(owner: User) -> Act:
    subscription = make.subscription(make.connection(owner), make.feed())
    return lambda: services.start_twin(subscription.pk, by=owner)


def connecting(owner: User) -> Act:
    return lambda: services.create_connection(
        by=None, user=owner, name="a", type="paper", account="1"
    )


def adding_a_limit(owner: User) -> Act:
    subscription = make.subscription(make.connection(owner), make.feed())
    limit = LossLimit(subscription=subscription, maximum=Decimal(5))
    return lambda: services.add_loss_limit(limit, by=owner)


def creating_a_preset(owner: User) -> Act:
    preset = TradingPreset(user=owner, name="one", risk_percent=Decimal(1))
    return lambda: services.create_preset(preset, by=owner)


def adding_a_calendar(owner: User) -> Act:
    return lambda: services.add_news_calendar("n", owner=owner, by=owner)


def entering_a_cash_flow(owner: User) -> Act:
    row = make.connection(owner)
    return lambda: services.record_cash_flow(row.pk, amount=Decimal(5), by=owner)


CASES: dict[str, tuple[str, Callable[[User], Act]]] = {
    made.__name__: (kind, made)
    for made, kind in {
        subscribing: "subscriptions",
        drafting: "drafts",
        asking: "requests for approval within a day",
        changing_terms: "versions of terms within a day",
        replacing_an_address: "alert tokens",
        creating_a_key: "API keys",
        opening_a_paper_account: "accounts",
        starting_a_twin: "accounts",
        connecting: "accounts",
        adding_a_limit: "loss limits",
        creating_a_preset: "presets",
        adding_a_calendar: "news calendars",
        entering_a_cash_flow: "cash flows entered within a day",
    }.items()
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", CASES)
def test_what_waits_for_its_quota_has_locked_nothing(name: str) -> None:
    kind, made = CASES[name]
    owner = make.user()
    act = made(owner)

    def run() -> None:
        try:
            with suppress(ConflictError):  # what is refused after the lock does not matter here
                act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        lock_quota(kind, owner.pk)
        thread.start()
        wait_until_they_wait([thread])
        assert thread.is_alive(), "it does not wait for the quota"
        with connection.cursor() as cursor:
            cursor.execute(HELD)
            held: list[Any] = cursor.fetchall()
    thread.join(SECONDS)
    assert held == []


@pytest.mark.django_db(transaction=True)
def test_quota_is_counted_only_in_a_transaction() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        require_quota("presets", None, TradingPreset.objects.all())
