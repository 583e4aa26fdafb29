"""Import at start what the first requests would otherwise import inside their transactions.

The database ends an idle transaction, and on a busy machine an import takes seconds.
"""

import importlib

from django.urls import get_resolver

from common.operational.current import begin_following
from common.process.gc_tuning import exclude_imports_from_gc

SLOW = ("apprise", "django.contrib.admin.sites", "rest_framework.schemas")


def preload() -> None:
    """Import all views and the libraries that are otherwise imported late. For web servers.

    The operational settings are followed from then on, before the first request needs one.

    No answer waits afterwards while the garbage collector walks through them.
    """
    begin_following()
    get_resolver()._populate()  # imports all views
    for name in SLOW:
        importlib.import_module(name)
    exclude_imports_from_gc(threshold=10_000)
