"""On whose behalf the present transaction works: what row-level security goes by.

The tenant is a setting of the transaction (`SET LOCAL`), so it ends with it, whatever happens: a
connection that goes back to the pool carries nobody's name. Outside a transaction there is nothing
to hold on to, which is why every function here refuses to work there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import transaction

from common.audit_trail import CONTEXT, SET_CONTEXT, context_json
from common.sql import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from users.models import User

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
# MATERIALIZED: what was is read before it is replaced.
_OPEN_FOR_ALL = (
    f"WITH before AS MATERIALIZED ({_GET})"
    f" SELECT tenant, operator, set_config('{OPERATOR}', 'on', true) FROM before"
)


def act_as(user: "User | AnonymousUser | None") -> None:
    """Let the rest of the present transaction reach what this user may.

    None, an anonymous or a deactivated user: nothing. An operator: every tenant's rows.
    Raises TransactionManagementError outside a transaction.
    """
    if user is None or not user.is_authenticated or not user.is_active:
        _set("", "off", context_json())
    else:
        _set(str(user.pk), "on" if user.is_operator else "off", context_json(user.pk))


def acting_for() -> int | None:
    """Return the id of the user that this transaction works for, None for nobody."""
    (row,) = rows(_GET)
    return int(row.tenant) if row.tenant else None


@contextmanager
def for_all_tenants() -> Iterator[None]:
    """Reach every tenant's rows inside this block; afterwards it is as it was before.

    For what is more than one tenant's by its nature: a provider's publication writes the orders of
    all subscribers; a secret is looked up before it is known whose it is. Keep the block small,
    and return from it nothing that the caller may not know.
    """
    _in_transaction()
    with transaction.atomic():  # an error rolls the settings back together with the rows
        (before,) = rows(_OPEN_FOR_ALL)
        yield
        _set(before.tenant, before.operator)


@contextmanager
def on_behalf_of(user: "User | None") -> Iterator[None]:
    """A transaction for one user: for tasks and streams that no request stands around."""
    with transaction.atomic():
        (before,) = rows(_GET)
        act_as(user)
        yield
        _set(before.tenant, before.operator, before.context)


def _set(tenant: str, operator: str, context: str | None = None) -> None:
    """context: what the audit trail says of the changes that follow; None leaves it as it is."""
    _in_transaction()
    if context is None:
        rows(_SET, (tenant, operator))
    else:
        rows(_SET_ALL, (tenant, operator, context))


def _in_transaction() -> None:
    connection: Any = transaction.get_connection()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "A tenant is set for a transaction; there is none."
        )
