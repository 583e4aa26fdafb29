from django.apps import AppConfig
from django.conf import settings

PROCESSES_UNKNOWN = 8  # a guess of who does not read the leases


class ExecutionConfig(AppConfig):
    name = "execution"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the observer of publications, of quotes and of Celery workers."""
        from brokers import budgets
        from events.facts import register
        from execution import processes, receivers  # noqa: F401  # connects by being imported
        from execution.drift.event_facts import facts_about

        processes.connect()
        register(facts_about)
        # Also where nobody trades: a connection test in the web process asks brokers too.
        budgets.use(settings.REDIS_URL, PROCESSES_UNKNOWN)
