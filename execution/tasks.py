"""The bell: Celery messages that say which rows to look at. The rows are the jobs.

Acknowledged early, no results: a message that is lost costs the seconds until a worker looks for
itself. Tasks are named explicitly, because a name derived from how a process was started gets
messages thrown away.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from celery import current_app, shared_task
from django.conf import settings
from django.db import transaction

from common.clocks import machine_time
from common.faults import point
from execution import services
from execution.audit import tallies
from execution.audit.counters import audit_and_alarm, keep, recent
from execution.drift.effects import Decided
from execution.drift.reconcile import reconcile_all, reconcile_new
from execution.exits.watch import watch_positions
from execution.models import Tally
from execution.services import MAX_BUNDLE

log = structlog.get_logger(__name__)
EXITS, ENTRIES, MAINTENANCE = "exits", "execution", "maintenance"
SECOND_LOOK_SECONDS = 10
DEAF_SECONDS = 5.0  # workers look for themselves in less
_deaf_until = 0.0  # machine time
LARGEST_ID = 2**63 - 1


@shared_task(name="execution.execute_signal", ignore_result=True)
def execute_signal(order_ids: object = None, *more: object, **named: object) -> None:
    """Take what is due of a bundle of orders; any other message is dropped and counted."""
    ids = None if more or named else _ids_in(order_ids)
    if ids is None:
        tallies.count(Tally.Name.MALFORMED, repr((order_ids, *more, *named))[:200])
        return
    tallies.count_strangers(ids)
    services.execute(ids)


@shared_task(name="execution.grant_wishes", ignore_result=True)
def grant_wishes() -> None:
    """Cancel, close or move what was wished for and can now be done."""
    services.execute(services.grant_wishes(), urgent=True)


@shared_task(name="execution.watch_positions", ignore_result=True)
def watch() -> None:
    """Find stop-loss and take-profit hits and ring for their exits."""
    ring(watch_positions(), queue=EXITS)


@shared_task(name="execution.reconcile", ignore_result=True)
def reconcile() -> None:
    """Compare every active connection with its broker."""
    reconcile_all()


@shared_task(name="execution.compare_asked", ignore_result=True)
def compare_asked() -> None:
    """Compare the connections that somebody wants compared."""
    reconcile_new()


@shared_task(name="execution.audit", ignore_result=True)
def audit(is_second_look: bool = False) -> None:
    """Count what must be zero; an alarm event if it still is not some seconds later."""
    if is_second_look:
        audit_and_alarm()
    elif (report := recent()).ok:
        keep(report)
    else:
        try:
            audit.apply_async((True,), queue=MAINTENANCE, countdown=SECOND_LOOK_SECONDS)
        except Exception as error:  # no bell: an alarm too many is better than none
            log.warning("the bell could not be rung", error=repr(error))
            audit_and_alarm()


def ring(order_ids: Sequence[int], *, queue: str = ENTRIES) -> None:
    """Send the ids in bundles over one connection; a Redis that is away costs only latency."""
    size = settings.FILLCAST_BUNDLE_SIZE
    ids = list(order_ids)

    def send() -> None:
        with current_app.producer_pool.acquire(block=True, timeout=2) as producer:
            for start in range(0, len(ids), size):
                point("ring.bundle")
                execute_signal.apply_async(
                    (ids[start : start + size],), queue=queue, producer=producer, retry=False
                )

    if ids:
        _try_to_ring(send, orders=len(ids))
        point("ring.done")


def _try_to_ring(send: Callable[[], object], **about: object) -> None:
    """Rows are the jobs: nobody waits for a bell. After a failure it is left alone for a while,
    because a Redis that hangs would cost each publication its time-out."""
    global _deaf_until
    if machine_time() < _deaf_until:
        return
    try:
        send()
    except Exception as error:  # kombu's and redis' own, all the same to us
        _deaf_until = machine_time() + DEAF_SECONDS
        log.warning("the bell could not be rung", error=repr(error), **about)


def ring_on_commit(order_ids: Sequence[int], *, queue: str = ENTRIES) -> None:
    """Ring when the present transaction has been committed (at once outside of one)."""
    if order_ids:
        transaction.on_commit(partial(ring, list(order_ids), queue=queue))


def ring_wishes_on_commit() -> None:
    """Have wishes looked at as soon as the present transaction has been committed."""
    transaction.on_commit(_ring_wishes)


def _ring_wishes() -> None:
    _try_to_ring(lambda: grant_wishes.apply_async(queue=EXITS, retry=False))


def ring_decided_on_commit(decided: Decided) -> None:
    """Ring for what a decision about a difference has started."""
    ring_on_commit(decided.order_ids, queue=EXITS)
    if decided.wishes:
        ring_wishes_on_commit()
    if decided.comparison:
        ring_comparison_on_commit()


def ring_comparison_on_commit() -> None:
    """Have what was asked for compared as soon as the present transaction has been committed."""
    transaction.on_commit(_ring_comparison)


def _ring_comparison() -> None:
    try:
        compare_asked.apply_async(queue=MAINTENANCE, retry=False)
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
