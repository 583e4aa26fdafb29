"""What the database refuses about approvals, whatever the code does."""

import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
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
from signals.feeds import archive_feed, create_feed, update_feed
from signals.intake import read_signal, save_draft
from signals.models import Approval, Feed, Origin, Signal
from tests.connections import make
from tests.signals.test_ingest import at_once
from users.models import User
from users.services import change_rights
from users.tenancy import act_as

SAID = {"symbol": "EUR/USD", "direction": "BUY"}


@pytest.fixture
def private(provider: User) -> Feed:
    """Approved by its owner."""
    return create_feed(owner=provider, name="By hand", is_public=False, is_approved=True)


def send(feed: Feed) -> Signal:
    return save_draft(feed, read_signal(SAID), origin=Origin.API, by=feed.owner)[0]


@contextmanager
def tenant(user: User) -> Any:
    """Statements as the web process sends them for this user."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE fillcast_web")
        act_as(user)
        yield
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def refused(act: Callable[[], Any], *, error: type[Exception] = IntegrityError) -> str:
    with pytest.raises(error) as caught, transaction.atomic():
        act()
    return str(caught.value)


def test_own_approval_is_not_an_operators(private: Feed, operator: User) -> None:
    assert (private.is_approved, private.approved_by_owner, private.reaches_admins) == (
        True, True, False,
    )  # fmt: skip
    house = create_feed(owner=operator, name="House", is_public=False, is_approved=True)
    assert (house.approved_by_owner, house.reaches_admins) == (False, True)


def test_a_tenant_approves_nothing_by_sql(
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
            assert "only an operator" in refused(attempt, error=ProgrammingError)
    with tenant(provider):
        mine(pk=private.pk).update(is_public=True, name="changed")
    private.refresh_from_db()
    assert (private.is_public, private.is_approved, private.name) == (True, False, "changed")


def test_a_tenant_names_no_approver_of_a_signal_that_is_approved(
    unapproved: Feed, provider: User, operator: User
) -> None:
    """Else a strangers' account would take what its owner alone has approved."""
    signal = send(unapproved)
    Feed.objects.filter(pk=unapproved.pk).update(
        is_public=False, is_approved=True, approved_by_owner=True
    )
    mine = Signal.objects.filter(pk=signal.pk)
    mine.update(approval=Approval.APPROVED)
    with tenant(provider):
        assert "only an operator" in refused(
            lambda: mine.update(approved_by=provider), error=ProgrammingError
        )
    mine.update(approval=Approval.REJECTED, approved_by=operator)
    with tenant(provider):
        assert "only an operator" in refused(
            lambda: mine.update(approval=Approval.APPROVED), error=ProgrammingError
        )


def test_what_an_approved_signal_says_is_not_changed_by_publishing_it(private: Feed) -> None:
    mine = Signal.objects.filter(pk=send(private).pk)
    said = refused(lambda: mine.update(currency_pair="GBP/USD", published_at=market_now()))
    assert "was approved with another content" in said
    assert mine.update(published_at=market_now()) == 1


def test_a_tenant_is_refused_by_the_service_before_the_database(
    unapproved: Feed, provider: User
) -> None:
    with pytest.raises(NotAllowedError):
        update_feed(unapproved.pk, by=provider, is_approved=True)


def test_who_may_not_approve_any_more_has_approved_for_their_own_accounts_only(
    operator: User,
) -> None:
    house = create_feed(owner=operator, name="House", is_public=False, is_approved=True)
    assert change_rights(operator.pk, by=None, roles=[], is_superuser=False)
    house.refresh_from_db()
    assert (house.is_approved, house.approved_by_owner, house.reaches_admins) == (True, True, False)


def test_a_row_that_was_read_earlier_and_saved_whole_keeps_no_approval(private: Feed) -> None:
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
    told = refused(lambda: mine.update(approval=Approval.APPROVED))
    assert "neither it nor its feed" in told
    refused(lambda: mine.update(approval=Approval.APPROVED, published_at=now))
    refused(lambda: make.signal(unapproved, published_at=now))
    refused(lambda: make.signal(unapproved, origin=Origin.DRIFT, published_at=now))
    ready = send(private)
    archive_feed(private.pk)
    ready.refresh_from_db()
    assert ready.approval == Approval.PENDING
    later = {"approval": Approval.APPROVED, "published_at": now}
    refused(lambda: Signal.objects.filter(pk=ready.pk).update(**later))


