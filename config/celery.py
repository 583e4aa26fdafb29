"""The Celery application. Redis is a doorbell: the rows are the jobs."""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import import_modules, setup_logging
from django_structlog.celery.steps import DjangoStructLogInitStep

import config.redis_transport  # noqa: F401  # redis:// survives garbage

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Celery would check the code at each start (and import every web page for it), then ignore what
# it finds. `manage.py check` does it where it is read.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
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


@import_modules.connect(weak=False)
def require_servers(**_: Any) -> None:
    """Say which servers this process uses, or end it with a sentence if none are set: it would
    only try to reach names that do not exist, for ever. Workers and beat; web servers call it."""
    from django.conf import settings

    from config.which_database import print_servers

    lacking = [
        name
        for name, where in (
            ("DATABASE_URL", str(settings.DATABASES["default"].get("HOST") or "")),
            ("REDIS_URL", settings.REDIS_URL),
        )
        if "is-not-set" in where
    ]
    if lacking:
        sys.exit(
            f"{' and '.join(lacking)} not set: this process knows no database or no Redis to work"
            " with. Set them in the environment or in the file that FILLCAST_ENV_FILE names. Those"
            " of a running `make up` are told by `manage.py worker_settings`."
        )
    print_servers()
