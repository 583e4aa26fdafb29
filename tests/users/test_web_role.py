"""What a session of the web role may not write, whatever the code does: by SQL.

`fillcast.operator` opens rows for publications, so the web role may set it; it gives no rights.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from connections.models import ConnectionHealth, ExecutionConnection, KillSwitch
from tests.connections import make
from tests.kept_rows import kept_rows
from tests.matrix import Walk
from tests.users import world
from tests.users.conftest import Opened, Session, is_refused
from users.models import ApiKey, RecoveryCode, SecondFactor, User

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class People:
    alice: world.Tenant
    bob: world.Tenant
    staff: dict[str, User]


def _create_people() -> People:
    """Two tenants, staff of each role, and what the statements are about."""
    alice, bob = world.tenant("alice"), world.tenant("bob")
    staff = {"superuser": User.objects.create_superuser("root", password="x" * 12)}
    for role in ("administrator", "operator", "risk officer", "support"):
        user = User.objects.create_user(role.replace(" ", "-"), is_staff=True)
        user.groups.add(_group(role))
        staff[role] = user
    people = People(alice, bob, staff)
    _write_more(people)
    return people


people = kept_rows(_create_people)


def _group(role: str) -> Group:
    """The role as migrations write it; a test that emptied the database took it away."""
    from django.contrib.auth.models import Permission

    from common.permissions import ROLES, Role

    group, _ = Group.objects.get_or_create(name=role)
    names = [right.value for right in ROLES[Role(role)]]
    group.permissions.set(Permission.objects.filter(codename__in=names))
    return group


NEW_KEY = (
    "INSERT INTO users_apikey (user_id, name, prefix, secret_hash, scopes, created_at, expires_at)"
    " VALUES ({}, 'mine', 'stolen', 'h', ARRAY['read'], now(), now() + interval '90 days')"
)
NEW_HALT = (
    "INSERT INTO connections_killswitch (scope, mode, reason, set_by_id, {1})"
    " VALUES ({0}, 'r', {{me}}, {2})"
)
AS_TENANT = {
    "superuser": "UPDATE users_user SET is_superuser = true WHERE id = {me}",
    "staff": "UPDATE users_user SET is_staff = true WHERE id = {me}",
    "group": "INSERT INTO users_user_groups (user_id, group_id) VALUES ({me}, {group})",
    "permission": "INSERT INTO users_user_user_permissions (user_id, permission_id)"
    " SELECT {me}, id FROM auth_permission WHERE codename = 'trade'",
    "a group's rights": "INSERT INTO auth_group_permissions (group_id, permission_id)"
    " SELECT {group}, id FROM auth_permission WHERE codename = 'add_user'",
    "an operator's password": "UPDATE users_user SET password = 'x' WHERE id = {root}",
    "another's e-mail": "UPDATE users_user SET email = 'a@example.org' WHERE id = {other}",
    "a new superuser": "INSERT INTO users_user (password, is_superuser, username, first_name,"
    " last_name, is_staff, is_active, date_joined, email, time_zone)"
    " VALUES ('', true, 'new', '', '', true, true, now(), '', 'UTC')",
    "another's key": NEW_KEY.format("{root}"),
    "a key of another": "UPDATE users_apikey SET secret_hash = 'mine' WHERE user_id = {other}",
    "own key to another": "UPDATE users_apikey SET user_id = {root} WHERE user_id = {me}",
    "approve own feed": "UPDATE signals_feed SET is_approved = true, is_public = true,"
    " approved_by_owner = false WHERE owner_id = {me}",
    "another's feed": "UPDATE signals_feed SET owner_id = {me} WHERE owner_id = {other}",
    "a token of another": "UPDATE signals_feedtoken SET secret_hash = 'mine'"
    " WHERE feed_id IN (SELECT id FROM signals_feed WHERE owner_id = {other})",
    "approve a signal": "UPDATE signals_signal SET approval = 'APPROVED', approved_by_id = {me}"
    " WHERE approval = 'PENDING'",
    "an account for every signal": "UPDATE connections_executionconnection SET user_id = NULL,"
    " admin_id = {me} WHERE user_id = {me}",
    "a claim": "UPDATE connections_executionconnection SET claim = 'mt5:1' WHERE user_id = {me}",
    "a key claim": "UPDATE connections_executionconnection SET credentials_claim = 'x'"
    " WHERE user_id = {me}",
    "an account of another": "UPDATE connections_executionconnection SET user_id = {me}"
    " WHERE user_id = {other}",
    "limits of another": "UPDATE connections_tradingpreset SET max_leverage = 99"
    " WHERE user_id = {other}",
    "the operators' preset": "UPDATE connections_tradingpreset SET max_leverage = 99"
    " WHERE user_id IS NULL",
    "release a halt": "UPDATE connections_killswitch SET released_at = now() WHERE scope = 'ALL'",
    "a halt of all": "INSERT INTO connections_killswitch (scope, mode, reason, set_by_id)"
    " VALUES ('ALL', 'HALTED', 'r', {me})",
    "exits of followers held": NEW_HALT.format("'FEED', 'HALTED'", "feed_id", "{own_feed}"),
    "own halt made to hold exits of followers": "UPDATE connections_killswitch SET scope = 'FEED',"
    " mode = 'HALTED', feed_id = {own_feed}, connection_id = NULL"
    " WHERE set_by_id = {me} AND scope = 'CONNECTION'",
    "exits of followers held again": "UPDATE connections_killswitch SET released_at = NULL"
    " WHERE scope = 'FEED' AND set_by_id = {me}",
    "another account halted": NEW_HALT.format(
        "'CONNECTION', 'REDUCING'", "connection_id", "'{others_account}'"
    ),
    "own halt made one of all": "UPDATE connections_killswitch SET scope = 'ALL',"
    " connection_id = NULL WHERE set_by_id = {me} AND scope = 'CONNECTION'",
    "another's channel": "UPDATE events_channel SET url_sealed = 'mine' WHERE user_id = {other}",
    "a schedule": "UPDATE django_celery_beat_periodictask SET enabled = false",
    "another's second factor": "DELETE FROM users_secondfactor WHERE user_id = {other}",
    "another's recovery codes": "DELETE FROM users_recoverycode WHERE user_id = {root}",
    "a second factor for another": "INSERT INTO users_secondfactor"
    " (user_id, sealed_secret, last_step, enrolled_at) VALUES ({root}, 'mine', 0, now())",
    "a recovery code for another": "INSERT INTO users_recoverycode (user_id, code_hash)"
    " VALUES ({root}, 'mine')",
    "the secret of another": "UPDATE users_secondfactor SET sealed_secret = 'mine'"
    " WHERE user_id = {other}",
    "own factor to another": "UPDATE users_secondfactor SET user_id = {root} WHERE user_id = {me}",
    "a used time code": "UPDATE users_secondfactor SET last_step = 1 WHERE user_id = {me}",
    "a used recovery code": "UPDATE users_recoverycode SET used_at = NULL WHERE user_id = {me}",
    "more scopes": "UPDATE users_apikey SET scopes = ARRAY['read', 'trade'] WHERE user_id = {me}",
    "a key for longer": "UPDATE users_apikey SET expires_at = expires_at + interval '1 day'"
    " WHERE user_id = {me}",
    "own key from the one that made it": "UPDATE users_apikey SET made_with_id = NULL"
    " WHERE user_id = {me} AND made_with_id IS NOT NULL",
    "own key as made with another": "UPDATE users_apikey SET made_with_id = made.id"
    " FROM users_apikey made WHERE users_apikey.user_id = {me} AND made.user_id = {me}"
    " AND users_apikey.made_with_id IS NULL AND made.id <> users_apikey.id",
    "healthy without a test": "UPDATE connections_connectionhealth SET status = 'ACTIVE'"
    " WHERE connection_id = '{account}'",
    "no test needed": "UPDATE connections_connectionhealth SET needs_test = false"
    " WHERE connection_id = '{account}'",
    "compared without a comparison": "UPDATE connections_connectionhealth"
    " SET reconciled_at = now() WHERE connection_id = '{account}'",
    "an error that was not there": "UPDATE connections_connectionhealth SET last_error = 'x'"
    " WHERE connection_id = '{account}'",
    "another's account untested": "UPDATE connections_connectionhealth SET needs_test = true,"
    " status = 'UNTESTED' WHERE connection_id = '{others_account}'",
    "health removed": "DELETE FROM connections_connectionhealth WHERE connection_id = '{account}'",
}


@pytest.mark.parametrize("flag", [False, True], ids=["tenant", "tenant who sets the flag"])
def test_tenant_cannot_raise_own_rights_by_sql(
    people: People, as_role: Opened, *, flag: bool
) -> None:
    me = people.alice.user.pk
    with Walk() as walk:
        for what, statement in walk.each(AS_TENANT.items()):
            with walk.cell(what) as cell, as_role("web", tenant=me, operator=flag) as session:
                cell.expect(0, touched(session, _written(people, statement)), "changed rows")


def touched(session: Session, statement: str) -> int:
    """Return how many rows a statement changes: none if it is refused."""
    try:
        return session.execute(statement.encode()).rowcount
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation):
        return 0


def _write_more(people: People) -> None:
    """What the statements are about, besides the tenants' own."""
    KillSwitch.objects.create(
        scope="ALL", mode="HALTED", reason="r", set_by=people.staff["superuser"]
    )
    KillSwitch.objects.create(
        scope="FEED", mode="HALTED", feed=people.alice.feed, reason="r",
        set_by=people.alice.user, released_at=timezone.now(),
    )  # fmt: skip
    make.preset(None, name="for all")
    make.signal(people.alice.feed, approval="PENDING")
    first = ApiKey.objects.get(user=people.alice.user)
    ApiKey.objects.create(
        user=first.user, name="second", prefix="second", secret_hash="h", made_with=first,
        expires_at=first.expires_at,
    )  # fmt: skip
    _schedule()
    _second_factors(people)


