"""The bell: Celery messages that say which rows to look at. The rows are the jobs.

Acknowledged early, no results: a message that is lost costs the seconds until a worker looks for
itself. Tasks are named explicitly, because a name derived from how a process was started gets
messages thrown away.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
from celery import current_app, shared_task
from django.conf import settings
from django.db import DatabaseError, transaction

from common.clocks import machine_time
from common.failpoints import failpoint
from common.sql import rows
from connections.session_lanes import HELD_LANES_SQL, held_lanes
from execution import services
from execution.audit.counters import audit_and_alarm, keep, recent, request_readings
from execution.audit.listings import WAIT_SECONDS
from execution.base import dropped_messages
from execution.fan_out import lanes_of
from execution.models import DroppedMessageCount
from execution.monitoring.scan_heartbeat import scan_as_scheduled
from execution.reconciliation.effects import Decided
from execution.reconciliation.reconcile import reconcile_all, reconcile_new
from execution.services import MAX_BUNDLE

log = structlog.get_logger(__name__)
EXITS, ENTRIES, MAINTENANCE = "exits", "execution", "maintenance"
RECHECK_SECONDS = 10
QUEUE_DOWN_SECONDS = 5.0  # workers look for themselves in less
_queue_down_until = 0.0  # machine time
LARGEST_ID = 2**63 - 1


@shared_task(name="execution.execute_signal", ignore_result=True)
def execute_signal(order_ids: object = None, *more: object, **named: object) -> None:
    """Take what is due of a bundle of orders; any other message is dropped and counted."""
    ids = None if more or named else _ids_in(order_ids)
    if ids is None:
        dropped_messages.record_dropped(
            DroppedMessageCount.Name.MALFORMED, repr((order_ids, *more, *named))[:200]
        )
        return
    dropped_messages.record_unknown_ids(ids)
    services.execute(ids)


@shared_task(name="execution.grant_wishes", ignore_result=True)
def process_pending_actions() -> None:
    """Cancel, close or move what was wished for and can now be done."""
    services.execute(services.process_pending_actions(), urgent=True)


@shared_task(name="execution.watch_positions", ignore_result=True)
def scan_levels() -> None:
    """Find stop-loss and take-profit hits and ring for their exits."""
    enqueue(scan_as_scheduled(), queue=EXITS)


@shared_task(name="execution.reconcile", ignore_result=True)
def reconcile() -> None:
    """Compare every active connection with its broker."""
    reconcile_all()


@shared_task(name="execution.compare_asked", ignore_result=True)
def reconcile_requested() -> None:
    """Compare the connections that somebody wants compared."""
    reconcile_new()


@shared_task(name="execution.audit", ignore_result=True)
def audit(is_recheck: bool = False, has_requested: bool = False) -> None:
    """Count what must be zero; an alarm event if it still is not some seconds later.

    Accounts whose brokers show no books are read first, by the processes that hold their sessions.
    """
    if is_recheck:
        audit_and_alarm()
    elif not has_requested and request_readings() and _audit_later(False, True, in_=WAIT_SECONDS):
        return
    elif not (report := recent()).is_alarming:
        keep(report)
    elif not _audit_later(True, in_=RECHECK_SECONDS):
        audit_and_alarm()  # an alarm too many is better than none


def _audit_later(*arguments: bool, in_: float) -> bool:
    """Have the audit go on in so many seconds; False: Redis is away."""
    try:
        audit.apply_async(arguments, queue=MAINTENANCE, countdown=in_)
    except Exception as error:
        log.warning("the bell could not be rung", error=repr(error))
        return False
    return True


def enqueue(
    order_ids: Sequence[int], *, queue: str = ENTRIES, lanes: Mapping[int, str] | None = None
) -> None:
    """Send the ids in bundles over one connection; a Redis that is away costs only latency.

    Orders of a lane go to its own queue. lanes: `lanes_of` the orders, where it was asked already.
    """
    ids = list(order_ids)
    if not ids:
        return
    lane_by_order = _lanes_or_none(ids) if lanes is None else lanes
    size = settings.FILLCAST_BUNDLE_SIZE
    by_queue: dict[str, list[int]] = {}
    for one in ids if lane_by_order else ():
        by_queue.setdefault(lane_by_order.get(one, queue), []).append(one)

    def send() -> None:
        with current_app.producer_pool.acquire(block=True, timeout=2) as producer:
            for where, those in (by_queue or {queue: ids}).items():
                for start in range(0, len(those), size):
                    failpoint("ring.bundle")
                    execute_signal.apply_async(
                        (those[start : start + size],), queue=where, producer=producer, retry=False
                    )

    _try_to_enqueue(send, orders=len(ids))
    failpoint("ring.done")


def enqueue_for_other_lanes(order_ids: Sequence[int]) -> None:
    """Ring for those of these orders that are for another process, for this one does the rest."""
    if order_ids and (lane_by_order := _lanes_or_none(order_ids)):
        ours = held_lanes()
        enqueue(
            [one for one, lane in lane_by_order.items() if lane not in ours], lanes=lane_by_order
        )


def _lanes_or_none(order_ids: Sequence[int]) -> Mapping[int, str]:
    try:
        return lanes_of(order_ids)
    except DatabaseError as error:  # a lane's process looks for itself
        log.warning("lanes are not known", error=str(error).strip())
        return {}


def _try_to_enqueue(send: Callable[[], object], **about: object) -> None:
    """Rows are the jobs: nobody waits for a bell. After a failure it is left alone for a while,
    because a Redis that hangs would cost each publication its time-out."""
    global _queue_down_until
    if machine_time() < _queue_down_until:
        return
    try:
        send()
    except Exception as error:  # kombu's and redis' own, all the same to us
        _queue_down_until = machine_time() + QUEUE_DOWN_SECONDS
        log.warning("the bell could not be rung", error=repr(error), **about)


def enqueue_on_commit(
    order_ids: Sequence[int], *, queue: str = ENTRIES, lanes: Mapping[int, str] | None = None
) -> None:
    """Ring when the present transaction has been committed (at once outside of one). The lanes are
    looked up now: afterwards a tenant's transaction is over, and its rows are nobody's."""
    if order_ids:
        lanes = lanes_of(order_ids) if lanes is None else lanes
        transaction.on_commit(partial(enqueue, list(order_ids), queue=queue, lanes=lanes))


def enqueue_pending_actions_on_commit() -> None:
    """Have wishes looked at as soon as the present transaction has been committed."""
    transaction.on_commit(_enqueue_pending_actions)


def _enqueue_pending_actions() -> None:
    def send() -> None:
        for queue in (EXITS, *(row.lane for row in rows(HELD_LANES_SQL))):
            process_pending_actions.apply_async(queue=queue, retry=False)

    _try_to_enqueue(send)


def enqueue_decided_on_commit(decided: Decided) -> None:
    """Ring for what a decision about a difference has started."""
    enqueue_on_commit(decided.order_ids, queue=EXITS)
    if decided.has_pending_actions:
        enqueue_pending_actions_on_commit()
    if decided.needs_comparison:
        enqueue_reconciliation_on_commit()


def enqueue_reconciliation_on_commit() -> None:
    """Have what was asked for compared as soon as the present transaction has been committed."""
    transaction.on_commit(_enqueue_reconciliation)


def _enqueue_reconciliation() -> None:
    try:
        reconcile_requested.apply_async(queue=MAINTENANCE, retry=False)
    except Exception as error:
        log.warning("the bell could not be rung", error=repr(error))


def _ids_in(message: object) -> list[int] | None:
    """The ids of a message, or None: a message that makes no sense is dropped, never retried."""
    if (
        isinstance(message, list)
        and len(message) <= MAX_BUNDLE
        and all(type(one) is int and 0 < one <= LARGEST_ID for one in message)  # no bool
    ):
        return message
    return None
