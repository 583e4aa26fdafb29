"""Django app of results and execution quality."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """Registers what notifications need to know, and what proves the results of records."""

    name = "analytics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the facts about events, and the check of results, with apps below."""
        from analytics.event_context import event_context
        from analytics.record_proof import check_results
        from events.context import register_provider
        from signals.record_results import register_result_check

        register_provider(event_context)
        register_result_check(check_results)
