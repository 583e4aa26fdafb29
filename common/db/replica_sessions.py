"""Sessions of a streaming replica, which wait for an answer only as long as the primary can.

A host that vanishes, or a server that is stopped, closes no connection. The kernel's time-outs
(`config/databases.py`) end the first, minutes earlier than by default; the limit here ends both.

Inside of a transaction the primary's session is idle meanwhile, which its server ends after 0.4
lease. So the parts of a read add up to less: 0.1 until the replica is ready + 0.25 for the answer
= 0.35 lease. On the replica a statement ends after 0.2, so that its own error usually comes first.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg.abc import PQGen

RV = TypeVar("RV")
# In thousandths of the lease.
READY, STATEMENT, ANSWER = 100, 200, 250
POLL_SECONDS = 0.05  # how exactly a limit is kept

_limit = threading.local()


def lease_part(thousandths: int) -> float:
    """Return a part of the lease in seconds."""
    return thousandths * float(settings.FILLCAST_LEASE_SECONDS) / 1000


@contextmanager
def answers_within(seconds: float) -> Iterator[None]:
    """Limit how long this thread waits for replicas inside of this block, altogether."""
    before = getattr(_limit, "until", float("inf"))
    _limit.until = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        _limit.until = before


class NoAnswerError(psycopg.OperationalError):
    """The replica did not answer in time; its session is closed."""


class ReplicaSession(psycopg.Connection[Any]):
    """A session that is closed if an answer takes longer than ANSWER, or `answers_within`.

    follows: the primary, by system identifier and timeline, that its server was found to follow.
    """

    follows: tuple[str, int] | None = None

    def wait(self, gen: PQGen[RV], interval: float = POLL_SECONDS, *more: Any, **how: Any) -> RV:
        """Wait as psycopg does, up to the limit."""
        until = min(getattr(_limit, "until", float("inf")), time.monotonic() + lease_part(ANSWER))
        try:
            return super().wait(_limited(gen, until), min(interval, POLL_SECONDS), *more, **how)
        except NoAnswerError:
            self.pgconn.finish()  # it would answer the next statement with this one's rows
            raise


def _limited(gen: PQGen[RV], until: float) -> PQGen[RV]:
    """Yield as `gen` does, which psycopg resumes each time that something came or POLL_SECONDS
    have passed."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if time.monotonic() >= until:
                raise NoAnswerError("the replica does not answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
