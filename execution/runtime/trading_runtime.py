"""The threads of a trading process: lease, dispatcher, report writer and background jobs."""

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import close_old_connections, connection

from brokers import rate_limits
from brokers.base import ReadFailed
from brokers.maintenance_windows import Maintenance
from common.clocks import machine_time
from common.db.sql import exchange, run
from common.operational.current import follow, settings_now
from common.process import stored_figures
from common.process.free_memory import RELEASED_EVERY_SECONDS, release_free_memory
from common.process.jobs import Job, Pool, run_guarded, seldom, steps
from common.process.scheduler import Scheduler
from common.reason_codes import Code
from connections import session_lanes
from connections.selectors import ANY_WINDOW, OPEN_HOSTS, windows_open_now
from connections.services import run_on_process_loop, set_call_runner
from execution.base.clock_steps import notice_step
from execution.base.kill_switch import CURRENT_HALTS, halts_of
from execution.dispatch.journal_folder import journal_folder
from execution.dispatch.journal_upkeep import JournalUpkeep
from execution.dispatch.lost_intents import LostIntents
from execution.dispatch.order_dispatcher import (
    PROCESS_ENDING,
    KillSwitchSnapshot,
    OrderDispatcher,
    ProcessEndingError,
)
from execution.dispatch.report_writer import ReportWriter
from execution.dispatch.send_journal import SendJournal
from execution.runtime.broker_sessions import BrokerSessionManager
from execution.runtime.health_recorder import HealthRecorder
from execution.runtime.lane_leases import (
    LaneLeaseManager,
    LaneSelection,
    OnLaneChange,
    ignore_lane_change,
)
from execution.runtime.open_work import READ_SECONDS, OpenWork
from execution.submission.deferral import deferred_by_brokers, wake_hosts
from execution.submission.outcomes import Deferred
from prices import event_loop

log = structlog.get_logger(__name__)
T = TypeVar("T")


HEALTH_SECONDS = 1.0
MAX_READ_SECONDS = 120
JOBS_END_SECONDS = 2.0  # time for running background jobs to end before the process does

RENEW = """
INSERT INTO execution_workerlease (id, role, host, pid, lease_until)
VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (id) DO UPDATE SET lease_until = EXCLUDED.lease_until
RETURNING 1 + (SELECT count(*) FROM execution_workerlease other
    WHERE other.id <> execution_workerlease.id AND other.lease_until > clock_timestamp())
  AS processes,
  coalesce(extract(epoch FROM (SELECT max(before.lease_until) FROM execution_workerlease before)
    - execution_workerlease.lease_until), 0)::float8 AS ahead
"""
DELETE_EXPIRED_LEASES = """
DELETE FROM execution_workerlease WHERE id = ANY(ARRAY(
  SELECT id FROM execution_workerlease WHERE lease_until < clock_timestamp() - interval '1 day'
  FOR UPDATE SKIP LOCKED))
"""


