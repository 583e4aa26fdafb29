"""Celery tasks: each message names rows to process. The rows are the jobs.

Messages are acknowledged early and have no results. A lost message costs only the seconds until a
worker polls for due rows. Tasks have explicit names: a derived name depends on how the process was
started, and Celery drops messages with unknown names.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
from celery import current_app, shared_task
from django.db import DatabaseError, transaction

from common.clocks import machine_time
from common.db.sql import rows
from common.failpoints import failpoint
from common.operational.current import settings_now
from common.process.message_queues import message_priority
from connections.models import KillSwitch, PriorityClass
from connections.session_lanes import HELD_LANES_SQL, held_lanes
from execution import services, twin_endings
from execution.audit.counters import audit_and_alert, recent, request_readings, store_run
from execution.audit.listings import WAIT_SECONDS
from execution.base import dropped_messages
from execution.fan_out import lanes_of
from execution.models import FEED_PRIORITY, DroppedMessageCount
from execution.monitoring.scan_heartbeat import scan_as_scheduled
from execution.reconciliation.effects import Decided
from execution.reconciliation.reconcile import reconcile_at_intervals, reconcile_new
from execution.runtime import trading_runtime
from execution.services import MAX_BUNDLE

log = structlog.get_logger(__name__)
EXITS, ENTRIES, MAINTENANCE = "exits", "execution", "maintenance"
RECHECK_SECONDS = 10
QUEUE_DOWN_SECONDS = 5.0  # workers poll more often than that
_queue_down_until = 0.0  # machine time
LARGEST_ID = 2**63 - 1
# By the priority of an order. The messages of a queue with the lowest value are taken first; exits
# and entries by hand have 0. `common.process.message_queues` has what that is in
# Redis and in RabbitMQ.
MESSAGE_PRIORITIES = {
    FEED_PRIORITY + PriorityClass.HIGH: 3,
    FEED_PRIORITY + PriorityClass.NORMAL: 6,
    FEED_PRIORITY + PriorityClass.LOW: 9,
}


@shared_task(name="ExecuteSignal", ignore_result=True)
def execute_signal(order_ids: object = None, *more: object, **named: object) -> None:
    """Execute the due orders of a bundle; any other message is dropped and counted."""
    ids = None if more or named else _ids_in(order_ids)
    if ids is None:
        dropped_messages.record_dropped(
            DroppedMessageCount.Name.MALFORMED, repr((order_ids, *more, *named))[:200]
        )
        return
    not_due = ids
    if trading_runtime.is_started():
        not_due = services.execute(ids)
    else:  # RabbitMQ delivers before a worker is ready, which then looks for due orders
        log.info("a message came before the worker was ready", orders=len(ids))
    if not_due:
        dropped_messages.record_unknown_ids(not_due)


@shared_task(name="execution.process_pending_actions", ignore_result=True)
def process_pending_actions() -> None:
    """Run the pending cancels, closes and level changes that are possible now."""
    services.execute(services.process_pending_actions(), urgent=True)


@shared_task(name="execution.watch_positions", ignore_result=True)
def scan_levels() -> None:
    """Find stop-loss and take-profit hits and enqueue their exits."""
    enqueue(scan_as_scheduled(), queue=EXITS)


@shared_task(name="execution.wind_up_twins", ignore_result=True)
def wind_up_twins() -> None:
    """Let paper twins follow their subscriptions; close and archive those that have ended."""
    enqueue(twin_endings.wind_up_twins(), queue=EXITS)
    _enqueue_pending_actions()


def enqueue_twin_endings_on_commit() -> None:
    """Enqueue the winding up of paper twins when the present transaction commits."""
    transaction.on_commit(
        lambda: _send(lambda: wind_up_twins.apply_async(queue=MAINTENANCE, retry=False)) and None
    )


@shared_task(name="execution.reconcile", ignore_result=True)
def reconcile() -> None:
    """Reconcile every active connection with its broker, unless that is switched off."""
    reconcile_at_intervals()


@shared_task(name="execution.reconcile_requested", ignore_result=True)
def reconcile_requested() -> None:
    """Reconcile the connections for which it was requested."""
    reconcile_new()


@shared_task(name="execution.audit", ignore_result=True)
def audit(is_recheck: bool = False, has_requested: bool = False) -> None:
    """Run the audit; raise an alert if a counter is still not zero some seconds later.

    Accounts whose brokers have no ledger are read first, by the processes that hold their sessions.
    """
    if is_recheck:
        audit_and_alert()
    elif not has_requested and request_readings() and _audit_later(False, True, in_=WAIT_SECONDS):
        return
    elif not (report := recent()).needs_alert:
        store_run(report)
    elif not _audit_later(True, in_=RECHECK_SECONDS):
        audit_and_alert()  # a false alert is better than none


def _audit_later(*arguments: bool, in_: float) -> bool:
    """Enqueue the next step of the audit in `in_` seconds; False: Redis is not available."""
    return _send(lambda: audit.apply_async(arguments, queue=MAINTENANCE, countdown=in_))


def enqueue(
    order_ids: Sequence[int],
    *,
    queue: str = ENTRIES,
    lanes: Mapping[int, str] | None = None,
    priorities: Mapping[int, int] | None = None,
) -> None:
    """Send the ids in bundles; without Redis the orders are only executed later, by polling.

    Orders in a session lane go to its queue. lanes: `lanes_of` the orders, if known already.
    priorities: of orders that may have to wait for others; the rest is taken first.
    """
    ids = list(order_ids)
    if not ids:
        return
    lane_by_order = _lanes_or_none(ids) if lanes is None else lanes
    size = settings_now().execution.bundle_size
    groups: dict[tuple[int, str], list[int]] = {}
    for order_id in ids:
        group = (
            MESSAGE_PRIORITIES.get((priorities or {}).get(order_id, 0), 0),
            lane_by_order.get(order_id, queue),
        )
        groups.setdefault(group, []).append(order_id)

    def send() -> None:
        with current_app.producer_pool.acquire(block=True, timeout=2) as producer:
            for (priority, target), its_ids in groups.items():
                for start in range(0, len(its_ids), size):
                    failpoint("enqueue.bundle")
                    bundle = its_ids[start : start + size]
                    execute_signal.apply_async(
                        (bundle,),
                        queue=target,
                        priority=message_priority(priority),
                        producer=producer,
                        retry=False,
                    )

    _try_to_enqueue(send, orders=len(ids))
    failpoint("enqueue.done")


def enqueue_for_other_lanes(order_ids: Sequence[int]) -> None:
    """Enqueue those of these orders whose lane another process holds."""
    if order_ids and (lane_by_order := _lanes_or_none(order_ids)):
        ours = held_lanes()
        others = [order_id for order_id, lane in lane_by_order.items() if lane not in ours]
        enqueue(others, lanes=lane_by_order)


def _lanes_or_none(order_ids: Sequence[int]) -> Mapping[int, str]:
    try:
        return lanes_of(order_ids)
    except DatabaseError as error:  # the lane's process polls for them
        log.warning("lanes not known", error=str(error).strip())
        return {}


def _send(send: Callable[[], object], **about: object) -> bool:
    """Send messages; return whether that succeeded. A failure is only logged."""
    try:
        send()
    except Exception as error:  # any: kombu and redis-py raise many types
        log.warning("message not enqueued", error=repr(error), **about)
        return False
    return True


def _try_to_enqueue(send: Callable[[], object], **about: object) -> None:
    """Send messages. After a failure nothing is sent for a while: workers poll for the rows, and if
    Redis hangs, each publication would wait for its time-out."""
    global _queue_down_until
    if machine_time() >= _queue_down_until and not _send(send, **about):
        _queue_down_until = machine_time() + QUEUE_DOWN_SECONDS


def enqueue_on_commit(
    order_ids: Sequence[int],
    *,
    queue: str = ENTRIES,
    lanes: Mapping[int, str] | None = None,
    priorities: Mapping[int, int] | None = None,
) -> None:
    """Enqueue orders when the present transaction commits; at once outside of one.

    Lanes are read now: after a tenant's transaction its rows are no longer visible.
    """
    if order_ids:
        lanes = lanes_of(order_ids) if lanes is None else lanes
        send = partial(enqueue, list(order_ids), queue=queue, lanes=lanes, priorities=priorities)
        transaction.on_commit(send)


def enqueue_halt_actions_on_commit(switch: KillSwitch) -> None:
    """Enqueue what a halt does besides stopping orders, if it does more, on commit."""
    if switch.cancel_entries or switch.flatten:
        enqueue_pending_actions_on_commit()


def enqueue_pending_actions_on_commit() -> None:
    """Enqueue the run of pending actions when the present transaction commits."""
    transaction.on_commit(_enqueue_pending_actions)


def _enqueue_pending_actions() -> None:
    def send() -> None:
        for queue in (EXITS, *(row.lane for row in rows(HELD_LANES_SQL))):
            process_pending_actions.apply_async(queue=queue, retry=False)

    _try_to_enqueue(send)


def enqueue_decided_on_commit(decided: Decided) -> None:
    """Enqueue what a decision about a drift item has started, on commit."""
    enqueue_on_commit(decided.order_ids, queue=EXITS)
    if decided.has_pending_actions:
        enqueue_pending_actions_on_commit()
    if decided.needs_comparison:
        enqueue_reconciliation_on_commit()


def enqueue_reconciliation_on_commit() -> None:
    """Enqueue the requested reconciliations when the present transaction commits."""
    transaction.on_commit(_enqueue_reconciliation)


def _enqueue_reconciliation() -> None:
    _send(lambda: reconcile_requested.apply_async(queue=MAINTENANCE, retry=False))


def _ids_in(message: object) -> list[int] | None:
    """Return the order ids of a message, None if it is malformed."""
    if (
        isinstance(message, list)
        and len(message) <= MAX_BUNDLE
        and all(type(item) is int and 0 < item <= LARGEST_ID for item in message)  # no bool
    ):
        return message
    return None
