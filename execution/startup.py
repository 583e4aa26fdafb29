"""Start and stop trading, with its background jobs, in Celery workers and the prices process."""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import structlog
from celery.signals import (
    task_postrun,
    task_unknown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from django.db import InterfaceError, InternalError, OperationalError, connection

from alerts.inbox.publishing import is_any_due, publish_waiting, remove_old_alerts
from alerts.selectors import any_bot_listens
from brokers.types import Quote
from common.clocks import machine_time
from common.db import shared_sessions
from common.db.errors import is_database_trouble
from common.db.table_statistics import analyze_new_tables
from common.operational.current import settings_now
from common.process import stored_figures, task_figures
from common.process.free_memory import RELEASED_EVERY_SECONDS, release_free_memory
from common.process.gc_tuning import exclude_imports_from_gc
from connections import session_lanes
from connections.services import (
    alarm_silent_sources,
    deactivate_disallowed,
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
from execution.base.job_alarm import JobAlarm
from execution.disaster_recovery import epochs, restore_detector
from execution.funding import book_funding
from execution.models import DroppedMessageCount
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
from execution.monitoring.stop_rules import StopRuleMonitor, judge_due
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.time_exits import close_due
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.monitoring.trigger_upkeep import keep_up_triggers
from execution.monitoring.unprotected_time import update_unprotected
from execution.reconciliation.reconcile import reconcile_at_intervals, reconcile_new
from execution.recovery import stale_orders, sweeps
from execution.recovery.order_polling import poll
from execution.recovery.unsent_orders import return_unsent_orders
from execution.runtime import order_streams, poll_wakes, trading_runtime
from execution.runtime.broker_sessions import BrokerSessionManager
from execution.runtime.event_stream import drain_and_wait, drain_events
from execution.runtime.lane_leases import LaneSelection, OnLaneChange, ignore_lane_change
from execution.runtime.open_work import Work
from execution.runtime.trading_runtime import BackgroundJob, Pace
from execution.signal_outcomes import report_outcomes
from execution.submission.deferral import prerequisites
from prices.broker_feeds import BrokerFeedManager
from prices.event_loop import set_loop
from prices.feed_runner import LIVE_STEP_SECONDS, FeedRunner
from prices.signals import (
    prices_started,
    prices_stopped,
    quotes_arrived,
    quotes_at_paper,
    quotes_stored,
)

log = structlog.get_logger(__name__)

_tick_monitor = TickMonitor()
_paper_events = JobAlarm()
_stop_rule_monitor = StopRuleMonitor()
_trigger_monitor = TriggerMonitor()
_held_price_monitor = HeldPriceMonitor()
GUARD_SECONDS = 1.0
SCHEDULER_CHECK_SECONDS = 5.0  # for jobs that replace a scheduler that has stopped
RETRY_SECONDS = 0.5
RELEASE_EVERY_SECONDS = 5.0
UNSENT_PATIENCE_SECONDS = 5.0
OUTCOMES_SECONDS = 2.0
ALERTS_SECONDS = 30.0  # at once, while alerts wait
STATISTICS_SECONDS = 5.0  # the first signals of a new installation are planned without any
DUST_SECONDS = 10.0  # it reads the listed instruments of all accounts; nothing waits for it
UPKEEP_SECONDS = 20.0
CLEARING_SECONDS = 30.0
ALARM_SECONDS = 3600.0  # of jobs that run by their alarm
FIRST_BOT_SECONDS = 5.0  # until the first bot of an installation is listened to
SILENT_SOURCES_SECONDS = 15.0  # an alarm within a minute
LANES_SECONDS, EVENTS_SECONDS, LISTINGS_SECONDS = 1.0, 0.01, 60.0


def connect() -> None:
    """Connect the signals that start and stop trading in this project's processes."""
    worker_ready.connect(on_worker_ready, dispatch_uid="execution.runtime")
    worker_shutting_down.connect(on_worker_shutting_down, dispatch_uid="execution.drain")
    worker_shutdown.connect(on_worker_shutdown, dispatch_uid="execution.end")
    task_unknown.connect(on_task_unknown, dispatch_uid="execution.unknown_task")
    task_figures.connect()
    task_postrun.connect(on_task_end, dispatch_uid="execution.task_end")
    prices_started.connect(on_prices_started, dispatch_uid="execution.prices")
    prices_stopped.connect(on_worker_shutdown, dispatch_uid="execution.prices_end")
    # Several receivers: an error in one does not prevent the others' calls. Exits come first.
    quotes_arrived.connect(on_quotes_arrived, dispatch_uid="execution.ticks")
    quotes_stored.connect(on_quotes_for_stop_rules, dispatch_uid="execution.stop_rules")
    quotes_stored.connect(on_quotes_for_triggers, dispatch_uid="execution.triggers")
    quotes_stored.connect(on_quotes_at_broker, dispatch_uid="execution.quotes")
    quotes_stored.connect(on_quotes_for_polls, dispatch_uid="execution.polls")
    quotes_at_paper.connect(on_quotes_at_paper, dispatch_uid="execution.quotes_at_paper")


def on_worker_ready(*, sender: Any, **_: Any) -> None:
    """Start trading for the worker's queues; exit the worker if that fails."""
    queues = {queue.name for queue in sender.task_consumer.queues}
    role, exits_only = "+".join(sorted(queues)), queues == {tasks.EXITS}
    try:
        start_with_retry(
            role,
            exits_only=exits_only,
            on_lane_change=partial(_subscribe_lane_queue, sender, queues),
        )
    except Exception as error:  # any: Celery would only log it, and then fail every task
        log.exception("worker cannot trade and exits", role=role)
        raise SystemExit(1) from error


def _subscribe_lane_queue(
    consumer: Any, initial_queues: Collection[str], lane: str, is_ours: bool
) -> None:
    """Consume a lane's queue while this process holds the lane, on the consumer's own thread."""
    if lane in initial_queues:
        return
    consumer.call_soon(consumer.add_task_queue if is_ours else consumer.cancel_task_queue, lane)


def on_task_unknown(*, name: str = "", **_: Any) -> None:
    """Count a message with an unknown task name; Celery drops it."""
    dropped_messages.record_dropped(DroppedMessageCount.Name.UNKNOWN_TASK, name)


def on_task_end(**_: Any) -> None:
    """Leave the task's database session to the threads of this process."""
    shared_sessions.give_back()


def on_worker_shutting_down(**_: Any) -> None:
    """Claim nothing new after a SIGTERM; calls in flight continue. Runs in the signal handler."""
    trading_runtime.drain()


def on_worker_shutdown(**_: Any) -> None:
    """Wait for calls in flight, write their outcomes and end the lease, after the last task."""
    trading_runtime.stop_runtime()
    set_loop(None)


def on_prices_started(**_: Any) -> None:
    """Start trading in the prices process: it receives the paper broker's reports first."""
    start_trading("prices", exits_only=True)


def on_quotes_arrived(
    *, data_connection_id: int, quotes: Sequence[Quote], waited: float = 0.0, **_: Any
) -> None:
    """Check the levels that the engine guards against these quotes and enqueue their exits."""
    if trading_runtime.is_started():
        tasks.enqueue(
            _tick_monitor.process_quotes(data_connection_id, quotes, waited), queue=tasks.EXITS
        )


def on_quotes_for_stop_rules(
    *, data_connection_id: int, quotes: Sequence[Quote], waited: float = 0.0, **_: Any
) -> None:
    """Move the stops whose break-even or trailing rule acts at these quotes."""
    if trading_runtime.is_started():
        _stop_rule_monitor.process_quotes(data_connection_id, quotes, waited)


def on_quotes_for_triggers(
    *, data_connection_id: int, quotes: Sequence[Quote], waited: float = 0.0, **_: Any
) -> None:
    """Enqueue the entries that the engine holds and whose trigger these quotes have reached."""
    if trading_runtime.is_started():
        tasks.enqueue(_trigger_monitor.process_quotes(data_connection_id, quotes, waited))


def on_quotes_for_polls(*, data_connection_id: int, quotes: Sequence[Quote], **_: Any) -> None:
    """Let a job poll the accounts whose broker should fill something at these quotes."""
    if quotes and trading_runtime.is_started():
        is_open = trading_runtime.get_runtime().open_work.open & Work.TRADES
        if is_open:
            _held_price_monitor.add_quotes(data_connection_id, quotes)


def on_quotes_at_broker(*, at_paper: bool = True, **_: Any) -> None:
    """Apply what the paper broker reports after new quotes."""
    if at_paper and trading_runtime.is_started():
        drain_events()


def on_quotes_at_paper(**_: Any) -> None:
    """Let the background job apply the paper broker's reports: checks of levels must not wait."""
    _paper_events.set()


def start_with_retry(
    role: str, *, exits_only: bool, on_lane_change: OnLaneChange = ignore_lane_change
) -> None:
    """Start trading once the database is available: it may start after its workers."""
    while True:
        try:
            start_trading(role, exits_only=exits_only, on_lane_change=on_lane_change)
        except (OperationalError, InterfaceError, InternalError) as error:
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
    """Start this process's runtime with the background jobs of its role; return it.

    role: the process's queues, joined by +. exits_only: execute no due entries.
    """
    jobs = _jobs_of_role(role, exits_only)
    restore_detector.start()  # before anything is claimed
    if tasks.MAINTENANCE in role:  # the worker of a lane does this for its accounts
        deactivate_disallowed([GENERAL])
    exclude_imports_from_gc(threshold=10_000)  # a bundle makes thousands of objects
    clock_steps.ALARM.set()  # it may have been set back while nothing ran
    runtime = trading_runtime.start_runtime(role, on_lane_change, jobs=jobs)
    set_loop(runtime.dispatcher.loop)  # price streams wait for it
    shared_sessions.give_back()
    return runtime


def _jobs_of_role(role: str, exits_only: bool) -> tuple[BackgroundJob, ...]:
    selection = LaneSelection.of(role.split("+"))
    jobs = _background_jobs(exits_only, has_sessions=selection.holds_session_lanes)
    if exits_only or selection.holds_session_lanes or tasks.MAINTENANCE in role:
        jobs += _position_jobs()
    seconds = _poll_seconds
    if selection.holds_session_lanes or tasks.MAINTENANCE in role:
        jobs += _while(
            Work.LANES,
            ("requested reconciliations", seconds, reconcile_new),
            ("failed connections", seconds, retry_failed),
            ("audit listings", seconds, listings.read_requested),
            ("recovery epoch", seconds, lambda: _execute(epochs.process_open_epoch())),
        )
    if selection.holds_session_lanes:
        jobs += _session_jobs(seconds)
    if tasks.MAINTENANCE in role:
        jobs += _maintenance_jobs(seconds)
    return jobs


def _poll_seconds() -> float:
    return settings_now().execution.poll_seconds


def _compare_seconds() -> float:
    return settings_now().position_reconciliation.reconcile_interval_minutes * 60.0


def _process_due_orders(*, exits_only: bool = False) -> object:
    bundle = settings_now().execution.bundle_size
    return services.process_due_orders(bundle, exits_only=exits_only)


Job = tuple[str, Pace, Callable[[], object]]


def _while(work: Work | None, *jobs: Job) -> tuple[BackgroundJob, ...]:
    """Return jobs that sleep while there is nothing of these kinds of work; None: never."""
    return tuple(BackgroundJob(*job, work) for job in jobs)


def _urgent(jobs: Sequence[BackgroundJob]) -> tuple[BackgroundJob, ...]:
    """Return jobs that a fill or an exit waits for."""
    return tuple(job._replace(is_urgent=True) for job in jobs)


def _giving_way(jobs: Sequence[BackgroundJob]) -> tuple[BackgroundJob, ...]:
    """Return jobs that may be late: they leave a machine that does not keep up to due orders."""
    return tuple(job._replace(gives_way=True) for job in jobs)


def _position_jobs() -> tuple[BackgroundJob, ...]:
    """Return the jobs that watch positions. Every process with exits has them."""
    return (
        BackgroundJob(
            "levels and positions",
            GUARD_SECONDS / 2,
            _sync_levels_and_positions,
            Work.POSITIONS,
            prerequisites,
            is_urgent=True,
        ),
        *_urgent(
            _while(Work.POSITIONS, ("stop failover", GUARD_SECONDS, _take_over_missed_levels))
        ),
        *_while(
            Work.POSITIONS,
            ("unprotected time", GUARD_SECONDS, update_unprotected),
            ("break-even and trailing", GUARD_SECONDS, judge_due),
            ("time exits", GUARD_SECONDS, lambda: _execute(close_due())),
        ),
        *_while(
            Work.TRADES,
            ("condition exits", GUARD_SECONDS, lambda: _execute(close_settled())),
        ),
        *_while(
            Work.LIMITS,
            ("loss limits", GUARD_SECONDS, lambda: _execute(apply_loss_limits())),
        ),
        # Soon after a refusal of this process, which an exit may wait for; else of another one.
        BackgroundJob(
            "contradicted facts",
            SCHEDULER_CHECK_SECONDS,
            renew_doubted_instruments,
            Work.TRADES,
            market_facts.renewals,
            is_urgent=True,
        ),
        *_while(
            None,
            ("unreadable rows", UPKEEP_SECONDS, dropped_messages.record_unreadable_rows),
            ("overdue level scan", SCHEDULER_CHECK_SECONDS, _scan_if_overdue),
            ("late scheduler alarm", SCHEDULER_CHECK_SECONDS, late_scheduler_alarm()),
        ),
        BackgroundJob(
            "times in the future",
            ALARM_SECONDS,
            clock_steps.correct_after_step,
            alarm=clock_steps.ALARM,
            is_urgent=True,
        ),
    )


def _maintenance_jobs(seconds: Pace) -> tuple[BackgroundJob, ...]:
    return (
        *_while(
            Work.ORDERS,
            ("expired working orders", seconds, sweeps.cancel_expired_working),
            ("triggers", UPKEEP_SECONDS, keep_up_triggers),
            ("conditions", GUARD_SECONDS, lambda: tasks.enqueue(wake_settled())),
            ("stuck orders", seconds, stale_orders.resolve_stuck),
            ("stale unknown orders", seconds, stale_orders.alert_stale_unknown),
            ("orders without a worker", seconds, services.flag_orders_without_worker),
            ("statistics of new tables", STATISTICS_SECONDS, analyze_new_tables),
        ),
        *_giving_way(
            (
                *_while(Work.POSITIONS, ("dust", DUST_SECONDS, services.close_dust)),
                *_while(
                    None,
                    ("funding", UPKEEP_SECONDS, book_funding),
                    ("averages of slices", UPKEEP_SECONDS, store_slice_averages),
                    ("old alerts", CLEARING_SECONDS, remove_old_alerts),
                ),
            )
        ),
        *_while(
            None,
            ("dropped message counts", SCHEDULER_CHECK_SECONDS, dropped_messages.aggregate),
            ("outside watchdog", watchdog.PING_SECONDS, watchdog.ping),
            ("signal outcomes", OUTCOMES_SECONDS, report_outcomes),
            ("operational settings", settings_upkeep.SECONDS, settings_upkeep.run),
            ("overdue events", SCHEDULER_CHECK_SECONDS, deliver_if_overdue),
            ("telegram bots", seconds, _telegram_job()),
            ("silent price sources", SILENT_SOURCES_SECONDS, alarm_silent_sources),
            ("price sources without a worker", CLEARING_SECONDS, flag_sources_without_worker),
        ),
    )


def _background_jobs(exits_only: bool, *, has_sessions: bool = False) -> tuple[BackgroundJob, ...]:
    poll_seconds = _poll_seconds
    urgent = (
        *_while(
            Work.ORDERS, ("due exits", poll_seconds, partial(_process_due_orders, exits_only=True))
        ),
        *_while(
            Work.TRADES,
            ("pending actions", poll_seconds, lambda: _execute(process_pending_actions())),
        ),
        # Only the process of a session gets its events; those of shared streams any process.
        *_while(
            Work.LANES if has_sessions else Work.EVENTS | Work.TRADES,
            ("events", poll_seconds, drain_events),
        ),
        *_while(
            None,
            ("figures of calls", stored_figures.STORE_SECONDS, stored_figures.store),
            ("restore detector", restore_detector.CHECK_SECONDS, restore_detector.check),
        ),
    )
    jobs = (
        *_urgent(urgent),
        # By its alarm: at once after quotes that this process gave the paper broker. All else that
        # a broker reports the job "events" reads.
        BackgroundJob(
            "paper events",
            ALARM_SECONDS,
            drain_and_wait,
            alarm=_paper_events,
            is_urgent=True,
        ),
        *_while(
            Work.ORDERS,
            # A job of its own: it reads files, and a disk that stands still stops no other.
            ("unsent orders", poll_seconds, _return_unsent_before_others),
            ("orphaned orders", poll_seconds, OrphanRecovery().run),
            ("unknown orders", poll_seconds, _query_unknown_orders),
        ),
        *_polling_jobs(),
        *_giving_way(_while(None, ("free memory", RELEASED_EVERY_SECONDS, release_free_memory))),
    )
    if exits_only:
        return jobs
    # A job of its own: it may wait for slots of entries, and exits must not wait with it.
    return (
        *jobs,
        *_while(
            Work.ORDERS,
            ("due orders", poll_seconds, _process_due_orders),
            ("routed entries", poll_seconds, services.execute_rerouted),
        ),
        *_while(None, ("waiting alerts", poll_seconds, _publish_alerts)),
    )


def _polling_jobs() -> tuple[BackgroundJob, ...]:
    """Return the jobs that poll accounts, and that wake a poll before its interval has passed."""
    return (
        BackgroundJob(
            "order polling",
            lambda: float(settings_now().fill_tracking.update_interval_seconds),
            poll,
            Work.TRADES,
            poll_wakes.polls,
            is_urgent=True,
        ),
        BackgroundJob(
            "order streams",
            order_streams.SECONDS,
            order_streams.maintain,
            Work.TRADES,
            order_streams.news_alarm,
        ),
        # It needs no kind of work: without new quotes it looks at nothing.
        BackgroundJob(
            "held prices",
            held_prices.RETRY_SECONDS,
            _held_price_monitor.judge_after_rest,
            alarm=_held_price_monitor.alarm,
            is_urgent=True,
        ),
    )


def _session_jobs(seconds: Pace) -> tuple[BackgroundJob, ...]:
    """Return the jobs for accounts in session lanes; beat schedules them for all other accounts."""

    def sessions() -> BrokerSessionManager:
        return trading_runtime.get_runtime().sessions

    def drain() -> None:
        sessions().drain_events(drain_and_wait)

    return (
        BackgroundJob("session events", EVENTS_SECONDS, drain, is_urgent=True),
        *_while(
            None,
            ("session lanes", LANES_SECONDS, lambda: sessions().maintain()),
            ("account reads", LANES_SECONDS, lambda: sessions().read()),
        ),
        *_giving_way(
            _while(
                Work.LANES,
                ("reconciliation", _compare_seconds, reconcile_at_intervals),
                ("instruments", LISTINGS_SECONDS, refresh_due_instruments),
            )
        ),
        *_while(
            Work.LANES,
            ("connection tests", seconds, run_due_tests),
            ("prices", LIVE_STEP_SECONDS, _lane_prices_job()),
        ),
    )


def _lane_prices_job() -> Callable[[], None]:
    """Return what publishes the prices of accounts whose sessions this process holds."""

    def ours() -> list[str]:
        return [lane for lane in session_lanes.held_lanes() if lane != GENERAL]

    runner = FeedRunner(BrokerFeedManager(ours, f"{socket.gethostname()}-{os.getpid()}"))

    def step() -> None:
        runner.step()
        trading_runtime.get_runtime().pause(runner.seconds_without_sources())

    return step


def _execute(order_ids: Sequence[int]) -> None:
    """Execute exits in lanes of this process now; enqueue the others."""
    tasks.enqueue_for_other_lanes(order_ids)
    services.execute(order_ids, urgent=True)


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
