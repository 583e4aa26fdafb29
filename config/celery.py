"""The Celery application. Redis is a doorbell: the rows are the jobs."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django_structlog.celery.steps import DjangoStructLogInitStep

import config.transport  # noqa: F401  # redis:// survives garbage

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("fillcast")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect(weak=False)
def keep_our_logging(**_: Any) -> None:
    """Log as Django does; that this receiver exists keeps Celery from setting its own up."""
    from django.conf import settings
    from django.utils.log import configure_logging

    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
