"""Results of errands (background calls), written on the rows that they were about."""

import time
from collections.abc import Callable, Collection, Sequence

import structlog

from brokers.messages import OrderReport
from execution.calls.errands import Done
from execution.calls.parts import RETRY_SECONDS, Writing, write_in_parts

log = structlog.get_logger(__name__)


def reports_of(done: Sequence[Done]) -> list[OrderReport]:
    """Return what brokers reported; an answer that is no list of reports is logged."""
    reports: list[OrderReport] = []
    for one in done:
        try:
            reports += () if one.failed else one.answer or ()
        except TypeError as error:
            not_written(one, error)
    return reports


def write_answers(
    done: Sequence[Done],
    write: Callable[[list[Done]], object],
    free: Callable[[Sequence[int]], Collection[int]],
    *,
    careful: bool = False,
) -> bool:
    """Write what came of errands on the rows that they were about, whole or in parts. Returns
    whether some were blocked.

    write: all of them or none. free: those of some rows that no other session holds. What is still
    blocked after a second try, or cannot be written, is logged: it stays requested on its row.
    careful: some are probably blocked.
    """

    def split(some: list[Done]) -> tuple[list[Done], list[Done]]:
        ids = free([one.about.id for one in some])
        return (
            [one for one in some if one.about.id in ids],
            [one for one in some if one.about.id not in ids],
        )

    writing = Writing(write, not_written, split)
    if blocked := write_in_parts(done, writing, careful=careful).blocked:
        time.sleep(RETRY_SECONDS)
        log_blocked(write_in_parts(blocked, writing, careful=True).blocked)
    return bool(blocked)


def not_written(one: Done, fault: Exception) -> bool:
    """Log what could not be written for its own sake."""
    log.error("what an errand brought was not written", errand=one.errand.key, exc_info=fault)
    return True


def log_blocked(blocked: Sequence[Done]) -> None:
    """Log what other sessions kept from being written."""
    if blocked:
        first = blocked[0].errand.key
        log.error("answers to errands are blocked", errands=len(blocked), first=first)
