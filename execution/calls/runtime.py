"""What a trading process runs beside its tasks: lease, wire, flusher, and its own look for work."""

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import connection

from brokers import budgets
from brokers.base import ReadFailed
from brokers.windows import Maintenance
from common.clocks import machine_time
from common.codes import Code
from common.sql import rows, run
from connections import lanes as of_process
from connections import maintenance
from connections.host_circuits import open_hosts
from connections.testing import on_loop, use_runner
from execution.calls.flusher import Flusher
from execution.calls.health import Health
from execution.calls.lanes import Lanes, OnLane, Wanted, nobody
from execution.calls.sessions import Sessions
from execution.calls.wire import ENDS, Switch, Wire
from execution.halts import read_halts
from execution.intents.decisions import Later
from execution.intents.waiting import for_brokers, wake_hosts
from prices import loops

log = structlog.get_logger(__name__)
T = TypeVar("T")
Round = tuple[str, float, Callable[[], object]]
"""What a process does again and again: its name, after how many seconds, what."""
HEALTH_SECONDS = 1.0
LONGEST_READ_SECONDS = 120
ROUNDS_SECONDS = 2.0  # that rounds under way have to end, where the process ends

RENEW = """
INSERT INTO execution_workerlease (id, role, host, pid, lease_until)
VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (id) DO UPDATE SET lease_until = EXCLUDED.lease_until
RETURNING 1 + (SELECT count(*) FROM execution_workerlease other
  WHERE other.id <> execution_workerlease.id AND other.lease_until > clock_timestamp()) AS processes
"""
BURY = "DELETE FROM execution_workerlease WHERE lease_until < clock_timestamp() - interval '1 day'"


class Runtime:
    """The threads of one trading process. `start` once, `stop` gives back what was not sent."""

    def __init__(self, role: str, on_lane: OnLane = nobody) -> None:
        """role: its queues, joined by +. on_lane: see `Lanes`."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.role = role
        self._lease = settings.FILLCAST_LEASE_SECONDS
        self.switch = Switch(self._lease)
        self.lanes = Lanes(self.id, Wanted.of(role.split("+")), self._lease, on_lane)
        self.hosts_away: frozenset[str] = frozenset()
        self.maintenance: tuple[Maintenance, ...] = ()
        self.wire = Wire(
            places=settings.FILLCAST_WIRE_PLACES,
            call_timeout=settings.FILLCAST_CALL_TIMEOUT_SECONDS,
            switch=self.switch,
            until=self.lanes.until,
            may_begin=self.lanes.may_begin,
        )
        self.health = Health()
        self.flusher = Flusher(self.wire.outbox, self.health.note)
        self.sessions = Sessions(self.lanes, self.wire, self.flusher)
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._has_told = False
        self._renewing: threading.Thread | None = None
        self._rounds: list[threading.Thread] = []

    @property
    def draining(self) -> bool:
        """Whether the process has been asked to end: nothing new is claimed."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Take the lease and start the threads that calls need."""
        self.renew()
        of_process.use(self.lanes.held)
        self.wire.start()
        # Connection tests and account reads share the adapters' sessions.
        use_runner(partial(self.wire.ask, timeout=LONGEST_READ_SECONDS))
        self.flusher.start()
        # Until the last outcome is written: a process that drains is alive.
        every_seconds = min(1.0, self._lease / 4)
        self._renewing = self._repeat("renew", every_seconds, self.renew, until=self._ended)
        self._repeat("health", HEALTH_SECONDS, self.health.write)

    def go_round(self, every: Sequence[Round]) -> None:
        """Run each of these again and again, on a thread of its own. They may ask for `present`."""
        for name, seconds, what in every:
            self._rounds.append(self._repeat(name, seconds, what))

    def renew(self) -> None:
        """Prolong the lease by one UPDATE, which counts who else trades and so has a share of the
        brokers' rates, and the lanes' by another; read the kill switch and the hosts away."""
        asked = machine_time()
        owner = (self.id, self.role, socket.gethostname(), os.getpid(), self._lease)
        [live] = rows(RENEW, owner)
        self.lanes.renew()
        budgets.use(settings.REDIS_URL, live.processes)
        self.switch.update(read_halts(), asked)
        before, self.hosts_away = self.hosts_away, open_hosts()
        wake_hosts(before - self.hosts_away)
        self.maintenance = maintenance.open_now()

    def held_back(self, entries: Sequence[Any]) -> dict[str, Later]:
        """Return which connections' entries of these rows wait: their broker is in a maintenance
        window, their host is away, or they are slow and the slow ones have all the places that
        they may have."""
        later = for_brokers(entries, self.hosts_away, self.maintenance)
        crowded = self.wire.crowded_out({row.connection_id for row in entries} - later.keys())
        return later | dict.fromkeys(crowded, Later(Code.BROKER_SLOW))

    def drain(self) -> None:
        """Claim nothing new from now on; safe in a signal handler."""
        self._stopping.set()

    def stop(self, timeout: float = 8.0) -> bool:
        """Let the calls in hand end, write their outcomes, end the lease. True: all was told.
        Who has ended already is not ended again."""
        if self._ended.is_set():
            return self._has_told
        self.drain()
        self.lanes.leave_all()
        self.wire.errands.end_waiting()
        idle = self.wire.wait_idle(timeout) and self.flusher.drain(timeout)
        if not idle:
            log.warning("calls are still under way; they will be looked up", id=self.id)
        loops.clear(self.wire.loop, 2)  # or their sessions would begin again
        self.sessions.end()
        self.wire.disconnect(2)
        self.flusher.stop()
        self.flusher.join(2)
        self.health.write()
        use_runner(_refuse)  # before the loop stands still: who asked would wait for its time-out
        of_process.use()
        self.wire.stop()
        self._has_told = idle
        self._ended.set()
        if self._renewing is not None:
            self._renewing.join(2)  # or it would write the lease anew
        if self._rounds_have_ended():
            use_runner()
        self.lanes.give_back(self.lanes.names)  # what a round took while the others were given back
        run("DELETE FROM execution_workerlease WHERE id = %s", (self.id,))
        return idle

    def _rounds_have_ended(self) -> bool:
        """Wait a while for rounds under way: each would open sessions again, on a loop of its own,
        in the lanes of others."""
        until = machine_time() + ROUNDS_SECONDS
        for thread in self._rounds:
            thread.join(max(0.0, until - machine_time()))
        return not any(thread.is_alive() for thread in self._rounds)

    def _repeat(
        self,
        name: str,
        seconds: float,
        what: Callable[[], object],
        *,
        until: threading.Event | None = None,
    ) -> threading.Thread:
        """On a thread of its own, so that a round that is stuck holds up no other."""
        ended = until or self._stopping

        def loop() -> None:
            while not ended.wait(seconds):
                try:
                    what()
                except Exception as error:  # the next round tries again
                    log.warning("a round failed", what=name, error=repr(error))
                    connection.close()
            connection.close()

        thread = threading.Thread(target=loop, daemon=True, name=name)
        thread.start()
        return thread


