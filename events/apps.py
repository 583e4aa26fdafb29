from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Add notifications to the archive of a user's data."""
        from users.data_export import register_export

        register_export("notifications", "events.Notification", "user_id")
