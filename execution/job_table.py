"""The table of jobs: what each trading process repeats, by its role."""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from alerts.inbox.publishing import is_any_due, publish_waiting, remove_old_alerts
from alerts.selectors import any_bot_listens
from common.clocks import machine_time
from common.db.table_statistics import analyze_new_tables
from common.operational.current import settings_now
from common.process.jobs import Job, Pool, seldom, steps
from connections import session_lanes
from connections.services import (
    alarm_silent_sources,
    flag_sources_without_worker,
    refresh_due_instruments,
    renew_doubted_instruments,
    retry_failed,
)
from connections.session_lanes import GENERAL
from connections.tasks import run_due_tests
from events import settings_upkeep
from events.services import deliver_if_overdue
from execution import services, tasks
from execution.audit import listings
from execution.base import clock_steps, dropped_messages, market_facts
from execution.base.high_water_mark import DataLossSuspectedError
from execution.disaster_recovery import epochs, restore_detector
from execution.funding import book_funding
from execution.monitoring import broker_positions, held_prices, watchdog
from execution.monitoring.condition_exits import close_settled
from execution.monitoring.condition_watch import wake_settled
from execution.monitoring.held_prices import HeldPriceMonitor
from execution.monitoring.level_sync import sync_levels
from execution.monitoring.loss_limits import apply_loss_limits
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.scan_heartbeat import late_scheduler_alarm, scan_if_overdue
from execution.monitoring.slice_averages import store_slice_averages
from execution.monitoring.stop_failover import take_over_missed_levels
from execution.monitoring.stop_rules import judge_due
from execution.monitoring.time_exits import close_due
from execution.monitoring.trigger_upkeep import keep_up_triggers
from execution.monitoring.unprotected_time import update_unprotected
from execution.reconciliation.reconcile import reconcile_at_intervals, reconcile_new
from execution.recovery import stale_orders, sweeps
from execution.recovery.order_polling import poll
from execution.recovery.unsent_orders import return_unsent_orders
from execution.runtime import broker_sessions, order_streams, poll_wakes, trading_runtime
from execution.runtime.event_news import news
from execution.runtime.event_stream import drain_and_wait, drain_events
from execution.runtime.lane_leases import LaneSelection
from execution.runtime.open_work import Work
from execution.signal_outcomes import report_outcomes
from execution.submission.deferral import prerequisites
from prices.broker_feeds import BrokerFeedManager
from prices.feed_runner import LIVE_STEP_SECONDS, FeedRunner

log = structlog.get_logger(__name__)

held_price_monitor = HeldPriceMonitor()
GUARD_SECONDS = 1.0
SCHEDULER_CHECK_SECONDS = 5.0  # for jobs that replace a scheduler that has stopped
RELEASE_EVERY_SECONDS = 5.0
UNSENT_PATIENCE_SECONDS = 5.0
OUTCOMES_SECONDS = 2.0
ALERTS_SECONDS = 30.0  # at once, while alerts wait
UPKEEP_SECONDS = 20.0
ALARM_SECONDS = 3600.0  # of jobs that run by their alarm
FIRST_BOT_SECONDS = 5.0  # until the first bot of an installation is listened to
SOURCES_SECONDS = 15.0  # a silent price source is an alarm within a minute
LANES_SECONDS, LISTINGS_SECONDS = 1.0, 60.0


def jobs_of_role(role: str, *, exits_only: bool = False) -> tuple[Job, ...]:
    """Return the jobs of a process. role: its queues, joined by +."""
    has_sessions = LaneSelection.of(role.split("+")).holds_session_lanes
    has_maintenance = tasks.MAINTENANCE in role
    jobs = _order_jobs(has_sessions=has_sessions)
    if not exits_only:
        jobs += _entry_jobs()
    if exits_only or has_sessions or has_maintenance:
        jobs += _position_jobs(has_sessions=has_sessions, has_maintenance=has_maintenance)
    if has_sessions or has_maintenance:
        jobs += _account_jobs(has_sessions=has_sessions)
    if has_sessions:
        jobs += _session_jobs()
    if has_maintenance:
        jobs += _maintenance_jobs()
    return jobs


