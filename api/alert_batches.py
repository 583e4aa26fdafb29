"""Stores the alerts that arrive at the same time in one transaction (group commit).

To store an alert durably takes several exchanges with the database and one write to the disk,
whether it is one alert or fifty. While one batch is stored the next gathers. So the answers do not
fall behind, however many alerts arrive and however busy the machine is.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from itertools import islice
from threading import Condition, Thread

from django.db import DatabaseError, InterfaceError, connection

from api.problems import problem_of_unexpected
from common.database_errors import (
    CommitUnansweredError,
    is_lost,
    is_read_only,
    is_transient,
)
from common.reason_codes import Code
from signals.alert_posts import PostedAlert, receive_alerts
from signals.alerts import Receipt
from signals.tasks import notify_worker_on_commit

log = logging.getLogger(__name__)
THREADS = 2  # while the one waits for a lock, the other stores what it does not concern
LARGEST = 50
MOST_WAITING = 2_000
LONGEST_WAIT = timedelta(seconds=10)  # then its sender has given up


class NotStoredError(Exception):
    """An alert could not be stored, or it is unknown whether it was (Code.OUTCOME_UNKNOWN).

    status: of its answer over HTTP.
    """

    def __init__(self, code: Code, status: int = 503) -> None:
        super().__init__(code.sentence)
        self.code, self.status = code, status


Waiting = tuple[PostedAlert, "Future[Receipt]"]


class AlertBatches:
    """`put` an alert, and its receipt comes when it is stored. Threads start when they are needed.

    A thread keeps its database connection as long as that works. The alerts of a feed are in the
    hands of one thread at a time, so they are stored in the order in which they arrived.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: list[Waiting] = []
        self._in_hand: set[str] = set()  # feeds
        self._threads: list[Thread] = []

    def put(self, alert: PostedAlert) -> "Future[Receipt]":
        """Store an alert soon. Its future's error is a NotStoredError."""
        future: Future[Receipt] = Future()
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                future.set_exception(NotStoredError(Code.DATABASE_BUSY))
                return future
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            while len(self._threads) < THREADS:
                thread = Thread(target=self._run, name="alert batches", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._waiting.append((alert, future))
            self._changed.notify()
        return future

    def _run(self) -> None:
        while True:
            batch = self._take()
            try:
                _settle(_still_wanted(batch))
            finally:  # if this ends the thread, `put` starts another one
                self._end(batch)

    def _end(self, batch: Sequence[Waiting]) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(NotStoredError(Code.OUTCOME_UNKNOWN))
        with self._changed:
            self._in_hand -= {alert.feed_slug for alert, _ in batch}
            self._changed.notify_all()

    def _take(self) -> list[Waiting]:
        """Wait for alerts of feeds that no other thread has in hand; take the oldest of them."""
        with self._changed:
            while not (batch := self._free()):
                self._changed.wait()
            taken = {id(future) for _, future in batch}
            self._waiting = [one for one in self._waiting if id(one[1]) not in taken]
            self._in_hand |= {alert.feed_slug for alert, _ in batch}
        return batch

    def _free(self) -> list[Waiting]:
        free = (one for one in self._waiting if one[0].feed_slug not in self._in_hand)
        return list(islice(free, LARGEST))


def _still_wanted(batch: Sequence[Waiting]) -> list[Waiting]:
    """Return what is stored now. What waited for too long is refused: its sender has given up, and
    may have sent it again. From here on no future can be cancelled."""
    wanted = [one for one in batch if one[1].set_running_or_notify_cancel()]
    oldest = datetime.now(UTC) - LONGEST_WAIT
    for alert, future in wanted:
        if alert.arrived_at < oldest:
            future.set_exception(NotStoredError(Code.DATABASE_BUSY))
    return [one for one in wanted if not one[1].done()]


def _settle(batch: Sequence[Waiting]) -> None:
    """Store a batch, or each of its alerts alone if one may be at fault; set their results."""
    if not batch:
        return
    try:
        receipts = _stored_or_again([alert for alert, _ in batch])
    except _OneAtFaultError:
        _settle_each(batch)
    except NotStoredError as error:
        for _, future in batch:
            future.set_exception(error)
    else:
        for (_, future), receipt in zip(batch, receipts, strict=True):
            future.set_result(receipt)


def _settle_each(batch: Sequence[Waiting]) -> None:
    """Store the alerts of a batch alone.

    After one that its sender should send again, no more of its feed: it would come behind them.
    """
    failed: dict[str, NotStoredError] = {}
    for alert, future in batch:
        if alert.feed_slug in failed:
            future.set_exception(failed[alert.feed_slug])
            continue
        try:
            (receipt,) = _stored([alert])
            future.set_result(receipt)
        except NotStoredError as error:
            if error.status == 503:
                failed[alert.feed_slug] = error
            future.set_exception(error)


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
        if error.code != Code.DATABASE_BUSY or connection.connection is not None:
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
        if isinstance(error, DatabaseError | InterfaceError) and (
            is_lost(error) or is_read_only(error)
        ):
            connection.close()
        if is_transient(error) or is_read_only(error):
            raise NotStoredError(Code.DATABASE_BUSY) from error
        log.exception("alerts could not be stored")
        raise NotStoredError(*problem_of_unexpected(error)) from error
    if any(receipt.error is None for receipt in receipts):
        notify_worker_on_commit()
    return receipts
