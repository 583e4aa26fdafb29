"""Settings, URLs, middleware and process entry points. May import any app; no app imports it."""

import gc

gc.disable()  # until Django is set up: garbage collection takes a quarter of the import time

from config.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
