"""The house around the rooms: settings, processes, commands. Imports anything, imported by none."""

import gc

gc.disable()  # until Django is set up: looking for garbage is a quarter of what imports take

from config.celery import app as celery_app  # noqa: E402

__all__ = ["celery_app"]
