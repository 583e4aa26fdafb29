from django.apps import AppConfig


class SignalsConfig(AppConfig):
    name = "signals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Update feeds when the rights of their owners change."""
        from signals.feeds import narrow_own_approval
        from users.data_export import register_export
        from users.signals import rights_changed

        rights_changed.connect(narrow_own_approval, dispatch_uid="narrow_own_approval")
        register_export("feeds", "signals.Feed", "owner_id")
        register_export("signals", "signals.Signal", "feed__owner_id")
