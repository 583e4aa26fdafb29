"""Django app of results and execution quality."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """Registers what notifications need to know, and what proves the results of records."""

    name = "analytics"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register facts about events, own data, and the check of results, with apps below."""
        from analytics.event_context import event_context
        from analytics.history.own_trail import COLUMNS, all_changes
        from analytics.installation.compute import ANY_TO_DO as ANY_NEW_EXECUTION
        from analytics.preflight.waiting import ANY_TO_DO, KEPT
        from analytics.records.proof import check_results
        from common.process.waiting_work import send_only_if_waiting
        from events.context import register_provider
        from signals.records.results import register_result_check
        from users.people.data_export import register_export, register_rows

        register_provider(event_context)
        register_result_check(check_results)
        send_only_if_waiting("analytics.run_preflights", ANY_TO_DO, (KEPT,))
        send_only_if_waiting("analytics.compute_execution", ANY_NEW_EXECUTION)
        register_export("costs_of_trades", "analytics.TradeCost", "position__connection__user_id")
        register_export("results_by_day", "analytics.AnalyticsDaily", "connection__user_id")
        register_export("preflights", "analytics.Preflight", "connection__user_id")
        register_rows("audit_trail", COLUMNS, all_changes)
