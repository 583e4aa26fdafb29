"""The Celery application. The rows are the jobs; a message in Redis only starts them sooner."""

import os
import sys
from functools import cached_property
from typing import Any

from celery import Celery
from celery.signals import import_modules, setup_logging
from django_structlog.celery.steps import DjangoStructLogInitStep

import config.redis_transport  # noqa: F401  # its redis:// drops messages that cannot be read

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Celery would run Django's checks at each start, import every web page for that and ignore the
# result. `manage.py check` runs them where an operator reads the result.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")


class Application(Celery):
    """Celery's application with a beat of our own."""

    @cached_property
    def Beat(self) -> Any:  # Celery's name
        """Return the class of the program `beat`."""
        from config.beat_program import Beat

        return self.subclass_with_self(Beat)


app = Application("fillcast")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect(weak=False)
def keep_our_logging(**_: Any) -> None:
    """Configure logging as Django does. A connected receiver keeps Celery from using its own."""
    from django.conf import settings
    from django.utils.log import configure_logging

    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)


@import_modules.connect(weak=False)
def require_servers(**_: Any) -> None:
    """Print which servers this process uses. Exit with an error if one is not set.

    Without a setting the process would retry a host that does not exist, for ever. Celery calls
    this in workers and beat; config/asgi.py calls it in web servers.
    """
    from django.conf import settings

    from config.which_database import print_servers

    missing = [
        name
        for name, address in (
            ("DATABASE_URL", str(settings.DATABASES["default"].get("HOST") or "")),
            ("REDIS_URL", settings.REDIS_URL),
        )
        if "is-not-set" in address
    ]
    if missing:
        sys.exit(
            f"{' and '.join(missing)} not set: this process has no database or no Redis to work"
            " with. Set them in the environment or in the file that FILLCAST_ENV_FILE names. For"
            " those of a running `make up`, run `manage.py worker_settings`."
        )
    print_servers()