class TradingRuntime:
    """The threads of one trading process. Call `start` once; `stop` ends them in order."""

    def __init__(self, role: str, on_lane_change: OnLaneChange = ignore_lane_change) -> None:
        """role: its queues, joined by +. on_lane_change: see `LaneLeaseManager`."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.role = role
        self._lease = settings.FILLCAST_LEASE_SECONDS
        self.kill_switch = KillSwitchSnapshot(self._lease)
        self.lanes = LaneLeaseManager(
            self.id, LaneSelection.of(role.split("+")), self._lease, on_lane_change
        )
        self._send_journal = SendJournal.none()
        self.hosts_down: frozenset[str] = frozenset()
        self.maintenance: tuple[Maintenance, ...] = ()
        self.dispatcher = OrderDispatcher(
            slots=settings_now().execution.dispatch_slots,
            call_timeout=lambda: settings_now().execution.call_timeout_seconds,
            kill_switch=self.kill_switch,
            lane_deadline=self.lanes.until,
            may_begin=self.lanes.may_begin,
            record_send=lambda order_id, fence: self._send_journal.record(order_id, fence),
            distrust_records=lambda: self._send_journal.close(),
        )
        self.lost_intents = LostIntents(
            self.dispatcher, lambda order_id, fence: self._send_journal.lacks(order_id, fence)
        )
        self.health = HealthRecorder()
        self.report_writer = ReportWriter(
            self.dispatcher.results,
            self.health.record,
            awaits_reports=self.dispatcher.awaits_reports,
            awaits_results=self.dispatcher.background_calls.awaits_results,
        )
        self.sessions = BrokerSessionManager(self.lanes, self.dispatcher, self.report_writer)
        self._stopping, self._ended = threading.Event(), threading.Event()
        self.open_work = OpenWork(lambda: self.jobs.wake())
        self.jobs = Scheduler(self._stopping, self.open_work.postponed)
        self._stop_following: Callable[[], object] = lambda: None
        self._is_draining = self._all_written = False
        self._renewing: threading.Thread | None = None

    @property
    def is_draining(self) -> bool:
        """Whether the process is to end: it claims nothing new."""
        return self._is_draining

    def start(self) -> None:
        """Take the lease and start the threads that broker calls need.

        A process that crashed left its lease; the doctor reports it for a day, then it is deleted.
        """
        run(DELETE_EXPIRED_LEASES)
        self.renew()
        self._send_journal = SendJournal.open(journal_folder(), self.id)
        self._journal_upkeep = JournalUpkeep(self._send_journal, self.id)
        session_lanes.register_held_lanes(self.lanes.held)
        self.dispatcher.start()
        # Connection tests and account reads share the adapters' sessions.
        set_call_runner(self._run_for_connections)
        self.report_writer.start()
        self._renewing = threading.Thread(target=self._keep_renewing, daemon=True, name="renew")
        self._renewing.start()
        self._stop_following = follow(lambda _: self.jobs.follow_paces())
        upkeep = steps(
            "process upkeep",
            self.health.write,
            seldom(stored_figures.STORE_SECONDS, stored_figures.store),
            seldom(RELEASED_EVERY_SECONDS, release_free_memory),
        )
        self.jobs.add([Job("process upkeep", HEALTH_SECONDS, upkeep)])

    def keep_up_journal(self) -> None:
        """Make space in the journal of this process: a step of a job that uses the disk."""
        self._journal_upkeep.run()

    def _keep_renewing(self) -> None:
        """Renew until the last outcome is written: a process that drains is alive."""
        while not self._ended.wait(min(1.0, self._lease / 4)):
            run_guarded("renew", self.renew)
            close_old_connections()
        connection.close()

    def _run_for_connections(self, call: Coroutine[Any, Any, None]) -> None:
        """Run a connection test or account reads on the loop.

        Raises LaneNotHeldError if this process ends meanwhile: that proves nothing about the
        accounts, and another process repeats the calls.
        """
        try:
            self.dispatcher.run_call(call, MAX_READ_SECONDS)
        except ProcessEndingError as error:
            raise session_lanes.LaneNotHeldError(error.code, error.detail) from error

    def start_background_jobs(self, jobs: Sequence[Job]) -> None:
        """Repeat these jobs, and read what there is for them. They may call `get_runtime`."""
        read = Job("open work", READ_SECONDS, self.open_work.read, pool=Pool.URGENT)
        self.jobs.add([read, *jobs])

    def renew(self) -> None:
        """Renew the leases of the process and its lanes; read the kill switch and the hosts down.

        The number of trading processes divides the brokers' rate limits.
        """
        read_at = machine_time()
        owner = (self.id, self.role, socket.gethostname(), os.getpid(), self._lease)
        [live], halts, hosts, [windows] = exchange(
            [(RENEW, owner), (CURRENT_HALTS, None), (OPEN_HOSTS, None), (ANY_WINDOW, None)]
        )
        self.lanes.renew()
        self.dispatcher.slots.resize(settings_now().execution.dispatch_slots)
        rate_limits.configure(settings.REDIS_URL, live.processes)
        notice_step(live.ahead)
        self.kill_switch.update(halts_of(halts), read_at)
        previous, self.hosts_down = self.hosts_down, frozenset(row.host for row in hosts)
        wake_hosts(previous - self.hosts_down)
        self.maintenance = windows_open_now(has_own=windows.is_any)

    def deferred_connections(self, entries: Sequence[Any]) -> dict[str, Deferred]:
        """Return the connections whose entries wait, with the reason.

        Their broker is in a maintenance window, their host is down, or they are slow and all slots
        for slow accounts are used.
        """
        deferred = deferred_by_brokers(entries, self.hosts_down, self.maintenance)
        throttled = self.dispatcher.throttled(
            {row.connection_id for row in entries} - deferred.keys()
        )
        return deferred | dict.fromkeys(throttled, Deferred(Code.BROKER_SLOW))

    def drain(self) -> None:
        """Claim nothing new from now on. Safe in a signal handler.

        A second signal may come while the first one's handler holds the event's lock, and would
        wait for it for ever.
        """
        if not self._is_draining:
            self._is_draining = True
            self._stopping.set()

    def stop(self, timeout: float = 8.0) -> bool:
        """Wait for calls in flight, write their outcomes and end the leases.

        timeout: seconds for the calls, then for their outcomes. Returns whether all were written. A
        second call does nothing.
        """
        if self._ended.is_set():
            return self._all_written
        self.drain()
        self._stop_following()
        self.jobs.wake()
        self.lanes.release_all()
        self.dispatcher.background_calls.cancel_queued()
        idle = self.dispatcher.wait_idle(timeout) and self.report_writer.drain(timeout)
        if not idle:
            log.warning("calls still in flight; their orders will be looked up", id=self.id)
        event_loop.shutdown(self.dispatcher.loop, 2)  # or price streams would open sessions again
        self.sessions.stop()
        self.dispatcher.disconnect(2)
        self.report_writer.stop()
        self.report_writer.join(2)
        self.health.write()
        set_call_runner(_refuse)  # before the loop stops: later calls would wait for a time-out
        session_lanes.register_held_lanes()
        self.dispatcher.stop()
        self._all_written = idle
        self._ended.set()
        if self._renewing is not None:
            self._renewing.join(2)  # or it would write the lease again
        # A job that goes on could open sessions in lanes of other processes, on a loop of its own.
        if self.jobs.wait_ended(JOBS_END_SECONDS):
            set_call_runner()
        self.lanes.release(self.lanes.names)  # taken by a job meanwhile
        if idle:  # else what is in flight is settled by another process
            self._send_journal.close()
        run("DELETE FROM execution_workerlease WHERE id = %s", (self.id,))
        return idle


def _refuse(call: Coroutine[Any, Any, None]) -> None:
    """Refuse a broker call of a process that is ending. Raises LaneNotHeldError."""
    call.close()
    raise session_lanes.LaneNotHeldError(Code.NO_SESSION_WORKER, PROCESS_ENDING)


_runtime: TradingRuntime | None = None
_lock = threading.Lock()


def get_runtime() -> TradingRuntime:
    """Return this process's runtime. Raises RuntimeError if none was started."""
    if _runtime is None:
        raise RuntimeError("This process does not trade: no runtime was started.")
    return _runtime