def _poll_seconds() -> float:
    return settings_now().execution.poll_seconds


def _poll_interval() -> float:
    return float(settings_now().fill_tracking.update_interval_seconds)


def _compare_seconds() -> float:
    return settings_now().position_reconciliation.reconcile_interval_minutes * 60.0


def _order_jobs(*, has_sessions: bool) -> tuple[Job, ...]:
    """Return the jobs of every process: exits, reports of brokers, orders of dead processes."""
    # Only the process of a session gets its events; those of shared streams any process.
    events = Work.LANES if has_sessions else Work.EVENTS | Work.TRADES
    urgent = Pool.URGENT
    return (
        Job("due exits", _poll_seconds, _process_due_exits, Work.ORDERS, pool=urgent),
        Job("pending actions", _poll_seconds, _pending_actions, Work.TRADES, pool=urgent),
        # At once after a push of a broker, and after quotes that this process gave to paper.
        Job("events", _poll_seconds, _events_job(), events, news.alarm, urgent, waits=True),
        Job("order polling", _poll_interval, poll, Work.TRADES, poll_wakes.polls, urgent,
            waits=True),
        # It needs no kind of work: without new quotes it looks at nothing.
        Job("held prices", held_prices.RETRY_SECONDS, held_price_monitor.judge_after_rest,
            alarm=held_price_monitor.alarm, pool=urgent),
        Job("restore detector", restore_detector.CHECK_SECONDS, restore_detector.check,
            pool=urgent, waits=True),  # for Redis
        Job("order streams", order_streams.SECONDS, order_streams.maintain, Work.TRADES,
            order_streams.news_alarm, urgent),
        # Jobs of their own: they read files, and a disk that stands still stops no other.
        Job("journals", GUARD_SECONDS, _keep_up_journal),
        Job("unsent orders", _poll_seconds, _return_unsent_before_others, Work.ORDERS),
        Job("unknown orders", _poll_seconds,
            steps("unknown orders", OrphanRecovery().run, _query_unknown_orders), Work.ORDERS),
    )  # fmt: skip


def _entry_jobs() -> tuple[Job, ...]:
    """Return the jobs that send entries. They may wait for slots, and exits must not wait."""
    return (
        Job("due entries", _poll_seconds, _process_due_orders, Work.ORDERS, waits=True),
        # A job of its own: while entries keep coming, the other one does not end.
        Job("routed entries", _poll_seconds, services.execute_rerouted, Work.ORDERS, waits=True),
        Job("waiting alerts", _poll_seconds, _publish_alerts, waits=True),
    )


def _position_jobs(*, has_sessions: bool, has_maintenance: bool) -> tuple[Job, ...]:
    """Return the jobs that watch positions. Every process with exits has them."""
    rules = steps(
        "position rules",
        update_unprotected,
        judge_due,
        *([lambda: tasks.enqueue(wake_settled())] if has_maintenance else []),
    )
    exits = steps("timed exits", lambda: _execute(close_due()), lambda: _execute(close_settled()))
    watch = steps(
        "scheduler watch",
        late_scheduler_alarm(),
        _scan_if_overdue,  # it may wait for slots
        seldom(UPKEEP_SECONDS, dropped_messages.record_unreadable_rows),
    )
    urgent = Pool.URGENT
    return (
        Job("levels and positions", GUARD_SECONDS / 2, _sync_levels_and_positions, Work.POSITIONS,
            prerequisites, urgent, waits=True),
        Job("stop failover", GUARD_SECONDS, _take_over_missed_levels, Work.POSITIONS, pool=urgent),
        Job("position rules", GUARD_SECONDS, rules, Work.TRADES),
        Job("timed exits", GUARD_SECONDS, exits, Work.TRADES, waits=True),
        Job("loss limits", GUARD_SECONDS, lambda: _execute(apply_loss_limits()), Work.LIMITS),
        Job("scheduler watch", SCHEDULER_CHECK_SECONDS, watch),
        # At once after a refusal of this process, which an exit may wait for.
        Job("contradicted facts", SCHEDULER_CHECK_SECONDS, renew_doubted_instruments, Work.TRADES,
            market_facts.renewals, urgent, waits=True),
        Job("times in the future", ALARM_SECONDS, clock_steps.correct_after_step,
            alarm=clock_steps.ALARM, pool=urgent),
    )  # fmt: skip


