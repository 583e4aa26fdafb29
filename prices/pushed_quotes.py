"""Take quotes that a program pushes, and hand them to the prices process, in order.

A row of `PushedQuote` is the job: the process publishes and deletes it (`pushed_feeds.py`), and
keeps it while its quote is held back. One
body is one transaction under its source's row lock, so that the quotes of a source are numbered in
the order of their times.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from brokers.types import Quote
from common.db.sql import Query, array, columns, database_now, periodic_rows, run
from common.errors import ConflictError
from common.permissions import Right, require
from common.reason_codes import Code
from connections.models import DataConnection
from prices.models import PushedSymbol
from prices.pushed_rules import RefusedRow, judge_rows
from users.models import User

MAX_QUOTES = 100  # of a body
UNREAD_FOR = timedelta(seconds=60)  # while no prices process runs; such quotes are no prices of now


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a body. repeated: quotes that were taken before."""

    accepted: int
    repeated: int
    refused: Sequence[RefusedRow] = field(default_factory=tuple)


def push_quotes(source_id: int, quotes: Sequence[object], *, by: User | None) -> Pushed:
    """Take those of the quotes that are valid; state for each other one why it is refused.

    Sending them again changes nothing. by: None is the system. Raises NotAllowedError, and
    ConflictError SOURCE_NOT_PUSHED if the source takes none or is switched off.
    """
    with transaction.atomic():
        sources = DataConnection.objects.select_for_update(no_key=True, of=("self",))
        source = sources.get(pk=source_id)
        require(by, Right.PUSH_PRICES, owner_id=source.user_id)
        if source.kind != DataConnection.Kind.PUSH or not source.is_active:
            is_off = source.kind == DataConnection.Kind.PUSH
            detail = "It is switched off." if is_off else f"It is of the kind {source.kind}."
            raise ConflictError(Code.SOURCE_NOT_PUSHED, detail)
        known, symbols = _known(source_id), set(source.pushed_symbols)
        judged = judge_rows(quotes, symbols, known, database_now())
        _store(source_id, judged.accepted)
        _count_refusals(source_id, judged.refused)
    return Pushed(len(judged.accepted), judged.repeated, tuple(judged.refused))


def _known(source_id: int) -> dict[str, Quote]:
    known = PushedSymbol.objects.filter(data_connection_id=source_id)
    return {
        symbol: Quote(symbol, bid, ask, time)
        for symbol, bid, ask, time in known.values_list("symbol", "bid", "ask", "time")
    }


STORE = """
WITH new AS MATERIALIZED (
  SELECT * FROM unnest(%(symbols)s::text[], %(bids)s::numeric[], %(asks)s::numeric[],
    %(times)s::timestamptz[]) WITH ORDINALITY AS n(symbol, bid, ask, time, number)
), unread AS (
  DELETE FROM prices_pushedquote WHERE data_connection_id = %(source)s
    AND received_at < clock_timestamp() - %(unread)s::interval
), known AS (
  INSERT INTO prices_pushedsymbol (data_connection_id, symbol, bid, ask, time)
  SELECT DISTINCT ON (symbol) %(source)s, symbol, bid, ask, time FROM new
  ORDER BY symbol, number DESC
  ON CONFLICT (data_connection_id, symbol) DO UPDATE SET bid = excluded.bid, ask = excluded.ask,
    time = excluded.time
)
INSERT INTO prices_pushedquote (data_connection_id, symbol, bid, ask, time)
SELECT %(source)s, symbol, bid, ask, time FROM new ORDER BY number
"""


def _store(source_id: int, quotes: Sequence[Quote]) -> None:
    if not quotes:
        return
    symbols, bids, asks, times = columns([(q.symbol, q.bid, q.ask, q.time) for q in quotes], 4)
    run(
        STORE,
        {
            "source": source_id, "symbols": symbols, "bids": bids, "asks": asks, "times": times,
            "unread": UNREAD_FOR,
        },
    )  # fmt: skip


COUNT_REFUSALS = """
INSERT INTO prices_pushrefusal AS old (data_connection_id, code, quotes, last_at, last_text)
SELECT %s, n.code, n.quotes, clock_timestamp(), n.text
FROM unnest(%s::text[], %s::int[], %s::text[]) AS n(code, quotes, text) ORDER BY n.code
ON CONFLICT (data_connection_id, code) DO UPDATE SET quotes = old.quotes + excluded.quotes,
  last_at = excluded.last_at, last_text = excluded.last_text
"""


def _count_refusals(source_id: int, refused: Sequence[RefusedRow]) -> None:
    if not refused:
        return
    counts = Counter(row.code.value for row in refused)
    last = {row.code.value: f"{row.symbol}: {row.detail}"[:200] for row in refused}
    records = [(code, count, last[code]) for code, count in sorted(counts.items())]
    run(COUNT_REFUSALS, (source_id, *columns(records, 3)))


# ---- for the prices process ------------------------------------------------------------------
class PushedRow(NamedTuple):
    """A pushed quote that is not published yet. age: seconds since it was true."""

    id: int
    source_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime
    age: float


UNPUBLISHED = Query(
    PushedRow,
    """
SELECT q.id, q.data_connection_id AS source_id, q.symbol, q.bid, q.ask, q.time,
  extract(epoch FROM statement_timestamp() - q.time)::float8 AS age
FROM unnest(%s::bigint[], %s::bigint[]) AS s(source_id, after)
CROSS JOIN LATERAL (
  SELECT * FROM prices_pushedquote p
  WHERE p.data_connection_id = s.source_id AND p.id > s.after ORDER BY p.id LIMIT 5000
) q ORDER BY q.id
""",
)


def unpublished(after: Mapping[int, int]) -> list[PushedRow]:
    """Return the quotes of sources that came after the one with an id, in order.

    after: by source.
    """
    return periodic_rows(UNPUBLISHED, (array(after), array(after.values())))


class DecidedRow(NamedTuple):
    """A row that was published, or counts for nothing."""

    id: int


DECIDED = Query(
    DecidedRow,
    "SELECT h.id FROM unnest(%s::bigint[]) AS h(id) WHERE NOT EXISTS ("
    "SELECT FROM prices_pushedquote q WHERE q.id = h.id AND q.data_connection_id = %s)",
)


def decided_by_others(source_id: int, ids: Collection[int]) -> set[int]:
    """Return which of these rows of a source are there no more."""
    return {row.id for row in periodic_rows(DECIDED, (array(ids), source_id))}


def forget_published(source_id: int, ids: Collection[int]) -> None:
    """Delete what is published."""
    run("DELETE FROM prices_pushedquote WHERE data_connection_id = %s AND id = ANY(%s::bigint[])",
        (source_id, array(ids)))  # fmt: skip
