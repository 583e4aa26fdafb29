from django.apps import AppConfig


class ConformanceConfig(AppConfig):
    """The acceptance checks of broker adapters, as a command."""

    name = "conformance"