def _account_jobs(*, has_sessions: bool) -> tuple[Job, ...]:
    """Return the jobs of processes that read accounts. Of those without sessions beat schedules the
    tests."""
    tests = Job("connection tests", _poll_seconds, run_due_tests, Work.LANES, waits=True)
    return (
        Job("requested reconciliations", _poll_seconds, reconcile_new, Work.LANES, waits=True),
        # It probes hosts that are down, for which entries wait: no test of a person delays it.
        Job("failed connections", _poll_seconds, retry_failed, Work.LANES, waits=True),
        *([tests] if has_sessions else []),
        Job("audit listings", _poll_seconds, listings.read_requested, Work.LANES, waits=True),
        Job("recovery epoch", _poll_seconds, lambda: _execute(epochs.process_open_epoch()),
            Work.LANES, waits=True),
    )  # fmt: skip


def _maintenance_jobs() -> tuple[Job, ...]:
    orders = steps(
        "order upkeep",
        sweeps.cancel_expired_working,
        stale_orders.resolve_stuck,
        stale_orders.alert_stale_unknown,
        services.flag_orders_without_worker,
        seldom(UPKEEP_SECONDS, keep_up_triggers),
    )
    upkeep = steps(
        "upkeep",
        report_outcomes,
        seldom(SCHEDULER_CHECK_SECONDS, dropped_messages.aggregate),
        # The first signals of a new installation are planned without any statistics.
        seldom(SCHEDULER_CHECK_SECONDS, analyze_new_tables),
        seldom(SOURCES_SECONDS, alarm_silent_sources),
        seldom(SOURCES_SECONDS, flag_sources_without_worker),
    )
    books = steps(
        "bookkeeping", services.close_dust, book_funding, store_slice_averages, remove_old_alerts
    )
    return (
        Job("order upkeep", _poll_seconds, orders, Work.ORDERS),
        Job("upkeep", OUTCOMES_SECONDS, upkeep),
        Job("overdue events", SCHEDULER_CHECK_SECONDS, deliver_if_overdue, waits=True),
        Job("bookkeeping", UPKEEP_SECONDS, books, gives_way=True),
        Job("outside watchdog", watchdog.PING_SECONDS, watchdog.ping, waits=True),
        Job("operational settings", settings_upkeep.SECONDS, settings_upkeep.run, waits=True),
        Job("telegram bots", _poll_seconds, _telegram_job(), waits=True, is_endless=True),
    )


def _session_jobs() -> tuple[Job, ...]:
    """Return the jobs for accounts in session lanes; beat schedules them for all other accounts."""

    def sessions() -> broker_sessions.BrokerSessionManager:
        return trading_runtime.get_runtime().sessions

    prices, seconds = _lane_prices_job()
    return (
        Job("session lanes", LANES_SECONDS, lambda: sessions().maintain(), waits=True),
        Job("account reads", LANES_SECONDS, lambda: sessions().read(), waits=True),
        Job("reconciliation", _compare_seconds, reconcile_at_intervals, Work.LANES,
            gives_way=True, waits=True),
        Job("instruments", LISTINGS_SECONDS, refresh_due_instruments, Work.LANES, gives_way=True,
            waits=True),
        # Stops that the engine guards are judged at them.
        Job("prices", seconds, prices, Work.LANES, pool=Pool.URGENT, waits=True),
    )  # fmt: skip


def _events_job() -> Callable[[], None]:
    """Return what applies the events of brokers with news, and every poll_seconds those of all."""
    drained_at = float("-inf")

    def run() -> None:
        nonlocal drained_at
        if broker_types := news.take():
            drain_and_wait(broker_types)
        if (now := machine_time()) - drained_at >= _poll_seconds():
            drained_at = now
            drain_events()

    return run


