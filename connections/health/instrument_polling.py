"""Read the brokers' instrument books again once a day, and at once if a broker contradicts them.

They decide which pairs can be traded. Each book is read through one healthy account. (A connection
test reads the book of its account, too.) A book that cannot be read stays as it is, and is
requested again after an hour or when one of its accounts has reconnected. A failure proves nothing
about the account, whose health comes from `health/account_polling.py`. New credentials or settings
need a test, which reads the book (`accounts/services.py`); so a reconnect alone only requests a
book that is older than a day.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from brokers.base import BrokerAdapter
from brokers.call_runner import BrokerCallRunner
from brokers.registry import adapter_for
from brokers.types import Instrument
from common.db.sql import IdRow, Query, array, periodic_rows, rows, run
from connections.accounts import snapshots
from connections.credentials.specs import READ_COLUMNS, ReadRow, spec_from_row
from connections.exposure import is_monitored_sql
from connections.health import status_updates
from connections.health.connection_checks import CallRunner, run_on_process_loop
from connections.joins import is_doubted_sql
from connections.market_data.twin_lists import brokers_book
from connections.session_lanes import (
    IN_HELD_LANES_SQL,
    held_lanes_parameters,
    idle_parameters,
    not_idle_sql,
)

log = structlog.get_logger(__name__)

MAX_AGE_SECONDS, RETRY_SECONDS = 86_400, 3_600
# A contradicted book is read this often at most, and so long. After that it is read like others.
DOUBT_RETRY_SECONDS, DOUBT_SECONDS = 2, 120
MAX_CONCURRENT, AT_ONE_HOST = 20, 5
SECONDS = 30

_DOUBT = """
INSERT INTO connections_instrumentbook (book, doubted_at)
SELECT DISTINCT c.instrument_book, clock_timestamp() FROM connections_executionconnection c
WHERE c.id = ANY(%s::uuid[]) AND c.instrument_book <> '' ORDER BY 1
ON CONFLICT (book) DO UPDATE SET doubted_at = excluded.doubted_at
"""
_ANY_DOUBTED = Query(
    IdRow,
    f"SELECT 1 AS id FROM connections_instrumentbook b"
    f" WHERE {is_doubted_sql('b', DOUBT_SECONDS)} LIMIT 1",
)
_MARK_REQUESTED = """
INSERT INTO connections_instrumentbook (book, requested_at)
SELECT book, clock_timestamp() FROM unnest(%s::text[]) AS t (book) ORDER BY book
ON CONFLICT (book) DO UPDATE SET requested_at = excluded.requested_at
"""


@dataclass(frozen=True, slots=True)
class DueBook(ReadRow):
    """An account to read a due book from, with the fields of `ReadRow`."""

    instrument_book: str
    read_at: datetime | None


def due_sql() -> Query[DueBook]:
    """Return the SELECT of one account for each due book, the oldest book first."""
    return Query(
        DueBook,
        f"""
    SELECT * FROM (
      SELECT DISTINCT ON (c.instrument_book) {READ_COLUMNS}, c.instrument_book, b.read_at
      FROM connections_executionconnection c
      JOIN connections_connectionhealth h ON h.connection_id = c.id
      LEFT JOIN connections_instrumentbook b ON b.book = c.instrument_book
      WHERE {is_monitored_sql()} AND c.instrument_book <> '' AND {IN_HELD_LANES_SQL} AND
        {not_idle_sql()}
        AND h.status = 'ACTIVE' AND h.unreachable_at IS NULL
        AND c.broker_host NOT IN (
          SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
        AND (coalesce(b.read_at, '-infinity')
          < clock_timestamp() - make_interval(secs => %(age)s)
        AND (coalesce(b.requested_at, '-infinity')
          < clock_timestamp() - make_interval(secs => %(retry_seconds)s)
          OR b.requested_at < h.errored_at)
        OR {is_doubted_sql("b", DOUBT_SECONDS)} AND coalesce(b.requested_at, '-infinity')
          < greatest(b.doubted_at, clock_timestamp() - interval '{DOUBT_RETRY_SECONDS} seconds'))
      ORDER BY c.instrument_book, h.last_connected_at DESC NULLS LAST
    ) due ORDER BY read_at NULLS FIRST LIMIT %(limit)s
    """,
    )


def doubt_instruments(connection_ids: Collection[UUID]) -> None:
    """Have the books of these accounts read again at once: a refusal contradicts them."""
    run(_DOUBT, (array(connection_ids),))


def renew_doubted_instruments() -> int:
    """Read the books that were contradicted, if there are any; return how many were stored."""
    return refresh_due_instruments() if periodic_rows(_ANY_DOUBTED) else 0


def refresh_due_instruments(
    *,
    run_calls: CallRunner = run_on_process_loop,
    adapter: Callable[[str], BrokerAdapter] = adapter_for,
) -> int:
    """Read the books that are due, at most 20 of them; return how many were stored."""
    values = {"age": MAX_AGE_SECONDS, "retry_seconds": RETRY_SECONDS, "limit": MAX_CONCURRENT}
    due = rows(due_sql(), {**values, **held_lanes_parameters(), **idle_parameters()})
    if not due:
        return 0
    run(_MARK_REQUESTED, ([row.instrument_book for row in due],))
    return _read(due, run_calls, adapter)


def _read(
    due: Sequence[DueBook], run_calls: CallRunner, adapter: Callable[[str], BrokerAdapter]
) -> int:
    answers: BrokerCallRunner[list[Instrument]] = BrokerCallRunner(
        run_calls,
        max_calls=MAX_CONCURRENT,
        max_per_host=AT_ONE_HOST,
        seconds=lambda: SECONDS,
    )
    answers.start([(row, partial(_instruments, row, adapter)) for row in due])
    stored = 0
    for group in answers.groups():
        for row, answer in group:
            stored += _store(row, answer)
    return stored


async def _instruments(row: DueBook, adapter: Callable[[str], BrokerAdapter]) -> list[Instrument]:
    spec, broker = spec_from_row(row), adapter(row.type)
    if broker.instrument_book(spec) != brokers_book(row.instrument_book):
        return []  # its settings have changed: the test that is due reads another book
    return await broker.instruments(spec)


def _store(row: DueBook, answer: list[Instrument] | Exception) -> bool:
    if isinstance(answer, Exception):
        log.warning(
            "listing_not_read", connection=str(row.connection_id), error=type(answer).__name__
        )
        return False
    try:
        return snapshots.store_instruments(row.instrument_book, answer) > 0
    except status_updates.UNUSABLE_ERRORS:
        log.exception("listing_cannot_be_stored", connection=str(row.connection_id))
        return False
