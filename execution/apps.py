"""The Django app of the order engine."""

from django.apps import AppConfig
from django.conf import settings

# Assumed by processes that do not read the leases: rate limits without Redis are divided by it.
PROCESSES_UNKNOWN = 8


class ExecutionConfig(AppConfig):
    """Connects the engine to publications, quotes and Celery workers."""

    name = "execution"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the receivers, and connect what runs in workers."""
        from brokers import rate_limits
        from common.db.stored_times import register_stored_times
        from events.context import register_provider
        from execution import (
            receivers,  # noqa: F401  # its import connects them
            startup,
        )
        from execution.own_log import LOG_COLUMNS, log_of
        from execution.reconciliation.event_context import context_of_events
        from execution.stored_times import TIMES
        from users.people.data_export import register_export, register_rows

        startup.connect()
        register_stored_times(*TIMES)
        register_export("orders", "execution.Order", "connection__user_id")
        register_export(
            "archived_orders", "execution.ArchivedOrder", "connection__user_id"
        )  # their whole rows are in files that operators read
        register_export("fills", "execution.Fill", "order__connection__user_id")
        register_export("order_changes", "execution.EntryChange", "order__connection__user_id")
        register_export("differences", "execution.DriftItem", "connection__user_id")
        register_export("actions_on_many_orders", "execution.ScopedAction", "user_id")
        register_rows("order_log", LOG_COLUMNS, log_of)
        register_provider(context_of_events)
        # In processes that do not trade, too: a connection test in the web process calls brokers.
        rate_limits.configure(settings.REDIS_URL, PROCESSES_UNKNOWN)
