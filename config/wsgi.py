"""Entry point for WSGI servers; config/asgi.py also stores alerts that arrive together."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

from config.celery import require_servers  # noqa: E402
from config.preload import preload  # noqa: E402  # its imports need the applications

require_servers()
preload()