def _refuse(call: Coroutine[Any, Any, None]) -> None:
    """What asks brokers for a process that has ended: nothing does."""
    call.close()
    raise of_process.UnheldError(Code.LANE_UNHELD, ENDS)


_present: Runtime | None = None
_lock = threading.Lock()


def present() -> Runtime:
    """Return this process's runtime. Raises RuntimeError where none was started."""
    if _present is None:
        raise RuntimeError("This process does not trade: no runtime was started.")
    return _present


def started() -> bool:
    """Whether this process trades."""
    return _present is not None


def ask(call: Coroutine[Any, Any, T]) -> T:
    """Run a broker call on the wire's loop where this process trades, else on one of its own.

    Raises ReadFailed LANE_UNHELD where it has traded and a round of it still asks.
    """
    if (trading := _present) is not None:
        return trading.wire.ask(call, LONGEST_READ_SECONDS)
    told: list[T] = []

    async def in_time() -> None:
        async with asyncio.timeout(LONGEST_READ_SECONDS):
            told.append(await call)

    try:
        on_loop(in_time())
    except of_process.UnheldError as error:
        call.close()
        raise ReadFailed(Code.LANE_UNHELD, ENDS) from error
    return told[0]


def begin(role: str, on_lane: OnLane = nobody, *, every: Sequence[Round] = ()) -> Runtime:
    """Start this process's runtime once, with its rounds; return it."""
    global _present
    with _lock:
        if _present is None:
            runtime = Runtime(role, on_lane)
            runtime.start()
            _present = runtime
            runtime.go_round(every)
        return _present


def drain() -> None:
    """Have this process claim nothing new; safe in a signal handler, takes no lock."""
    if _present is not None:
        _present.drain()


def end() -> None:
    """Stop this process's runtime, if there is one."""
    global _present
    with _lock:
        if _present is not None:
            _present.stop()
            _present = None
