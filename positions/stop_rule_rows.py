"""SQL of break-even and trailing rules: resolved when a position opens, found by prices, applied.

A position's `stop_moves_at` is the price from which its rule acts, so that quotes find positions by
a partial index, and nothing is written for the others. All that a rule knows is in its row: after a
crash another process goes on from there.
"""

from dataclasses import dataclass
from decimal import Decimal

from common.db.price_search import reached_sql
from common.db.sql import IdRow, Query
from common.stop_rules import RULE_FIELDS
from connections.selectors import (
    PRESET_JOIN_SQL,
    connection_join_sql,
    freeze_level_sql,
    stops_level_sql,
    subscription_join_sql,
    tick_sql,
)
from positions.rule_model import DEFAULT_MIN_SECONDS
from positions.stop_rules import RuledPosition
from signals.joins import signal_join_sql

_ORIGINS = (("SIGNAL", "s"), ("SUBSCRIPTION", "b"), ("PRESET", "t"))


def _first(name: str, columns: tuple[str, ...], condition: str) -> str:
    """Return a LATERAL join of the columns of the first origin that has this part of a rule."""
    values = ", ".join(
        f"({rank}, '{origin}', {', '.join(f'{alias}.{column}' for column in columns)},"
        f" {alias}.stop_rule_unit)"
        for rank, (origin, alias) in enumerate(_ORIGINS)
    )
    return f"""LEFT JOIN LATERAL (
    SELECT * FROM (VALUES {values}) AS v(rank, origin, {", ".join(columns)}, unit)
    WHERE {condition} ORDER BY rank LIMIT 1) {name} ON true"""


_BREAK_EVEN_FIELDS, _TRAILING_FIELDS = RULE_FIELDS[:3], RULE_FIELDS[3:6]
_BREAK_EVEN = _first(
    "be", _BREAK_EVEN_FIELDS, "break_even_target IS NOT NULL OR break_even_profit IS NOT NULL"
)
_TRAILING = _first("tr", _TRAILING_FIELDS, "trailing_distance IS NOT NULL")
# Most positions have no rule: the two choices above are made only for those that have one.
_HAS_ANY = " OR ".join(
    f"{alias}.{column} IS NOT NULL"
    for _, alias in _ORIGINS
    for column in ("break_even_target", "break_even_profit", "trailing_distance")
)
# 0 switches a part off.
_HAS_BREAK_EVEN = "(be.break_even_target > 0 OR be.break_even_profit > 0)"
_HAS_TRAILING = "(tr.trailing_distance > 0)"


def insert_stop_rules_sql(opened: str) -> str:
    """Return an INSERT of the rules of positions that were opened just now.

    A signal's rule counts before a subscription's, and that before a preset's: break-even and
    trailing each as a whole. A new rule is due at once.

    opened: source with alias m: id (the position's), connection_id, subscriber_id (the connection
    whose subscription counts), signal_id, sl, is_new.
    """
    broken_even = (f"CASE WHEN {_HAS_BREAK_EVEN} THEN be.{name} END" for name in _BREAK_EVEN_FIELDS)
    trailing = (f"CASE WHEN {_HAS_TRAILING} THEN tr.{name} END" for name in _TRAILING_FIELDS)
    return f"""INSERT INTO positions_stoprule (position_id, {", ".join(_BREAK_EVEN_FIELDS)},
    break_even_origin, break_even_unit, {", ".join(_TRAILING_FIELDS)}, trailing_origin,
    trailing_unit, min_seconds, known_stop, due_at)
  SELECT m.id, {", ".join(broken_even)},
    CASE WHEN {_HAS_BREAK_EVEN} THEN be.origin ELSE '' END,
    CASE WHEN {_HAS_BREAK_EVEN} THEN be.unit ELSE '' END,
    {", ".join(trailing)},
    CASE WHEN {_HAS_TRAILING} THEN tr.origin ELSE '' END,
    CASE WHEN {_HAS_TRAILING} THEN tr.unit ELSE '' END,
    coalesce(t.stop_move_seconds, {DEFAULT_MIN_SECONDS}), m.sl, clock_timestamp()
  FROM {opened}
  {connection_join_sql("m.connection_id")}
  {PRESET_JOIN_SQL}
  {signal_join_sql("m.signal_id")}
  {subscription_join_sql("m.subscriber_id")}
  {_BREAK_EVEN}
  {_TRAILING}
  WHERE m.is_new AND ({_HAS_ANY}) AND ({_HAS_BREAK_EVEN} OR {_HAS_TRAILING})"""


@dataclass(frozen=True, slots=True)
class StoredRule(RuledPosition):
    """A position with its rule, as it is stored.

    age: seconds since the position opened, or since it grew. bid, ask: the latest quote; None: none
    that is fresh.
    """

    id: int
    source_id: int | None
    is_open: bool
    age: float
    bid: Decimal | None
    ask: Decimal | None


# A table of prices. best_bid, best_ask: the highest bid and the lowest ask.
_PRICES = """
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::numeric[])
  AS t(source_id, pair, best_bid, best_ask)"""


def _reached(side: str, comparison: str, price: str) -> str:
    of_pair = f"""SELECT id FROM positions_executionposition
    WHERE price_source_id = q.source_id AND pair = q.pair AND side = '{side}' AND quantity > 0
      AND stop_moves_at IS NOT NULL AND reserved < quantity"""
    return f"""
  SELECT p.id FROM q CROSS JOIN LATERAL (
    {reached_sql(of_pair, "stop_moves_at", comparison, f"q.{price}")}) p"""


