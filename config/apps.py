"""config is an app so that it can have commands."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """The house itself."""

    name = "config"
    verbose_name = "Fillcast"
