"""Positions that should be closed and are not: their exit was rejected, or another one blocked it.

Brokers reject exits while a market is closed, for example. Such a close is not given up: each
minute's scan of levels writes another exit as long as what requested it holds: a CLOSE signal of
the last days (of all or of a part), a pause by a loss limit that closes, or a halt that closes
until its release.

What a person closes by hand is not repeated: they see that it was rejected, and decide.
"""

from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from common.clocks import market_now
from common.db.sql import Query, rows
from common.reason_codes import Code
from connections.selectors import (
    CLOSING_HALTS_SQL,
    CLOSING_PAUSES_SQL,
    LISTED_INSTRUMENTS_SQL,
)
from execution.base.market_facts import CONTRADICTING
from execution.exits.dust import HELD_BACK
from execution.exits.legs import BY_HAND, KILL_SWITCH, LOSS_LIMIT, SIGNAL
from execution.exits.order_sizes import request_of_leg_sql, target_of_leg_sql
from execution.exits.orders import ExitRequest
from positions.joins import open_of_signal_sql
from signals.joins import is_of_feed_sql, is_of_pair_sql

_REFUSALS = ", ".join(
    f"'{code.value}'"
    for code in sorted({*CONTRADICTING, Code.NO_PRICE_WITHIN_LIMIT, Code.REJECTED_BY_BROKER})
)
CLOSE_RETRY_PERIOD = timedelta(days=7)  # after this time a CLOSE is no longer completed


class IncompleteClose(NamedTuple):
    """A position that is still open. code, detail: why it is to be closed. signal_id: the CLOSE
    signal, if one requests it. leg: how that of its exit begins."""

    id: int
    code: str
    detail: str
    signal_id: int | None
    leg: str


class IncompletePart(NamedTuple):
    """A position of which a CLOSE of a part has not closed all. leg: of its first exit. quantity:
    what is still to be closed, in base units."""

    id: int
    detail: str
    signal_id: int
    leg: str
    quantity: Decimal


def _open_position(condition: str) -> str:
    """Return a join with each position `p` that has something to close, by an index each.

    condition: of its columns; it names `quantity > 0`, as the indexes of open positions do.
    """
    return f"""CROSS JOIN LATERAL (
  SELECT id, signal_id, connection_id, symbol, side, pair, price_source_id, quantity,
    opened_quantity, entry_price, broker_quantity, broker_checked_at, broker_quantity_is_shared,
    last_activity_at
  FROM positions_executionposition
  WHERE {condition} AND reserved < quantity OFFSET 0) p"""


LONGEST_WAIT_SECONDS = 900


def growing_wait_sql(first: str, failures: str) -> str:
    """Return SQL of the interval until the next try, twice as long after each failure.

    first: seconds; failures: how many there were, at least 1. Both are expressions.
    """
    return f"""make_interval(secs => least({LONGEST_WAIT_SECONDS},
      {first} * power(2, least({failures}, 10) - 1)))"""


_REQUESTS_SQL = f"count(DISTINCT {request_of_leg_sql('o.leg')})"
# No close of the position has just ended without a fill, and its remainder can be sold. The more
# have, the longer it waits: a market may be closed for days. Stops and targets that failed do not
# count: they are tried again at intervals of their own.
MAY_BE_REPEATED_SQL = f"""NOT EXISTS (
    SELECT FROM execution_order o WHERE o.position_id = p.id AND o.filled_quantity = 0
      AND o.done_at IS NOT NULL AND o.leg NOT LIKE 'tp-%%' AND o.leg NOT LIKE 'sl%%'
    HAVING max(o.done_at) > clock_timestamp() - {growing_wait_sql("%(retry)s", _REQUESTS_SQL)})
  AND NOT {HELD_BACK}"""

_SIGNALS = "signals_signal"
OF_CLOSES = Query(
    IncompleteClose,
    f"""
SELECT p.id, '{Code.CREATED.value}' AS code, 'S-' || f.id || ' is not done yet' AS detail,
  f.id AS signal_id, '{SIGNAL}' AS leg
FROM {_SIGNALS} f
{_open_position(open_of_signal_sql("f.refers_to_id"))}
WHERE f.action = 'CLOSE' AND f.close_fraction = 1 AND f.published_at > %(since)s
  AND {MAY_BE_REPEATED_SQL}
""",
)

# Of a CLOSE of a part: what its exits were to close, less what they and their repetitions
# (`close-1.2`) have filled. Only what a broker has refused: others may have ended for good reason.
_WAS_REFUSED = f"""(array_agg(o.status IN ('REJECTED', 'EXPIRED', 'FAILED')
    OR o.status = 'CANCELLED' AND o.reason IN ({_REFUSALS}) ORDER BY o.id DESC))[1]"""
