"""Receive from all configured buses, each lane on a thread of its own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import NotSupportedError, ProgrammingError, connection, transaction

from buses.foreign import error_of
from buses.incoming.cleaning import remove_old
from buses.incoming.intake import Answer, Message, replay_requested, take
from buses.incoming.lanes import LANES_OF, LaneCursor, note_error, note_success
from buses.sinks import SinkMisconfigured, SinkUnavailable, name_of
from common import shared_sessions
from common.database_errors import is_database_trouble
from common.readiness import announce_alive
from common.sql import Query, rows

log = structlog.get_logger(__name__)
POLL_SECONDS = 1.0
MISCONFIGURED_SECONDS, LONGEST_RETRY_SECONDS = 60.0, 5.0
REPLAY_SECONDS, CLEANING_ROUNDS = 2.0, 300
STOP_SECONDS = 10.0
NOTE_SECONDS = 5.0  # so often a lane stores that it is received
UNHEALTHY_SECONDS = 120.0  # as operators are alerted (buses/alarm.py)


class Lane(Protocol):
    """What messages come from, in their order. Used by one thread."""

    name: str

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        """Take what has come; wait at most so many seconds. Raises SinkUnavailable."""

    def close(self) -> None:
        """Give up the connection."""


Make = Callable[[], Lane]


class Identity(NamedTuple):
    """What distinguishes a database from a copy of it at another server."""

    database: str


IDENTITY = Query(
    Identity,
    "SELECT system_identifier::text || '/' || current_database() AS database"
    " FROM pg_control_system()",
)
NAME = Query(Identity, "SELECT current_database()::text AS database")


def identity() -> str:
    """Return the identity of the database: its server's, a slash, its name. Without the first if
    the host does not allow to read that."""
    try:
        with transaction.atomic():
            return rows(IDENTITY)[0].database
    except (ProgrammingError, NotSupportedError):
        return f"/{rows(NAME)[0].database}"


class Receiver:
    """The threads of all lanes, and one that carries out requested replays."""

    def __init__(self, makers: Sequence[tuple[str, Make]]) -> None:
        """makers: what makes each lane, with a name for errors before it is made."""
        self._stop = threading.Event()
        self._received = {name: time.monotonic() for name, _ in makers}
        self._replayed = time.monotonic()
        works: list[Callable[[], None]] = [
            partial(self._receive, name, make) for name, make in makers
        ]
        self._threads = [
            threading.Thread(target=work, name=f"receiver-{number}", daemon=True)
            for number, work in enumerate([*works, self._replay])
        ]

    def run(self, stop: threading.Event) -> None:
        """Receive until `stop` is set."""
        for thread in self._threads:
            thread.start()
        stop.wait()
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _receive(self, name: str, make: Make) -> None:
        failures, noted = 0, -math.inf
        lane: Lane | None = None

        def progress() -> None:
            """Note that the lane is received, now and then."""
            nonlocal noted
            if time.monotonic() - noted >= NOTE_SECONDS:
                if not _is_stored(partial(note_success, name)):
                    return  # nothing can be taken without the database
                noted = time.monotonic()
                self._announce()
            self._received[name] = time.monotonic()

        def take_one(message: Message) -> Answer:
            answer = take(message)
            if answer is Answer.ACK:
                progress()  # many rows in one poll are no silence
            return answer

        def poll() -> None:
            nonlocal lane
            lane = lane or make()
            lane.poll(take_one, seconds=POLL_SECONDS)
            progress()

        while not self._stop.is_set():
            self._announce()
            error = error_of(poll)
            if error is not None:
                failures += 1
                noted = -math.inf  # the next success is stored at once
                text = str(error) or type(error).__name__
                _is_stored(partial(note_error, name, text))
            shared_sessions.give_back()
            if error is None:
                failures = 0
                continue
            self._stop.wait(_pause(name, error, failures))
        if lane is not None:
            lane.close()
        connection.close()

    def _announce(self) -> None:
        """State that the process goes on, and which lanes it has not received for long."""
        limit = time.monotonic() - UNHEALTHY_SECONDS
        silent = sorted(name for name, at in self._received.items() if at < limit)
        troubles = [f"not received: {', '.join(silent)}"] if silent else []
        if self._replayed < limit:
            troubles.append("no replays")
        announce_alive("; ".join(troubles))

    def _replay(self) -> None:
        rounds = 0

        def work() -> None:
            replay_requested()
            if rounds % CLEANING_ROUNDS == 0:
                remove_old()

        while not self._stop.wait(REPLAY_SECONDS):
            error = error_of(work)
            shared_sessions.give_back()
            if error is None:
                self._replayed, rounds = time.monotonic(), rounds + 1
                continue
            if is_database_trouble(error):
                log.warning("replays wait for the database", error=str(error).strip())
            else:  # a fault of ours; the next round may go well
                log.error("replays failed", exc_info=error)
            connection.close()
        connection.close()


def _is_stored(store: Callable[[], None]) -> bool:
    """Store how a lane goes; return whether the database took it."""
    error = error_of(store)
    if error is not None:
        log.warning("the state of a lane was not stored", error=str(error).strip())
        connection.close()
    return error is None


def _pause(name: str, error: Exception, failures: int) -> float:
    """Log why a lane is not received; return after how many seconds it is tried again."""
    if isinstance(error, SinkMisconfigured):
        log.error("bus is misconfigured", lane=name, error=f"{error}")
        return MISCONFIGURED_SECONDS
    if not isinstance(error, SinkUnavailable):  # a fault of ours or a library's; other lanes go on
        log.error("bus is not received", lane=name, exc_info=error)
        connection.close()
    elif failures in (1, 10) or not failures % 100:
        log.warning("bus is away", lane=name, failures=failures, error=f"{error}")
    return min(0.5 * 2.0 ** min(failures, 10), LONGEST_RETRY_SECONDS)


def configured() -> list[tuple[str, Make]]:
    """Return what makes the lanes of the buses that are read. Raises SinkMisconfigured."""
    makers: dict[str, Make] = {}
    for url in settings.INCOMING_BUSES:
        scheme = urlsplit(url).scheme
        if scheme not in LANES_BY_URL:
            known = ", ".join(f"{name}://" for name in LANES_BY_URL)
            detail = f"FILLCAST_BUSES has a URL of from+{scheme}://; known are {known}."
            raise SinkMisconfigured(detail)
        for lane, make in LANES_BY_URL[scheme](url):
            name = f"{name_of(url)}#{lane}"
            if name in makers:
                raise SinkMisconfigured(f"FILLCAST_BUSES names from+{name_of(url)} twice.")
            makers[name] = make
    return list(makers.items())


def _nats_lanes(url: str) -> list[tuple[str, Make]]:
    def make(lane: str) -> Lane:
        from buses.nats.consumer import NatsLane

        cursor, tag = LaneCursor(f"{name_of(url)}#{lane}"), settings.FILLCAST_INSTALLATION_TAG
        return NatsLane(url, lane, tag=tag, database=identity(), cursor=cursor)

    return [(lane, partial(make, lane)) for lane in LANES_OF["nats"]]


def _clickhouse_lanes(url: str) -> list[tuple[str, Make]]:
    def make() -> Lane:
        from buses.clickhouse.polling import ClickHouseLane

        return ClickHouseLane(url)

    return [("signals", make)]


LANES_BY_URL: dict[str, Callable[[str], list[tuple[str, Make]]]] = {
    "nats": _nats_lanes,
    "clickhouse": _clickhouse_lanes,
}
"""By the scheme of the URL: the lanes of a bus."""
