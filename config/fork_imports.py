"""What workers, beat and the prices process import, for the fork server of the stack.

Imported once there, it is in the memory of each fork. What is missing here only costs time and
memory: each fork imports it for itself.
"""

import importlib
import os
from collections.abc import Callable

import structlog

from brokers.registry import BUILT_IN
from config.celery import app
from config.databases import name_sessions
from config.env import Settings

log = structlog.get_logger(__name__)
PACKAGES = (
    "billiard.pool",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.app.routes",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.bin.beat",
    "celery.bin.worker",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.contrib.django.task",
    "celery.events.state",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "django.core.management.commands",
    "config.beat",
    "config.beat_program",
    "encodings.idna",
    "ops.bootstrap",
    "prices.management.commands.prices",
)


def import_all() -> Callable[[], None]:
    """Import everything; return what each fork calls before its command runs.

    Leaves no thread and no connection. The adapters' modules are imported, but no adapter is
    created and no broker's library is loaded.
    """
    import django

    django.setup()
    for name in (*PACKAGES, *(path.partition(":")[0] for path in BUILT_IN.values())):
        importlib.import_module(name)
    app.loader.import_default_modules()
    _warm_up()
    return name_database_sessions


def _warm_up() -> None:
    """Do once what each fork would otherwise repeat in memory of its own at its start."""
    from django.apps import apps
    from django.db import DatabaseError, connection

    app.finalize()
    for model in apps.get_models():
        str(model._default_manager.all().query)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:  # the forks wait for it, as always
        log.warning("the database does not answer yet", error=str(error))
    finally:
        connection.close()


def name_database_sessions() -> None:
    """Let the database's audit trail name this fork's command, not the server's."""
    from django.conf import settings

    read = Settings.read(os.environ)
    for alias, database in settings.DATABASES.items():
        name_sessions(database["OPTIONS"], read, alias)