@pytest.mark.parametrize(
    "change", [{"sl": "1.2"}, {"direction": "SELL"}, {"valid_until": None}], ids=str
)
def test_an_approved_signal_that_is_changed_waits_again(
    feed: Feed, operator: User, change: dict[str, Any]
) -> None:
    if "valid_until" in change:
        change = {"valid_until": market_now() + timedelta(hours=1)}
    signal = send(feed)
    Signal.objects.filter(pk=signal.pk).update(note="a note is no instruction")
    signal.refresh_from_db()
    assert signal.approval == Approval.APPROVED
    Signal.objects.filter(pk=signal.pk).update(**change)
    signal.refresh_from_db()
    assert (signal.approval, signal.approved_at) == (Approval.PENDING, None)
    with pytest.raises(ConflictError):
        services.publish(signal.pk, by=None)
    services.approve(signal.pk, by=operator)
    assert services.publish(signal.pk, by=None)


NO_INSTRUCTION = {
    "id", "strategy_id", "trade_plan_id", "provider_quantity", "provider_equity", "external_id",
    "content_hash", "origin", "note", "created_by_id", "approval", "approved_by_id", "approved_at",
    "published_by_id", "published_at", "cancelled_by_id", "cancelled_at", "candidate_count",
    "reaches_admins", "owner_only", "created_at",
}  # fmt: skip


@pytest.mark.django_db
def test_every_column_of_a_signal_is_an_instruction_or_known_to_be_none() -> None:
    """A new column belongs into the trigger, or here: else an approved signal could be changed."""
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


def test_the_audience_of_a_published_signal_stays(feed: Feed, unapproved: Feed) -> None:
    signal = send(feed)
    services.publish(signal.pk, by=None)
    mine = Signal.objects.filter(pk=signal.pk)
    changes: list[dict[str, Any]] = [
        {"feed": unapproved}, {"reaches_admins": False}, {"owner_only": True},
    ]  # fmt: skip
    for change in changes:
        assert "stay" in refused(partial(mine.update, **change))


def entry(signal: Signal, row: Any, **fields: Any) -> Order:
    return Order.objects.create(
        signal=signal, connection=row, leg="entry", pair="EUR/USD", side="BUY",
        order_type="MARKET", time_in_force="GTC", **fields,
    )  # fmt: skip


def test_no_entry_of_an_account_that_the_approval_does_not_cover(
    private: Feed, unapproved: Feed, feed: Feed, operator: User
) -> None:
    own, stranger = make.connection(private.owner), make.connection()
    house, taking = make.connection(admin=operator), make.connection(admin=operator)
    make.subscription(taking, unapproved)
    signals = [send(one) for one in (private, unapproved, feed)]
    services.approve(signals[1].pk, by=operator)
    for signal in signals:
        services.publish(signal.pk, by=None)
        Order.objects.filter(signal=signal).delete()
    by_owner, single, by_operators = signals
    for row in (stranger, house, taking):
        refused(partial(entry, by_owner, row))
    refused(lambda: entry(single, house))
    for signal, row in [
        (by_owner, own), (single, stranger), (single, taking),
        (by_operators, stranger), (by_operators, house),
    ]:  # fmt: skip
        entry(signal, row)
    entry(by_owner, stranger, status="SKIPPED")


@pytest.mark.django_db(transaction=True)
def test_a_publication_waits_for_who_changes_its_feed() -> None:
    owner = User.objects.create_user("p")
    private = create_feed(owner=owner, name="f", is_public=False, is_approved=True)
    signal = send(private)
    came: list[Any] = []

    def publish() -> None:
        came.extend(at_once(lambda: services.publish(signal.pk, by=None)))

    with transaction.atomic():
        update_feed(private.pk, by=owner, is_public=True)
        thread = threading.Thread(target=publish)
        thread.start()
        wait_until_somebody_waits()
    thread.join(20)
    assert [error.code for error in came] == [Code.SIGNAL_NOT_APPROVED]


@pytest.mark.django_db(transaction=True)
def test_a_signal_waits_for_who_changes_its_feed() -> None:
    owner = User.objects.create_user("p")
    private = create_feed(owner=owner, name="f", is_public=False, is_approved=True)
    came: list[Any] = []
    with transaction.atomic():
        update_feed(private.pk, by=owner, is_public=True)
        thread = threading.Thread(target=lambda: came.extend(at_once(lambda: send(private))))
        thread.start()
        wait_until_somebody_waits()
    thread.join(20)
    assert [signal.approval for signal in came] == [Approval.PENDING]


def wait_until_somebody_waits() -> None:
    """Return when another session waits for a lock of ours."""
    deadline = market_now() + timedelta(seconds=10)
    with connection.cursor() as cursor:
        while market_now() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waited for the feed's lock")
