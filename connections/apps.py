from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    name = "connections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from connections.selectors import BrokersListing
        from signals import symbols

        symbols.add_listing(BrokersListing)
