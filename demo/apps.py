from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The demo with its commands."""

    name = "demo"
