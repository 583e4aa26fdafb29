"""Functions in place of sub-selects (ADR 0061) changed no tenant's reach: both sides compared.

May be deleted as soon as a later migration changes one of these policies on purpose.
"""

from importlib import import_module
from typing import Any

import pytest
from django.db.migrations import RunSQL

from tests.users import mixed_world
from tests.users.conftest import Opened, Session
from tests.users.mixed_world import Caller

pytestmark = [pytest.mark.usefixtures("inline_commits"), pytest.mark.exhaustive]

MIGRATIONS = (
    "analytics.migrations.0009_sets_of_tenants",
    "connections.migrations.0029_sets_of_tenants",
    "connections.migrations.0030_kill_switch_sets",
    "events.migrations.0011_sets_of_tenants",
    "execution.migrations.0042_sets_of_tenants",
    "positions.migrations.0018_sets_of_tenants",
    "prices.migrations.0003_sets_of_tenants",
    "signals.migrations.0026_sets_of_tenants",
    "users.migrations.0007_sets_of_tenants",
)
Policies = dict[str, dict[str, str]]  # table → command → condition
Reach = dict[str, dict[str, frozenset[str]]]  # table → command → rows


def backwards() -> str:
    """The statements that give each policy its condition of before."""
    return ";\n".join(
        str(operation.reverse_sql)
        for name in MIGRATIONS
        for operation in import_module(name).Migration.operations
        if isinstance(operation, RunSQL) and str(operation.reverse_sql).startswith("ALTER POLICY")
    )


def policies(session: Session) -> Policies:
    """All policies of the web role, as the database has them. WITH CHECK counts for itself."""
    found: Policies = {}
    for table, command, using, check in session.execute(
        "SELECT tablename, cmd, qual, with_check FROM pg_policies"
        " WHERE 'fillcast_web' = ANY(roles) ORDER BY 1, 2"
    ).fetchall():
        conditions = {command: using, f"{command} CHECK": check}
        found.setdefault(table, {}).update({k: v for k, v in conditions.items() if v is not None})
    return found


def reach(session: Session, tables: Policies) -> Reach:
    """The rows that each command may reach (or leave behind, or insert), for this session's user.

    The conditions are evaluated as the web role over the rows of everybody: the table under test,
    and no other, lets all its rows be read. "plain" is an ordinary SELECT under the policies.
    """
    found: Reach = {}
    for table, conditions in tables.items():
        plain = session.execute(f"SELECT t.ctid::text FROM {table} t").fetchall()
        found[table] = {"plain": frozenset(row[0] for row in plain)}
        session.execute("SAVEPOINT one")
        session.execute("RESET ROLE")
        names = session.execute(
            "SELECT policyname FROM pg_policies WHERE tablename = %s AND cmd = 'SELECT'"
            " AND 'fillcast_web' = ANY(roles)",
            (table,),
        ).fetchall()
        for (name,) in names:
            session.execute(f"ALTER POLICY {name} ON {table} USING (true)".encode())
        session.execute("SET LOCAL ROLE fillcast_web")
        columns = ", ".join(f"coalesce(({c}), false)" for c in conditions.values())
        rows = session.execute(
            f"SELECT {table}.ctid::text, {columns} FROM {table}".replace("%", "%%").encode()
        ).fetchall()
        session.execute("ROLLBACK TO one")
        for n, command in enumerate(conditions, start=1):
            found[table][command] = frozenset(row[0] for row in rows if row[n])
        found[table]["all rows"] = frozenset(row[0] for row in rows)
    return found


def compare(caller: Caller, as_role: Opened) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return reach before and after for one caller."""
    sides = []
    for before in (backwards(), ""):
        with as_role(
            "web", tenant=caller.tenant, operator=caller.operator, before=before
        ) as session:
            sides.append(reach(session, policies(session)))
    return sides[0], sides[1]


def test_every_caller_reaches_the_same_rows_as_before(as_role: Opened) -> None:
    with as_role("trade", before=backwards()) as session:
        old = policies(session)
    with as_role("trade") as session:
        new = policies(session)
    changed = {
        (table, command) for table in old for command in old[table] if old[table] != new[table]
        and old[table][command] != new[table][command]
    }  # fmt: skip
    assert len(changed) > 100
    mixed = dict.fromkeys(changed, False)
    print(f"{len(old)} tables, {len(changed)} conditions changed", flush=True)
    for caller in mixed_world.callers():
        was, now = compare(caller, as_role)
        for table, commands in was.items():
            for command, rows in commands.items():
                assert now[table][command] == rows, (caller, table, command)
                if (table, command) in mixed and 0 < len(rows) < len(commands["all rows"]):
                    mixed[table, command] = True
        print(
            f"{caller.name:24} reads {sum(len(c['plain']) for c in was.values()):5} of"
            f" {sum(len(c['all rows']) for c in was.values())}, before and after",
            flush=True,
        )
    assert all(mixed.values()), [name for name, seen in mixed.items() if not seen]
