"""Write the results of background calls to the rows that they were for."""

import time
from collections.abc import Callable, Collection, Sequence

import structlog
from django.db import transaction

from brokers.types import OrderReport
from common.db.sql import rows, run
from execution.dispatch.background_calls import CallResult
from execution.dispatch.partial_writes import RETRY_SECONDS, WritePlan, write_in_parts

log = structlog.get_logger(__name__)


def reports_in(done: Sequence[CallResult]) -> list[OrderReport]:
    """Return the reports in the answers; an answer that is no list of reports is logged."""
    reports: list[OrderReport] = []
    for result in done:
        try:
            reports += () if result.failed else result.answer or ()
        except TypeError as error:
            log_not_written(result, error)
    return reports


def write_results(
    done: Sequence[CallResult],
    write: Callable[[list[CallResult]], object],
    unlocked_ids: Callable[[Sequence[int]], Collection[int]],
    *,
    expect_locks: bool = False,
) -> bool:
    """Write results to the rows that they were for (`CallResult.about`), all at once or in parts.

    Returns whether some were blocked. write: writes all of them or none. unlocked_ids: returns
    which of some row ids no other session has locked. A result that is still blocked after a second
    attempt, or cannot be written, is logged: its row stays due. expect_locks: other sessions
    probably hold locks.
    """

    def split(some: list[CallResult]) -> tuple[list[CallResult], list[CallResult]]:
        ids = set(unlocked_ids([result.about.id for result in some]))
        return (
            [result for result in some if result.about.id in ids],
            [result for result in some if result.about.id not in ids],
        )

    writing = WritePlan(write, log_not_written, split)
    if blocked := write_in_parts(done, writing, expect_locks=expect_locks).blocked:
        time.sleep(RETRY_SECONDS)
        log_blocked(write_in_parts(blocked, writing, expect_locks=True).blocked)
    return bool(blocked)


def run_atomically(changes: Sequence[tuple[str, list[int]]], lock: str) -> None:
    """Run statements on rows by id, all or none: they count attempts and are repeated on failure.

    Several statements have their rows locked in id order first.
    """
    changes = [(statement, ids) for statement, ids in changes if ids]
    if len(changes) == 1:  # is a transaction of its own and locks in id order
        ((statement, ids),) = changes
        run(statement, (ids,))
        return
    with transaction.atomic():
        rows(lock, (sorted({id_ for _, ids in changes for id_ in ids}),))
        for statement, ids in changes:
            run(statement, (ids,))


def log_not_written(result: CallResult, error: Exception) -> bool:
    """Log a result that could not be written because of what it contains. Returns True."""
    log.error(
        "result of a background call not written",
        background_call=result.background_call.key,
        exc_info=error,
    )
    return True


def log_blocked(blocked: Sequence[CallResult]) -> None:
    """Log results that were not written because other sessions have locked their rows."""
    if blocked:
        first = blocked[0].background_call.key
        log.error("results of background calls blocked", calls=len(blocked), first=first)
