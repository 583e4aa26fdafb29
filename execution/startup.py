"""Which processes trade: what a Celery worker and the prices process start and stop."""

import gc
import os
import socket
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import structlog
from celery.signals import task_unknown, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import connection

from brokers.types import Quote
from common.clocks import machine_time
from common.database_errors import is_database_trouble
from connections import session_lanes
from connections.market_data import sources
from connections.services import mark_disallowed, refresh_due_instruments, retry_failed
from connections.session_lanes import GENERAL
from connections.tasks import run_due_tests
from events.services import deliver_if_overdue
from execution import services, tasks
from execution.audit import listings
from execution.base import dropped_messages
from execution.disaster_recovery import epochs, restore_detector
from execution.models import DroppedMessageCount
from execution.monitoring import broker_positions
from execution.monitoring.pending_actions import process_pending_actions, sync_levels
from execution.monitoring.scan_heartbeat import late_scheduler_alarm, scan_if_overdue
from execution.monitoring.stop_failover import take_over_missed_levels
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.unprotected_time import update_unprotected
from execution.reconciliation.reconcile import reconcile_all, reconcile_new
from execution.recovery import stale_orders, sweeps
from execution.recovery.order_polling import poll
from execution.runtime import trading_runtime
from execution.runtime.broker_sessions import BrokerSessionManager
from execution.runtime.event_stream import drain_events, drain_now
from execution.runtime.lane_leases import LaneSelection, OnLaneChange, ignore_lane_change
from execution.runtime.trading_runtime import BackgroundJob
from execution.signal_outcomes import report_outcomes
from prices.broker_feeds import BrokerFeedManager
from prices.event_loop import set_loop
from prices.feed_runner import STEP_SECONDS, FeedRunner
from prices.signals import prices_started, prices_stopped, quotes_at_paper, quotes_stored

log = structlog.get_logger(__name__)

_tick_monitor, _paper_has_events = TickMonitor(), threading.Event()
GUARD_SECONDS = 1.0
SCHEDULER_CHECK_SECONDS = 5.0  # what goes on without the scheduler
RETRY_SECONDS = 0.5
RELEASE_EVERY_SECONDS = 5.0
OUTCOMES_SECONDS = 2.0
LANES_SECONDS, EVENTS_SECONDS, COMPARE_SECONDS, LISTINGS_SECONDS = 1.0, 0.01, 300.0, 60.0


def connect() -> None:
    """Have every Celery worker of this project start a runtime beside its tasks."""
    worker_ready.connect(on_worker_ready, dispatch_uid="execution.runtime")
    worker_shutting_down.connect(on_worker_shutting_down, dispatch_uid="execution.drain")
    worker_shutdown.connect(on_worker_shutdown, dispatch_uid="execution.end")
    task_unknown.connect(on_task_unknown, dispatch_uid="execution.unknown_task")
    prices_started.connect(on_prices_started, dispatch_uid="execution.prices")
    prices_stopped.connect(on_worker_shutdown, dispatch_uid="execution.prices_end")
    # Two, so that the trouble of one does not keep the other from being called.
    quotes_stored.connect(on_quotes_stored, dispatch_uid="execution.ticks")
    quotes_stored.connect(on_quotes_at_broker, dispatch_uid="execution.quotes")
    quotes_at_paper.connect(on_quotes_at_paper, dispatch_uid="execution.quotes_at_paper")


def on_worker_ready(*, sender: Any, **_: Any) -> None:
    """Take a lease and start looking for work; the queues say what for."""
    queues = {queue.name for queue in sender.task_consumer.queues}
    role, exits_only = "+".join(sorted(queues)), queues == {tasks.EXITS}
    try:
        start_with_retry(
            role,
            exits_only=exits_only,
            on_lane_change=partial(_subscribe_lane_queue, sender, queues),
        )
    except Exception as error:  # Celery would only log it, and go on to fail every task
        log.exception("this worker cannot trade and ends", role=role)
        raise SystemExit(1) from error


def _subscribe_lane_queue(
    consumer: Any, initial_queues: Collection[str], lane: str, is_ours: bool
) -> None:
    """Hear a lane's bell for as long as it is ours. The consumer's own thread does it."""
    if lane in initial_queues:
        return
    consumer.call_soon(consumer.add_task_queue if is_ours else consumer.cancel_task_queue, lane)


