"""The brokers' sessions of the lanes that this process holds.

A lane that is taken has its accounts read and compared at once, which opens their sessions; what is
wrong with one is told on its connection. A lane that is lost or given back has them closed, and so
has an account that is switched off, or was idle for long. What a broker tells by itself rings a
bell here and is applied within milliseconds.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID
from zlib import crc32

import structlog
from django.conf import settings

from brokers.messages import ConnectionSpec
from brokers.registry import adapter_for
from common.clocks import machine_time
from common.sql import array, rows
from connections import lanes as of_process
from connections.disallowed import mark_disallowed
from connections.open import is_open, is_watched
from connections.polling import read_accounts, refresh_due_accounts
from connections.selectors import READ_COLUMNS, SPEC_COLUMNS, spec_from_row
from connections.sources import tells_sql
from connections.testing import on_loop
from execution.calls.flusher import Flusher
from execution.calls.lanes import Lanes
from execution.calls.wire import Wire
from execution.drift.wanted import ask_for

log = structlog.get_logger(__name__)
CLOSE_SECONDS = 3.0
GIVE_BACK_SECONDS = 20.0  # for calls in hand; then the lane goes all the same, and they are UNKNOWN
REST_EVERY_SECONDS = 60.0
WAKE_SECONDS = 600  # who rests is read so often: its balance must not be too old for the next order
READ_EVERY_SECONDS = 20.0
AGAIN_SECONDS = 1.0  # after a stream broke
STRAYS_EVERY_SECONDS = 5.0
STRAYS_SECONDS = 310.0  # a read that began in time may open a session so late (calls/asking.py)

_WHAT = f"""c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.lane"""

OF_LANES = f"""
SELECT {_WHAT} FROM connections_executionconnection c WHERE c.lane = ANY(%s::text[])
"""

# A lane goes with its sessions closed, but a read that is under way then opens one again; and an
# account whose settings changed may be in another lane now, with its session left behind here.
STRAYS = f"""
SELECT {_WHAT} FROM connections_executionconnection c
WHERE c.id = ANY(%s::uuid[]) AND c.lane <> ALL(%s::text[])
"""

IDS_OF_LANES = """
SELECT id FROM connections_executionconnection WHERE lane <> '' AND lane = ANY(%s::text[])
"""


def to_open_sql() -> str:
    """Whose sessions whoever takes a lane opens at once: who is watched and is not to be left alone
    for its login's sake."""
    return f"""
SELECT {READ_COLUMNS} FROM connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.lane = ANY(%s::text[]) AND {is_watched()} AND h.status <> 'UNTESTED'
  AND (h.read_after IS NULL OR h.read_after <= clock_timestamp())
  AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
"""


def idle_sql() -> str:
    """Nothing of ours is live there, and nobody has used it for long, nor uses its prices, or it is
    switched off."""
    return f"""
SELECT {_WHAT}, c.is_active AND c.archived_at IS NULL AS is_wanted
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.lane <> '' AND c.lane = ANY(%(lanes)s::text[])
  AND (NOT c.is_active OR c.archived_at IS NOT NULL
    OR greatest(h.last_used_at, h.last_tested_at, c.created_at)
      < clock_timestamp() - make_interval(secs => %(idle)s) AND NOT {tells_sql("c.id")})
  AND NOT {is_open("c.id")}
"""


KINDS = """
SELECT DISTINCT type FROM connections_executionconnection
WHERE lane <> '' AND lane = ANY(%s::text[]) AND archived_at IS NULL
"""


