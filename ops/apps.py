from django.apps import AppConfig


class OpsConfig(AppConfig):
    """Runs an installation: doctor, stack, embedded servers, commands."""

    name = "ops"
