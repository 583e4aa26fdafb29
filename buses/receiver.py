"""Receive from all configured buses, each lane on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import NotSupportedError, ProgrammingError, connection, transaction

from buses.foreign import error_of
from buses.incoming.cleaning import remove_old
from buses.incoming.intake import replay_requested
from buses.incoming.lanes import LANES_OF, LaneCursor
from buses.incoming.reception import Lane, Make, Reception
from buses.sinks import SinkMisconfigured, name_of
from common.db.errors import is_database_trouble
from common.db.sql import Query, rows
from common.process.readiness import announce_alive

log = structlog.get_logger(__name__)
REPLAY_SECONDS, CLEANING_ROUNDS = 2.0, 300
STOP_SECONDS = 10.0
UNHEALTHY_SECONDS = 120.0  # as operators are alerted (buses/alarm.py)


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
        self._receptions = {
            name: Reception(name, make, stop=self._stop, announce=self._announce)
            for name, make in makers
        }
        self._replayed = time.monotonic()
        works: list[Callable[[], None]] = [one.run for one in self._receptions.values()]
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

    def _announce(self) -> None:
        """State that the process goes on, and which lanes it has not received for long."""
        limit = time.monotonic() - UNHEALTHY_SECONDS
        silent = sorted(name for name, one in self._receptions.items() if one.received < limit)
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
            if error is None:
                self._replayed, rounds = time.monotonic(), rounds + 1
                continue
            if is_database_trouble(error):
                log.warning("replays wait for the database", error=str(error).strip())
            else:  # a fault of ours; the next round may go well
                log.error("replays failed", exc_info=error)
            connection.close()
        connection.close()


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
