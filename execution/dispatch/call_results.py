"""Results of background calls (background calls), written on the rows that they were about."""

import time
from collections.abc import Callable, Collection, Sequence

import structlog

from brokers.types import OrderReport
from execution.dispatch.background_calls import CallResult
from execution.dispatch.partial_writes import RETRY_SECONDS, WritePlan, write_in_parts

log = structlog.get_logger(__name__)


def reports_in(done: Sequence[CallResult]) -> list[OrderReport]:
    """Return what brokers reported; an answer that is no list of reports is logged."""
    reports: list[OrderReport] = []
    for one in done:
        try:
            reports += () if one.failed else one.answer or ()
        except TypeError as error:
            log_not_written(one, error)
    return reports


def write_results(
    done: Sequence[CallResult],
    write: Callable[[list[CallResult]], object],
    free: Callable[[Sequence[int]], Collection[int]],
    *,
    careful: bool = False,
) -> bool:
    """Write what came of background calls on the rows that they were about, whole or in parts.
    Returns whether some were blocked.

    write: all of them or none. free: those of some rows that no other session holds. What is still
    blocked after a second try, or cannot be written, is logged: it stays requested on its row.
    careful: some are probably blocked.
    """

    def split(some: list[CallResult]) -> tuple[list[CallResult], list[CallResult]]:
        ids = free([one.about.id for one in some])
        return (
            [one for one in some if one.about.id in ids],
            [one for one in some if one.about.id not in ids],
        )

    writing = WritePlan(write, log_not_written, split)
    if blocked := write_in_parts(done, writing, careful=careful).blocked:
        time.sleep(RETRY_SECONDS)
        log_blocked(write_in_parts(blocked, writing, careful=True).blocked)
    return bool(blocked)


def log_not_written(one: CallResult, fault: Exception) -> bool:
    """Log what could not be written for its own sake."""
    log.error(
        "what a background call brought was not written",
        background_call=one.background_call.key,
        exc_info=fault,
    )
    return True


def log_blocked(blocked: Sequence[CallResult]) -> None:
    """Log what other sessions kept from being written."""
    if blocked:
        first = blocked[0].background_call.key
        log.error(
            "answers to background calls are blocked", background_calls=len(blocked), first=first
        )
