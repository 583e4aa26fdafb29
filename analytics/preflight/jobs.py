"""Run preflights: a worker claims a row, replays, stores the result. docs/preflight.md.

A worker that dies leaves a claim that ends, and the next one begins again: nothing is written but
the row itself. The number of the try fences a worker that was only slow.
"""

import time
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from analytics.models import Preflight
from analytics.preflight.loading import load
from analytics.preflight.replay import Replay
from analytics.preflight.replay_rows import Terms
from analytics.preflight.summary import summary_of
from analytics.preflight.waiting import ANY_TO_DO, KEPT
from common.db.sql import periodic_rows
from connections.models import ExecutionConnection
from users.services import record_preflight

log = structlog.get_logger(__name__)
CLAIM = timedelta(seconds=30)
MAX_TRIES = 3
REPORT_SECONDS = 0.25
State = Preflight.State


class TakenOverError(RuntimeError):
    """The request was replaced, or another worker has taken it over."""


def run_next() -> bool:
    """Run the oldest preflight that waits or whose worker died. Returns False if there is none.

    Must not be called inside a transaction: each part of the progress is committed.
    """
    if not periodic_rows(ANY_TO_DO, (KEPT,)):
        return False
    Preflight.objects.filter(requested_at__lt=timezone.now() - KEPT).delete()
    job = _claim()
    if job is None:
        return False
    try:
        _run(job)
    except TakenOverError:
        log.info("preflight.taken_over", preflight=job.pk)
    except Exception:  # any: whatever fails, the next try starts over
        log.exception("preflight.failed", preflight=job.pk, tries=job.tries)
        if job.tries >= MAX_TRIES:
            _mine(job).update(state=State.FAILED)
        else:
            _mine(job).update(state=State.WAITING)
    return True


@transaction.atomic
def _claim() -> Preflight | None:
    now = timezone.now()
    died = Q(state=State.RUNNING, claimed_until__lt=now)
    Preflight.objects.filter(died, tries__gte=MAX_TRIES).update(state=State.FAILED)
    due = Preflight.objects.select_for_update(skip_locked=True).filter(
        Q(state=State.WAITING) | died
    )
    job = due.order_by("requested_at", "pk").first()
    if job is None:
        return None
    job.state, job.claimed_until, job.tries = State.RUNNING, now + CLAIM, job.tries + 1
    job.save(update_fields=["state", "claimed_until", "tries"])
    return job


def _run(job: Preflight) -> None:
    connection = ExecutionConnection.objects.get(pk=job.connection_id)
    terms = Terms(job.multiplier, job.directions, job.symbol_map)
    with transaction.atomic():
        cases, setting = load(connection, job.feed_id, terms, job.signals_wanted)
    _report(job, signals_done=0, signals_total=len(cases))
    replay = Replay(cases, setting)
    reported = time.monotonic()
    for done in replay.run():
        if time.monotonic() - reported >= REPORT_SECONDS:
            _report(job, signals_done=done)
            reported = time.monotonic()
    _report(
        job, signals_done=len(cases), state=State.READY, result=summary_of(replay),
        ready_at=timezone.now(),
    )  # fmt: skip
    if connection.user_id is not None:  # None: an operators' account
        record_preflight(connection.user_id)


def _mine(job: Preflight) -> Any:
    return Preflight.objects.filter(pk=job.pk, tries=job.tries, state=State.RUNNING)


def _report(job: Preflight, **progress: Any) -> None:
    """Store how far it is, and extend the claim. Raises TakenOverError if it is another's now."""
    if _mine(job).update(claimed_until=timezone.now() + CLAIM, **progress) != 1:
        raise TakenOverError
