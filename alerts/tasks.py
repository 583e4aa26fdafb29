"""The Celery task that publishes alerts, and what notifies its workers. The rows are the jobs.

A message names no row: its worker takes the oldest alerts that are due.
"""

import threading
import time

import structlog
from celery import shared_task
from django.db import transaction

from alerts.inbox.publishing import SECONDS_AT_ONCE, publish_waiting
from common.clocks import machine_time
from common.failpoints import failpoint

log = structlog.get_logger(__name__)
QUEUE_DOWN_SECONDS = 5.0  # workers poll as often
PAUSE_SECONDS = 0.05  # between two messages: the worker of the first takes the later alerts, too
LONGEST_WAIT_SECONDS = 60.0  # then an idle thread ends


@shared_task(name="alerts.publish_alerts", ignore_result=True)
def publish_alerts(*_: object, **__: object) -> None:
    """Publish waiting alerts for about a second; start again later if that was not enough."""
    began = machine_time()
    if publish_waiting() and machine_time() - began >= SECONDS_AT_ONCE:
        NOTIFIER.notify()  # behind the orders that came meanwhile


class WorkerNotifier:
    """Notifies workers that alerts wait, on a thread of its own.

    So no answer waits for Redis, and several alerts at once are one message. A message that cannot
    be sent is given up: workers poll the inbox.
    """

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def notify(self) -> None:
        """Send a message soon. Returns at once."""
        with self._lock:
            self._wanted.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # the alert is stored: its sender learns that
                    log.warning("no worker was notified of an alert", error=repr(error))

    def _run(self) -> None:
        silent_until = 0.0
        while True:
            is_wanted = self._wanted.wait(LONGEST_WAIT_SECONDS)
            with self._lock:
                if not is_wanted and not self._wanted.is_set():
                    self._thread = None
                    return
                self._wanted.clear()
            if machine_time() < silent_until:
                continue
            try:
                publish_alerts.apply_async(retry=False)
            except Exception as error:  # any: kombu and redis-py raise many types
                log.warning("no worker was notified of an alert", error=repr(error))
                silent_until = machine_time() + QUEUE_DOWN_SECONDS
            time.sleep(PAUSE_SECONDS)


NOTIFIER = WorkerNotifier()


def notify_worker_on_commit() -> None:
    """Notify a worker once the present transaction, which stores an alert, is committed."""
    transaction.on_commit(_notify_worker)


def _notify_worker() -> None:
    failpoint("alert.stored")
    NOTIFIER.notify()