def on_task_unknown(*, name: str = "", **_: Any) -> None:
    """Celery throws such a message away; somebody should know."""
    dropped_messages.record_dropped(DroppedMessageCount.Name.UNKNOWN_TASK, name)


def on_worker_shutting_down(**_: Any) -> None:
    """SIGTERM, in its handler: claim nothing new. What is in hand ends first."""
    trading_runtime.drain()


def on_worker_shutdown(**_: Any) -> None:
    """The last task is done: end the calls in hand, write their outcomes, end the lease."""
    trading_runtime.stop_runtime()
    set_loop(None)


def on_prices_started(**_: Any) -> None:
    """The prices process hears first what a paper broker has to tell."""
    start_trading("prices", exits_only=True)


def on_quotes_stored(
    *, data_connection_id: int, quotes: Sequence[Quote], waited: float = 0.0, **_: Any
) -> None:
    """Judge the levels that we guard by these quotes, at once."""
    if trading_runtime.is_started():
        tasks.enqueue(
            _tick_monitor.process_quotes(data_connection_id, quotes, waited), queue=tasks.EXITS
        )


def on_quotes_at_broker(*, at_paper: bool = True, **_: Any) -> None:
    """Quotes have reached the paper broker: apply what it told because of them."""
    if at_paper and trading_runtime.is_started():
        drain_events()


def on_quotes_at_paper(**_: Any) -> None:
    """The same of a real broker's quotes: who judges levels by those must not wait for paper's."""
    _paper_has_events.set()


def _drain_paper_events() -> None:
    if _paper_has_events.wait(RETRY_SECONDS):
        _paper_has_events.clear()
        drain_now()


def start_with_retry(
    role: str, *, exits_only: bool, on_lane_change: OnLaneChange = ignore_lane_change
) -> None:
    """Start trading as soon as the database is there: it may come up after its workers."""
    while True:
        try:
            start_trading(role, exits_only=exits_only, on_lane_change=on_lane_change)
        except Exception as error:
            if not is_database_trouble(error):
                raise
            log.warning("waiting for the database", role=role, error=str(error))
            connection.close()
            time.sleep(RETRY_SECONDS)
        else:
            return


def start_trading(
    role: str, *, exits_only: bool = False, on_lane_change: OnLaneChange = ignore_lane_change
) -> trading_runtime.TradingRuntime:
    """Start this process's runtime with its own looks for work; returns it."""
    jobs = _background_jobs(exits_only)
    selection = LaneSelection.of(role.split("+"))
    if exits_only or selection.holds_session_lanes or tasks.MAINTENANCE in role:
        jobs += (
            ("guardians", GUARD_SECONDS, _take_over_missed_levels),
            ("protection", GUARD_SECONDS, update_unprotected),
            ("holdings", GUARD_SECONDS / 2, _sync_levels_and_positions),
            ("overdue level scan", SCHEDULER_CHECK_SECONDS, _scan_if_overdue),
            ("late scheduler", SCHEDULER_CHECK_SECONDS, late_scheduler_alarm()),
        )
    seconds = settings.FILLCAST_POLL_SECONDS
    if selection.holds_session_lanes or tasks.MAINTENANCE in role:
        jobs += (
            ("startup gate", seconds, reconcile_new),
            ("look again", seconds, retry_failed),
            ("listings for the audit", seconds, listings.read_requested),
            ("epoch", seconds, lambda: _execute(epochs.process_open_epoch())),
        )
    if selection.holds_session_lanes:
        jobs += _session_jobs(seconds)
    if tasks.MAINTENANCE in role:
        jobs += (
            ("outlived", seconds, sweeps.cancel_expired_working),
            ("dust", seconds, services.close_dust),
            ("stuck", seconds, stale_orders.resolve_stuck),
            ("limbo", seconds, stale_orders.alert_stale_unknown),
            ("add up what was dropped", seconds, dropped_messages.aggregate),
            ("signal outcomes", OUTCOMES_SECONDS, report_outcomes),
            ("overdue events", SCHEDULER_CHECK_SECONDS, deliver_if_overdue),
            ("lanes nobody holds", seconds, services.flag_orders_without_worker),
            ("prices nobody follows", COMPARE_SECONDS / 10, sources.flag_without_worker),
        )
    restore_detector.start()  # before anything is claimed
    if tasks.MAINTENANCE in role:  # what has a session is judged by whoever takes its lane
        mark_disallowed([GENERAL])
    _tune_gc()
    runtime = trading_runtime.start_runtime(role, on_lane_change, jobs=jobs)
    set_loop(runtime.dispatcher.loop)  # what follows prices waits for it
    return runtime


