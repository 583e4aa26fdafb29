from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    name = "connections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register which hosts a name may resolve to, and what brokers list."""
        from brokers import dialing
        from connections import hosts
        from connections.listings import BrokerListings
        from signals import listings

        dialing.use(hosts.may_be_led_to)
        listings.use(BrokerListings())
