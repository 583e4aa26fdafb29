"""The database protects approvals, whatever the code does."""

import re
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from common.clocks import market_now
from common.errors import ConflictError, NotAllowedError
from common.reason_codes import Code
from execution.models import Order
from signals import services
from signals.feeds.services import archive_feed, create_feed, update_feed
from signals.models import Approval, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.intake import read_signal
from tests.connections import make
from tests.lock_waits import until_one_waits
from tests.matrix import WALK_TIME, Walk
from tests.signals.test_ingest import at_once
from users.models import User
from users.services import change_rights
from users.tenancy import act_as

SIGNAL = {"symbol": "EUR/USD", "direction": "BUY"}


@pytest.fixture
def private(provider: User) -> Feed:
    """Return a private feed that its owner approved."""
    return create_feed(owner=provider, name="By hand", is_public=False, is_approved=True)


def send(feed: Feed) -> Signal:
    return save_draft(feed, read_signal(SIGNAL), origin=Origin.API, by=feed.owner)[0]


@contextmanager
def tenant(user: User) -> Any:
    """Run statements as the web process does for this user."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE fillcast_web")
        act_as(user)
        yield
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def rejected(act: Callable[[], Any], *, error: type[Exception] = IntegrityError) -> str:
    with pytest.raises(error) as caught, transaction.atomic():
        act()
    return str(caught.value)


def test_own_approval_is_not_an_operators_approval(private: Feed, operator: User) -> None:
    assert (private.is_approved, private.approved_by_owner, private.reaches_admins) == (
        True, True, False,
    )  # fmt: skip
    house = create_feed(owner=operator, name="House", is_public=False, is_approved=True)
    assert (house.approved_by_owner, house.reaches_admins) == (False, True)


def test_tenant_cannot_approve_by_sql(
    private: Feed, unapproved: Feed, feed: Feed, provider: User
) -> None:
    signal = send(unapproved)
    mine = Feed.objects.filter
    attempts: list[Callable[[], Any]] = [
        lambda: mine(pk=unapproved.pk).update(is_approved=True),
        lambda: mine(pk=private.pk).update(approved_by_owner=False),
        lambda: mine(pk=private.pk).update(is_public=True, approved_by_owner=False),
        lambda: Feed.objects.create(slug="x", name="x", owner=provider, is_approved=True),
        lambda: Signal.objects.filter(pk=signal.pk).update(
            approval=Approval.APPROVED, approved_by=provider
        ),
    ]
    for attempt in attempts:
        with tenant(provider):
            assert "only an operator" in rejected(attempt, error=ProgrammingError)
    with tenant(provider):
        mine(pk=private.pk).update(is_public=True, name="changed")
    private.refresh_from_db()
    assert (private.is_public, private.is_approved, private.name) == (True, False, "changed")


def test_tenant_cannot_set_the_approver_of_an_approved_signal(
    unapproved: Feed, provider: User, operator: User
) -> None:
    """Otherwise other users' accounts would trade what only the owner has approved."""
    signal = send(unapproved)
    Feed.objects.filter(pk=unapproved.pk).update(
        is_public=False, is_approved=True, approved_by_owner=True
    )
    mine = Signal.objects.filter(pk=signal.pk)
    mine.update(approval=Approval.APPROVED)
    with tenant(provider):
        assert "only an operator" in rejected(
            lambda: mine.update(approved_by=provider), error=ProgrammingError
        )
    mine.update(approval=Approval.REJECTED, approved_by=operator)
    with tenant(provider):
        assert "only an operator" in rejected(
            lambda: mine.update(approval=Approval.APPROVED), error=ProgrammingError
        )


def test_publication_cannot_change_an_approved_signal(private: Feed) -> None:
    mine = Signal.objects.filter(pk=send(private).pk)
    error = rejected(lambda: mine.update(currency_pair="GBP/USD", published_at=market_now()))
    assert "was approved with another content" in error
    assert mine.update(published_at=market_now()) == 1


