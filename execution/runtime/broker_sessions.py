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

from brokers.registry import adapter_for
from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.sql import array, rows
from connections import session_lanes as of_process
from connections.exposure import is_monitored_sql, is_open_sql
from connections.health.account_polling import read_accounts
from connections.health.connection_checks import run_on_process_loop
from connections.market_data.sources import provides_prices_sql
from connections.selectors import READ_COLUMNS, SPEC_COLUMNS, spec_from_row
from connections.services import mark_disallowed, refresh_due_accounts
from execution.base.reconciliation_requests import request_reconciliation
from execution.dispatch.order_dispatcher import OrderDispatcher
from execution.dispatch.report_writer import ReportWriter
from execution.runtime.lane_leases import LaneLeaseManager

log = structlog.get_logger(__name__)
CLOSE_SECONDS = 3.0
RELEASE_SECONDS = 20.0  # for calls in hand; then the lane goes all the same, and they are UNKNOWN
CLOSE_IDLE_EVERY_SECONDS = 60.0
WAKE_SECONDS = 600  # who rests is read so often: its balance must not be too old for the next order
READ_EVERY_SECONDS = 20.0
RETRY_SECONDS = 1.0  # after a stream broke
ORPHANED_EVERY_SECONDS = 5.0
ORPHANED_SECONDS = (
    310.0  # a read that began in time may open a session so late (runtime/broker_queries.py)
)

_COLUMNS = f"""c.id AS connection_id, {SPEC_COLUMNS}, c.broker_host, c.lane"""

ACCOUNTS_OF_LANES = f"""
SELECT {_COLUMNS} FROM connections_executionconnection c WHERE c.lane = ANY(%s::text[])
"""

# A lane goes with its sessions closed, but a read that is under way then opens one again; and an
# account whose settings changed may be in another lane now, with its session left behind here.
ORPHANED = f"""
SELECT {_COLUMNS} FROM connections_executionconnection c
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
WHERE c.lane = ANY(%s::text[]) AND {is_monitored_sql()} AND h.status <> 'UNTESTED'
  AND (h.read_after IS NULL OR h.read_after <= clock_timestamp())
  AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
"""


def idle_sql() -> str:
    """Nothing of ours is live there, and nobody has used it for long, nor uses its prices, or it is
    switched off."""
    return f"""
SELECT {_COLUMNS}, c.is_active AND c.archived_at IS NULL AS is_wanted
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE c.lane <> '' AND c.lane = ANY(%(lanes)s::text[])
  AND (NOT c.is_active OR c.archived_at IS NOT NULL
    OR greatest(h.last_used_at, h.last_tested_at, c.created_at)
      < clock_timestamp() - make_interval(secs => %(idle)s) AND NOT {provides_prices_sql("c.id")})
  AND NOT {is_open_sql("c.id")}
"""


BROKER_TYPES = """
SELECT DISTINCT type FROM connections_executionconnection
WHERE lane <> '' AND lane = ANY(%s::text[]) AND archived_at IS NULL
"""


