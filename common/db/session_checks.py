"""Check the sessions that come from a transaction pooler, before a statement is run on them.

A pooler passes on no startup option, so the login itself must have the parameters (`manage.py
pooled_login`). Without them a stopped process would keep its locks, and a login that is not
restricted would read every tenant's rows. So such a session is refused.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import psycopg
from psycopg.rows import dict_row

from common.db.direct_sessions import EXPECTED

ROLES = ["fillcast_trade", "fillcast_web"]
READ = """
SELECT current_user AS login, rolsuper OR rolbypassrls AS is_unrestricted,
  ARRAY(SELECT rolname::text FROM pg_roles
        WHERE rolname = ANY(%s) AND pg_has_role(current_user, oid, 'USAGE') ORDER BY 1) AS roles,
  ARRAY(SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class
        WHERE relnamespace = to_regnamespace(current_schema()) AND relkind IN ('r', 'p')
          AND pg_has_role(current_user, relowner, 'USAGE') ORDER BY 1) AS owners,
  ARRAY(SELECT setting FROM unnest(%s::text[]) WITH ORDINALITY AS asked (name, position)
        LEFT JOIN pg_settings USING (name) ORDER BY position) AS settings
FROM pg_roles WHERE rolname = current_user
"""


class ExpectedSession(TypedDict):
    """What a session must be like. setting: the one with the login's URL; time-outs in ms."""

    role: str
    setting: str
    parameters: Mapping[str, int | str]


class WrongSessionError(psycopg.OperationalError):
    """A session was refused. It is tried again, as with every database that is not ready."""


class CheckedSessions:
    """Mixin of Django's engine: refuses wrong sessions if its settings state what is right."""

    settings_dict: dict[str, Any]
    connection: Any

    def _configure_connection(self, connection: Any) -> bool:
        expected: ExpectedSession | None = self.settings_dict.get(EXPECTED)
        if expected is not None:
            try:
                refuse_wrong(connection, expected)
            except psycopg.Error:
                connection.close()
                if self.connection is connection:  # else it belongs to psycopg's pool
                    self.connection = None
                raise
        commits: bool = super()._configure_connection(connection)  # type: ignore[misc]
        return commits


def refuse_wrong(session: psycopg.Connection[Any], expected: ExpectedSession) -> None:
    """Raise WrongSessionError, which names every fault, unless the session is as expected."""
    names = [*expected["parameters"]]
    with session.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(READ, (ROLES, names)).fetchone()
    assert found is not None, "the present role exists"
    if faults := find_faults(found, expected):
        raise WrongSessionError(
            f"The login {found['login']} of {expected['setting']} is not made for a transaction"
            f" pooler: {'; '.join(faults)}. Run `manage.py pooled_login` with this process's"
            " settings, then RECONNECT in PgBouncer's console."
        )


def find_faults(found: Mapping[str, Any], expected: ExpectedSession) -> list[str]:
    """Return what is wrong with a session. found: its row of READ."""
    faults = [
        f"{name} is {setting}, not {value}"
        for (name, value), setting in zip(
            expected["parameters"].items(), found["settings"], strict=True
        )
        if setting != str(value)
    ]
    if found["is_unrestricted"]:
        faults.append("it bypasses row-level security")
    elif found["owners"]:  # row-level security does not hold for who has the rights of an owner
        faults.append(f"it has the rights of {', '.join(found['owners'])}, which owns the tables")
    elif found["roles"] != [expected["role"]]:
        faults.append(f"it is a member of {found['roles'] or 'no role'}, not of {expected['role']}")
    return faults
