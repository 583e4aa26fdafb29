from django.apps import AppConfig


class PositionsConfig(AppConfig):
    """The app of positions."""

    name = "positions"
    default_auto_field = "django.db.models.BigAutoField"