class Sessions:
    """What one process does about the sessions of its lanes. Its methods are rounds."""

    def __init__(self, lanes: Lanes, wire: Wire, flusher: Flusher) -> None:
        self._lanes, self._wire, self._flusher = lanes, wire, flusher
        self._fresh: set[str] = set()
        self._read_at = self._rested_at = machine_time()
        self._leaving_since: dict[str, float] = {}
        self._woken: dict[UUID, float] = {}
        self._swept_at = float("-inf")
        self._known: set[UUID] = set()  # accounts that were in lanes of ours
        self._strays_since: dict[UUID, float] = {}  # of those that are not any more
        self._listening: dict[str, Future[None]] = {}
        self._mute: set[str] = set()  # kinds that this process cannot hear
        self._told = threading.Event()

    # ---- lanes come and go -----------------------------------------------------------------
    def tend(self) -> None:
        """Close what was lost, take what is ours, give back what is too much."""
        if lost := self._lanes.take_lost():
            self.close(rows(OF_LANES, (array(lost),)))
        if taken := self._lanes.balance():
            self._fresh |= set(taken)
            of_process.wake(str(row.id) for row in rows(IDS_OF_LANES, (array(taken),)))
        now = machine_time()
        if leaving := self._lanes.leaving:
            self._wire.errands.end_waiting(leaving)
        self._leaving_since = {n: self._leaving_since.get(n, now) for n in leaving}
        self.give_back([n for n in leaving if self._may_go(n, now - self._leaving_since[n])])
        if taken or now - self._swept_at >= STRAYS_EVERY_SECONDS:
            self._close_strays(now)
            self._swept_at = now
        self._listen()

    def _may_go(self, lane: str, seconds: float) -> bool:
        return seconds > GIVE_BACK_SECONDS or not self._wire.is_busy(lane)

    def give_back(self, names: Sequence[str]) -> None:
        """Write what came of their calls, close their sessions, end their leases."""
        if names:
            self._flusher.drain(CLOSE_SECONDS)
            self.close(rows(OF_LANES, (array(names),)))
            self._lanes.give_back(names)

    def _close_strays(self, now: float) -> None:
        """Close, again and again for a while, sessions of accounts that are no longer in our lanes:
        their next owner would be refused for as long as one is open here."""
        ours = self._lanes.names
        strays = rows(STRAYS, (array(self._known), array(ours)))
        self._close(strays, self._wire.calling)
        self._strays_since = {
            row.connection_id: self._strays_since.get(row.connection_id, now) for row in strays
        }
        for one, since in self._strays_since.items():
            if now - since > STRAYS_SECONDS:
                self._known.discard(one)
        self._known.update(row.id for row in rows(IDS_OF_LANES, (array(ours),)))

    def close(self, accounts: Sequence[Any]) -> None:
        """End the sessions of accounts, all at once."""
        self._close(accounts, frozenset)

    def _close(self, accounts: Sequence[Any], spared: Callable[[], Collection[str]]) -> None:
        """spared: asked on the loop, where calls begin; an order on its way would be UNKNOWN."""
        if not accounts:
            return
        try:
            told = self._wire.ask(_close(accounts, spared), CLOSE_SECONDS)
        except TimeoutError:
            log.warning("sessions do not end in time", accounts=len(accounts))
        else:
            for row, error in zip(accounts, told, strict=True):
                if error is not None:
                    log.warning("no end", connection=str(row.connection_id), error=repr(error))

    def read(self) -> None:
        """Read the accounts of lanes that were taken just now, which opens their sessions; now and
        then all that are due, and let rest who is idle. Whatever is wrong is told on its connection
        and tried again less and less often (`connections.probing`)."""
        if fresh := self._fresh.copy():
            mark_disallowed(fresh)
            due = rows(to_open_sql(), (array(fresh),))
            self._fresh -= fresh  # only now: whoever could not be looked for is in a second
            read_accounts(due, run=on_loop, adapter=adapter_for)
        now = machine_time()
        if now - self._rested_at > REST_EVERY_SECONDS:
            self._rested_at = now
            self.rest()
        if now - self._read_at > READ_EVERY_SECONDS:
            self._read_at = now
            refresh_due_accounts()

    # ---- who rests -------------------------------------------------------------------------
    def rest(self) -> None:
        """Close the sessions that nobody needs; now and then each is read and compared. Who is
        switched off needs none, and does not rest: once it is on again it is looked after at once.
        """
        of_process.look_who_rests()
        seconds = settings.FILLCAST_SESSION_IDLE_SECONDS
        idle = rows(idle_sql(), {"lanes": array(self._lanes.held()), "idle": seconds})
        wanted = {row.connection_id for row in idle if row.is_wanted}
        waking = {one for one in wanted if self._is_waking(one)}
        of_process.let_rest(wanted - waking)

        def in_use() -> set[str]:
            woken = {str(one) for one in wanted if not of_process.rests(one)}
            return self._wire.calling() | woken

        self._close([row for row in idle if row.connection_id not in waking], in_use)
        if waking:
            ask_for(list(waking))

    def _is_waking(self, connection_id: UUID) -> bool:
        """Whether an account that rests is up until the next round; not all of them at once."""
        now = machine_time()
        woken = self._woken.setdefault(
            connection_id, now - crc32(connection_id.bytes) % WAKE_SECONDS
        )
        if now - woken < WAKE_SECONDS:
            return False
        self._woken[connection_id] = now
        return True

    # ---- what brokers tell -----------------------------------------------------------------
    def hear(self, drain: Callable[[], object]) -> None:
        """Wait a while for a broker to tell something, and have it applied at once."""
        if self._told.wait(AGAIN_SECONDS):
            self._told.clear()
            drain()

    def end(self) -> None:
        """Listen no more and close what is left: this process ends."""
        for ear in self._listening.values():
            ear.cancel()
        self.give_back(self._lanes.leaving)

    def _listen(self) -> None:
        """Have a listener for each kind of our lanes that tells things by itself."""
        kinds = {row.type for row in rows(KINDS, (array(self._lanes.held()),))}
        for kind in kinds - self._listening.keys() - self._mute:
            try:
                can = adapter_for(kind).capabilities(ConnectionSpec(connection_id="", account=""))
            except Exception as error:  # its library is missing: the others are heard all the same
                log.warning("a kind is not heard", kind=kind, error=repr(error))
                self._mute.add(kind)
                continue
            if can.event_stream:
                ear = asyncio.run_coroutine_threadsafe(self._hear_of(kind), self._wire.loop)
                self._listening[kind] = ear
        for kind in self._listening.keys() - kinds:
            self._listening.pop(kind).cancel()

    async def _hear_of(self, kind: str) -> None:
        while True:
            try:
                async for _ in adapter_for(kind).stream_events():
                    self._told.set()
            except Exception as error:
                log.warning("a stream of events broke", kind=kind, error=repr(error))
            await asyncio.sleep(AGAIN_SECONDS)


async def _close(
    accounts: Sequence[Any], spared: Callable[[], Collection[str]]
) -> list[BaseException | None]:
    busy = spared()

    async def close(row: Any) -> None:
        if str(row.connection_id) not in busy:
            await adapter_for(row.type).disconnect(spec_from_row(row))

    return list(await asyncio.gather(*map(close, accounts), return_exceptions=True))
