"""Read the figures of the database for a scrape, in bounded time.

A slow statement costs its own figure and no other: without the figures there would be no alarm but
that of the database, which answers. What was not read is named, so that an absent figure is not
taken for what it would state.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

import structlog
from django.db import Error, connection, transaction
from prometheus_client.metrics_core import Metric

from api.answer_limit import database_answers_within
from common.db.sql import run
from users.tenancy import for_all_tenants

log = structlog.get_logger(__name__)
STATEMENT_SECONDS = 2.0
TOTAL_SECONDS = 7.0  # with a new session; with Redis less than the 10 s that a scraper waits
LIMIT = f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f}"


class Figure(NamedTuple):
    """What one statement reads. read: returns its metrics, or raises a database error."""

    name: str
    read: Callable[[], list[Metric]]


@dataclass(slots=True)
class Answer:
    """What was read. is_up: the database answered a statement. missing: what was not read."""

    metrics: list[Metric] = field(default_factory=list)
    is_up: bool = False
    missing: list[str] = field(default_factory=list)


def read_figures(figures: Iterable[Figure]) -> Answer:
    """Return the figures that the database answers in time. Raises no database error."""
    answer, waiting = Answer(), deque(figures)
    began = monotonic()
    try:
        # No transaction is open: a web process without its database answers here, too.
        connection.ensure_connection()
        with database_answers_within(TOTAL_SECONDS - (monotonic() - began)):
            while waiting:
                _read(waiting, answer)
    except Error as error:
        answer.missing += [figure.name for figure in waiting]
        log.warning("no figures from the database", error=str(error), missing=len(waiting))
    return answer


def _read(waiting: deque[Figure], answer: Answer) -> None:
    """Read figures until one fails, which ends the transaction. Raises if the session is lost."""
    figure, session = None, connection.connection
    try:
        with transaction.atomic(), for_all_tenants(savepoint=False):
            run(LIMIT)
            answer.is_up = True
            while waiting:
                figure = waiting.popleft()
                answer.metrics += figure.read()
    except Error as error:
        if figure is not None:
            answer.missing.append(figure.name)
        if figure is None or connection.connection is not session or session.closed:
            raise
        log.warning("a figure cannot be read", figure=figure.name, error=str(error))
