from django.apps import AppConfig


class PositionsConfig(AppConfig):
    name = "positions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Add positions to the archive of a user's data."""
        from common.db.stored_times import register_stored_times
        from positions.stored_times import TIMES
        from users.people.data_export import register_export

        register_stored_times(*TIMES)
        register_export("positions", "positions.ExecutionPosition", "connection__user_id")
