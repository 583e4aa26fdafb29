"""Every change of a setting that moves money: who, when, before, after."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import RequestFactory
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pghistory.middleware import HistoryMiddleware
from pghistory.models import Context

from common.history import changed_by
from common.sql import rows
from connections.models import ExecutionConnection, KillSwitch, Subscription, TradingPreset
from tests.connections import make
from tests.users import world
from tests.users.conftest import Opened
from tests.users.test_tenancy import respond
from users.middleware import TenantMiddleware
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def versions(model: str, **of: object) -> list[dict[str, Any]]:
    """The stored versions of a model's rows, oldest first."""
    event = apps.get_model(model)
    return list(event.objects.filter(**of).order_by("pgh_id").values())


def who(version: dict[str, Any]) -> Any:
    """What the context of a version says."""
    return Context.objects.get(pk=version["pgh_context_id"]).metadata


@pytest.fixture
def as_web() -> Iterator[None]:
    rows("SET ROLE fillcast_web")
    yield
    connection.ensure_connection()
    rows("RESET ROLE")


def test_a_change_tells_who_when_before_and_after(alice: world.Tenant) -> None:
    preset = make.preset(alice.user)
    key = preset.pk
    with changed_by(alice.user.pk):
        TradingPreset.objects.filter(pk=key).update(risk_percent=Decimal(3))
    with changed_by(None):
        preset.delete()
    found = versions("connections.TradingPresetEvent", pgh_obj_id=key)
    assert [v["pgh_label"] for v in found] == ["insert", "update", "delete"]
    assert [v["risk_percent"] for v in found] == [1, 3, 3]
    assert who(found[1]) == {"user": alice.user.pk}
    assert all(v["pgh_created_at"] for v in found)


def test_sql_by_hand_leaves_a_trace_too(alice: world.Tenant) -> None:
    rows("UPDATE connections_subscription SET multiplier = 7")
    latest = versions("connections.SubscriptionEvent", pgh_obj_id=alice.subscription.pk)[-1]
    assert (latest["pgh_label"], latest["multiplier"]) == ("update", 7)


def test_each_setting_is_tracked(alice: world.Tenant) -> None:
    Subscription.objects.update(is_paused=True)
    ExecutionConnection.objects.update(is_paused=True)
    KillSwitch.objects.update(reason="other")
    User.objects.update(is_staff=True)
    type(alice.feed).objects.update(is_approved=False)
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    PeriodicTask.objects.create(name="look", task="look", interval=every)
    PeriodicTask.objects.update(enabled=False)
    for model in (
        "connections.SubscriptionEvent", "connections.ExecutionConnectionEvent",
        "connections.KillSwitchEvent", "connections.FeedSettingsEvent", "users.UserEvent",
        "users.ScheduleEvent",
    ):  # fmt: skip
        assert versions(model)[-1]["pgh_label"] == "update", model


def test_no_secret_and_no_noise_is_kept(alice: world.Tenant) -> None:
    before = len(versions("users.UserEvent")), len(versions("connections.ExecutionConnectionEvent"))
    alice.user.set_password("correct horse battery")
    alice.user.save()
    ExecutionConnection.objects.update(sealed_credentials=b"canary")
    after = len(versions("users.UserEvent")), len(versions("connections.ExecutionConnectionEvent"))
    assert after == before
    for table, column in (
        ("users_userevent", "password"),
        ("users_apikeyevent", "secret_hash"),
        ("connections_executionconnectionevent", "sealed_credentials"),
    ):
        assert not rows(
            "SELECT FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
            (table, column),
        )


def test_new_credentials_leave_a_line_without_them(alice: world.Tenant) -> None:
    ExecutionConnection.objects.get(pk=alice.connection.pk).set_credentials({})
    latest = versions("connections.ExecutionConnectionEvent")[-1]
    assert latest["credentials_changed_at"] is not None


def test_a_request_of_the_web_process_is_known_by_its_user(
    alice: world.Tenant, as_web: None
) -> None:
    """Two changes in one request: the second finds the context row that the first one wrote."""

    def work() -> None:
        TradingPreset.objects.filter(user=alice.user).update(max_open_positions=2)
        TradingPreset.objects.filter(user=alice.user).update(max_open_positions=3)

    audited: Any = HistoryMiddleware(respond(200, work))  # type: ignore[no-untyped-call]
    request = RequestFactory().post("/presets/")
    request.user = alice.user
    response = TenantMiddleware(audited)(request)
    assert response.status_code == 200
    rows("RESET ROLE")
    found = versions("connections.TradingPresetEvent", max_open_positions__in=[2, 3])
    assert [who(v) for v in found] == [{"user": alice.user.pk, "url": "/presets/"}] * 2


TRAILS = [
    f"{app}_{model}event"
    for app, models in (
        ("users", ["user", "apikey", "schedule"]),
        ("connections", ["tradingpreset", "executionconnection", "subscription", "killswitch",
                         "dataconnection", "feedsettings", "maintenancewindow"]),
    )
    for model in models
]  # fmt: skip


@pytest.mark.parametrize("role", ["web", "trade"])
def test_nobody_rewrites_the_trail(as_role: Opened, role: str) -> None:
    rewrites = ("UPDATE {} SET pgh_label = ''", "DELETE FROM {}", "TRUNCATE {}")
    for table, statement in product(TRAILS, rewrites):
        refused = pytest.raises(psycopg.errors.InsufficientPrivilege)
        with as_role(role, operator=True) as session, refused:
            session.execute(statement.format(table))


def test_every_trail_is_among_those_that_nobody_rewrites() -> None:
    found = rows("SELECT table_name FROM information_schema.columns WHERE column_name = 'pgh_id'")
    assert {row.table_name for row in found} == set(TRAILS)


def test_a_tenant_does_not_read_the_trail(alice: world.Tenant, as_role: Opened) -> None:
    with as_role("web", tenant=alice.user.pk) as session:
        for table in (*TRAILS, "pghistory_context"):
            assert session.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    with transaction.atomic():
        assert versions("connections.TradingPresetEvent")
