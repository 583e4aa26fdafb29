"""Stores the alerts that arrive at the same time in one transaction (group commit).

To store an alert durably takes several exchanges with the database and one write to the disk,
whether it is one alert or fifty. While one batch is stored the next gathers. So the answers do not
fall behind, however many alerts arrive and however busy the machine is.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, connection

from alerts.inbox.posts import PostedAlert, receive_alerts
from alerts.inbox.storing import Receipt
from alerts.tasks import notify_worker_on_commit
from api.problems import problem_of_unexpected
from common.db.errors import (
    CommitUnansweredError,
    is_lost,
    is_read_only,
    is_transient,
)
from common.reason_codes import Code

log = logging.getLogger(__name__)
THREADS = 2
PATIENCE_SECONDS = 0.05  # a batch that takes longer waits for a lock: then another one begins
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


Outcome = Receipt | NotStoredError


class _Waiting(NamedTuple):
    alert: PostedAlert
    answer: "asyncio.Future[Receipt]"


class AlertBatches:
    """Stores alerts on threads, for callers of one event loop, which alone touches what is here.

    A batch begins as soon as the one before it is stored, or takes suspiciously long. The alerts of
    a feed are in the hands of one thread at a time, so they are stored in the order in which they
    arrived. A thread keeps its database connection as long as that works.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="alert batches")
        self._waiting: list[_Waiting] = []
        self.in_hand: dict[str, int] = {}  # feeds, by the batch that has them
        self._begun: dict[int, float] = {}  # batches that are stored now: since when
        self._number = 0
        self._is_due = self._is_watching = False

    async def store(self, alert: PostedAlert) -> Receipt:
        """Return the receipt of an alert once it is stored. Raises NotStoredError."""
        if len(self._waiting) >= MOST_WAITING:
            raise NotStoredError(Code.DATABASE_BUSY)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append(_Waiting(alert, answer))
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._begin_due, loop)  # once for all that the loop reads at a time
        return await answer

    def _begin_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        self._begin(loop)
        if self._waiting and not self._is_watching:
            self._is_watching = True
            loop.call_later(PATIENCE_SECONDS, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again while alerts wait: a batch may have become slow, and their senders give up."""
        self._is_watching = False
        self._drop_old()
        self._begin_due(loop)

    def _drop_old(self) -> None:
        """Refuse what has waited for too long: its sender has given up, and may send it again."""
        oldest = datetime.now(UTC) - LONGEST_WAIT
        for one in self._waiting:
            if one.alert.arrived_at < oldest:
                _set(one.answer, NotStoredError(Code.DATABASE_BUSY))
        self._waiting = [one for one in self._waiting if not one.answer.done()]

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the oldest alerts of feeds that no thread has in hand to a free thread, if any."""
        patience = loop.time() - PATIENCE_SECONDS
        if len(self._begun) >= THREADS or any(since > patience for since in self._begun.values()):
            return
        batch = self._take()
        if not batch:
            return
        self._number += 1
        number = self._number
        self.in_hand |= {one.alert.feed_slug: number for one in batch}
        self._begun[number] = loop.time()
        try:
            self._threads.submit(self._store, loop, number, batch)
        except RuntimeError:  # no new thread: one that runs may still come to it
            log.exception("a batch of alerts has no thread")
            self._end(loop, number, [one.answer for one in batch])

    def _take(self) -> list[_Waiting]:
        self._drop_old()
        free = (one for one in self._waiting if one.alert.feed_slug not in self.in_hand)
        batch = list(islice(free, LARGEST))
        taken = {id(one) for one in batch}
        self._waiting = [one for one in self._waiting if id(one) not in taken]
        return batch

    def _store(
        self, loop: asyncio.AbstractEventLoop, number: int, batch: Sequence[_Waiting]
    ) -> None:
        """Store a batch, on a thread, and wake the loop once for what is known together."""
        answers = iter([one.answer for one in batch])
        try:
            for outcomes in stored_together([one.alert for one in batch]):
                known = list(zip(islice(answers, len(outcomes)), outcomes, strict=True))
                _notify(loop, _set_all, known)
        except Exception:  # any: the rest is answered as unknown
            log.exception("a batch of alerts ended")
        finally:
            _notify(loop, self._end, loop, number, list(answers))

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        unknown: Sequence["asyncio.Future[Receipt]"],
    ) -> None:
        _set_all([(answer, NotStoredError(Code.OUTCOME_UNKNOWN)) for answer in unknown])
        self._begun.pop(number, None)
        self.in_hand = {feed: of for feed, of in self.in_hand.items() if of != number}
        self._begin_due(loop)


def _notify(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *values: Any) -> None:
    """Let the loop call something. One that has ended has no callers any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *values)


def _set_all(known: Sequence[tuple["asyncio.Future[Receipt]", Outcome]]) -> None:
    for answer, outcome in known:
        _set(answer, outcome)


def _set(answer: "asyncio.Future[Receipt]", outcome: Outcome) -> None:
    if answer.done():  # its sender has gone
        return
    if isinstance(outcome, NotStoredError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def stored_together(alerts: Sequence[PostedAlert]) -> Iterator[Sequence[Outcome]]:
    """Store alerts; yield their outcomes in their order, several that are known at the same time.

    If one may be at fault each is stored alone.
    """
    outcomes: Sequence[Outcome]
    try:
        outcomes = _stored_or_again(alerts)
    except NotStoredError as error:
        outcomes = [error] * len(alerts)
    except _OneAtFaultError:
        yield from _stored_alone(alerts)
        return
    yield outcomes


def _stored_alone(alerts: Sequence[PostedAlert]) -> Iterator[Sequence[Outcome]]:
    """Store each alert in its own transaction.

    After one that its sender should send again, no more of its feed: it would come behind them.
    """
    failed: dict[str, NotStoredError] = {}
    for alert in alerts:
        if alert.feed_slug in failed:
            yield [failed[alert.feed_slug]]
            continue
        outcome: Outcome
        try:
            (outcome,) = _stored([alert])
        except NotStoredError as error:
            if error.status == 503:
                failed[alert.feed_slug] = error
            outcome = error
        yield [outcome]


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