def _written(people: People, statement: str) -> str:
    return statement.format(
        me=people.alice.user.pk, other=people.bob.user.pk, root=people.staff["superuser"].pk,
        group=people.staff["operator"].groups.get().pk, staff=people.staff["operator"].pk,
        account=people.alice.connection.pk, others_account=people.bob.connection.pk,
        own_feed=people.alice.feed.pk,
    )  # fmt: skip


def _second_factors(people: People) -> None:
    """Each tenant has an app and a used code, the superuser a code; alice's account is in error."""
    for user in (people.alice.user, people.bob.user):
        SecondFactor.objects.create(user=user, sealed_secret=b"sealed", last_step=10)
        RecoveryCode.objects.create(user=user, code_hash="used", used_at=timezone.now())
    RecoveryCode.objects.create(user=people.staff["superuser"], code_hash="unused")
    ConnectionHealth.objects.filter(connection=people.alice.connection).update(
        status="ERROR", needs_test=True, reconciled_at=None
    )


def _schedule() -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every = IntervalSchedule.objects.create(every=5, period="seconds")
    PeriodicTask.objects.create(name="scan", task="scan", interval=every)


def test_tenant_uses_own_second_factor_and_requests_tests(people: People, as_role: Opened) -> None:
    me, account = people.alice.user.pk, people.alice.connection.pk
    unused = f"INSERT INTO users_recoverycode (user_id, code_hash) VALUES ({me}, 'unused')"
    allowed = (
        f"UPDATE users_secondfactor SET last_step = 11 WHERE user_id = {me}",
        f"UPDATE users_recoverycode SET used_at = now() WHERE user_id = {me} AND used_at IS NULL",
        f"DELETE FROM users_secondfactor WHERE user_id = {me}",
        f"INSERT INTO users_recoverycode (user_id, code_hash) VALUES ({me}, 'new')",
        "UPDATE connections_connectionhealth SET test_requested_at = now(), status = 'UNTESTED',"
        f" reconciled_at = NULL WHERE connection_id = '{account}'",
    )
    for statement in allowed:
        with as_role("web", tenant=me, before=unused) as session:
            assert session.execute(statement.encode()).rowcount == 1, statement
    with as_role("trade") as worker:
        found = worker.execute(
            "UPDATE connections_connectionhealth SET status = 'ACTIVE', needs_test = false,"
            f" reconciled_at = now() WHERE connection_id = '{account}'".encode()
        )
        assert found.rowcount == 1


