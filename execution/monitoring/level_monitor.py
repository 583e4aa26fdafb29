"""The watch: stop-loss and take-profit hits of levels that we guard become exit orders.

Quotes are judged as they come (`ticks.py`); each minute all of them once more, by beat.

Set-based: hits are found through the partial indexes on (price source, pair, level); nothing is
written where nothing hits, and prices are never written into position rows. Whatever a CLOSE has
left open becomes an exit again, too.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction

from common.clocks import market_now
from common.failpoints import failpoint
from common.money import plain
from common.reason_codes import Code
from common.sql import Params, rows, run
from execution.exits import levels_sql
from execution.exits.dust import HELD_BACK, request_positions_read
from execution.exits.orders import ExitRequest, open_exits
from positions.levels import target_fraction

RETRY_SECONDS = 30


LATEST = """
SELECT data_connection_id, symbol, bid AS low_bid, bid AS high_bid, ask AS low_ask,
  ask AS high_ask FROM prices_latestquote"""
FREE = " AND reserved < quantity"


# LATERAL with OFFSET 0 keeps the planner at one index look for each quote. It takes a third of all
# positions to lie beyond a price that it does not know, and would read them all.
def _hits(side: str, level: str, comparison: str, price: str, guardian: str, free: str) -> str:
    return f"""
  SELECT p.id, '{level}' AS level, p.{level} AS price, q.{price} AS quote, q.symbol AS pair
  FROM q CROSS JOIN LATERAL (
    SELECT id, {level} FROM positions_executionposition
    WHERE price_source_id = q.data_connection_id AND pair = q.symbol AND side = '{side}'
      AND quantity > 0 AND {level} IS NOT NULL AND {level} {comparison} q.{price}
      AND {levels_sql.is_watched(level, guardian)}{free}
    OFFSET 0) p"""


def level_hits_sql(quotes: str, guardian: str = "ENGINE", free: str = FREE) -> str:
    """Return the question which levels these quotes (a SELECT, as LATEST) have reached.

    free: leaves out what is being closed already.
    """
    sides = (
        ("BUY", "sl", ">=", "low_bid"),
        ("SELL", "sl", "<=", "high_ask"),
        ("BUY", "tp", "<=", "high_bid"),
        ("SELL", "tp", ">=", "low_ask"),
    )
    return f"WITH q AS NOT MATERIALIZED ({quotes})" + "\nUNION ALL".join(
        _hits(*side, guardian, free) for side in sides
    )


HITS = level_hits_sql(LATEST)

# Only hits are looked at closer: which target it is, and whether an exit has just failed or its
# exchange would take nothing of it.
DETAILS = f"""
SELECT p.id, p.tp, p.tp_number, {levels_sql.TARGET_FRACTIONS} AS target_fractions, EXISTS (
    SELECT FROM execution_order o WHERE o.position_id = p.id AND o.filled_quantity = 0
      AND o.done_at > clock_timestamp() - make_interval(secs => %s)) OR {HELD_BACK} AS is_held_back
FROM positions_executionposition p JOIN signals_signal s ON s.id = p.signal_id
{levels_sql.JOIN}
WHERE p.id = ANY(%s)
"""

# An exit that the broker refused (its market was closed), or that another one stood in the way of.
INCOMPLETE_CLOSES = f"""
SELECT p.id, f.id AS signal_id FROM signals_signal f
CROSS JOIN LATERAL (
  SELECT id, connection_id, symbol, side, pair, price_source_id, quantity, entry_price,
    broker_quantity, broker_checked_at, broker_quantity_is_shared, last_activity_at
  FROM positions_executionposition
  WHERE signal_id = f.refers_to_id AND quantity > 0 AND reserved < quantity OFFSET 0) p
WHERE f.action = 'CLOSE' AND f.close_fraction = 1 AND f.published_at > %s
  AND NOT EXISTS (SELECT FROM execution_order o WHERE o.position_id = p.id
    AND o.filled_quantity = 0 AND o.done_at > clock_timestamp() - make_interval(secs => %s))
  AND NOT ({HELD_BACK})
"""
CLOSES_COUNT_FOR = timedelta(days=7)


def scan_levels() -> list[int]:
    """Write an exit order for every level of ours that the latest quotes have reached, and for what
    a CLOSE has left open.

    Returns the ids to ring. A position on which someone else is working is left for the next pass.
    """
    with transaction.atomic():
        requests = [
            *_incomplete_closes(),
            *exit_requests_for(find_hits()),
        ]  # of two for a position, the level's counts
        written = open_exits(requests, skip_locked=True)
    if written:
        failpoint("watch.committed")
    request_positions_read()
    return [exit_.order_id for exit_ in written]


def _incomplete_closes() -> list[ExitRequest]:
    found = rows(INCOMPLETE_CLOSES, (market_now() - CLOSES_COUNT_FOR, RETRY_SECONDS))
    return [
        ExitRequest(row.id, "close", detail=f"S-{row.signal_id} is not done yet") for row in found
    ]


def find_hits(statement: str = HITS, parameters: Params = None) -> list[Any]:
    """Return every level of ours that the latest quotes have reached, with the position's id."""
    run("SET LOCAL jit = off")
    run("SET LOCAL max_parallel_workers_per_gather = 0")  # starting them takes longer than all this
    return rows(statement, parameters)


def exit_requests_for(hits: list[Any]) -> list[ExitRequest]:
    """One wish a position; where stop and target are both beyond, the stop wins."""
    if not hits:
        return []
    by_position = {hit.id: hit for hit in sorted(hits, key=lambda hit: hit.level == "sl")}
    details = rows(DETAILS, (RETRY_SECONDS, list(by_position)))
    return [
        _exit_request(by_position[d.id], d)
        for d in details
        if not d.is_held_back and _is_still_next(by_position[d.id], d)
    ]


def _is_still_next(hit: Any, details: Any) -> bool:
    """Whether the target that was hit is still the next one: it may have filled meanwhile."""
    return hit.level == "sl" or bool(hit.price == details.tp)


def _exit_request(hit: Any, details: Any) -> ExitRequest:
    detail = f"{hit.level} {plain(hit.price)} reached at {plain(hit.quote)}"
    if hit.level == "sl":
        return ExitRequest(hit.id, "sl", None, Code.LEVEL_HIT, detail)
    number = details.tp_number
    fraction = target_fraction(details.target_fractions, number)
    return ExitRequest(hit.id, f"tp-{number}", fraction, Code.LEVEL_HIT, detail)