REACHED_RULES = Query(
    IdRow,
    f"""WITH q AS NOT MATERIALIZED ({_PRICES})
{_reached("BUY", "<=", "best_bid")}
UNION ALL
{_reached("SELL", ">=", "best_ask")}
""",
)
"""The open positions whose rule acts at these prices."""

DUE_RULES = Query(
    IdRow,
    """
SELECT position_id AS id FROM positions_stoprule WHERE due_at <= clock_timestamp()
ORDER BY due_at LIMIT 1000
""",
)
"""The rules that are to be judged without a new price, the longest due first."""


STORE_ATR = """
UPDATE positions_stoprule r SET atr = a.atr
FROM unnest(%s::bigint[], %s::numeric[]) AS a(id, atr)
WHERE r.position_id = a.id AND r.atr IS NULL
"""
"""The average true range of rules whose distances are in ATR: it is fixed once."""


_TICK = f"coalesce(nullif({tick_sql('p')}, 0), p.pip / 10)"
# A stop exactly at the freeze level is frozen (`freeze_level.py`): it keeps a tick more.
_BEYOND_FREEZE = f"nullif({freeze_level_sql('p')}, 0) + {_TICK}"


def load_rules_sql(quotes: str) -> Query[StoredRule]:
    """Return the statement that loads positions with their rules. Lock the positions first.

    quotes: a table of the fresh latest quotes with data_connection_id, symbol, low_bid and low_ask.
    """
    return Query(
        StoredRule,
        f"""
SELECT p.id, p.price_source_id AS source_id, p.quantity > 0 AS is_open,
  extract(epoch FROM clock_timestamp() - CASE WHEN r.water_mark IS NULL
    THEN coalesce(r.water_mark_at, r.created_at) ELSE r.created_at END)::float8 AS age,
  q.low_bid AS bid, q.low_ask AS ask, p.pair, p.side, p.entry_price, p.sl, p.pip,
  {_TICK} AS tick, coalesce(greatest({stops_level_sql("p")}, {_BEYOND_FREEZE}), 0) AS stops_level,
  p.sl_guardian = 'BROKER' AND NOT p.levels_given_up AS at_broker, p.tp_number - 1 AS targets_done,
  {", ".join(f"r.{name}" for name in RULE_FIELDS[:6])}, r.break_even_unit, r.break_even_done,
  r.trailing_unit, r.atr, r.min_seconds,
  coalesce(extract(epoch FROM r.moved_at - clock_timestamp())::float8 + r.min_seconds, 0) AS wait,
  r.known_stop, r.water_mark, r.resumes_beyond
FROM positions_executionposition p JOIN positions_stoprule r ON r.position_id = p.id
LEFT JOIN ({quotes}) q ON q.data_connection_id = p.price_source_id AND q.symbol = p.pair
WHERE p.id = ANY(%s) ORDER BY p.id
""",
    )


# d: what was judged of each position. `moved` sets the stop by compare-and-set with the side: it
# never goes back, even if another session has moved it.
JUDGED_SQL = """WITH d AS (
  SELECT * FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::text[], %s::boolean[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::float8[], %s::text[])
  AS t(id, stop, expected, kind, break_even_done, water_mark, resumes_beyond, next_price, due_in,
    numbers)
), moved AS (
  UPDATE positions_executionposition p SET sl = d.stop, stop_moves_at = d.next_price,
    sl_guardian = CASE p.sl_guardian WHEN '' THEN 'ENGINE' ELSE p.sl_guardian END,
    last_activity_at = clock_timestamp()
  FROM d WHERE p.id = d.id AND d.stop IS NOT NULL AND p.quantity > 0
    AND p.sl IS NOT DISTINCT FROM d.expected
    AND (p.sl IS NULL OR CASE p.side WHEN 'BUY' THEN d.stop > p.sl ELSE d.stop < p.sl END)
  RETURNING p.id, p.connection_id, p.signal_id, d.stop, d.expected, d.kind, d.numbers
), stays AS (
  UPDATE positions_executionposition p SET stop_moves_at = d.next_price
  FROM d WHERE p.id = d.id AND d.stop IS NULL
    AND p.stop_moves_at IS DISTINCT FROM d.next_price
), judged AS (
  UPDATE positions_stoprule r SET break_even_done = d.break_even_done,
    resumes_beyond = d.resumes_beyond, known_stop = coalesce(moved.stop, d.expected),
    water_mark = d.water_mark, water_mark_at = CASE
      WHEN r.water_mark IS NOT DISTINCT FROM d.water_mark THEN r.water_mark_at
      ELSE clock_timestamp() END,
    due_at = clock_timestamp() + make_interval(secs => d.due_in),
    moves = r.moves + (moved.id IS NOT NULL)::int,
    moved_at = CASE WHEN moved.id IS NULL THEN r.moved_at ELSE clock_timestamp() END,
    moved_by = coalesce(moved.kind, r.moved_by),
    moved_from = CASE WHEN moved.id IS NULL THEN r.moved_from ELSE moved.expected END,
    moved_to = coalesce(moved.stop, r.moved_to)
  FROM d LEFT JOIN moved ON moved.id = d.id WHERE r.position_id = d.id
)"""
"""The WITH of a statement that stores what rules have decided: `moved` are the positions whose stop
was moved, with stop, expected (the stop before), kind and numbers (JSON). Lock the positions first.
"""
JUDGED_COLUMNS = 10
