from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Help delivery with its words: events itself stands below orders and accounts."""
        from analytics.facts import facts_about
        from events.facts import register

        register(facts_about)
