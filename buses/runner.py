"""Run all sinks, each on a thread of its own, so that none waits for another one."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from buses.callbacks import AT_ONCE, CallbackSink, callback_sinks
from buses.cleaning import remove_old_letters
from buses.drain import BATCH, MAX_REASON, Drain
from buses.foreign import OUR_FAULTS, error_of
from buses.models import BusSink
from buses.sinks import Sink, SinkMisconfigured, name_of, open_sink
from common.db.functions import ClockTimestamp
from common.process import stored_figures
from common.process.readiness import announce_alive

log = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
ELSEWHERE_SECONDS = 5.0  # while another process drains the sink, or it is paused
DATABASE_SECONDS = 5.0
CLEANING_SECONDS = 600.0
STOP_SECONDS = 10.0  # for a write that is under way
Make = Callable[[], Sink]


class Runner:
    """The threads of all configured sinks."""

    def __init__(self, makers: Sequence[tuple[str, Make]]) -> None:
        """makers: what makes each sink, with a name for errors before it is made."""
        self._holder = f"{socket.gethostname()[:40]}-{os.getpid()}"
        self._stop, self._figures = threading.Event(), stored_figures.Pace()
        self._cleaned = -math.inf  # monotonic
        self._threads = [
            threading.Thread(target=self._run, args=(name, make), name=name, daemon=True)
            for name, make in makers
        ]

    def run(self, stop: threading.Event) -> None:
        """Drain until `stop` is set. A write that hangs does not delay the end."""
        for thread in self._threads:
            thread.start()
        stop.wait()
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _run(self, name: str, make: Make) -> None:
        while not self._stop.is_set():
            announce_alive()
            made = _made(make)
            if not isinstance(made, Exception):
                self._drain(made)
                continue
            if not isinstance(made, SinkMisconfigured):
                log.error("a sink cannot be made", sink=name, exc_info=made)
            self._store_fault(name, f"{made}"[:MAX_REASON])
            self._stop.wait(60)

    def _drain(self, sink: Sink) -> None:
        """Step until the process stops; give the sink back then."""
        size = AT_ONCE if isinstance(sink, CallbackSink) else BATCH
        drain = Drain(sink, holder=self._holder, batch=size)
        try:
            while not self._stop.is_set():
                self._stop.wait(self._step(drain))
            drain.release()
        except (DatabaseError, InterfaceError):
            log.warning("a sink's lease is left to end", sink=sink.name)
        finally:
            sink.close()
            connection.close()

    def _step(self, drain: Drain) -> float:
        """Do one step; return how long to wait before the next one."""
        announce_alive()
        try:
            step = drain.step()
            self._figures.store_if_due()
            self._clean_if_due()
        except (DatabaseError, InterfaceError) as error:
            log.warning("a sink waits for the database", sink=drain.sink.name, error=str(error))
            connection.close()
            return DATABASE_SECONDS
        except OUR_FAULTS:  # the sink goes on trying
            log.exception("a sink's step failed", sink=drain.sink.name)
            return DATABASE_SECONDS
        if step.is_more:
            return 0
        if step.is_paused or step.is_elsewhere:
            return ELSEWHERE_SECONDS
        return step.retry_seconds or IDLE_SECONDS

    def _clean_if_due(self) -> None:
        """Remove old dead letters, now and then. Raises DatabaseError."""
        now = time.monotonic()
        if now - self._cleaned >= CLEANING_SECONDS:
            self._cleaned = now
            remove_old_letters()

    def _store_fault(self, name: str, error: str) -> None:
        log.error("sink is misconfigured", sink=name, error=error)
        try:
            state, _ = BusSink.objects.get_or_create(name=name)
            BusSink.objects.filter(pk=state.pk).update(
                last_error=error, last_error_at=ClockTimestamp(), is_behind=True
            )
        except (DatabaseError, InterfaceError):
            log.warning("a sink's fault was not stored", sink=name)
        finally:
            connection.close()


def configured() -> list[tuple[str, Make]]:
    """Return what makes the sinks of FILLCAST_BUSES, and of fill callbacks.

    Raises SinkMisconfigured if two of them are the same.
    """
    makers: list[tuple[str, Make]] = []
    for url in settings.SINKS:
        name = name_of(url)
        if name in dict(makers):
            raise SinkMisconfigured(f"FILLCAST_BUSES names {name} twice; remove one.")
        makers.append((name, partial(open_sink, url)))
    makers += [(sink.name, partial(_itself, sink)) for sink in callback_sinks()]
    return makers


def _made(make: Make) -> Sink | Exception:
    """Return the sink, or why it cannot be made."""
    made: list[Sink] = []
    error = error_of(lambda: made.append(make()))
    return made[0] if error is None else error


def _itself(sink: Sink) -> Sink:
    return sink