def is_started() -> bool:
    """Return whether this process trades."""
    return _runtime is not None


def run_call(call: Coroutine[Any, Any, T]) -> T:
    """Run a broker call on the dispatcher's loop, or on a loop of its own if this does not trade.

    Raises ReadFailed NO_SESSION_WORKER if this process is ending, and TimeoutError.
    """
    if (runtime := _runtime) is not None:
        return runtime.dispatcher.run_call(call, MAX_READ_SECONDS)
    result: list[T] = []

    async def with_timeout() -> None:
        async with asyncio.timeout(MAX_READ_SECONDS):
            result.append(await call)

    try:
        run_on_process_loop(with_timeout())
    except session_lanes.LaneNotHeldError as error:
        call.close()
        raise ReadFailed(Code.NO_SESSION_WORKER, PROCESS_ENDING) from error
    return result[0]


def start_runtime(
    role: str,
    on_lane_change: OnLaneChange = ignore_lane_change,
    *,
    jobs: Sequence[Job] = (),
) -> TradingRuntime:
    """Start this process's runtime with its background jobs, unless it is running; return it."""
    global _runtime
    with _lock:
        if _runtime is None:
            runtime = TradingRuntime(role, on_lane_change)
            runtime.start()
            _runtime = runtime
            runtime.start_background_jobs(jobs)
        return _runtime


def drain() -> None:
    """Claim nothing new in this process. Safe in a signal handler: takes no lock."""
    if _runtime is not None:
        _runtime.drain()


def stop_runtime() -> None:
    """Stop this process's runtime, if there is one."""
    global _runtime
    with _lock:
        if _runtime is not None:
            _runtime.stop()
            _runtime = None
