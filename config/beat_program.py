"""Beat as a program: how SIGTERM ends it."""

from typing import Any

from celery import beat, platforms
from celery.apps.beat import Beat as CeleryBeat


class Beat(CeleryBeat):
    """Celery's beat, which SIGTERM ends wherever it is."""

    def install_sync_handler(self, service: beat.Service) -> None:
        """End at SIGTERM or Ctrl-C; the service stores the schedules' runs at its end.

        Celery's own handler stores them itself. It runs on the thread that is interrupted, and
        would wait for ever if that waits for the database: for the lock of its own call.
        """

        def raise_exit(*_: Any) -> None:
            raise SystemExit

        platforms.signals.update(SIGTERM=raise_exit, SIGINT=raise_exit)