_IS_ROOT = f"{request_of_leg_sql('o.leg')} = {target_of_leg_sql('o.leg')}"
_LEAST_PART = f"""coalesce((SELECT greatest(i.quantity_step, i.close_min)
    FROM {LISTED_INSTRUMENTS_SQL} WHERE c.id = p.connection_id AND i.symbol = p.symbol), 0)"""
OF_PARTS = Query(
    IncompletePart,
    f"""
SELECT p.id, 'S-' || f.id || ' is not done yet' AS detail, f.id AS signal_id, u.leg, u.quantity
FROM {_SIGNALS} f
{_open_position(open_of_signal_sql("f.refers_to_id"))}
CROSS JOIN LATERAL (
  SELECT {target_of_leg_sql("o.leg")} AS leg,
    sum(o.quantity) FILTER (WHERE {_IS_ROOT}) - sum(o.filled_quantity) AS quantity
  FROM execution_order o
  WHERE o.position_id = p.id AND o.signal_id = f.id AND o.leg LIKE '{SIGNAL}-%%'
  GROUP BY 1 HAVING bool_and(o.done_at IS NOT NULL) AND {_WAS_REFUSED}
  ORDER BY 1 LIMIT 1) u
WHERE f.action = 'CLOSE' AND f.close_fraction < 1 AND f.published_at > %(since)s
  AND u.quantity > 0 AND u.quantity >= {_LEAST_PART} AND {MAY_BE_REPEATED_SQL}
""",
)

OF_PAUSES = Query(
    IncompleteClose,
    f"""
SELECT p.id, t.code, t.detail, NULL::bigint AS signal_id, '{LOSS_LIMIT}' AS leg
FROM ({CLOSING_PAUSES_SQL}) t
{_open_position("quantity > 0 AND connection_id = t.connection_id")}
WHERE (t.feed_id IS NULL OR {is_of_feed_sql("p.signal_id", "t.feed_id")})
  AND {MAY_BE_REPEATED_SQL}
""",
)

# A branch for each scope, so that each finds its positions by an index.
_SCOPES = {
    "ALL": "true",
    "FEED": is_of_feed_sql("signal_id", "k.feed_id"),
    "CONNECTION": "connection_id = k.connection_id",
    "SYMBOL": f"(pair = k.pair OR {is_of_pair_sql('signal_id', 'k.pair')})",
}
OF_SCOPES_SQL = "\nUNION ALL\n".join(
    f"""SELECT p.*, k.halt_id, k.set_at, k.cancel_entries FROM ({CLOSING_HALTS_SQL}) k
{_open_position(f"quantity > 0 AND {condition}")}
WHERE k.scope = '{scope}'"""
    for scope, condition in _SCOPES.items()
)
# Only what a halt has tried to close. Entries that it does not cancel may fill and stay: an exit of
# theirs is another's, for example of a person who closes a part. Of those that it cancels, what
# fills before is closed by an exit of the cancel.
OF_HALTS = Query(
    IncompleteClose,
    f"""
SELECT p.id, '{Code.FLATTENED.value}' AS code, 'kill switch ' || p.halt_id AS detail,
  NULL::bigint AS signal_id, '{KILL_SWITCH}' AS leg
FROM ({OF_SCOPES_SQL}) p
WHERE EXISTS (SELECT FROM execution_order o WHERE o.position_id = p.id
    AND (o.leg LIKE '{KILL_SWITCH}-%%' OR o.leg LIKE '{BY_HAND}-%%')
    AND (p.cancel_entries AND o.created_at >= p.set_at OR EXISTS (
      SELECT FROM execution_executionlog l
      WHERE l.order_id = o.id AND l.code = '{Code.FLATTENED.value}'))
    OFFSET 0)  -- for each position by its index, not all exits at once
  AND {MAY_BE_REPEATED_SQL}
""",
)


def incomplete_closes(retry_seconds: float) -> list[ExitRequest]:
    """Return requests for all that is to be closed and has no live exit.

    retry_seconds: none for a position of which an exit ended unfilled in this time; twice as long
    after each further one, up to LONGEST_WAIT_SECONDS.
    """
    asked = {"retry": retry_seconds, "since": market_now() - CLOSE_RETRY_PERIOD}
    found = [
        row
        for statement in (OF_CLOSES, OF_PAUSES, OF_HALTS)
        for row in rows(statement, asked, planned_once=True)
    ]
    parts = [
        ExitRequest(
            row.id, row.leg, detail=row.detail, quantity=row.quantity, signal_id=row.signal_id
        )
        for row in rows(OF_PARTS, asked, planned_once=True)
    ]
    return parts + [  # of two requests for a position, the later one counts
        ExitRequest(
            row.id, row.leg, code=Code(row.code), detail=row.detail, signal_id=row.signal_id
        )
        for row in found
    ]
