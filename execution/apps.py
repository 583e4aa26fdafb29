from django.apps import AppConfig
from django.conf import settings

PROCESSES_UNKNOWN = 8  # a guess of who does not read the leases


class ExecutionConfig(AppConfig):
    name = "execution"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the observer of publications, of quotes and of Celery workers."""
        from brokers import rate_limits
        from events.context import register_provider
        from execution import (
            receivers,  # noqa: F401  # connects by being imported
            startup,  # connects by being imported
        )
        from execution.reconciliation.event_context import context_of_events

        startup.connect()
        register_provider(context_of_events)
        # Also where nobody trades: a connection test in the web process asks brokers too.
        rate_limits.configure(settings.REDIS_URL, PROCESSES_UNKNOWN)
