"""The operators' console in Django's admin. Only processes that serve its pages import them."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class AdminPagesConfig(SimpleAdminConfig):
    """Imports the admin's pages with the addresses (`config.urls`), not in every process.

    Workers and commands start a third faster without them.
    """

    default = False

    def ready(self) -> None:
        checks.register(check_pages, checks.Tags.admin)


def check_pages(
    app_configs: Sequence[AppConfig] | None, **options: Any
) -> list[checks.CheckMessage]:
    """Import all pages and run Django's checks of the admin on them."""
    import_module(settings.ROOT_URLCONF)
    return [
        *check_dependencies(app_configs=app_configs, **options),
        *check_admin_app(app_configs=app_configs, **options),
    ]


class ConsoleConfig(AppConfig):
    """The operators' console: registers its admin pages last."""

    name = "console"