def test_refused_statements_would_have_an_effect(people: People, as_role: Opened) -> None:
    """Each is refused for who asks, not because it touches nothing."""
    idle = []
    for what, statement in AS_TENANT.items():
        with as_role("trade") as session:
            session.execute("RESET ROLE")  # the owner of the tables may do all of it
            try:
                changed = session.execute(_written(people, statement).encode()).rowcount
            except psycopg.errors.CheckViolation:
                changed = 1
        if changed == 0:
            idle.append(what)
    assert idle == []


BY_ROLE: list[tuple[str, str, set[str]]] = [
    ("UPDATE users_user SET is_superuser = true WHERE id = {me}", "superuser", set()),
    ("UPDATE users_user SET is_staff = true WHERE id = {me}", "staff", {"administrator"}),
    ("UPDATE users_user SET password = 'x' WHERE id = {root}", "superuser's password", set()),
    ("UPDATE users_user SET password = 'x' WHERE id = {me}", "password", {"administrator"}),
    (NEW_KEY.format("{root}"), "superuser's key", set()),
    (NEW_KEY.format("{me}"), "key", {"administrator"}),
    ("INSERT INTO users_user_groups (user_id, group_id) VALUES ({me}, {group})", "role",
     {"administrator"}),
    ("UPDATE connections_killswitch SET released_at = now() WHERE scope = 'ALL'", "release",
     {"administrator", "operator", "risk officer"}),
    ("INSERT INTO connections_killswitch (scope, mode, reason, set_by_id, connection_id)"
     " VALUES ('CONNECTION', 'HALTED', 'r', public.fillcast_actor(), '{account}')", "halt",
     {"administrator", "operator", "risk officer"}),
    ("UPDATE signals_feed SET is_approved = true, approved_by_owner = false"
     " WHERE id = (SELECT min(id) FROM signals_feed WHERE owner_id = {me})",
     "approval", {"administrator", "operator"}),
    ("DELETE FROM users_secondfactor WHERE user_id = {me}", "second factor", {"administrator"}),
    ("DELETE FROM users_recoverycode WHERE user_id = {root}", "superuser's second factor", set()),
]  # fmt: skip


