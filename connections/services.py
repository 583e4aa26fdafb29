"""What may be done with connections, subscriptions and halts: the one place to import from."""

from uuid import UUID

from django.db.models.functions import Now

from connections.halting import release_kill_switch, set_kill_switch
from connections.health import (
    mark_active,
    mark_connected,
    mark_errors,
    mark_failures,
    mark_used,
)
from connections.lifecycle import (
    activate,
    archive_connection,
    create_connection,
    deactivate,
    pause,
    resume,
    set_credentials,
    update_connection,
)
from connections.models import ConnectionHealth, ExecutionConnection
from connections.rights import check_owner
from connections.subscribing import (
    pause_subscription,
    renew_subscription,
    resume_subscription,
    subscribe,
    unsubscribe,
    update_subscription,
)
from connections.told import refresh_account, refresh_accounts, refresh_instruments
from users.models import User

__all__ = [
    "activate",
    "archive_connection",
    "create_connection",
    "deactivate",
    "mark_active",
    "mark_connected",
    "mark_errors",
    "mark_failures",
    "mark_used",
    "pause",
    "pause_subscription",
    "refresh_account",
    "refresh_accounts",
    "refresh_instruments",
    "release_kill_switch",
    "renew_subscription",
    "request_test",
    "resume",
    "resume_subscription",
    "set_credentials",
    "set_kill_switch",
    "subscribe",
    "unsubscribe",
    "update_connection",
    "update_subscription",
]


def request_test(connection_id: UUID, *, by: User | None = None) -> bool:
    """Ask for a connection test; a trading process runs it. Returns whether there is such a row.

    Whoever asks rings the bell on commit (`connections.tasks.ring_test`); a lost bell costs
    seconds, since workers look for due tests by themselves.
    """
    check_owner(ExecutionConnection.objects.only("user_id", "admin_id").get(pk=connection_id), by)
    mine = ConnectionHealth.objects.filter(pk=connection_id)
    return mine.update(test_requested_at=Now()) == 1
