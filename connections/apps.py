from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    name = "connections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register which hosts a name may resolve to, and what brokers list."""
        from brokers import safe_connect
        from connections.account_settings import hosts
        from connections.market_data.instrument_books import InstrumentBooks
        from signals import listings

        safe_connect.set_address_policy(hosts.may_resolve_to)
        listings.use(InstrumentBooks())
