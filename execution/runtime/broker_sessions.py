"""The broker sessions of the lanes that this process holds.

After a lane is taken, its accounts are read and compared at once, which opens their sessions; an
error is stored on the connection. Sessions are closed when their lane is lost or released, when
their account is switched off, and when it was idle for long. Events that a broker pushes are
applied within milliseconds.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from uuid import UUID
from zlib import crc32

import structlog

from brokers.base import outcome_of
from brokers.registry import adapter_for, capabilities_if_usable
from common.clocks import machine_time
from common.db.sql import array, rows
from common.operational.current import settings_now
from connections import session_lanes
from connections.selectors import (
    IdleAccount,
    LaneAccount,
    accounts_of_lanes,
    accounts_outside_lanes,
    accounts_to_open_sql,
    broker_types_of_lanes,
    idle_accounts_sql,
    ids_of_lanes,
    spec_from_row,
)
from connections.services import (
    deactivate_disallowed,
    read_accounts,
    refresh_due_accounts,
    run_on_process_loop,
)
from execution.base.reconciliation_requests import request_reconciliation
from execution.dispatch.order_dispatcher import OrderDispatcher
from execution.dispatch.report_writer import ReportWriter
from execution.runtime.event_news import news
from execution.runtime.lane_leases import LaneLeaseManager

log = structlog.get_logger(__name__)
CLOSE_SECONDS = 3.0
RELEASE_SECONDS = 20.0  # for calls in flight; then the lane is released, and they are UNKNOWN
CLOSE_IDLE_EVERY_SECONDS = 60.0
WAKE_SECONDS = 600  # idle accounts are read this often: the next order needs a recent balance
READ_EVERY_SECONDS = 20.0
RETRY_SECONDS = 1.0  # after a stream broke
ORPHANED_EVERY_SECONDS = 5.0
# A read that began in time may open a session this late (`broker_queries.MAX_SECONDS`).
ORPHANED_SECONDS = 310.0


class BrokerSessionManager:
    """Opens and closes the sessions of one process's lanes. Background jobs call its methods."""

    def __init__(
        self, lanes: LaneLeaseManager, dispatcher: OrderDispatcher, report_writer: ReportWriter
    ) -> None:
        self._lanes, self._dispatcher, self._report_writer = lanes, dispatcher, report_writer
        self._taken_lanes: set[str] = set()
        self._read_at = self._idle_checked_at = machine_time()
        self._releasing_since: dict[str, float] = {}
        self._woken: dict[UUID, float] = {}  # idle accounts: when they were last read
        self._orphans_checked_at = float("-inf")
        self._known: set[UUID] = set()  # accounts that were in our lanes
        self._orphaned_since: dict[UUID, float] = {}  # those that no longer are
        self._listening: dict[str, Future[None]] = {}
        self._unavailable_types: set[str] = set()  # broker types whose events cannot be read here

    # ---- lanes -----------------------------------------------------------------------------
    def maintain(self) -> None:
        """Close the sessions of lost lanes, take free lanes, release those beyond our share."""
        if lost := self._lanes.pop_lost():
            self.close(accounts_of_lanes(lost))
        if taken := self._lanes.balance():
            self._taken_lanes |= set(taken)
            session_lanes.mark_active(map(str, ids_of_lanes(taken)))
        now = machine_time()
        if releasing := self._lanes.releasing:
            self._dispatcher.background_calls.cancel_queued(releasing)
        self._releasing_since = {n: self._releasing_since.get(n, now) for n in releasing}
        self.release([n for n in releasing if self._may_release(n, now - self._releasing_since[n])])
        if taken or now - self._orphans_checked_at >= ORPHANED_EVERY_SECONDS:
            self._close_orphaned(now)
            self._orphans_checked_at = now
        self._listen()

    def _may_release(self, lane: str, seconds: float) -> bool:
        return seconds > RELEASE_SECONDS or not self._dispatcher.is_lane_busy(lane)

    def release(self, names: Sequence[str]) -> None:
        """Write the results of the lanes' calls, close their sessions and end their leases."""
        if names:
            self._report_writer.drain(CLOSE_SECONDS)
            self.close(accounts_of_lanes(names))
            self._lanes.release(names)

    def _close_orphaned(self, now: float) -> None:
        """Close sessions of accounts that have left our lanes, repeatedly for a while.

        A lane is released with its sessions closed, but a read in flight may open one again. And an
        account whose settings changed may be in another lane now. A broker may refuse the new owner
        while a session is open here.
        """
        ours = self._lanes.names
        orphaned = accounts_outside_lanes(self._known, ours)
        self._close(orphaned, self._dispatcher.calling_connections)
        self._orphaned_since = {
            row.connection_id: self._orphaned_since.get(row.connection_id, now) for row in orphaned
        }
        for connection_id, since in self._orphaned_since.items():
            if now - since > ORPHANED_SECONDS:
                self._known.discard(connection_id)
        self._known.update(ids_of_lanes(ours))

    def close(self, accounts: Sequence[LaneAccount | IdleAccount]) -> None:
        """Close the sessions of accounts concurrently."""
        self._close(accounts, frozenset)

    def _close(
        self,
        accounts: Sequence[LaneAccount | IdleAccount],
        keep_open: Callable[[], Collection[str]],
    ) -> None:
        """keep_open: returns the connections to skip, such as those with a call in flight, whose
        order would become UNKNOWN. It is called on the loop, where calls start."""
        if not accounts:
            return
        try:
            results = self._dispatcher.run_call(_close(accounts, keep_open), CLOSE_SECONDS)
        except TimeoutError:
            log.warning("sessions not closed in time", accounts=len(accounts))
        else:
            for row, error in zip(accounts, results, strict=True):
                if error is not None:
                    log.warning(
                        "session not closed", connection=str(row.connection_id), error=repr(error)
                    )

    def read(self) -> None:
        """Read the accounts of lanes just taken, which opens their sessions.

        Less often it also reads all accounts that are due and closes idle ones. An error is stored
        on its connection and retried with a back-off (`connections.health.probes`).
        """
        if taken := self._taken_lanes.copy():
            deactivate_disallowed(taken)
            due = rows(accounts_to_open_sql(), (array(taken),))
            self._taken_lanes -= taken  # only now: if the query fails, the next run repeats it
            read_accounts(due, run=run_on_process_loop, adapter=adapter_for)
        now = machine_time()
        if now - self._idle_checked_at > CLOSE_IDLE_EVERY_SECONDS:
            self._idle_checked_at = now
            self.close_idle()
        if now - self._read_at > READ_EVERY_SECONDS:
            self._read_at = now
            refresh_due_accounts()

    # ---- idle accounts ---------------------------------------------------------------------
    def close_idle(self) -> None:
        """Close the sessions of idle accounts; each is still read and compared every few minutes.

        An account that is switched off is not marked idle: once it is on again, it is monitored at
        once.
        """
        session_lanes.begin_idle_update()
        seconds = settings_now().execution.session_idle_seconds
        idle = rows(idle_accounts_sql(), {"lanes": array(self._lanes.held()), "idle": seconds})
        active = {row.connection_id for row in idle if row.is_on}
        waking = {connection_id for connection_id in active if self._is_waking(connection_id)}
        session_lanes.mark_idle(active - waking)

        def in_use() -> set[str]:
            woken = {str(account) for account in active if not session_lanes.is_idle(account)}
            return self._dispatcher.calling_connections() | woken

        self._close([row for row in idle if row.connection_id not in waking], in_use)
        if waking:
            request_reconciliation(list(waking))

    def _is_waking(self, connection_id: UUID) -> bool:
        """Return whether an idle account is read now; their times are spread evenly."""
        now = machine_time()
        woken = self._woken.setdefault(
            connection_id, now - crc32(connection_id.bytes) % WAKE_SECONDS
        )
        if now - woken < WAKE_SECONDS:
            return False
        self._woken[connection_id] = now
        return True

    # ---- events ----------------------------------------------------------------------------
    def stop(self) -> None:
        """Stop all listeners and release the lanes: this process is ending."""
        for listener in self._listening.values():
            listener.cancel()
        self.release(self._lanes.releasing)

    def _listen(self) -> None:
        """Run a listener for each broker type in our lanes that has an event stream."""
        broker_types = broker_types_of_lanes(self._lanes.held())
        for broker_type in broker_types - self._listening.keys() - self._unavailable_types:
            capabilities = capabilities_if_usable(broker_type, with_library=True)
            if capabilities is None:
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
        """Note each event of the broker type, until cancelled."""
        while True:
            error = await outcome_of(self._read_stream(broker_type))
            if error is not None:
                log.warning("event stream failed", broker_type=broker_type, error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _read_stream(self, broker_type: str) -> None:
        async for _ in adapter_for(broker_type).stream_events():
            news.add(broker_type)


async def _close(
    accounts: Sequence[LaneAccount | IdleAccount], keep_open: Callable[[], Collection[str]]
) -> list[BaseException | None]:
    busy = keep_open()

    async def close(row: LaneAccount | IdleAccount) -> None:
        if str(row.connection_id) not in busy:
            await adapter_for(row.type).disconnect(spec_from_row(row))

    return list(await asyncio.gather(*map(close, accounts), return_exceptions=True))
