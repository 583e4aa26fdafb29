"""Django app of results and execution quality."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """Registers what notifications need to know about orders and accounts."""

    name = "analytics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the facts about events; the events app may not import orders and accounts."""
        from analytics.event_context import event_context
        from events.context import register_provider

        register_provider(event_context)
