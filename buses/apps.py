from django.apps import AppConfig


class BusesConfig(AppConfig):
    name = "buses"
    default_auto_field = "django.db.models.BigAutoField"
