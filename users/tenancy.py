"""The user of the current transaction, which row-level security checks.

The user is a setting of the transaction (`SET LOCAL`), so it ends with it: a connection that goes
back to the pool has no user. Every function here refuses to work outside a transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from django.contrib.auth.models import AnonymousUser
from django.db import transaction

from common.db.audit_trail import CONTEXT, SET_CONTEXT, context_json
from common.db.sql import rows

TENANT, OPERATOR = "fillcast.tenant", "fillcast.operator"
_SET = (
    f"SELECT set_config('{TENANT}', %s, true) AS tenant,"
    f" set_config('{OPERATOR}', %s, true) AS operator"
)
_SET_ALL = f"{_SET}, {SET_CONTEXT}"
_GET = (
    f"SELECT coalesce(current_setting('{TENANT}', true), '') AS tenant,"
    f" coalesce(current_setting('{OPERATOR}', true), '') AS operator,"
    f" coalesce(current_setting('{CONTEXT}', true), '') AS context"
)
# MATERIALIZED: the old values are read before they are replaced.
_OPEN_FOR_ALL = (
    f"WITH before AS MATERIALIZED ({_GET})"
    f" SELECT tenant, operator, set_config('{OPERATOR}', 'on', true) FROM before"
)


class SignedIn(Protocol):
    """What row-level security asks of a user."""

    pk: Any
    is_active: Any

    @property
    def is_authenticated(self) -> Literal[True]:
        """Whether the user has signed in."""

    @property
    def is_operator(self) -> bool:
        """Whether it may reach every tenant's rows."""


def act_as(user: SignedIn | AnonymousUser | None) -> None:
    """Limit the rest of the current transaction to the rows that this user may reach.

    None, an anonymous or a deactivated user: nothing. An operator: every tenant's rows.
    Raises TransactionManagementError outside a transaction.
    """
    if user is None or not user.is_authenticated or not user.is_active:
        _set("", "off", context_json())
    else:
        _set(str(user.pk), "on" if user.is_operator else "off", context_json(user.pk))


def acting_for() -> int | None:
    """Return the id of the user of this transaction; None without one."""
    (row,) = rows(_GET)
    return int(row.tenant) if row.tenant else None


@contextmanager
def for_all_tenants(*, savepoint: bool = True) -> Iterator[None]:
    """Reach every tenant's rows inside this block; the previous setting is restored at its end.

    For work that concerns several tenants: a publication writes the orders of all subscribers; a
    secret is looked up before its owner is known. Keep the block small, and do not return anything
    from it that the caller may not see.

    savepoint: False saves two exchanges where an error ends the surrounding `atomic` block as well:
    after it Django refuses every statement until that block, and with it the setting, is rolled
    back.
    """
    _in_transaction()
    # An error rolls the settings back together with the rows.
    with transaction.atomic(savepoint=savepoint):
        (before,) = rows(_OPEN_FOR_ALL)
        yield
        _set(before.tenant, before.operator)


REACH_ALL_TENANTS = (_SET, ("", "on"))
"""A statement, with its parameters, for the beginning of a transaction of a program: the rest of it
reaches every tenant's rows. Inside of a request use `for_all_tenants`."""


@contextmanager
def on_behalf_of(user: SignedIn | None) -> Iterator[None]:
    """Open a transaction for one user: for tasks and streams, which run outside a request."""
    with transaction.atomic():
        (before,) = rows(_GET)
        act_as(user)
        yield
        _set(before.tenant, before.operator, before.context)


def _set(tenant: str, operator: str, context: str | None = None) -> None:
    """context: what the audit trail records with the following changes; None: unchanged."""
    _in_transaction()
    if context is None:
        rows(_SET, (tenant, operator))
    else:
        rows(_SET_ALL, (tenant, operator, context))


def _in_transaction() -> None:
    connection: Any = transaction.get_connection()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "The user is a setting of a transaction, and none is open."
        )
