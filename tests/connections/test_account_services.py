"""Creating, changing, pausing and archiving connections."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from common.db.sql import rows
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.operational.kinds import OwnedNetwork
from common.reason_codes import Code
from connections import services
from connections.accounts.demo import is_demo
from connections.joins import IS_DEMO_SQL
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    ExecutionConnection,
    HealthStatus,
    Subscription,
    SubscriptionInterval,
)
from connections.selectors import skip_reasons
from signals.feeds.services import SAMPLE_FEED, create_feed
from tests.connections import make
from tests.matrix import as_role
from tests.operational import set_setting
from users.models import User
from users.tenancy import act_as

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return make.user("alice")


def create(owner: User, **fields: Any) -> ExecutionConnection:
    defaults = {"by": owner, "user": owner, "name": "mine", "type": "paper", "account": "7"}
    return services.create_connection(**{**defaults, **fields})


def test_new_connection_has_health_and_lock_and_is_untested(alice: User) -> None:
    made = create(alice, credentials={"password": "p"}, preset=make.preset(alice))
    assert ConnectionLock.objects.filter(connection=made).count() == 1
    assert ConnectionHealth.objects.get(pk=made.pk).status == HealthStatus.UNTESTED
    assert made.get_credential("password") == "p"
    assert not made.can_execute_trades()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "no-such-type"}, "type"),
        ({"name": " "}, "name"),
        ({"account": ""}, "account"),
        ({"settings": {"password": "x"}}, "settings.password"),
        ({"settings": {"Api_Key": "x"}}, "settings.Api_Key"),
        ({"settings": {"Reply_timeout": 3}}, "settings.Reply_timeout"),
        ({"settings": [1]}, "settings"),
        ({"type": "ibkr", "settings": {"host": "10.0.0.5"}}, "settings.host"),
        ({"type": "crypto", "settings": {"symbols": ["BTC/USDT"]}}, "exchange_name"),
        ({"type": "crypto", "exchange_name": "Binance"}, "exchange_name"),
        ({"user": None}, "user"),
    ],
)
def test_rejection_names_its_field(alice: User, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        create(alice, **fields) if "user" not in fields else create(alice, by=None, **fields)
    assert refused.value.field == field
    assert not ExecutionConnection.objects.exists()


def test_connection_has_exactly_one_owner(alice: User) -> None:
    admin = make.user(is_staff=True)
    with pytest.raises(InvalidInputError, match="exactly one owner"):
        create(alice, admin=admin)
    with pytest.raises(InvalidInputError, match="no administrator"):
        create(alice, by=None, user=None, admin=alice)
    assert create(admin, user=None, admin=admin).is_admin_owned()


def test_only_operators_create_for_others(alice: User) -> None:
    with pytest.raises(NotAllowedError):
        create(alice, user=make.user())
    assert create(make.user(is_staff=True), user=alice).user == alice


def test_account_is_connected_once_until_archived(alice: User) -> None:
    first = create(alice)
    with pytest.raises(ConflictError, match="connected here already"):
        create(alice)
    assert create(make.user("bob")).account == first.account  # whose it is, a test shows
    services.archive_connection(first.pk, by=alice)
    assert create(alice).pk != first.pk


@pytest.mark.parametrize(
    ("kind", "here", "elsewhere"),
    [
        ("mt5", {"server": "Alpha-Live"}, {"server": "Beta-Live"}),
        ("mt4", {"folder": "alpha", "symbols": ["EURUSD"]}, {"folder": "beta"}),
    ],
)
def test_account_number_may_repeat_across_brokers(
    alice: User, kind: str, here: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    same = {"type": kind, "account": "12345"}
    create(alice, **same, settings=here)
    with pytest.raises(ConflictError, match="connected here already"):
        create(
            alice, **same, settings={k: v.upper() if k == "server" else v for k, v in here.items()}
        )
    other = create(alice, **same, settings={**here, **elsewhere})
    with pytest.raises(ConflictError, match="connected here already"):
        services.update_connection(other.pk, by=alice, settings=here)


def test_account_name_given_by_owner_may_be_reused_by_others(alice: User) -> None:
    named = {
        "type": "crypto", "account": "main", "exchange_name": "kraken",
        "settings": {"symbols": ["BTC/USD"]},
    }  # fmt: skip
    create(alice, **named)
    assert create(make.user("bob"), **named).account == "main"
    with pytest.raises(ConflictError, match="connected here already"):
        create(alice, **named)


def test_foreign_preset_is_rejected(alice: User) -> None:
    bobs = make.preset(make.user("bob"))
    with pytest.raises(InvalidInputError) as refused:
        create(alice, preset=bobs)
    assert refused.value.field == "preset"
    assert create(alice, preset=make.preset(None)).has_preset()


def test_changed_settings_need_a_new_test(alice: User) -> None:
    row = make.connection(alice)
    services.update_connection(row.pk, by=alice, name="renamed", settings={})
    assert ConnectionHealth.objects.get(pk=row.pk).status == HealthStatus.ACTIVE
    services.update_connection(row.pk, by=alice, settings={"reply_timeout": "5"})
    health = ConnectionHealth.objects.get(pk=row.pk)
    assert (health.status, health.reconciled_at) == (HealthStatus.UNTESTED, None)
    services.mark_active([row.pk])
    services.set_credentials(row.pk, by=alice, values={"password": "new"})
    assert ConnectionHealth.objects.get(pk=row.pk).status == HealthStatus.UNTESTED


def demo_states(row: ExecutionConnection) -> set[bool]:
    """Whether an account is a demo account: what the function and the SQL say."""
    read = AccountSnapshot.objects.get(pk=row.pk)
    [(by_sql,)] = rows(
        f"SELECT {IS_DEMO_SQL} FROM connections_executionconnection c WHERE c.id = %s", (row.pk,)
    )
    return {is_demo(row, read, ConnectionHealth.objects.get(pk=row.pk)), by_sql}


@pytest.mark.parametrize("changed", ["settings", "credentials"])
def test_changed_access_leaves_unknown_whether_it_is_a_demo(alice: User, changed: str) -> None:
    """Or a sample order could be sent to the live account that it leads to now."""
    row = make.connection(alice, type="mt5")
    began = datetime.now(UTC)
    read: dict[str, Any] = {
        "currency": "USD", "balance": 1, "equity": 1, "margin_used": 0, "free_margin": 1,
        "leverage": 1, "position_mode": "HEDGING", "demo": True,
    }  # fmt: skip
    AccountSnapshot.objects.create(connection=row, read_at=began, **read)
    services.update_connection(row.pk, by=alice, name="renamed", settings={})
    assert demo_states(row) == {True}
    changes: dict[str, Any] = {"credentials": {"password": "another"}}
    if changed == "settings":
        changes["settings"] = {"server": "Live-1"}
    with transaction.atomic(), as_role("fillcast_web"):
        act_as(alice)
        services.update_connection(row.pk, by=alice, **changes)
    assert demo_states(row) == {False}
    later = AccountSnapshot.objects.filter(pk=row.pk)
    later.update(read_at=began + timedelta(seconds=5))  # by a poll that was under way
    assert demo_states(row) == {False}
    tested = began + timedelta(seconds=9)
    ConnectionHealth.objects.filter(pk=row.pk).update(needs_test=False, last_tested_at=tested)
    assert demo_states(row) == {False}
    later.update(read_at=tested)
    assert demo_states(row) == {True}


def test_archived_account_takes_its_feed_of_sample_orders_along(alice: User) -> None:
    row = make.connection(alice)
    feed = create_feed(
        owner=alice, name="Sample orders", slug=f"{SAMPLE_FEED}1", is_public=False, for_samples=True
    )
    services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None, demo_only=True)
    services.archive_connection(row.pk, by=alice)
    feed.refresh_from_db()
    assert feed.archived_at is not None


def test_identity_of_connection_cannot_change(alice: User) -> None:
    row = make.connection(alice)
    for field in ("account", "type", "user", "sealed_credentials"):
        changes: dict[str, Any] = {field: "x"}
        with pytest.raises(InvalidInputError) as refused:
            services.update_connection(row.pk, by=alice, **changes)
        assert refused.value.code is Code.FIELD_UNKNOWN


def test_switches_report_whether_they_changed_state(alice: User) -> None:
    row = make.connection(alice)
    assert services.pause(row.pk, by=alice) is True
    assert services.pause(row.pk, by=alice) is False
    assert not ExecutionConnection.objects.get(pk=row.pk).can_execute_trades()
    assert services.resume(row.pk, by=alice) is True
    assert services.deactivate(row.pk, by=alice) is True
    assert services.activate(row.pk, by=alice) is True
    assert services.activate(row.pk, by=alice) is False


def test_reenabled_account_takes_no_entry_before_reconciliation(alice: User) -> None:
    """Also without a lane: its owner may have traded there by hand meanwhile."""
    row = make.connection(alice)
    assert services.activate(row.pk, by=alice) is False
    assert skip_reasons([row.pk]) == {row.pk: ""}
    services.deactivate(row.pk, by=alice)
    services.activate(row.pk, by=alice)
    assert ConnectionHealth.objects.get(pk=row.pk).reconciled_at is None
    assert skip_reasons([row.pk]) == {row.pk: Code.CONNECTION_NOT_RECONCILED}


def test_other_tenant_is_refused(alice: User) -> None:
    row, bob = make.connection(alice), make.user("bob")
    attempts: list[Callable[[], object]] = [
        lambda: services.pause(row.pk, by=bob),
        lambda: services.resume(row.pk, by=bob),
        lambda: services.activate(row.pk, by=bob),
        lambda: services.deactivate(row.pk, by=bob),
        lambda: services.archive_connection(row.pk, by=bob),
        lambda: services.update_connection(row.pk, by=bob, name="x"),
        lambda: services.set_credentials(row.pk, by=bob, values={"a": "b"}),
        lambda: services.request_test(row.pk, by=bob),
    ]
    for attempt in attempts:
        with pytest.raises(NotAllowedError):
            attempt()


def test_archiving_ends_subscriptions_permanently(alice: User) -> None:
    row, feed = make.ready(make.connection(alice)), make.feed()
    subscription = services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=alice)
    assert services.archive_connection(row.pk, by=alice) is True
    assert services.archive_connection(row.pk, by=alice) is False
    interval = SubscriptionInterval.objects.get(subscription=subscription)
    archived = Subscription.objects.get(pk=subscription.pk).archived_at
    row.refresh_from_db()
    assert interval.ended_at == archived == row.archived_at
    assert row.get_health_status() == "archived"
    with pytest.raises(FillcastError, match="archived"):
        services.resume(row.pk, by=alice)
    with pytest.raises(FillcastError, match="archived"):
        services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=alice)


def test_requested_test_is_due_until_done(alice: User) -> None:
    from connections.selectors import due_tests

    row = make.connection(alice)
    assert due_tests(5) == []
    assert services.request_test(row.pk, by=alice) is True
    assert due_tests(5) == [row.pk]
    health = ConnectionHealth.objects.get(pk=row.pk)
    ConnectionHealth.objects.filter(pk=row.pk).update(last_tested_at=health.test_requested_at)
    assert due_tests(5) == []


def test_allowed_networks(alice: User, settings: Settings) -> None:
    import ipaddress

    set_setting("networks.broker_networks", (ipaddress.ip_network("10.0.0.0/24"),))
    assert create(alice, type="ibkr", settings={"host": "10.0.0.5"}).account == "7"
    with pytest.raises(InvalidInputError):
        create(alice, type="ibkr", account="8", settings={"host": "10.0.1.5"})


def test_gateway_of_one_owner_is_refused_to_others(alice: User, settings: Settings) -> None:
    import ipaddress

    set_setting("networks.broker_networks", (ipaddress.ip_network("10.0.0.0/24"),))
    owned = OwnedNetwork(ipaddress.ip_network("10.0.0.5"), alice.username)
    set_setting("networks.gateway_owners", (owned,))
    bob = make.user()
    create(alice, type="ibkr", settings={"host": "10.0.0.5"})
    with pytest.raises(InvalidInputError, match="another user's"):
        create(bob, type="ibkr", account="8", settings={"host": "10.0.0.5"})
    theirs = create(bob, type="ibkr", account="8", settings={"host": "10.0.0.6"})
    with pytest.raises(InvalidInputError, match="another user's"):
        services.update_connection(theirs.pk, by=bob, settings={"host": "10.0.0.5"})


def test_credentials_match_those_of_broker_type(alice: User) -> None:
    """A misspelt name would replace what opens the account by what opens nothing."""
    settings = {"server": "Broker-Live03"}
    made = create(alice, type="mt5", settings=settings, credentials={"password": "right"})
    before = bytes(ExecutionConnection.objects.get(pk=made.pk).sealed_credentials or b"")
    with pytest.raises(InvalidInputError, match="Did you mean 'password'") as e:
        services.set_credentials(made.pk, by=alice, values={"pasword": "new"})
    assert (e.value.code, e.value.field) == (Code.FIELD_UNKNOWN, "credentials.pasword")
    assert [error.field for error in e.value.others] == ["credentials.password"]
    with pytest.raises(InvalidInputError, match="password is missing"):
        services.set_credentials(made.pk, by=alice, values={})
    with pytest.raises(InvalidInputError, match="no credential"):
        create(alice, type="mt5", account="8", settings=settings, credentials={"key": "x"})
    assert bytes(ExecutionConnection.objects.get(pk=made.pk).sealed_credentials or b"") == before
