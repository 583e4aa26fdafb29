"""A tenant reaches only their own rows, whatever the query selects."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from common.db.row_security import OPERATOR_ROWS, POLICY_SETS, SHARED_ROWS, TENANT_ROWS
from connections.models import KillSwitch, SubscriptionInterval
from signals.models import Feed
from tests.connections import make
from tests.kept_rows import kept_rows
from tests.users import world
from tests.users.conftest import Opened, Session, is_refused
from users.models import RecoveryCode, SecondFactor

pytestmark = pytest.mark.django_db

# Read before the user is known: by the login.
ALSO_SHARED = {"users_user", "users_secondfactor"}
# Medians over the accounts of all tenants, of more than five of them.
SEEN_BY_TENANTS = {"analytics_signalquality"}


def with_second_factor(name: str) -> world.Tenant:
    """A tenant of the world who has a second factor besides."""
    tenant = world.tenant(name)
    SecondFactor.objects.create(user=tenant.user, sealed_secret=b"x", last_step=0)
    RecoveryCode.objects.create(user=tenant.user, code_hash="h")
    return tenant


alice = kept_rows(lambda: with_second_factor("alice"))
bob = kept_rows(lambda _alice: with_second_factor("bob"), on="alice")


def tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'public'::regnamespace AND NOT relispartition ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def decisions() -> dict[str, set[tuple[str, str]]]:
    """table → {(role, policy)}."""
    found: dict[str, set[tuple[str, str]]] = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename, unnest(roles), policyname FROM pg_policies")
        for table, role, policy in cursor.fetchall():
            found.setdefault(table, set()).add((role, policy))
    return found


def of_kind(kind: str) -> list[str]:
    return sorted(
        table
        for table, policies in decisions().items()
        if ("fillcast_web", f"{kind}_select") in policies
    )


def count(session: Session, table: str) -> int:
    (row,) = session.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(row[0])


def test_every_table_has_a_row_security_decision() -> None:
    decided = decisions()
    for table in tables():
        policies = decided.get(table, set())
        kinds = [
            kind
            for kind in POLICY_SETS
            if {("fillcast_web", f"{kind}_{c}") for c in ("select", "insert", "update", "delete")}
            <= policies
        ]
        assert len(kinds) == 1, f"{table}: add a line with common.db.row_security to a migration"
        assert ("fillcast_trade", "trade_rows") in policies, table
        assert len(policies) == 5, f"{table} has a policy that the helper did not write"


def test_row_security_is_enabled_on_tables_with_policies() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND NOT relispartition")
        on = {name for (name,) in cursor.fetchall()}
    assert on == set(tables())


def test_partition_cannot_bypass_row_security_of_its_table() -> None:
    """A policy guards the table that a query names: a partition is closed to direct access."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
                       " AND NOT relrowsecurity")  # fmt: skip
        assert cursor.fetchall() == []


