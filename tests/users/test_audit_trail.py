"""Every change of a setting that moves money: who, when, from where, before, after."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from common.db.audit_trail import changed_by
from common.db.audit_trail_sql import CHECKPOINTS, HEAD, LINES
from common.db.sql import rows
from connections.models import ExecutionConnection, KillSwitch, Subscription, TradingPreset
from console.tracked_tables import LABELS, TRACKED
from events.models import Channel
from tests.connections import make
from tests.matrix import Walk
from tests.users import world
from tests.users.conftest import Opened, Session, connected, is_refused
from tests.users.test_tenancy import respond
from users import services
from users.middleware import TenantMiddleware
from users.models import ApiKey, RecoveryCode, SecondFactor, User
from users.tenancy import on_behalf_of

pytestmark = pytest.mark.usefixtures("inline_commits")


def lines(relation: str, row_id: object = None) -> list[Any]:
    """The lines of a table, or of one of its rows, oldest first."""
    return rows(
        f"SELECT * FROM {LINES} WHERE relation = %s AND coalesce(%s, row_id) = row_id ORDER BY id",
        (relation, None if row_id is None else str(row_id)),
    )


@pytest.fixture
def as_web() -> Iterator[None]:
    rows("SET ROLE fillcast_web")
    yield
    connection.ensure_connection()
    rows("RESET ROLE")


def test_change_records_actor_time_before_and_after(alice: world.Tenant) -> None:
    preset = make.preset(alice.user)
    key = preset.pk
    with transaction.atomic(), changed_by(alice.user.pk):
        TradingPreset.objects.filter(pk=key).update(risk_percent=Decimal(3))
    preset.delete()
    created, changed, removed = lines("connections_tradingpreset", key)
    assert (created.operation, changed.operation, removed.operation) == (
        "insert",
        "update",
        "delete",
    )
    assert (changed.before, changed.after) == ({"risk_percent": 1}, {"risk_percent": 3})
    assert (created.before, created.after["risk_percent"]) == (None, 1)
    assert (removed.before["risk_percent"], removed.after) == (3, None)
    assert [line.user_id for line in (created, changed, removed)] == [None, alice.user.pk, None]
    assert created.at < changed.at < removed.at


def test_changes_of_a_user_state_who_made_them(alice: world.Tenant) -> None:
    user, operator = alice.user, make.user(is_staff=True, is_superuser=True)
    acts: list[tuple[Callable[[], object], int]] = [
        (lambda: services.update_profile(user.pk, by=operator, full_name="A"), operator.pk),
        (lambda: services.update_profile(user.pk, by=user, full_name="B"), user.pk),
        (lambda: services.change_rights(user.pk, by=operator, is_active=False), operator.pk),
        (lambda: services.hide_first_steps(user, hidden=True), user.pk),
    ]
    for act, actor in acts:
        assert act()
        assert lines("users_user", user.pk)[-1].user_id == actor


def test_manual_sql_is_recorded_with_program_and_login(alice: world.Tenant) -> None:
    rows("UPDATE connections_subscription SET multiplier = 7")
    latest = lines("connections_subscription", alice.subscription.pk)[-1]
    assert (latest.operation, latest.after) == ("update", {"multiplier": 7})
    assert (latest.origin, latest.context["program"].split(":")[0]) == ("process", "process")
    assert latest.login.split("/")[0] == connection.get_connection_params()["user"]


def test_changes_of_rights_factors_channels_and_schedules_are_recorded(alice: world.Tenant) -> None:
    user = alice.user
    user.set_password("correct horse battery")
    user.save()
    factor = SecondFactor.objects.create(user=user, sealed_secret=b"canary42", last_step=0)
    RecoveryCode.objects.create(user=user, code_hash="canary42")
    group = Group.objects.create(name="risk officers")
    user.groups.add(group)
    Channel.objects.update(is_active=False)
    ApiKey.objects.update(revoked_at=world.NOW)
    alice.feed.tokens.update(revoked_at=world.NOW)
    crontab = CrontabSchedule.objects.create(hour="3")
    crontab.hour = "4"
    crontab.save()
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    task = PeriodicTask.objects.create(name="scan", task="scan", interval=every)
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    Subscription.objects.update(is_paused=True)
    ExecutionConnection.objects.update(is_paused=True)
    KillSwitch.objects.update(reason="other")
    type(alice.feed).objects.update(is_public=True)
    factor.delete()
    last = {table: lines(table)[-1] for table in LABELS if lines(table)}
    assert last["users_user"].after == {"password": "(secret)"}
    assert last["users_secondfactor"].before["sealed_secret"] == "(secret)"
    assert last["users_recoverycode"].after["code_hash"] == "(secret)"
    assert last["users_user_groups"].after["group_id"] == group.pk
    assert last["django_celery_beat_crontabschedule"].after == {"hour": "4"}
    assert last["django_celery_beat_periodictask"].after == {"enabled": False}
    assert last["events_channel"].after == {"is_active": False}
    assert list(last["users_apikey"].after) == list(last["signals_feedtoken"].after)
    assert list(last["users_apikey"].after) == ["revoked_at"]
    assert last["signals_feed"].after["is_public"] is True
    assert last["connections_killswitch"].after == {"reason": "other"}
    assert last["connections_subscription"].after == {"is_paused": True}
    assert last["connections_executionconnection"].after == {"is_paused": True}
    assert last["auth_group"].after["name"] == "risk officers"


def test_trail_records_no_secrets_and_no_noise(alice: world.Tenant) -> None:
    before = len(lines("users_user")), len(lines("connections_executionconnection"))
    User.objects.update(last_login=world.NOW)
    ExecutionConnection.objects.update(lane=3, broker_host="x")
    after = len(lines("users_user")), len(lines("connections_executionconnection"))
    assert after == before
    ExecutionConnection.objects.update(sealed_credentials=None)
    ExecutionConnection.objects.update(sealed_credentials=b"canary")
    sealed = lines("connections_executionconnection")[-1]
    assert (sealed.before, sealed.after) == (
        {"sealed_credentials": None}, {"sealed_credentials": "(secret)"}
    )  # fmt: skip


SECRET_LIKE = ("password", "secret", "token", "sealed", "signing", "private")
NOT_SECRET = {("events_channel", "previous_secret_until")}  # a time


def test_secret_sounding_columns_are_recorded_without_value() -> None:
    columns = rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_name = ANY (%s)",
        (list(LABELS),),
    )
    hidden = {
        (tracked.table, name)
        for tracked in TRACKED
        for name in (*tracked.secrets, *tracked.ignored)
    }
    sounds_secret = {
        (column.table_name, column.column_name)
        for column in columns
        if column.data_type == "bytea" or any(word in column.column_name for word in SECRET_LIKE)
    }
    assert sounds_secret - hidden - NOT_SECRET == set()


def test_each_tracked_table_has_its_declared_trigger() -> None:
    found = rows(
        "SELECT tgrelid::regclass::text AS relation, tgargs FROM pg_trigger"
        " WHERE tgname = 'fillcast_trail' AND tgenabled = 'O'"
    )
    installed = {tracked.relation: bytes(tracked.tgargs).split(b"\0")[:2] for tracked in found}
    declared = {
        tracked.table: [
            f"{{{','.join(names)}}}".encode() for names in (tracked.secrets, tracked.ignored)
        ]
        for tracked in TRACKED
    }
    assert installed == declared


@pytest.mark.django_db(transaction=True)
def test_request_is_recorded_with_user_address_and_entry_point(
    alice: world.Tenant, as_web: None
) -> None:
    def work() -> None:
        TradingPreset.objects.filter(user=alice.user).update(max_open_positions=2)
        rows("UPDATE connections_tradingpreset SET max_open_positions = 3")  # past the ORM

    request = RequestFactory().post("/api/v1/presets/", REMOTE_ADDR="203.0.113.9")
    request.user = alice.user
    assert TenantMiddleware(respond(200, work))(request).status_code == 200
    rows("RESET ROLE")
    for line in lines("connections_tradingpreset")[-2:]:
        assert (line.user_id, line.address, line.origin) == (alice.user.pk, "203.0.113.9", "API")
        assert line.context["route"] == "api/v1/presets/$"
        assert line.login.endswith("/fillcast_web")


@pytest.mark.parametrize(
    ("path", "origin"),
    [("/admin/login/", "console"), ("/login/", "portal"), ("/api/v1/me/", "API")],
)
def test_entry_point_is_recorded(path: str, origin: str, alice: world.Tenant) -> None:
    def work() -> None:
        with on_behalf_of(alice.user):
            TradingPreset.objects.filter(user=alice.user).update(max_open_positions=9)

    request = RequestFactory().post(path)
    request.user = alice.user
    TenantMiddleware(respond(200, work))(request)
    assert lines("connections_tradingpreset")[-1].origin == origin


def test_alert_url_token_is_not_recorded(alice: world.Tenant) -> None:
    Client().post(f"/hooks/tradingview/{alice.feed.slug}/canary-token/", b"{}", "application/json")
    request = RequestFactory().post("/hooks/tradingview/private/canary-token/")
    request.user = alice.user
    TenantMiddleware(respond(200, lambda: User.objects.update(email="new@example.org")))(request)
    assert lines("users_user")[-1].context["route"].startswith("hooks/tradingview/<slug:feed>")
    assert not rows(f"SELECT FROM {LINES} line WHERE line::text LIKE '%%canary-token%%'")


TABLES = (LINES, HEAD, CHECKPOINTS)
REWRITES = (
    f"UPDATE {LINES} SET after = NULL",
    f"UPDATE {HEAD} SET lines = 0",
    f"UPDATE {CHECKPOINTS} SET number = 0",
    f"INSERT INTO {LINES} (at, operation, relation, row_id, address, origin, context, login)"
    " VALUES (now(), 'insert', 'users_user', '1', '', 'API', '{}', '')",
    f"INSERT INTO {HEAD} (id, lines, hash) VALUES (1, 0, '')",
    *(f"{verb} {table}" for verb, table in product(("DELETE FROM", "TRUNCATE"), TABLES)),
    *(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE" for table in TABLES),
    *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in TABLES),
    f"SELECT nextval('{LINES}_id_seq')",
    f"SELECT setval('{LINES}_id_seq', 1)",
    "ALTER TABLE users_user DISABLE TRIGGER fillcast_trail",
    "DROP TRIGGER fillcast_trail ON users_user",
    "SET session_replication_role = replica",
    "TRUNCATE users_user CASCADE",
    "CREATE OR REPLACE FUNCTION public.fillcast_add_trail_line() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RETURN NULL; END'",
    "ALTER FUNCTION public.fillcast_add_trail_line() SECURITY INVOKER",
    "DROP FUNCTION public.fillcast_add_trail_line() CASCADE",
    # A trigger of his own, on a table of his own that is named like ours, would write lines.
    "CREATE TEMP TABLE users_user (id int); CREATE TRIGGER t AFTER INSERT ON users_user"
    " FOR EACH ROW EXECUTE FUNCTION public.fillcast_add_trail_line('{}', '{}')",
)
NEW_CHECKPOINT = (  # workers make them
    f"INSERT INTO {CHECKPOINTS} (at, number, hash, signature) VALUES (now(), 1, '', '')"
)


@pytest.mark.parametrize("role", ["web", "trade"])
def test_application_roles_cannot_write_the_trail(as_role: Opened, role: str) -> None:
    with Walk() as walk:
        for statement in walk.each(REWRITES if role == "trade" else (*REWRITES, NEW_CHECKPOINT)):
            with walk.cell(statement, role) as cell, as_role(role, operator=True) as session:
                cell.expect(True, is_refused(session, statement), "is refused")


SILENCERS = (
    "SET pgtrigger.ignore = '{users_user:fillcast_trail,connections_tradingpreset:fillcast_trail}'",
    "SET pgtrigger.ignore = '{fillcast_trail}'",
    "SET fillcast.trail = ''",
    "SET fillcast.program = ''",
    "SET LOCAL search_path = pg_temp",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET CONSTRAINTS ALL DEFERRED",
    "CREATE TEMP TABLE common_trailline (LIKE public.common_trailline)",
    "CREATE FUNCTION pg_temp.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql"
    " AS 'SELECT NULL::jsonb'",
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ["web", "trade"])
def test_no_setting_bypasses_the_trail(alice: world.Tenant, role: str) -> None:
    for most, first in enumerate(SILENCERS, start=11):
        before = len(lines("connections_tradingpreset"))
        with connected() as session:  # of its own, which ends with what it set, and commits
            session.execute(f"SET ROLE fillcast_{role}")
            session.execute(f"SELECT set_config('fillcast.tenant', '{alice.user.pk}', true)")
            session.execute(first.encode())
            changed = session.execute(
                f"UPDATE public.connections_tradingpreset SET max_open_positions = {most}"
            )
            assert changed.rowcount == 1, first
        assert len(lines("connections_tradingpreset")) == before + 1, first
        latest = lines("connections_tradingpreset")[-1]
        assert (latest.after, latest.number is not None) == ({"max_open_positions": most}, True)


def test_unreadable_context_rejects_the_change(alice: world.Tenant, as_role: Opened) -> None:
    with as_role("trade") as session:
        session.execute("SET fillcast.trail = 'no json'")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            session.execute("UPDATE connections_tradingpreset SET max_open_positions = 11")


def test_tenant_cannot_read_the_trail(alice: world.Tenant, as_role: Opened) -> None:
    def seen(session: Session) -> list[Any]:
        return [session.execute(f"SELECT count(*) FROM {table}").fetchone() for table in TABLES]

    assert lines("connections_tradingpreset")
    with as_role("web", tenant=alice.user.pk) as session:
        assert seen(session) == [(0,)] * 3
    with as_role("web", operator=True) as session:
        assert seen(session)[0] != (0,)
