"""The console's site: what a page does not show is not computed."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import sites
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from unfold.apps import BasicAppConfig
from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """unfold's, whose list of all models is made only where it is read."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Return what this user may open. Every page is given it and only the index reads it; it
        checks four rights of each model."""
        return SimpleLazyObject(lambda: super(ConsoleSite, self).get_app_list(request, app_label))


class UnfoldConfig(BasicAppConfig):  # type: ignore[misc]
    """unfold with this site."""

    def ready(self) -> None:
        """Have it before the models are registered."""
        admin.site = sites.site = ConsoleSite()
