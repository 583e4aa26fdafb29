"""Reading brokers' lists of symbols again once a day: what may be traded is judged by them.

A connection test reads its account's list, too. Here one healthy account of each list is asked. A
list that cannot be read stays as it is and is asked for again after an hour, or as soon as an
account of it has reconnected: that proves nothing about the account, which is read and judged
elsewhere (`polling.py`). New credentials or settings need a test, which reads the list (see
`lifecycle.py`), so that a reconnect alone asks only for a list of more than a day ago.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from brokers.answers import Answers
from brokers.base import BrokerAdapter
from brokers.messages import Instrument
from brokers.registry import adapter_for
from common.sql import rows, run
from connections import health, told
from connections.lanes import IN_LANES, in_held, is_up, resting
from connections.open import is_watched
from connections.selectors import READ_COLUMNS, spec_from_row
from connections.testing import Run, on_loop

log = structlog.get_logger(__name__)

AGE_SECONDS, AGAIN_SECONDS = 86_400, 3_600
AT_ONCE, AT_ONE_HOST = 20, 5
SECONDS = 30

_ASKED = """
INSERT INTO connections_instrumentbook (book, asked_at)
SELECT book, clock_timestamp() FROM unnest(%s::text[]) AS t (book) ORDER BY book
ON CONFLICT (book) DO UPDATE SET asked_at = excluded.asked_at
"""


def due_sql() -> str:
    """One account of each list that is due, the oldest list first."""
    return f"""
    SELECT * FROM (
      SELECT DISTINCT ON (c.instrument_book) {READ_COLUMNS}, c.instrument_book, b.read_at
      FROM connections_executionconnection c
      JOIN connections_connectionhealth h ON h.connection_id = c.id
      LEFT JOIN connections_instrumentbook b ON b.book = c.instrument_book
      WHERE {is_watched()} AND c.instrument_book <> '' AND {IN_LANES} AND {is_up()}
        AND h.status = 'ACTIVE' AND h.unreachable_at IS NULL
        AND c.broker_host NOT IN (
          SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
        AND coalesce(b.read_at, '-infinity')
          < clock_timestamp() - make_interval(secs => %(age)s)
        AND (coalesce(b.asked_at, '-infinity')
          < clock_timestamp() - make_interval(secs => %(again)s) OR b.asked_at < h.errored_at)
      ORDER BY c.instrument_book, h.last_connected_at DESC NULLS LAST
    ) due ORDER BY read_at NULLS FIRST LIMIT %(limit)s
    """


def refresh_due_listings(
    *, run_calls: Run = on_loop, adapter: Callable[[str], BrokerAdapter] = adapter_for
) -> int:
    """Read the lists that are due, some at a time; return how many were stored."""
    wanted = {"age": AGE_SECONDS, "again": AGAIN_SECONDS, "limit": AT_ONCE}
    due = rows(due_sql(), {**wanted, **in_held(), **resting()})
    if not due:
        return 0
    run(_ASKED, ([row.instrument_book for row in due],))
    return _read(due, run_calls, adapter)


def _read(due: Sequence[Any], run_calls: Run, adapter: Callable[[str], BrokerAdapter]) -> int:
    answers: Answers[list[Instrument]] = Answers(
        run_calls, in_all=AT_ONCE, per_host=AT_ONE_HOST, seconds=SECONDS
    )
    answers.start([(row, partial(_instruments, row, adapter)) for row in due])
    stored = 0
    for group in answers.groups():
        for row, answer in group:
            stored += _store(row, answer)
    return stored


async def _instruments(row: Any, adapter: Callable[[str], BrokerAdapter]) -> list[Instrument]:
    spec, broker = spec_from_row(row), adapter(row.type)
    if broker.instrument_book(spec) != row.instrument_book:
        return []  # its settings have changed: the test that is due reads another list
    return await broker.instruments(spec)


def _store(row: Any, answer: list[Instrument] | Exception) -> bool:
    if isinstance(answer, Exception):
        log.warning(
            "listing_not_read", connection=str(row.connection_id), error=type(answer).__name__
        )
        return False
    try:
        return told.refresh_instruments(row.instrument_book, answer) > 0
    except health.UNUSABLE:
        log.exception("listing_cannot_be_stored", connection=str(row.connection_id))
        return False
