from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Help delivery with its words: events itself stands below orders and accounts."""
        from analytics.event_context import event_context
        from events.context import register_provider

        register_provider(event_context)