def test_service_rejects_approval_by_a_tenant(unapproved: Feed, provider: User) -> None:
    with pytest.raises(NotAllowedError):
        update_feed(unapproved.pk, by=provider, is_approved=True)


def test_approval_of_a_former_operator_covers_own_accounts_only(
    operator: User,
) -> None:
    house = create_feed(owner=operator, name="House", is_public=False, is_approved=True)
    assert change_rights(operator.pk, by=None, roles=[], is_superuser=False)
    house.refresh_from_db()
    assert (house.is_approved, house.approved_by_owner, house.reaches_admins) == (True, True, False)


def test_saving_a_stale_feed_does_not_restore_its_approval(private: Feed) -> None:
    stale = Feed.objects.get(pk=private.pk)
    Feed.objects.filter(pk=private.pk).update(is_public=True)
    stale.is_public = True
    stale.save()
    stale.refresh_from_db()
    assert (stale.is_public, stale.is_approved) == (True, False)


def test_unapproved_signal_is_not_published(unapproved: Feed, private: Feed) -> None:
    now = market_now()
    waiting = send(unapproved)
    mine = Signal.objects.filter(pk=waiting.pk)
    error = rejected(lambda: mine.update(approval=Approval.APPROVED))
    assert "neither it nor its feed" in error
    rejected(lambda: mine.update(approval=Approval.APPROVED, published_at=now))
    rejected(lambda: make.signal(unapproved, published_at=now))
    rejected(lambda: make.signal(unapproved, origin=Origin.DRIFT, published_at=now))
    ready = send(private)
    archive_feed(private.pk)
    ready.refresh_from_db()
    assert ready.approval == Approval.PENDING
    later = {"approval": Approval.APPROVED, "published_at": now}
    rejected(lambda: Signal.objects.filter(pk=ready.pk).update(**later))


CHANGES: list[dict[str, Any]] = [
    {"sl": "1.2"},
    {"direction": "SELL"},
    {"valid_until": None},
    {"provider_quantity": "1"},
    {"provider_equity": "1"},
    {"provider_currency": "JPY"},
    {"max_spread": 3},
    {"max_spread_unit": "BPS"},
    {"break_even_target": 1},
    {"break_even_profit": 1},
    {"break_even_offset": 1},
    {"trailing_distance": 1},
    {"trailing_step": 1},
    {"trailing_activation": 1},
    {"stop_rule_unit": "PRICE"},
    {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3},
    {"order_type": "TRAILING_STOP", "trail_distance": "0.01"},
    {"order_type": "TRAILING_STOP", "trail_atr": "2"},
    {"not_before": "2099-01-01T00:00:00Z"},
    {"close_at": "2099-01-01T00:00:00Z"},
    {"close_after_seconds": 60},
]


@WALK_TIME
def test_changed_signal_needs_a_new_approval(feed: Feed, operator: User) -> None:
    signal = send(feed)
    mine = Signal.objects.filter(pk=signal.pk)
    mine.update(note="a note is no instruction")
    assert mine.get().approval == Approval.APPROVED
    with Walk() as walk:
        for change in walk.each(CHANGES):
            if "valid_until" in change:
                change = {"valid_until": market_now() + timedelta(hours=1)}
            with walk.cell(str(change)) as cell:
                mine.update(**change)
                signal.refresh_from_db()
                cell.expect((Approval.PENDING, None), (signal.approval, signal.approved_at))
                with suppress(ConflictError):
                    services.publish(signal.pk, by=None)
                    cell.note("expected a refusal to publish, found none")
    services.approve(signal.pk, by=operator)
    assert services.publish(signal.pk, by=None)


NO_INSTRUCTION = {
    "id", "strategy_id", "trade_plan_id", "external_id", "content_hash", "origin", "note",
    "created_by_id", "approval", "approved_by_id", "approved_at", "published_by_id",
    "published_at", "cancelled_by_id", "cancelled_at", "candidate_count",
    "reaches_admins", "owner_only", "created_at", "sent_at",
    "market_bid", "market_ask", "market_at", "market_source", "marks",
    "is_reversal",  # names the reason of a close; nothing is traded by it
}  # fmt: skip