def test_tenant_sees_exactly_own_rows(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    for table in of_kind(TENANT_ROWS):
        with as_role("trade") as everything:
            total = count(everything, table)
        assert total > 0, f"tests/users/world.py creates no row of {table}"
        seen = []
        for tenant in (alice, bob):
            with as_role("web", tenant=tenant.user.pk) as session:
                seen.append(count(session, table))
        if table in ALSO_SHARED | SEEN_BY_TENANTS:
            assert seen == [total, total], table
        else:
            assert seen == [total / 2, total / 2], table


def test_anonymous_sees_nothing_and_operator_sees_all(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    for table in of_kind(TENANT_ROWS):
        with as_role("trade") as everything:
            total = count(everything, table)
        with as_role("web") as anonymous:
            assert count(anonymous, table) == (total if table in ALSO_SHARED else 0), table
        with as_role("web", tenant=alice.user.pk, operator=True) as operator:
            assert count(operator, table) == total, table


def computed() -> set[str]:
    """Columns that only the database fills."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE is_generated = 'ALWAYS'"
        )
        return {name for (name,) in cursor.fetchall()}


def owned_rows(tenant: world.Tenant, as_role: Opened) -> Iterator[tuple[str, dict[str, Any]]]:
    """One row of this tenant from each table that belongs to tenants."""
    left_out = computed()
    for table in of_kind(TENANT_ROWS):
        own = {"users_user": "WHERE id = %s", "users_secondfactor": "WHERE user_id = %s"}.get(
            table, "WHERE %s > 0"
        )
        with as_role("web", tenant=tenant.user.pk) as session:
            query = f"SELECT to_jsonb(t)::text FROM {table} t {own} LIMIT 1"
            found = session.execute(query, (tenant.user.pk,)).fetchone()
        assert found, table
        row = json.loads(found[0])
        yield table, {name: value for name, value in row.items() if name not in left_out}


def test_tenant_cannot_insert_row_for_another(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    """The policy speaks before any unique constraint does, so the very same row serves."""
    tried = 0
    for table, row in owned_rows(bob, as_role):
        with as_role("web", tenant=alice.user.pk) as session:
            names = ", ".join(f'"{name}"' for name in row)
            # a trigger of the web role speaks before the policy, where a table has one
            with pytest.raises(
                psycopg.errors.InsufficientPrivilege, match=r"row-level security|fillcast_refuse"
            ):
                session.execute(
                    f"INSERT INTO {table} ({names})"
                    f" SELECT {names} FROM jsonb_populate_record(NULL::{table}, %s)",
                    (Jsonb(row),),
                )
            tried += 1
    assert tried == len(of_kind(TENANT_ROWS))


def test_tenant_cannot_transfer_own_row(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    for table, row in owned_rows(bob, as_role):
        names = ", ".join(f'"{name}"' for name in row)
        assign = (
            f"UPDATE {table} SET ({names}) ="
            f" (SELECT {names} FROM jsonb_populate_record(NULL::{table}, %s))"
        )
        with as_role("web", tenant=alice.user.pk) as session:
            try:
                assert session.execute(assign, (Jsonb(row),)).rowcount == 0, table
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation):
                continue  # a published signal keeps its feed, before its policy is asked


# Of these the web role may not change this column at all, its own rows included.
NOT_GRANTED = {
    "connections_accounthistory", "connections_cashflow", "connections_connectionhealth",
    "connections_tradingpause", "execution_archivedorder", "execution_executionlog",
    "execution_scopedaction", "signals_feedterms", "alerts_incomingalert",
    "positions_stoprule", "users_recoverycode", "users_secondfactor",
}  # fmt: skip


def test_tenant_cannot_change_or_delete_others_rows(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    for table, row in owned_rows(bob, as_role):
        names = ("id", "connection_id", "source_id", "position_id", "signal_id")
        key = next(name for name in names if name in row)
        for statement in (
            f'UPDATE {table} SET "{key}" = "{key}" WHERE "{key}"::text = %s',
            f'DELETE FROM {table} WHERE "{key}"::text = %s',
        ):
            with as_role("web", tenant=alice.user.pk) as session:
                try:
                    assert session.execute(statement, (str(row[key]),)).rowcount == 0, table
                except psycopg.errors.InsufficientPrivilege:
                    assert table in NOT_GRANTED


def test_price_source_cannot_use_another_tenants_account(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    statement = (
        "INSERT INTO connections_dataconnection"
        " (name, kind, user_id, broker_connection_id, settings, is_active, created_at)"
        " VALUES ('x', 'broker', %s, %s, '{}', true, now())"
    )
    with as_role("web", tenant=alice.user.pk) as session:
        session.execute(statement, (alice.user.pk, alice.connection.pk))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            session.execute(statement, (alice.user.pk, bob.connection.pk))


@pytest.mark.parametrize("role", ["web", "trade"])
def test_execution_log_cannot_be_rewritten(alice: world.Tenant, as_role: Opened, role: str) -> None:
    log = "execution_executionlog"
    for statement in (f"UPDATE {log} SET code = ''", f"DELETE FROM {log}", f"TRUNCATE {log}"):
        with as_role(role, operator=True) as session:
            assert count(session, log) == 1
            assert is_refused(session, statement), statement


def test_operators_tables_are_closed_to_tenants(alice: world.Tenant, as_role: Opened) -> None:
    for table in of_kind(OPERATOR_ROWS):
        with as_role("web", tenant=alice.user.pk) as session:
            assert count(session, table) == 0, table
    with as_role("web", tenant=alice.user.pk, operator=True) as session:
        assert count(session, "django_migrations") > 0


def test_tables_read_before_login_are_readable(as_role: Opened) -> None:
    assert {"django_session", "users_trycount"} <= set(of_kind(SHARED_ROWS))
    with as_role("web") as anonymous:
        assert count(anonymous, "django_content_type") > 0


@pytest.mark.django_db(transaction=True)
def test_pooled_connection_does_not_keep_tenant(alice: world.Tenant, as_role: Opened) -> None:
    with as_role("web") as any_session:
        conninfo = psycopg.conninfo.make_conninfo(
            any_session.info.dsn, password=any_session.info.password
        )

    def configure(session: Session) -> None:
        session.execute("SET ROLE fillcast_web")
        session.commit()

    sees = "SELECT count(*) FROM connections_executionconnection"
    with ConnectionPool(conninfo, min_size=1, max_size=1, configure=configure) as pool:
        with pool.connection() as session:
            session.execute("SELECT set_config('fillcast.tenant', %s, true)", (str(alice.user.pk),))
            assert session.execute(sees).fetchone() == (1,)
            pid = session.info.backend_pid
        with pool.connection() as session:
            assert session.info.backend_pid == pid
            assert session.execute(sees).fetchone() == (0,)


def visible(session: Session, table: str) -> set[Any]:
    return {row[0] for row in session.execute(f"SELECT id FROM {table}").fetchall()}


def test_shared_rows_of_operators_are_read_only(alice: world.Tenant, as_role: Opened) -> None:
    offered = make.preset(None)
    with as_role("web", tenant=alice.user.pk) as session:
        assert offered.pk in visible(session, "connections_tradingpreset")
        changed = session.execute("UPDATE connections_tradingpreset SET multiplier = 9")
        assert changed.rowcount == 1  # her own
    with as_role("web") as anonymous:
        assert visible(anonymous, "connections_tradingpreset") == set()


def test_tenant_sees_entitled_feeds_and_signals(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    """Bob's feed becomes public: Alice finds it, but its signals are for those who take it."""
    now = datetime.now(UTC)
    before, during, after = (
        make.signal(bob.feed, published_at=now - timedelta(minutes=m)) for m in (30, 20, 10)
    )
    draft = make.signal(bob.feed)

    def seen() -> tuple[bool, set[int]]:
        with as_role("web", tenant=alice.user.pk) as session:
            feeds = visible(session, "signals_feed")
            signals = visible(session, "signals_signal") - {alice.signal.pk}
        return bob.feed.pk in feeds, signals

    assert seen() == (False, set())
    Feed.objects.filter(pk=bob.feed.pk).update(is_public=True)
    assert seen() == (True, set())
    taken = make.subscription(alice.connection, bob.feed)
    assert seen() == (True, {bob.signal.pk, before.pk, during.pk, after.pk})
    SubscriptionInterval.objects.filter(subscription=taken).update(
        started_at=now - timedelta(minutes=25), ended_at=now - timedelta(minutes=15)
    )
    taken.archived_at = now - timedelta(minutes=15)
    taken.save()
    assert seen() == (True, {during.pk})
    assert draft.pk not in seen()[1]


def test_tenant_sees_halts_of_symbols_and_of_own_broker_types(
    alice: world.Tenant, as_role: Opened
) -> None:
    operator = make.user(is_staff=True)

    def halt(**fields: str) -> int:
        switch = KillSwitch.objects.create(mode="HALTED", reason="r", set_by=operator, **fields)
        return int(switch.pk)

    own = halt(scope="BROKER_TYPE", broker_type=alice.connection.type)
    other = halt(scope="BROKER_TYPE", broker_type="elsewhere")
    symbol = halt(scope="SYMBOL", pair="EUR/USD")
    with as_role("web", tenant=alice.user.pk) as session:
        seen = visible(session, "connections_killswitch")
        assert {own, symbol} <= seen
        assert other not in seen


def test_tenant_cannot_release_operators_kill_switch(alice: world.Tenant, as_role: Opened) -> None:
    operator = make.user(is_staff=True)
    KillSwitch.objects.create(
        scope="USER", mode="HALTED", user=alice.user, reason="r", set_by=operator
    )
    everybody = KillSwitch.objects.create(scope="ALL", mode="HALTED", reason="r", set_by=operator)
    with as_role("web", tenant=alice.user.pk) as session:
        assert count(session, "connections_killswitch") == 3
        released = session.execute("UPDATE connections_killswitch SET released_at = now()")
        assert released.rowcount == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(
                "INSERT INTO connections_killswitch (scope, mode, reason, set_by_id)"
                " VALUES ('ALL', 'HALTED', 'r', %s)",
                (alice.user.pk,),
            )
    with (
        as_role("web", tenant=alice.user.pk) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute(
            "INSERT INTO connections_killswitch (scope, mode, reason, set_by_id, pair)"
            " VALUES ('SYMBOL', 'HALTED', 'r', %s, 'EUR/USD')",
            (alice.user.pk,),
        )
    with as_role("web") as anonymous:
        assert everybody.pk not in visible(anonymous, "connections_killswitch")


def test_median_of_five_persons_is_hidden_from_tenants(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    for persons, seen in ((5, 0), (6, 2)):
        before = f"UPDATE analytics_signalquality SET persons = {persons}"
        with as_role("web", tenant=alice.user.pk, before=before) as session:
            assert count(session, "analytics_signalquality") == seen
