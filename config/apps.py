"""config is an app because it has a migration and must become ready after all other apps."""

import gc
from typing import Any

from celery.signals import beat_init, worker_ready
from django.apps import AppConfig
from django_structlog.signals import bind_extra_request_metadata

import config.celery  # noqa: F401  # before the first task is sent: it has our broker
from common.operational.current import begin_following, follow
from common.process.readiness import announce_ready
from config import error_reports, traces
from config.logs import bind_address, set_level
from config.session_priority import follow_niceness
from prices.signals import prices_started


class ConfigConfig(AppConfig):
    """The settings' app, and the last one to become ready."""

    name = "config"
    verbose_name = "Fillcast"

    def ready(self) -> None:
        """Make workers, beat and the prices process report when they are ready.

        Config is the last app, so its receivers run after all that other apps start in a worker.
        """
        for process_ready in (worker_ready, beat_init, prices_started):
            process_ready.connect(report_ready, weak=False)
        bind_extra_request_metadata.connect(bind_address)
        follow_niceness()
        follow(set_level)
        follow(error_reports.use)
        follow(traces.use)
        gc.freeze()  # imported modules stay: the collector need not scan them
        gc.enable()  # config/__init__.py disabled it


def report_ready(**_: Any) -> None:
    """Report to the supervisor of this process that it accepts work, and follow its settings."""
    begin_following()
    announce_ready()
