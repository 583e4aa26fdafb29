"""What the first requests would otherwise import inside their transactions.

The database ends a transaction that idles, and on a busy machine an import takes seconds.
"""

import importlib

from django.urls import get_resolver

SLOW = ("apprise", "django.contrib.admin.sites", "rest_framework.schemas")


def preload() -> None:
    """Import all views, and libraries that are imported where they are needed. For web servers."""
    get_resolver()._populate()  # all addresses, and so all views
    for name in SLOW:
        importlib.import_module(name)
