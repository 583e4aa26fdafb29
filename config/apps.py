"""config is an app so that it can have commands."""

import gc
from typing import Any

from celery.signals import beat_init, worker_ready
from django.apps import AppConfig
from django_structlog.signals import bind_extra_request_metadata

from common.readiness import announce_ready
from config.logs import bind_address


class ConfigConfig(AppConfig):
    """The house itself."""

    name = "config"
    verbose_name = "Fillcast"

    def ready(self) -> None:
        """Have workers and beat tell their supervisor. Config is the last app, so it is told when
        what other rooms start in a worker has started too.
        """
        for started in (worker_ready, beat_init):
            started.connect(report_ready, weak=False)
        bind_extra_request_metadata.connect(bind_address)
        gc.freeze()  # what was imported stays: the collector need not look at it again
        gc.enable()  # `config` switched it off


def report_ready(**_: Any) -> None:
    """Tell whoever supervises this process that it takes work now."""
    announce_ready()