class BrokerSessionManager:
    """What one process does about the sessions of its lanes. Its methods are rounds."""

    def __init__(
        self, lanes: LaneLeaseManager, dispatcher: OrderDispatcher, report_writer: ReportWriter
    ) -> None:
        self._lanes, self._dispatcher, self._report_writer = lanes, dispatcher, report_writer
        self._taken_lanes: set[str] = set()
        self._read_at = self._idle_checked_at = machine_time()
        self._leaving_since: dict[str, float] = {}
        self._woken: dict[UUID, float] = {}
        self._orphans_checked_at = float("-inf")
        self._known: set[UUID] = set()  # accounts that were in lanes of ours
        self._orphaned_since: dict[UUID, float] = {}  # of those that are not any more
        self._listening: dict[str, Future[None]] = {}
        self._unavailable_types: set[str] = set()  # kinds that this process cannot hear
        self._has_events = threading.Event()

    # ---- lanes come and go -----------------------------------------------------------------
    def maintain(self) -> None:
        """Close what was lost, take what is ours, give back what is too much."""
        if lost := self._lanes.drop_lost():
            self.close(rows(ACCOUNTS_OF_LANES, (array(lost),)))
        if taken := self._lanes.balance():
            self._taken_lanes |= set(taken)
            of_process.mark_active(str(row.id) for row in rows(IDS_OF_LANES, (array(taken),)))
        now = machine_time()
        if leaving := self._lanes.leaving:
            self._dispatcher.background_calls.cancel_queued(leaving)
        self._leaving_since = {n: self._leaving_since.get(n, now) for n in leaving}
        self.release([n for n in leaving if self._may_release(n, now - self._leaving_since[n])])
        if taken or now - self._orphans_checked_at >= ORPHANED_EVERY_SECONDS:
            self._close_orphaned(now)
            self._orphans_checked_at = now
        self._listen()

    def _may_release(self, lane: str, seconds: float) -> bool:
        return seconds > RELEASE_SECONDS or not self._dispatcher.is_lane_busy(lane)

    def release(self, names: Sequence[str]) -> None:
        """Write what came of their calls, close their sessions, end their leases."""
        if names:
            self._report_writer.drain(CLOSE_SECONDS)
            self.close(rows(ACCOUNTS_OF_LANES, (array(names),)))
            self._lanes.release(names)

    def _close_orphaned(self, now: float) -> None:
        """Close, again and again for a while, sessions of accounts that are no longer in our lanes:
        their next owner would be refused for as long as one is open here."""
        ours = self._lanes.names
        orphaned = rows(ORPHANED, (array(self._known), array(ours)))
        self._close(orphaned, self._dispatcher.calling_connections)
        self._orphaned_since = {
            row.connection_id: self._orphaned_since.get(row.connection_id, now) for row in orphaned
        }
        for one, since in self._orphaned_since.items():
            if now - since > ORPHANED_SECONDS:
                self._known.discard(one)
        self._known.update(row.id for row in rows(IDS_OF_LANES, (array(ours),)))

    def close(self, accounts: Sequence[Any]) -> None:
        """End the sessions of accounts, all at once."""
        self._close(accounts, frozenset)

    def _close(self, accounts: Sequence[Any], keep_open: Callable[[], Collection[str]]) -> None:
        """keep_open: asked on the loop, where calls begin; an order on its way would be UNKNOWN."""
        if not accounts:
            return
        try:
            results = self._dispatcher.run_call(_close(accounts, keep_open), CLOSE_SECONDS)
        except TimeoutError:
            log.warning("sessions do not end in time", accounts=len(accounts))
        else:
            for row, error in zip(accounts, results, strict=True):
                if error is not None:
                    log.warning("no end", connection=str(row.connection_id), error=repr(error))

    def read(self) -> None:
        """Read the accounts of lanes that were taken just now, which opens their sessions; now and
        then all that are due, and let rest who is idle. Whatever is wrong is told on its connection
        and tried again less and less often (`connections.health.probes`)."""
        if fresh := self._taken_lanes.copy():
            mark_disallowed(fresh)
            due = rows(to_open_sql(), (array(fresh),))
            self._taken_lanes -= fresh  # only now: whoever could not be looked for is in a second
            read_accounts(due, run=run_on_process_loop, adapter=adapter_for)
        now = machine_time()
        if now - self._idle_checked_at > CLOSE_IDLE_EVERY_SECONDS:
            self._idle_checked_at = now
            self.close_idle()
        if now - self._read_at > READ_EVERY_SECONDS:
            self._read_at = now
            refresh_due_accounts()

    # ---- who rests -------------------------------------------------------------------------
    def close_idle(self) -> None:
        """Close the sessions that nobody needs; now and then each is read and compared. Who is
        switched off needs none, and does not rest: once it is on again it is looked after at once.
        """
        of_process.snapshot_idle()
        seconds = settings.FILLCAST_SESSION_IDLE_SECONDS
        idle = rows(idle_sql(), {"lanes": array(self._lanes.held()), "idle": seconds})
        active = {row.connection_id for row in idle if row.is_wanted}
        waking = {one for one in active if self._is_waking(one)}
        of_process.mark_idle(active - waking)

        def in_use() -> set[str]:
            woken = {str(one) for one in active if not of_process.is_idle(one)}
            return self._dispatcher.calling_connections() | woken

        self._close([row for row in idle if row.connection_id not in waking], in_use)
        if waking:
            request_reconciliation(list(waking))

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
    def drain_events(self, drain: Callable[[], object]) -> None:
        """Wait a while for a broker to tell something, and have it applied at once."""
        if self._has_events.wait(RETRY_SECONDS):
            self._has_events.clear()
            drain()

    def stop(self) -> None:
        """Listen no more and close what is left: this process ends."""
        for listener in self._listening.values():
            listener.cancel()
        self.release(self._lanes.leaving)

    def _listen(self) -> None:
        """Have a listener for each kind of our lanes that tells things by itself."""
        broker_types = {row.type for row in rows(BROKER_TYPES, (array(self._lanes.held()),))}
        for broker_type in broker_types - self._listening.keys() - self._unavailable_types:
            try:
                capabilities = adapter_for(broker_type).capabilities(
                    ConnectionSpec(connection_id="", account="")
                )
            except Exception as error:  # its library is missing: the others are heard all the same
                log.warning("a kind is not heard", kind=broker_type, error=repr(error))
                self._unavailable_types.add(broker_type)
                continue
            if capabilities.event_stream:
                listener = asyncio.run_coroutine_threadsafe(
                    self._listen_to(broker_type), self._dispatcher.loop
                )
                self._listening[broker_type] = listener
        for broker_type in self._listening.keys() - broker_types:
            self._listening.pop(broker_type).cancel()

    async def _listen_to(self, broker_type: str) -> None:
        while True:
            try:
                async for _ in adapter_for(broker_type).stream_events():
                    self._has_events.set()
            except Exception as error:
                log.warning("a stream of events broke", kind=broker_type, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)


async def _close(
    accounts: Sequence[Any], keep_open: Callable[[], Collection[str]]
) -> list[BaseException | None]:
    busy = keep_open()

    async def close(row: Any) -> None:
        if str(row.connection_id) not in busy:
            await adapter_for(row.type).disconnect(spec_from_row(row))

    return list(await asyncio.gather(*map(close, accounts), return_exceptions=True))