@pytest.mark.parametrize(
    "role", ["superuser", "administrator", "operator", "risk officer", "support"]
)
def test_staff_write_only_what_role_allows(people: People, as_role: Opened, role: str) -> None:
    me = people.staff[role].pk
    before = "UPDATE signals_feed SET is_approved = false, approved_by_owner = false"
    with Walk() as walk:
        for statement, what, allowed in walk.each(BY_ROLE):
            written = _written(people, statement)
            with (
                walk.cell(what, role) as cell,
                as_role("web", tenant=me, operator=True, before=before) as session,
            ):
                if role in allowed or role == "superuser":
                    cell.expect(1, session.execute(written.encode()).rowcount, "changed rows")
                else:
                    cell.expect(True, is_refused(session, written), "is refused")


def test_web_role_cannot_raise_own_rights(people: People, as_role: Opened) -> None:
    administrator = people.staff["administrator"]
    own = (
        f"UPDATE users_user SET is_superuser = true WHERE id = {administrator.pk}",
        f"DELETE FROM users_user_groups WHERE user_id = {administrator.pk}",
    )
    for statement in own:
        with as_role("web", tenant=administrator.pk, operator=True) as session:
            assert is_refused(session, statement), statement


def test_tenants_keep_their_permissions(people: People, as_role: Opened) -> None:
    me = people.alice.user.pk
    allowed: dict[str, Any] = {
        f"UPDATE users_user SET email = 'a@example.org', password = 'p' WHERE id = {me}": 1,
        f"UPDATE users_user SET last_login = now() WHERE id = {me}": 1,
        NEW_KEY.format(me): 1,
        f"UPDATE users_apikey SET revoked_at = now() WHERE user_id = {me}": 2,
        "UPDATE connections_executionconnection SET is_paused = true, claim = ''": 1,
        "UPDATE connections_tradingpreset SET max_open_positions = 3": 1,
        f"UPDATE connections_killswitch SET released_at = now() WHERE set_by_id = {me}"
        " AND released_at IS NULL": 1,
        NEW_HALT.format("'FEED', 'REDUCING'", "feed_id", "{own_feed}").format(
            me=me, own_feed=people.alice.feed.pk
        ): 1,
        NEW_HALT.format("'USER', 'HALTED'", "user_id", "{me}").format(me=me): 1,
        f"UPDATE signals_feed SET name = 'x' WHERE owner_id = {me}": 2,
        "UPDATE events_channel SET is_active = false": 1,
    }
    for statement, touched in allowed.items():
        with as_role("web", tenant=me) as session:
            assert session.execute(statement.encode()).rowcount == touched, statement
    with as_role("web", operator=True) as session:  # a key is looked up before it is known whose
        used = session.execute("UPDATE users_apikey SET last_used_at = now()")
        assert used.rowcount == ApiKey.objects.count() > 1
    assert ExecutionConnection.objects.count() == 2
