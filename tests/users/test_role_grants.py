"""What the database's roles may do beside rows: another's feed, rights of users, the disk."""

from pathlib import Path

import psycopg
import pytest

from signals.models import Feed
from tests.connections import make
from tests.users import world
from tests.users.conftest import Opened

ROOT = Path(__file__).resolve().parents[2]
REVOKED = (ROOT / "common/migrations/sql/disk.sql").read_text("utf-8")
"""Again: a copy of a database, as tests use it, has not the rights on the first one."""
DENIED = psycopg.errors.InsufficientPrivilege
RIGHTS = [
    "UPDATE users_user SET is_superuser = true",
    "UPDATE users_user SET is_staff = true",
    "UPDATE users_user SET password = 'x'",
    "UPDATE users_user SET username = 'x' || id",
    "UPDATE users_user SET email = 'x', email_confirmed_at = now()",
    "DELETE FROM users_user",
    "INSERT INTO users_user (username, password, is_superuser) VALUES ('x', 'x', true)",
    "INSERT INTO users_user_groups (user_id, group_id) SELECT u.id, g.id FROM users_user u,"
    " auth_group g",
    "INSERT INTO auth_group_permissions (group_id, permission_id) SELECT g.id, p.id"
    " FROM auth_group g, auth_permission p",
    "INSERT INTO users_user_user_permissions (user_id, permission_id) SELECT u.id, p.id"
    " FROM users_user u, auth_permission p",
]
DISK = [
    "CREATE TEMPORARY TABLE t (x int)",
    "CREATE TABLE t (x int)",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", RIGHTS)
def test_trade_role_gives_no_rights(as_role: Opened, alice: world.Tenant, statement: str) -> None:
    with as_role("trade") as session, pytest.raises(DENIED):
        session.execute(statement.encode())


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["trade", "web"])
@pytest.mark.parametrize("statement", DISK)
def test_roles_write_no_files_of_their_own(as_role: Opened, role: str, statement: str) -> None:
    with as_role(role, before=REVOKED) as session, pytest.raises(DENIED):
        session.execute(statement.encode())


@pytest.mark.django_db
def test_trade_role_notes_what_workers_note(as_role: Opened) -> None:
    with as_role("trade") as session:
        session.execute("UPDATE users_user SET ran_preflight = true, last_login = now()")
        session.execute("SELECT FROM users_user FOR NO KEY UPDATE")


@pytest.mark.django_db(transaction=True)
def test_lock_of_a_private_feed_gives_nothing_of_it(as_role: Opened) -> None:
    feed: Feed = make.feed(name="Secret name", is_public=False)
    stranger = make.user()
    with as_role("web", tenant=stranger.pk) as session:
        found = session.execute("SELECT signals_lock_feed(%s)", (feed.pk,)).fetchall()
        assert "Secret name" not in str(found)
        everything = session.execute("SELECT * FROM signals_lock_feed(%s) x", (feed.pk,))
        assert "Secret name" not in str(everything.fetchall())
        locked = "SELECT FROM signals_feed WHERE id = %s FOR UPDATE NOWAIT"
        with as_role("trade") as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute(locked, (feed.pk,))
