"""Django app of results and execution quality."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """Registers what notifications need to know about orders and accounts."""

    name = "analytics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the facts about events, which may import no orders, and own data."""
        from analytics.event_context import event_context
        from analytics.own_trail import COLUMNS, all_changes
        from events.context import register_provider
        from users.data_export import register_export, register_rows

        register_provider(event_context)
        register_export("costs_of_trades", "analytics.TradeCost", "position__connection__user_id")
        register_export("results_by_day", "analytics.AnalyticsDaily", "connection__user_id")
        register_export("preflights", "analytics.Preflight", "connection__user_id")
        register_rows("audit_trail", COLUMNS, all_changes)
