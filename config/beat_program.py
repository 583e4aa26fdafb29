"""Beat as a program: how a signal ends it."""

from typing import Any

from celery import beat, platforms
from celery.apps.beat import Beat as CeleryBeat


class Beat(CeleryBeat):
    """Celery's beat, which a signal ends wherever it is."""

    def install_sync_handler(self, service: beat.Service) -> None:
        """End at SIGTERM or Ctrl-C; the service stores the schedules' runs at its end.

        Celery's own handler stores them itself. It runs on the thread that the signal interrupts,
        and would wait for ever if that is waiting for the database: for the lock of its own call.
        """

        def end(*_: Any) -> None:
            raise SystemExit

        platforms.signals.update(SIGTERM=end, SIGINT=end)
