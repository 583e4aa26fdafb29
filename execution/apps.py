from django.apps import AppConfig


class ExecutionConfig(AppConfig):
    name = "execution"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the observer of publications, of quotes and of Celery workers."""
        from execution import processes, receivers  # noqa: F401  # connects by being imported

        processes.connect()
