"""The console's admin site."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import sites
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from unfold.apps import BasicAppConfig
from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """unfold's site, with a lazy list of all models."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Return the models that this user may open, computed on first use.

        Every page gets the list, but only the index reads it, and it checks four rights per model.
        """
        return SimpleLazyObject(lambda: super(ConsoleSite, self).get_app_list(request, app_label))


class UnfoldConfig(BasicAppConfig):  # type: ignore[misc]
    def ready(self) -> None:
        """Install the site before the models are registered."""
        admin.site = sites.site = ConsoleSite()
