"""Django configuration of the app."""

from django.apps import AppConfig


class PricesConfig(AppConfig):
    """The app `prices`."""

    name = "prices"
    default_auto_field = "django.db.models.BigAutoField"