def _tune_gc() -> None:
    """Let the garbage collector never look again at what was imported.

    A bundle makes thousands of objects, and each of its collections would walk through all of
    Django: a sixth of what an order costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _background_jobs(exits_only: bool) -> tuple[BackgroundJob, ...]:
    poll_seconds = settings.FILLCAST_POLL_SECONDS
    bundle = settings.FILLCAST_BUNDLE_SIZE
    jobs: tuple[BackgroundJob, ...] = (
        (
            "look for exits",
            poll_seconds,
            lambda: services.process_due_orders(bundle, exits_only=True),
        ),
        ("take over", poll_seconds, OrphanRecovery().run),
        ("ask brokers", poll_seconds, _query_unknown_orders),
        ("wishes", poll_seconds, lambda: _execute(process_pending_actions())),
        ("events", poll_seconds, drain_events),
        ("news of paper", EVENTS_SECONDS, _drain_paper_events),
        ("poll", settings.FILLCAST_UPDATE_INTERVAL_SECONDS, poll),
        ("witness", restore_detector.CHECK_SECONDS, restore_detector.check),
    )
    if exits_only:
        return jobs
    # On a thread of its own: a wire that is full of entries must not keep exits from being seen.
    return (*jobs, ("look", poll_seconds, lambda: services.process_due_orders(bundle)))


def _session_jobs(seconds: float) -> tuple[BackgroundJob, ...]:
    """What a process does for its lanes that others do for all accounts by beat's bell."""

    def sessions() -> BrokerSessionManager:
        return trading_runtime.get_runtime().sessions

    return (
        ("lanes", LANES_SECONDS, lambda: sessions().maintain()),
        ("news", EVENTS_SECONDS, lambda: sessions().drain_events(drain_now)),
        ("accounts", LANES_SECONDS, lambda: sessions().read()),
        ("tests", seconds, run_due_tests),
        ("compare", COMPARE_SECONDS, reconcile_all),
        ("listings", LISTINGS_SECONDS, refresh_due_instruments),
        ("prices", STEP_SECONDS, _lane_price_runner().step),
    )


def _lane_price_runner() -> FeedRunner:
    """Carries the prices of the accounts that only this process may speak to."""

    def ours() -> list[str]:
        return [lane for lane in session_lanes.held_lanes() if lane != GENERAL]

    return FeedRunner(BrokerFeedManager(ours, f"{socket.gethostname()}-{os.getpid()}"))


def _execute(order_ids: Sequence[int]) -> None:
    """Send exits: those of our lanes now, the others by their bell."""
    tasks.enqueue_for_other_lanes(order_ids)
    services.execute(order_ids, urgent=True)


def _take_over_missed_levels() -> None:
    _execute(take_over_missed_levels())


def _scan_if_overdue() -> None:
    _execute(scan_if_overdue())


def _sync_levels_and_positions() -> None:
    """What exits wait for at accounts where they may not leave beside live protection."""
    sync_levels()
    _execute(broker_positions.refresh())


def _query_unknown_orders() -> None:
    runtime = trading_runtime.get_runtime()
    sweeps.query_unknown_orders(runtime.dispatcher, runtime.id)


class OrphanRecovery:
    """Takes over from dead processes: orders at each look, claims of look-ups now and then."""

    def __init__(self) -> None:
        self._releases_at = 0.0

    def run(self) -> None:
        """Look once."""
        if taken := sweeps.mark_orphaned_unknown(trading_runtime.get_runtime().id):
            log.warning("orders of a dead or silent process are looked up", orders=taken)
        if (now := machine_time()) >= self._releases_at:
            self._releases_at = now + RELEASE_EVERY_SECONDS
            sweeps.release_claims()
