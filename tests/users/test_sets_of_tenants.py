"""Policies ask functions what belongs to a tenant: cheap to plan, same as the tables' policies."""

from typing import Any

import pytest
from django.db import connection

from tests.users import mixed_world, world
from tests.users.conftest import Opened, Session, is_refused

pytestmark = pytest.mark.usefixtures("inline_commits")

# Function → what the tenant selects under the policies of the tables themselves.
TAKEN = "SELECT feed_id FROM connections_subscription"
SAME_AS = {
    "my_connections": "SELECT id FROM connections_executionconnection",
    "my_broker_types": "SELECT type FROM connections_executionconnection",
    "my_subscriptions": "SELECT id FROM connections_subscription",
    "taken_feeds": TAKEN,
    "live_feeds": f"{TAKEN} WHERE archived_at IS NULL",
    "my_sources": "SELECT id FROM connections_dataconnection WHERE user_id IS NOT NULL",
    "my_presets": "SELECT id FROM connections_tradingpreset WHERE user_id IS NOT NULL",
    "seen_presets": "SELECT id FROM connections_tradingpreset",
    "my_calendars": "SELECT id FROM connections_newscalendar WHERE user_id IS NOT NULL",
    "seen_calendars": "SELECT id FROM connections_newscalendar",
    "seen_sources": "SELECT id FROM connections_dataconnection",
    "my_feeds": "SELECT id FROM signals_feed WHERE owner_id = NULLIF("
    "current_setting('fillcast.tenant', true), '')::bigint",
    "seen_feeds": "SELECT id FROM signals_feed",
    "my_bots": "SELECT id FROM alerts_telegrambot",
    "my_channels": "SELECT id FROM events_channel",
    "my_keys": "SELECT id FROM users_apikey",
    "my_exports": "SELECT id FROM users_dataexport",
}
OTHERS = {"past_spans", "is_my_position"}


def functions() -> dict[str, str]:
    """Name without its prefix → signature, of each function that a policy asks for rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT p.proname, p.oid::regprocedure::text FROM pg_depend d"
            " JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid"
            " WHERE d.classid = 'pg_policy'::regclass AND p.pronamespace = 'public'::regnamespace"
            " AND p.proname <> 'fillcast_actor_may'"
        )
        return {name.removeprefix("fillcast_"): signature for name, signature in cursor.fetchall()}


def test_no_policy_asks_a_table_that_has_policies() -> None:
    """By what each policy depends on: its own table, and each one that a sub-select names."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT own.relname, p.polname, asked.relname FROM pg_policy p"
            " JOIN pg_class own ON own.oid = p.polrelid"
            " JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid"
            " JOIN pg_class asked ON d.refclassid = 'pg_class'::regclass AND d.refobjid = asked.oid"
            " WHERE asked.oid <> own.oid AND asked.relrowsecurity"
        )
        found = cursor.fetchall()
    assert found == [], (
        "These policies (table, policy, table that it asks) have PostgreSQL expand and plan the"
        " policies of another table with every statement, which costs milliseconds each time."
        " Ask a function instead: common.db.row_security.tenant_set, docs/adr/0061."
    )


def test_functions_of_policies_are_known_and_closed_to_others() -> None:
    found = functions()
    assert set(found) == {*SAME_AS, *OTHERS}
    with connection.cursor() as cursor:
        for name, signature in found.items():
            cursor.execute(
                "SELECT p.prosecdef, p.provolatile, p.proconfig, r.rolname ="
                " (SELECT tableowner FROM pg_tables WHERE tablename = 'signals_feed'),"
                " (SELECT array_agg(DISTINCT grantee::regrole::text) FROM aclexplode(p.proacl)"
                "  WHERE grantee <> p.proowner), pg_get_function_identity_arguments(p.oid)"
                " FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner"
                " WHERE p.oid = %s::regprocedure",
                [signature],
            )
            arguments = "wanted bigint" if name == "is_my_position" else ""
            config = ["search_path=pg_catalog, pg_temp"]
            assert cursor.fetchone() == (True, "s", config, True, ["fillcast_web"], arguments), name


def test_trading_role_cannot_call_functions_of_policies(as_role: Opened) -> None:
    for name in (*SAME_AS, "past_spans", "is_my_position"):
        arguments = "1" if name == "is_my_position" else ""
        with as_role("trade") as session:
            assert is_refused(session, f"SELECT fillcast_{name}({arguments})"), name


def values(session: Session, query: str, *parameters: Any) -> set[Any]:
    return {row[0] for row in session.execute(query, parameters).fetchall()}


def test_functions_return_what_the_policies_of_their_tables_allow(as_role: Opened) -> None:
    """So a tenant learns nothing by calling one: its ids are those that a query shows anyway."""
    sizes: dict[str, int] = dict.fromkeys(SAME_AS, 0)
    for caller in mixed_world.callers():
        if caller.operator:
            continue
        with as_role("web", tenant=caller.tenant) as session:
            for name, query in SAME_AS.items():
                returned = values(session, f"SELECT fillcast_{name}()")
                assert returned == values(session, query), (caller.name, name)
                sizes[name] += len(returned)
            mine = values(session, "SELECT id FROM positions_executionposition")
            with as_role("trade") as everything:
                positions = values(everything, "SELECT id FROM positions_executionposition")
            query = "SELECT id FROM unnest(%s::bigint[]) id WHERE fillcast_is_my_position(id)"
            assert values(session, query, list(positions)) == mine, caller.name
            assert mine or caller.name not in ("alice", "bob")
    assert all(sizes.values()), sizes


def test_functions_return_nothing_without_a_user(alice: world.Tenant, as_role: Opened) -> None:
    for operator in (False, True):
        with as_role("web", operator=operator) as session:
            for name in (*SAME_AS, "past_spans"):
                assert values(session, f"SELECT fillcast_{name}()") == set(), name
            assert values(session, "SELECT fillcast_is_my_position(NULL)") == {False}
            query = "SELECT fillcast_is_my_position(id) FROM positions_executionposition"
            assert values(session, query) == ({False} if operator else set())


def test_tenant_cannot_have_the_functions_read_a_table_of_their_own(
    alice: world.Tenant, bob: world.Tenant, as_role: Opened
) -> None:
    """A temporary table or operator of the same name has no influence."""
    with as_role("web", tenant=bob.user.pk) as session:
        before = values(session, "SELECT fillcast_my_connections()")
        session.execute(
            "CREATE TEMP TABLE connections_executionconnection AS"
            " SELECT %s::uuid AS id, %s::bigint AS user_id, NULL::bigint AS admin_id",
            (alice.connection.pk, bob.user.pk),
        )
        session.execute("SET LOCAL search_path = pg_temp, public")
        assert values(session, "SELECT public.fillcast_my_connections()") == before
        assert before == values(
            session, "SELECT id FROM public.connections_executionconnection"
        )  # fmt: skip


def test_operators_do_not_evaluate_the_functions(alice: world.Tenant, as_role: Opened) -> None:
    query = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM signals_signal"
    with as_role("web", tenant=alice.user.pk, operator=True) as session:
        plan = "\n".join(line for (line,) in session.execute(query).fetchall())
    assert plan.count("never executed") >= 3, plan
