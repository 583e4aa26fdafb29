"""Start and stop trading, with its background jobs, in Celery workers and the prices process."""

import threading
import time
from collections.abc import Collection, Sequence
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

from brokers.types import Quote
from common.clocks import machine_time
from common.db.errors import is_database_trouble
from common.process import task_figures
from common.process.gc_tuning import exclude_imports_from_gc
from connections.services import (
    deactivate_disallowed,
)
from connections.session_lanes import GENERAL
from execution import tasks
from execution.base import clock_steps, dropped_messages
from execution.disaster_recovery import restore_detector
from execution.job_table import held_price_monitor, jobs_of_role
from execution.models import DroppedMessageCount
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.runtime import event_news, trading_runtime
from execution.runtime.event_stream import drain_events
from execution.runtime.lane_leases import OnLaneChange, ignore_lane_change
from execution.runtime.open_work import Work
from prices.event_loop import set_loop
from prices.signals import (
    prices_started,
    prices_stopped,
    quotes_arrived,
    quotes_at_paper,
    quotes_stored,
)

log = structlog.get_logger(__name__)

_tick_monitor = TickMonitor()
_stop_rule_monitor = StopRuleMonitor()
_trigger_monitor = TriggerMonitor()
RETRY_SECONDS = 0.5
SESSION_CHECK_SECONDS = 1.0
_session_checks = threading.local()  # of each thread


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
    connection.close()  # this thread may run no task for long


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
    """Close the database session of the task's thread if it is broken or old.

    Without an error at most once a second: Django asks the server before the next statement then.
    """
    now = machine_time()
    if connection.in_atomic_block:  # the caller goes on in it
        return
    if connection.errors_occurred or now >= getattr(_session_checks, "next_at", 0.0):
        _session_checks.next_at = now + SESSION_CHECK_SECONDS
        connection.close_if_unusable_or_obsolete()


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
    connection.close()


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
            held_price_monitor.add_quotes(data_connection_id, quotes)


def on_quotes_at_broker(*, at_paper: bool = True, **_: Any) -> None:
    """Apply what the paper broker reports after new quotes."""
    if at_paper and trading_runtime.is_started():
        drain_events()


def on_quotes_at_paper(**_: Any) -> None:
    """Let the background job apply the paper broker's reports: checks of levels must not wait."""
    event_news.news.add("paper")


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
    jobs = jobs_of_role(role, exits_only=exits_only)
    restore_detector.start()  # before anything is claimed
    if tasks.MAINTENANCE in role:  # the worker of a lane does this for its accounts
        deactivate_disallowed([GENERAL])
    exclude_imports_from_gc(threshold=10_000)  # a bundle makes thousands of objects
    clock_steps.ALARM.set()  # it may have been set back while nothing ran
    runtime = trading_runtime.start_runtime(role, on_lane_change, jobs=jobs)
    set_loop(runtime.dispatcher.loop)  # price streams wait for it
    return runtime
