"""Entry point of the web process, for uvicorn."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_asgi_application()

from config.celery import require_servers  # noqa: E402
from config.middleware.alert_door import AlertDoor  # noqa: E402
from config.preload import preload  # noqa: E402  # its imports need the applications

application = AlertDoor(django)
require_servers()
preload()