@pytest.mark.django_db
def test_every_column_of_a_signal_is_classified_for_approval() -> None:
    """A new column belongs in the trigger or here; else an approved signal could be changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT prosrc FROM pg_proc WHERE proname = 'signals_signal_approval'")
        [(source,)] = cursor.fetchall()
    [(new, old)] = re.findall(
        r"\((NEW\.feed_id, NEW\.action,[^)]*)\)\s+IS DISTINCT FROM\s+\(([^)]*)\)", source
    )
    assert old == new.replace("NEW.", "OLD.")
    compared = set(re.findall(r"NEW\.(\w+)", new))
    columns = {field.attname for field in Signal._meta.concrete_fields}
    assert columns == NO_INSTRUCTION | compared
    assert not NO_INSTRUCTION & compared


def test_audience_of_a_published_signal_cannot_change(feed: Feed, unapproved: Feed) -> None:
    signal = send(feed)
    services.publish(signal.pk, by=None)
    mine = Signal.objects.filter(pk=signal.pk)
    changes: list[dict[str, Any]] = [
        {"feed": unapproved}, {"reaches_admins": False}, {"owner_only": True},
    ]  # fmt: skip
    for change in changes:
        assert "stay" in rejected(partial(mine.update, **change))


def entry(signal: Signal, row: Any, **fields: Any) -> Order:
    return Order.objects.create(
        signal=signal, connection=row, leg="entry", pair="EUR/USD", side="BUY",
        order_type="MARKET", time_in_force="GTC", **fields,
    )  # fmt: skip


def test_entry_needs_an_account_that_the_approval_covers(
    private: Feed, unapproved: Feed, feed: Feed, operator: User
) -> None:
    own, stranger = make.connection(private.owner), make.connection()
    house, taking = make.connection(admin=operator), make.connection(admin=operator)
    make.subscription(taking, unapproved)
    signals = [send(feed) for feed in (private, unapproved, feed)]
    services.approve(signals[1].pk, by=operator)
    for signal in signals:
        services.publish(signal.pk, by=None)
        Order.objects.filter(signal=signal).delete()
    by_owner, single, by_operators = signals
    for row in (stranger, house, taking):
        rejected(partial(entry, by_owner, row))
    rejected(lambda: entry(single, house))
    for signal, row in [
        (by_owner, own), (single, stranger), (single, taking),
        (by_operators, stranger), (by_operators, house),
    ]:  # fmt: skip
        entry(signal, row)
    entry(by_owner, stranger, status="SKIPPED")


@pytest.mark.django_db(transaction=True)
def test_publication_waits_for_a_change_of_its_feed() -> None:
    owner = User.objects.create_user("p")
    private = create_feed(owner=owner, name="f", is_public=False, is_approved=True)
    signal = send(private)
    results: list[Any] = []

    def publish() -> None:
        results.extend(at_once(lambda: services.publish(signal.pk, by=None)))

    with transaction.atomic():
        update_feed(private.pk, by=owner, is_public=True)
        thread = threading.Thread(target=publish)
        thread.start()
        until_one_waits()
    thread.join(60)
    assert [error.code for error in results] == [Code.SIGNAL_NOT_APPROVED]


@pytest.mark.django_db(transaction=True)
def test_new_signal_waits_for_a_change_of_its_feed() -> None:
    owner = User.objects.create_user("p")
    private = create_feed(owner=owner, name="f", is_public=False, is_approved=True)
    results: list[Any] = []
    with transaction.atomic():
        update_feed(private.pk, by=owner, is_public=True)
        thread = threading.Thread(target=lambda: results.extend(at_once(lambda: send(private))))
        thread.start()
        until_one_waits()
    thread.join(60)
    assert [signal.approval for signal in results] == [Approval.PENDING]
