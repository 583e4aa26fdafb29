"""Row-level security, one line for each table: which database role reaches which rows.

A migration lists its tables:

    operations = [
        tenant_rows("positions_executionposition", MY_CONNECTION),
        operator_rows("paper_account"),
        shared_rows("django_content_type"),
    ]

`fillcast_trade` works for all users and reaches all rows. `fillcast_web` reaches the rows that the
table's policy allows, by two settings of the current transaction: `fillcast.tenant`, the id of the
user for whom it works, and `fillcast.operator`, which opens all rows (`users.tenancy` sets them).
Without either it reaches nothing. A table without a policy fails a test.

A policy asks no other table that has policies itself: PostgreSQL would expand and plan those, too,
for every statement (ADR 0061). What belongs to a tenant is asked
of a function of the tables' owner (`tenant_set`), and such a sub-select fails a test.
"""

from collections.abc import Sequence

from django.db.migrations import RunSQL

WEB, TRADE = "fillcast_web", "fillcast_trade"

# In brackets with SELECT: evaluated once per statement, not per row, so that an index can be used.
# After the transaction that set it, a setting reads as '', not as NULL.
OPERATOR = "(SELECT current_setting('fillcast.operator', true) = 'on')"
TENANT = "(SELECT NULLIF(current_setting('fillcast.tenant', true), '')::bigint)"
MY_CONNECTION = "connection_id IN (SELECT public.fillcast_my_connections())"
MINE = f"user_id = {TENANT}"
SIGNED_IN = f"{TENANT} IS NOT NULL"

TENANT_ROWS, SHARED_ROWS, OPERATOR_ROWS = "tenant_rows", "shared_rows", "operator_rows"
POLICY_SETS = (TENANT_ROWS, SHARED_ROWS, OPERATOR_ROWS)
"""The kinds of policy. The name of each policy of the web role begins with its kind."""


def tenant_rows(table: str, mine: str, *, read: str = "", write: str = "", add: str = "") -> RunSQL:
    """Give a tenant the rows for which `mine` (an SQL condition on the table's columns) is true.

    read: the rows to be seen, if more. write, add: the rows to be changed (and deleted) and to be
    inserted, if fewer; `false` for none. Operators reach all rows.
    """
    policies = {
        "SELECT": read or mine,
        "INSERT": add or write or mine,
        "UPDATE": write or mine,
        "DELETE": write or mine,
    }
    return _secure(table, TENANT_ROWS, {to: f"{OPERATOR} OR ({on})" for to, on in policies.items()})


def shared_rows(table: str, *, writable: bool = False, add: bool = False) -> RunSQL:
    """Let all users read the table.

    writable: all may write, too (sessions). add: all may insert. Otherwise only operators may.
    """
    write = "true" if writable else OPERATOR
    return _secure(
        table,
        SHARED_ROWS,
        {
            "SELECT": "true",
            "INSERT": "true" if add else write,
            "UPDATE": write,
            "DELETE": write,
        },
    )


def operator_rows(table: str, *, add: bool = False) -> RunSQL:
    """Give a table to operators only. add: all may insert, as an audit trigger does."""
    return _secure(
        table,
        OPERATOR_ROWS,
        {
            "SELECT": OPERATOR,
            "INSERT": "true" if add else OPERATOR,
            "UPDATE": OPERATOR,
            "DELETE": OPERATOR,
        },
    )


def tenant_set(name: str, returns: str, query: str) -> RunSQL:
    """Create a function without arguments: what of other tables belongs to the current tenant.

    returns: "SETOF bigint" or "TABLE (...)". A policy says `feed_id IN (SELECT name())`: evaluated
    once per statement, not at all for operators, and hashed, so that thousands of ids cost no more
    per row than one. The function reads as the owner of the tables, past their policies: `query`
    has to contain all that they demand, and without a tenant it must find nothing.
    """
    return tenant_function(f"{name}()", returns, f"RETURN QUERY {query}", rows=20)


def tenant_function(signature: str, returns: str, statement: str, *, rows: int = 0) -> RunSQL:
    """Create a function for policies that runs as the owner of the tables; only the web role may.

    PL/pgSQL, which keeps the plans of its statements for as long as the session.
    """
    function = f"public.{signature}"
    estimate = f"ROWS {rows}" if rows else "COST 1000"  # several index scans: use an index before
    return RunSQL(
        f"CREATE FUNCTION {function} RETURNS {returns} LANGUAGE plpgsql STABLE PARALLEL SAFE"
        f" SECURITY DEFINER SET search_path = pg_catalog, pg_temp {estimate}"
        f" AS $body$ BEGIN {statement}; END $body$;\n"
        f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC;\n"
        f"GRANT EXECUTE ON FUNCTION {function} TO {WEB}",
        f"DROP FUNCTION {function}",
    )


def replace_condition(
    table: str, commands: str, *, now: str, was: str, operators: bool = True
) -> RunSQL:
    """Replace the condition of policies that `tenant_rows` made, for "SELECT UPDATE", say.

    operators: whether they reach all rows besides, as almost everywhere.
    """

    def altered(mine: str) -> str:
        condition = f"{OPERATOR} OR ({mine})" if operators else mine
        return ";\n".join(
            f"ALTER POLICY {_name(TENANT_ROWS, command)} ON {table} {_clauses(condition)[command]}"
            for command in commands.split()
        )

    return RunSQL(altered(now), altered(was))


def append_only(table: str) -> RunSQL:
    """Revoke the right to change or delete rows from both roles of the application."""
    privileges = "UPDATE, DELETE, TRUNCATE"
    return RunSQL(
        f"REVOKE {privileges} ON {table} FROM {WEB}, {TRADE}",
        f"GRANT UPDATE, DELETE ON {table} TO {WEB}, {TRADE}",
    )


def _secure(table: str, kind: str, policies: dict[str, str]) -> RunSQL:
    forwards = [f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", *_drop(table, kind, policies)]
    for command, condition in policies.items():
        forwards.append(
            f"CREATE POLICY {_name(kind, command)} ON {table} FOR {command} TO {WEB} "
            f"{_clauses(condition)[command]}"
        )
    forwards.append(
        f"CREATE POLICY trade_rows ON {table} TO {TRADE} USING (true) WITH CHECK (true)"
    )
    backwards = [*_drop(table, kind, policies), f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"]
    return RunSQL(";\n".join(forwards), ";\n".join(backwards))


def _clauses(condition: str) -> dict[str, str]:
    return {
        "SELECT": f"USING ({condition})",
        "INSERT": f"WITH CHECK ({condition})",
        "UPDATE": f"USING ({condition}) WITH CHECK ({condition})",
        "DELETE": f"USING ({condition})",
    }


def _name(kind: str, command: str) -> str:
    return f"{kind}_{command.lower()}"


def _drop(table: str, kind: str, policies: Sequence[str] | dict[str, str]) -> list[str]:
    names = [*(_name(kind, command) for command in policies), "trade_rows"]
    return [f"DROP POLICY IF EXISTS {name} ON {table}" for name in names]
