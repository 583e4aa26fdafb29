"""Import at start what the first requests would otherwise import inside their transactions.

The database ends an idle transaction, and on a busy machine an import takes seconds.
"""

import importlib

from django.urls import get_resolver

SLOW = ("apprise", "django.contrib.admin.sites", "rest_framework.schemas")


def preload() -> None:
    """Import all views and the libraries that are otherwise imported late. For web servers."""
    get_resolver()._populate()  # imports all views
    for name in SLOW:
        importlib.import_module(name)
