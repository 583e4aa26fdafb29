"""Entry point of the web process, for uvicorn."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from config.celery import require_servers  # noqa: E402
from config.middleware.alert_endpoint import AlertEndpoint  # noqa: E402
from config.middleware.body_limit import BodyLimit  # noqa: E402
from config.preload import preload  # noqa: E402  # its imports need the applications
from config.request_threads import ThreadedHandler  # noqa: E402

application = BodyLimit(AlertEndpoint(ThreadedHandler()))
require_servers()
preload()
