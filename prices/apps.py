"""Django configuration of the app."""

from django.apps import AppConfig


class PricesConfig(AppConfig):
    """The app `prices`."""

    name = "prices"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Provide the quote that signals are compared with."""
        from common.db.stored_times import register_stored_times
        from prices.reference_prices import newest_reference
        from prices.stored_times import TIMES
        from signals.checks.price_guard import register_reference_price

        register_stored_times(*TIMES)
        register_reference_price(newest_reference)
