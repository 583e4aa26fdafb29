from django.apps import AppConfig


class SignalsConfig(AppConfig):
    name = "signals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Update feeds when the rights of their owners change; add facts to messages."""
        from events.context import register_provider
        from signals.feeds.services import narrow_own_approval
        from signals.records.facts import record_facts
        from users.people.data_export import register_export
        from users.signals import rights_changed

        register_provider(record_facts)
        rights_changed.connect(narrow_own_approval, dispatch_uid="narrow_own_approval")
        register_export("feeds", "signals.Feed", "owner_id")
        register_export("signals", "signals.Signal", "feed__owner_id")
        register_export("terms_of_feeds", "signals.FeedTerms", "feed__owner_id")
        register_export("approval_requests", "signals.ApprovalRequest", "feed__owner_id")
        register_export("drafts", "signals.SavedDraft", "feed__owner_id")
        register_export("alert_addresses", "signals.FeedToken", "feed__owner_id")
