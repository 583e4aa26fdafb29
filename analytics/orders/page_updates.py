"""How an account's orders become known: at once by a stream, or by polls. For people."""

from typing import NamedTuple

from django.db.models.functions import Now

from brokers.registry import capabilities_if_usable, capabilities_of
from brokers.types import ConnectionSpec
from common.reason_codes import Code
from common.web.formatting import hint, sentence
from connections.models import ExecutionConnection
from execution.models import AccountSyncState, WorkerLease
from execution.recovery.order_polling import interval_of
from users.tenancy import for_all_tenants

RETRIED = "It is tried again automatically."


class OrderUpdates(NamedTuple):
    """How soon an order's change is known, and why."""

    how: str
    detail: str


def order_updates_of(connection: ExecutionConnection) -> OrderUpdates | None:
    """Return how changes of a connection's orders become known; None: its broker reports them, or
    this process does not know the broker type."""
    if capabilities_if_usable(connection.type, with_library=False) is None:
        return None
    spec = ConnectionSpec(
        connection_id=str(connection.pk),
        account=connection.account,
        exchange_name=connection.exchange_name,
        settings=connection.settings,
    )
    can = capabilities_of(connection.type, spec)
    if can.event_stream:
        return None
    every = f"every {interval_of(connection.settings):g} s"
    if not can.order_stream:
        return OrderUpdates(every, "its orders are read while anything is open")
    state: AccountSyncState | None = getattr(connection, "sync_state", None)
    if state is None or not _is_listened_to(state):
        return OrderUpdates(every, "it is watched while anything is open")
    if state.stream_since is not None:
        return OrderUpdates("at once", "changes are noticed as they happen")
    code, _, _ = state.stream_error.partition(" ")
    if code not in Code.__members__:
        return OrderUpdates(every, "it is about to be watched")
    return OrderUpdates(every, f"it is not watched: {sentence(code)} {hint(code) or RETRIED}")


def _is_listened_to(state: AccountSyncState) -> bool:
    """Whether a living process listens to the account.

    state: as the user read it, so it is of an account of theirs. Leases are no tenant's rows: only
    operators see them, and only whether this one is in force leaves this.
    """
    if not state.stream_holder:
        return False
    with for_all_tenants():
        return WorkerLease.objects.filter(pk=state.stream_holder, lease_until__gt=Now()).exists()
