"""The house around the rooms: settings, processes, commands. Imports anything, imported by none."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
