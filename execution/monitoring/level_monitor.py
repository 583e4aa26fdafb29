"""Level monitor: writes exit orders for engine-guarded levels that the price has reached.

`tick_monitor.py` evaluates quotes as they arrive; beat scans all levels each minute. A scan also
writes exits again for what a CLOSE, a loss limit or a halt has left open (`incomplete_closes.py`).

Hits are found set-based, through the partial indexes on (price source, pair, level). A scan without
hits writes nothing, and prices are never written into position rows.
"""

from decimal import Decimal
from typing import NamedTuple

from django.db import transaction

from common.db.price_search import reached_sql
from common.db.sql import Params, Query, kept_plans, rows
from common.failpoints import failpoint
from common.money import plain
from common.reason_codes import Code
from execution.exits.dust import HELD_BACK, request_reads
from execution.exits.order_sizes import request_of_leg_sql, target_of_leg_sql
from execution.exits.orders import ExitRequest, open_exits
from execution.monitoring.incomplete_closes import growing_wait_sql, incomplete_closes
from positions.levels import is_guarded_by_sql, target_fraction
from signals import effective_levels

RETRY_SECONDS = 30


class LevelHit(NamedTuple):
    """A level that a quote has reached. id: the position's; level: "sl" or "tp"."""

    id: int
    level: str
    price: Decimal
    quote: Decimal
    pair: str


class HitDetails(NamedTuple):
    """The position of a hit. waiting: the levels (`sl`, `tp-1`) whose next exit waits, since one
    has ended unfilled, or of a target in part. is_held_back: no exit may be written for it now."""

    id: int
    tp: Decimal | None
    tp_number: int
    target_fractions: list[Decimal]
    waiting: list[str]
    is_held_back: bool


LATEST = """
SELECT data_connection_id, symbol, bid AS low_bid, bid AS high_bid, ask AS low_ask,
  ask AS high_ask FROM prices_latestquote"""
NOT_WHOLLY_RESERVED = " AND reserved < quantity"


def _hits(side: str, level: str, comparison: str, price: str, guardian: str, condition: str) -> str:
    of_pair = f"""SELECT id, {level} FROM positions_executionposition
    WHERE price_source_id = q.data_connection_id AND pair = q.symbol AND side = '{side}'
      AND quantity > 0 AND {level} IS NOT NULL
      AND {is_guarded_by_sql(level, guardian)}{condition}"""
    return f"""
  SELECT p.id, '{level}' AS level, p.{level} AS price, q.{price} AS quote, q.symbol AS pair
  FROM q CROSS JOIN LATERAL ({reached_sql(of_pair, level, comparison, f"q.{price}")}) p"""


def level_hits_sql(
    quotes: str, guardian: str = "ENGINE", condition: str = NOT_WHOLLY_RESERVED
) -> Query[LevelHit]:
    """Return the statement that finds the levels reached by these quotes.

    quotes: a SELECT with the columns of LATEST. condition: which positions count, as `AND …`; by
    default those that live exits will not close wholly.
    """
    sides = (
        ("BUY", "sl", ">=", "low_bid"),
        ("SELL", "sl", "<=", "high_ask"),
        ("BUY", "tp", "<=", "high_bid"),
        ("SELL", "tp", ">=", "low_ask"),
    )
    hits = "\nUNION ALL".join(_hits(*side, guardian, condition) for side in sides)
    return Query(LevelHit, f"WITH q AS NOT MATERIALIZED ({quotes}){hits}")


HITS = level_hits_sql(LATEST)

# Read for hits only: the target's number, which levels wait, and whether the remainder is below the
# exchange's minimum: then it waits, or is dust, which `close_dust` writes off. No level waits
# because something else failed. A target waits longer the more of its requests have failed: what is
# left of it may be too small for the broker.
_LEVEL = f"CASE WHEN o.leg LIKE 'sl%%' THEN 'sl' ELSE {target_of_leg_sql('o.leg')} END"
_FAILED = "o.filled_quantity = 0 AND o.done_at IS NOT NULL"
_FAILURES = f"""CASE WHEN {_LEVEL} = 'sl' THEN 1 ELSE greatest(1,
        count(DISTINCT {request_of_leg_sql("o.leg")}) FILTER (WHERE {_FAILED})) END"""
DETAILS = Query(
    HitDetails,
    f"""
SELECT p.id, p.tp, p.tp_number, {effective_levels.TARGET_FRACTIONS} AS target_fractions,
  ARRAY(SELECT {_LEVEL} FROM execution_order o
    WHERE o.position_id = p.id AND (o.leg LIKE 'sl%%' AND {_FAILED}
      OR o.leg LIKE 'tp%%' AND o.status <> 'FILLED')
    GROUP BY 1 HAVING max(o.done_at) > clock_timestamp() - {growing_wait_sql("%s", _FAILURES)}
  ) AS waiting, {HELD_BACK} AS is_held_back
FROM positions_executionposition p JOIN signals_signal s ON s.id = p.signal_id
{effective_levels.JOIN}
WHERE p.id = ANY(%s)
""",
)


def scan_levels() -> list[int]:
    """Write an exit order for each engine-guarded level reached, and for each incomplete close.

    Returns the order ids to enqueue. Skips locked positions until the next scan.
    """
    with transaction.atomic(), kept_plans():
        requests = [*exit_requests_for(find_hits()), *incomplete_closes(RETRY_SECONDS)]
        requests.sort(key=_precedence)  # of two requests for a position, the later one counts
        written = open_exits(requests, skip_locked=True)
    if written:
        failpoint("levels.committed")
    request_reads()
    return [exit_.order_id for exit_ in written]


def _precedence(request: ExitRequest) -> int:
    """Rank requests: a target's may be for a part, or refused; what is to be closed wholly is
    closed as a stop if that was reached too."""
    return 0 if request.leg.startswith("tp-") else 2 if request.leg == "sl" else 1


def find_hits(statement: Query[LevelHit] = HITS, parameters: Params = None) -> list[LevelHit]:
    """Return a row for each engine-guarded level reached, with the position's id.

    Inside `kept_plans` the statement's plan is kept.
    """
    return rows(statement, parameters, planned_once=True)


def exit_requests_for(hits: list[LevelHit]) -> list[ExitRequest]:
    """Return one exit request per position; if stop and target were both reached, the stop's."""
    if not hits:
        return []
    by_position = {hit.id: hit for hit in sorted(hits, key=lambda hit: hit.level == "sl")}
    details = rows(DETAILS, (RETRY_SECONDS, list(by_position)), planned_once=True)
    return [_exit_request(by_position[d.id], d) for d in details if _may_exit(by_position[d.id], d)]


def _may_exit(hit: LevelHit, details: HitDetails) -> bool:
    """Return whether an exit may be written now. A target may have filled since it was hit."""
    is_current = hit.level == "sl" or hit.price == details.tp
    return is_current and _leg(hit, details) not in details.waiting and not details.is_held_back


def _leg(hit: LevelHit, details: HitDetails) -> str:
    return "sl" if hit.level == "sl" else f"tp-{details.tp_number}"


def _exit_request(hit: LevelHit, details: HitDetails) -> ExitRequest:
    detail = f"{hit.level} {plain(hit.price)} reached at {plain(hit.quote)}"
    fraction = None
    if hit.level != "sl":
        fraction = target_fraction(details.target_fractions, details.tp_number)
    return ExitRequest(hit.id, _leg(hit, details), fraction, Code.LEVEL_HIT, detail)
