from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    """The app `connections`."""

    name = "connections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the policy for resolved addresses, and the reader of instrument books."""
        from brokers import safe_connect
        from connections.account_settings import hosts
        from connections.market_data.instrument_books import InstrumentBooks
        from signals import listings

        safe_connect.set_address_policy(hosts.may_resolve_to)
        listings.use(InstrumentBooks())
