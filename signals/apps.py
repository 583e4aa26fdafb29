from django.apps import AppConfig


class SignalsConfig(AppConfig):
    name = "signals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Update feeds when the rights of their owners change; add facts to messages."""
        from common.stored_times import register_stored_times
        from events.context import register_provider
        from signals.alert_dialects import without_secrets
        from signals.feeds import narrow_own_approval
        from signals.key_setups import setups
        from signals.record_facts import record_facts
        from signals.stored_times import TIMES
        from users.data_export import register_export
        from users.key_setups import register_setups
        from users.signals import rights_changed

        register_stored_times(*TIMES)
        register_provider(record_facts)
        register_setups(setups)
        rights_changed.connect(narrow_own_approval, dispatch_uid="narrow_own_approval")
        register_export("feeds", "signals.Feed", "owner_id")
        register_export("signals", "signals.Signal", "feed__owner_id")
        register_export("terms_of_feeds", "signals.FeedTerms", "feed__owner_id")
        register_export("approval_requests", "signals.ApprovalRequest", "feed__owner_id")
        register_export("drafts", "signals.SavedDraft", "feed__owner_id")
        register_export("alert_addresses", "signals.FeedToken", "feed__owner_id")
        texts = {"body": without_secrets}
        register_export("alerts", "signals.IncomingAlert", "feed__owner_id", texts=texts)
        register_export("telegram_bots", "signals.TelegramBot", "feed__owner_id")
        register_export("telegram_chats", "signals.TelegramChat", "bot__feed__owner_id")
        messages = "signals.TelegramMessage"
        register_export("telegram_messages", messages, "feed__owner_id", texts=texts)
