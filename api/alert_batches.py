"""Stores the alerts that arrive at the same time in one transaction (group commit).

To store an alert durably takes several exchanges with the database and one write to the disk,
whether it is one alert or fifty. While one batch is stored the next gathers. So the answers do not
fall behind, however many alerts arrive and however busy the machine is.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from django.db import DatabaseError, InterfaceError, connection

from common.database_errors import CommitUnansweredError, is_lost, is_transient
from common.reason_codes import Code
from signals.alert_posts import PostedAlert, receive_alerts
from signals.alerts import Receipt
from signals.tasks import ring_on_commit

log = logging.getLogger(__name__)
THREADS = 2  # while the one waits for a lock, the other stores what it does not concern
LARGEST = 100
MOST_WAITING = 5_000  # seconds of work; more would be answered after their senders gave up


class NotStoredError(Exception):
    """An alert could not be stored, or it is unknown whether it was (Code.OUTCOME_UNKNOWN)."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.sentence)
        self.code = code


Waiting = tuple[PostedAlert, "Future[Receipt]"]


class AlertBatches:
    """`put` an alert, and its receipt comes when it is stored. Threads start when they are needed.

    A thread keeps its database connection as long as that works.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Waiting] = SimpleQueue()
        self._lock = Lock()
        self._threads: list[Thread] = []

    def put(self, alert: PostedAlert) -> "Future[Receipt]":
        """Store an alert soon. Its future's error is a NotStoredError."""
        self._start_threads()
        future: Future[Receipt] = Future()
        if self._waiting.qsize() >= MOST_WAITING:
            future.set_exception(NotStoredError(Code.DATABASE_BUSY))
        else:
            self._waiting.put((alert, future))
        return future

    def _start_threads(self) -> None:
        if len(self._threads) == THREADS:
            return
        with self._lock:
            while len(self._threads) < THREADS:
                thread = Thread(target=self._run, name="alert batches", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            try:
                while len(batch) < LARGEST:
                    batch.append(self._waiting.get_nowait())
            except Empty:
                pass
            # Not of senders that are gone; from here on none can be cancelled.
            batch = [one for one in batch if one[1].set_running_or_notify_cancel()]
            try:
                _settle(batch)
            except Exception:  # any: the thread goes on, and each alert gets an answer
                log.exception("a batch of alerts failed")
                for _, future in batch:
                    if not future.done():
                        future.set_exception(NotStoredError(Code.OUTCOME_UNKNOWN))


def _settle(batch: Sequence[Waiting]) -> None:
    """Store a batch, or each of its alerts alone if one may be at fault; set their results."""
    if not batch:
        return
    try:
        receipts = _stored_or_again([alert for alert, _ in batch])
    except _OneAtFaultError:
        for one in batch:
            _settle([one])
    except NotStoredError as error:
        for _, future in batch:
            future.set_exception(error)
    else:
        for (_, future), receipt in zip(batch, receipts, strict=True):
            future.set_result(receipt)


class _OneAtFaultError(Exception):
    """A batch was refused, or waited for a lock: others of it may be stored without the one."""


def _stored_or_again(alerts: Sequence[PostedAlert]) -> list[Receipt]:
    """Store alerts; try a second time if the database could not serve the first.

    Raises NotStoredError; then none is stored, unless its code is OUTCOME_UNKNOWN. Raises
    _OneAtFaultError for several, unless the database itself is away.
    """
    try:
        return _stored(alerts)
    except NotStoredError as error:
        if error.code == Code.OUTCOME_UNKNOWN:
            raise
        if len(alerts) > 1 and connection.connection is not None:
            raise _OneAtFaultError from error
        if error.code != Code.DATABASE_BUSY:
            raise
        log.warning("alerts are stored again", exc_info=error)
    return _stored(alerts)


def _stored(alerts: Sequence[PostedAlert]) -> list[Receipt]:
    """Store alerts in one transaction, and notify a worker."""
    try:
        receipts = receive_alerts(alerts)
    except CommitUnansweredError as error:
        connection.close()
        raise NotStoredError(Code.OUTCOME_UNKNOWN) from error
    except Exception as error:  # any: each alert gets an answer, and the thread goes on
        if isinstance(error, DatabaseError | InterfaceError) and is_lost(error):
            connection.close()
        if is_transient(error):
            raise NotStoredError(Code.DATABASE_BUSY) from error
        log.exception("alerts could not be stored")
        raise NotStoredError(Code.INTERNAL_ERROR) from error
    if any(receipt.error is None for receipt in receipts):
        ring_on_commit()
    return receipts