def _keep_up_journal() -> None:
    trading_runtime.get_runtime().keep_up_journal()


def _lane_prices_job() -> tuple[Callable[[], None], Callable[[], float]]:
    """Return what publishes the prices of accounts whose sessions this process holds, and how many
    seconds to wait after a run."""

    def ours() -> list[str]:
        return [lane for lane in session_lanes.held_lanes() if lane != GENERAL]

    runner = FeedRunner(BrokerFeedManager(ours, f"{socket.gethostname()}-{os.getpid()}"))
    return runner.step, lambda: max(LIVE_STEP_SECONDS, runner.seconds_without_sources())


def _execute(order_ids: Sequence[int]) -> None:
    """Execute exits in lanes of this process now; enqueue the others."""
    tasks.enqueue_for_other_lanes(order_ids)
    services.execute(order_ids, urgent=True)


def _process_due_exits() -> object:
    return services.process_due_orders(settings_now().execution.bundle_size, exits_only=True)


def _process_due_orders() -> object:
    return services.process_due_orders(settings_now().execution.bundle_size)


def _pending_actions() -> None:
    _execute(process_pending_actions())


def _publish_alerts() -> None:
    """Publish alerts of which no worker was notified: their message was lost, or Redis was down."""
    if not is_any_due():
        return
    runtime = trading_runtime.get_runtime()
    publish_waiting(seconds=ALERTS_SECONDS, is_ending=lambda: runtime.is_draining)


def _telegram_job() -> Callable[[], None]:
    """Return what polls the bots of feeds that this process holds. The library is loaded with the
    first bot: most processes poll none."""
    poller: list[Any] = []
    looks_at = 0.0

    def run() -> None:
        nonlocal looks_at
        if not poller:
            if machine_time() < looks_at:
                return
            looks_at = machine_time() + FIRST_BOT_SECONDS
            if not any_bot_listens():
                return
            from alerts.telegram.poller import TelegramPoller

            poller.append(TelegramPoller())
        runtime = trading_runtime.get_runtime()
        poller[0].run(lambda: runtime.is_draining)

    return run


def _take_over_missed_levels() -> None:
    _execute(take_over_missed_levels())


def _scan_if_overdue() -> None:
    _execute(scan_if_overdue())


def _sync_levels_and_positions() -> None:
    """Change levels and read positions at brokers: exits may wait for either."""
    sync_levels()
    _execute(broker_positions.refresh())


def _query_unknown_orders() -> None:
    runtime = trading_runtime.get_runtime()
    sweeps.query_unknown_orders(runtime.dispatcher, runtime.id)


def _return_unsent_orders() -> None:
    """Make due what was not sent by a dead process, or lost by this one.

    Not while the database may have been restored.
    """
    if restore_detector.is_suspect():
        return
    known_mark = restore_detector.known_mark()
    try:
        if trading_runtime.is_started():
            runtime = trading_runtime.get_runtime()
            runtime.lost_intents.return_unsent(runtime.id, known_mark)
        return_unsent_orders(known_mark)
    except DataLossSuspectedError as error:
        restore_detector.suspect(error)


_unsent_returned = threading.Event()


def _return_unsent_before_others() -> None:
    try:
        _return_unsent_orders()
    finally:
        _unsent_returned.set()


class OrphanRecovery:
    """Takes over from dead processes: their orders at each run, their look-ups less often."""

    def __init__(self) -> None:
        self._releases_at, self._patience = 0.0, UNSENT_PATIENCE_SECONDS

    def run(self) -> None:
        """Mark orphaned orders unknown; every few seconds release claims of look-ups.

        A process that starts after the lease of a dead one has ended reads its journal first. It
        waits for that no longer than some seconds: the journals may be on a disk.
        """
        _unsent_returned.wait(self._patience)
        self._patience = 0.0
        if taken := sweeps.mark_orphaned_unknown(trading_runtime.get_runtime().id):
            log.warning("looking up orders of a dead or inactive process", orders=taken)
        if (now := machine_time()) >= self._releases_at:
            self._releases_at = now + RELEASE_EVERY_SECONDS
            sweeps.release_claims()
