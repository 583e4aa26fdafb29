"""Django configuration of the app."""

from django.apps import AppConfig


class PricesConfig(AppConfig):
    """The app `prices`."""

    name = "prices"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Provide the quote that signals are compared with."""
        from prices.reference_prices import newest_reference
        from signals.price_guard import register_reference_price

        register_reference_price(newest_reference)
