"""SQL that writes the levels of positions, and what brokers hold of them.

`sl` and `tp` are the levels that a position should have, and their guardians execute them.
`broker_sl` and `broker_tp` are what the broker has reported. While the two differ, ours are sent
(`execution/monitoring/level_sync.py`), unless the broker dropped them twice
(`levels_given_up`) or they were removed for an exit (`protection_suspended`).
"""

from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, rows, run
from connections.selectors import freeze_level_sql, on_tick_sql, quantity_step_sql
from connections.session_lanes import in_held_lanes_sql
from positions.joins import open_of_signal_sql
from positions.levels import LACKS_LEVEL_SQL, differs_sql, lacks_level_sql
from positions.row_locks import LOCK_BY_ID, lock_positions_sql
from signals import effective_levels
from signals.joins import signal_join_sql

# ---- by signals ----------------------------------------------------------------------------------
# The engine guards a level that had no guardian. It also guards several targets, or one of a part,
# that replace the one at the broker, which closes all of the position. If the signal has fewer
# targets than the number of the position's next one, its last one counts.
MOVE_LEVELS_SQL = f"""WITH locked AS (
  SELECT id FROM positions_executionposition WHERE {open_of_signal_sql("%(refers_to)s")}
  ORDER BY id FOR NO KEY UPDATE
), moved AS (
  UPDATE positions_executionposition p SET last_activity_at = clock_timestamp(),
    sl = coalesce({on_tick_sql("t.sl", "p")}, p.sl), tp = CASE WHEN t.n = 0 THEN p.tp
      ELSE {on_tick_sql("coalesce(t.targets[p.tp_number], t.targets[t.n])", "p")} END,
    sl_guardian = CASE WHEN t.sl IS NULL OR p.sl_guardian <> '' THEN p.sl_guardian
      ELSE 'ENGINE' END,
    tp_guardian = CASE WHEN t.n = 0 OR %(is_one_for_all)s AND p.tp_guardian <> ''
      THEN p.tp_guardian ELSE 'ENGINE' END,
    levels_given_up = false, levels_dropped_at = NULL
  FROM locked, (SELECT %(sl)s::numeric AS sl, %(targets)s::numeric[] AS targets,
    cardinality(%(targets)s::numeric[]) AS n) t
  WHERE p.id = locked.id AND p.quantity > 0
  RETURNING p.id, p.connection_id
)"""
"""The WITH of a statement that gives the open positions of a signal (`refers_to`) other levels;
`moved` are those positions. Parameters: sl (NULL: unchanged), targets (empty: unchanged),
is_one_for_all (there is one, and it closes all of a position)."""

END_TARGETS = f"""
UPDATE positions_executionposition p SET tp_number = p.tp_number + 1,
  tp = {on_tick_sql(f"({effective_levels.TARGET_PRICES})[p.tp_number + 1]", "p")},
  last_activity_at = clock_timestamp()
FROM unnest(%s::bigint[], %s::numeric[]) AS ended(id, fraction)
JOIN positions_executionposition locked ON locked.id = ended.id
{signal_join_sql("locked.signal_id")}
{effective_levels.JOIN}
WHERE p.id = ended.id AND ({effective_levels.TARGET_FRACTIONS})[p.tp_number] = ended.fraction
"""
"""Gives positions, which the caller has locked, their signal's next target, or none. Parameters:
ids, and the fraction of the target that is over: where a MODIFY has changed it, nothing happens."""


# ---- by brokers' reports -------------------------------------------------------------------------
# Levels that a broker has confirmed and dropped twice within this time are not placed a third time:
# a plugin, or the owner's expert advisor, would drop them again each time.
DROPS_APART_SECONDS = 300

# A broker's replies and its events arrive on different channels: of two reports within this time
# that differ, either may be the older one.
CONTRADICTION_SECONDS = 5


def _covers_sql(position: str, protected: str) -> str:
    """Return SQL: whether levels cover all whole steps of a position, and not all of it.

    A fee that was taken from the coin leaves a part of a step, which cannot be sold.
    """
    return f"""({protected} < {position}.quantity AND coalesce(
      (SELECT {protected} = trunc({position}.quantity / step) * step
        FROM (SELECT {quantity_step_sql(position)} AS step) s), false))"""


def store_reported_levels_sql(statements: str) -> str:
    """Return the two CTEs `reported` and `moved` that store which levels brokers hold.

    A level that we have not placed is the owner's: a reconciliation reports it, and we do not
    remove it. What was read counts if the position has had no activity since the read began; a
    deferred report counts if there was none since it arrived. Levels that are orders of their own
    (`protected`) and outlive their position are suspended, so that they are removed. Where an
    exchange sells whole steps only, they cover the position if they cover these.

    statements: source with alias d (sl, tp, protected, refused, is_first, began, as_of) and its
    position p. Of each changed position `moved` has id, signal_id, connection_id, refused, dropped,
    contradicts and levels_given_up.
    """
    return f"""reported AS (
  SELECT p.id, d.sl, d.tp, d.refused,
    CASE WHEN {_covers_sql("p", "d.protected")} THEN p.quantity ELSE d.protected END AS protected,
    p.quantity = 0 AND d.protected IS NOT NULL AND NOT p.protection_suspended AS is_left,
    p.sl_guardian = 'BROKER' AND p.sl IS NOT NULL AND d.sl IS NULL
      OR p.tp_guardian = 'BROKER' AND p.tp IS NOT NULL AND d.tp IS NULL AS lacks,
    NOT p.protection_suspended AND NOT p.levels_given_up AND p.quantity > 0
      AND (p.broker_sl IS NOT NULL OR p.broker_tp IS NOT NULL
      OR p.level_sync_attempts = 0) AS is_new,
    NOT {lacks_level_sql("p.")} AS was_complete,
    p.levels_reported_at IS NULL OR (d.sl, d.tp) IS DISTINCT FROM (p.broker_sl,
      p.broker_tp) AS differs,
    d.began IS NULL AND coalesce(p.levels_reported_at > clock_timestamp()
      - interval '{CONTRADICTION_SECONDS} s', false) AS follows_another,
    coalesce(p.levels_dropped_at > clock_timestamp() - interval '{DROPS_APART_SECONDS} s', false)
      AS is_repeated
  FROM {statements}
  WHERE NOT (d.is_first AND p.levels_reported_at IS NOT NULL)
    AND (d.began IS NULL OR p.last_activity_at < d.began AND NOT p.protection_suspended
      AND coalesce(p.level_sync_due_at <= clock_timestamp(), true))
    AND (d.as_of IS NULL OR p.last_activity_at < d.as_of)
), moved AS (
  UPDATE positions_executionposition p SET
    broker_sl = CASE WHEN p.sl_guardian = 'BROKER' OR p.broker_sl IS NOT NULL OR n.is_left
      THEN n.sl END,
    broker_tp = CASE WHEN p.tp_guardian = 'BROKER' OR p.broker_tp IS NOT NULL OR n.is_left
      THEN n.tp END,
    protection_suspended = p.protection_suspended OR n.is_left,
    level_sync_due_at = CASE WHEN n.is_left THEN NULL ELSE p.level_sync_due_at END,
    broker_sl_quantity = n.protected, last_activity_at = clock_timestamp(),
    levels_reported_at = clock_timestamp(),
    levels_given_up = n.lacks
      AND (p.levels_given_up OR n.is_new AND n.was_complete AND n.is_repeated),
    levels_dropped_at = CASE WHEN n.lacks AND n.is_new AND n.was_complete THEN clock_timestamp()
      ELSE p.levels_dropped_at END,
    sl_guardian = CASE WHEN n.refused AND NOT p.protection_suspended AND p.sl_guardian = 'BROKER'
      AND n.sl IS DISTINCT FROM p.sl THEN 'ENGINE' ELSE p.sl_guardian END,
    tp_guardian = CASE WHEN n.refused AND NOT p.protection_suspended AND p.tp_guardian = 'BROKER'
      AND n.tp IS DISTINCT FROM p.tp THEN 'ENGINE' ELSE p.tp_guardian END
  FROM reported n WHERE p.id = n.id
  RETURNING p.id, p.signal_id, p.connection_id, n.refused,
    n.lacks AND n.is_new AND n.differs AS dropped, n.follows_another AND n.differs AS contradicts,
    p.levels_given_up
)"""


# ---- by decisions --------------------------------------------------------------------------------
class HeldLevels(NamedTuple):
    """The levels that a broker has confirmed."""

    broker_sl: Decimal | None
    broker_tp: Decimal | None


LOCK_HELD = Query(
    HeldLevels,
    """
SELECT broker_sl, broker_tp FROM positions_executionposition WHERE id = %s FOR NO KEY UPDATE
""",
)

# A level that both sides agree on keeps its guardian. For a level that differs the broker becomes
# the guardian: either we take its level over, or ours is sent next. Without a level there is no
# guardian.
SETTLE_LEVELS = """
UPDATE positions_executionposition p SET last_activity_at = clock_timestamp(),
  broker_sl = t.sl, broker_tp = t.tp,
  sl = CASE WHEN %(take_sl)s THEN t.sl ELSE p.sl END,
  tp = CASE WHEN %(take_tp)s THEN t.tp ELSE p.tp END,
  sl_guardian = CASE WHEN CASE WHEN %(take_sl)s THEN t.sl ELSE coalesce(p.sl, t.sl) END IS NULL
      THEN ''
    WHEN p.broker_sl IS NOT DISTINCT FROM t.sl THEN p.sl_guardian ELSE 'BROKER' END,
  tp_guardian = CASE WHEN CASE WHEN %(take_tp)s THEN t.tp ELSE coalesce(p.tp, t.tp) END IS NULL
      THEN ''
    WHEN p.broker_tp IS NOT DISTINCT FROM t.tp THEN p.tp_guardian ELSE 'BROKER' END,
  levels_reported_at = clock_timestamp(), levels_given_up = false, levels_dropped_at = NULL,
  level_sync_attempts = 0
FROM (SELECT %(sl)s::numeric AS sl, %(tp)s::numeric AS tp) t
WHERE p.id = %(id)s AND p.quantity > 0
"""


def lock_held_levels(position_id: int) -> HeldLevels | None:
    """Lock a position; return the levels that its broker has confirmed. None: no such position."""
    levels = rows(LOCK_HELD, (position_id,))
    return levels[0] if levels else None


def settle_levels(
    position_id: int, sl: str | None, tp: str | None, *, take_sl: bool, take_tp: bool
) -> bool:
    """Store which levels the broker holds and settle the differences. False: it is closed.

    take_sl, take_tp: our level becomes the broker's; otherwise ours is sent to the broker.
    """
    levels = {"id": position_id, "sl": sl, "tp": tp, "take_sl": take_sl, "take_tp": take_tp}
    return run(SETTLE_LEVELS, levels) == 1


# ---- removed for an exit -------------------------------------------------------------------------
def prepare_exits_sql(exits: str) -> str:
    """Return the statement that requests what waiting exits need of their positions.

    That is a read of the broker's position, or also the removal of its levels.

    exits: a SELECT of id (the position's), lift (remove the levels), and seconds, how far apart
    reads must be.
    """
    return f"""WITH requested AS (
  {exits}
), locked AS (
  {lock_positions_sql("SELECT id FROM requested")}
)
UPDATE positions_executionposition p SET protection_suspended = p.protection_suspended OR r.lift,
  level_sync_due_at = CASE WHEN r.lift AND NOT p.protection_suspended THEN NULL
    ELSE p.level_sync_due_at END,
  broker_check_due_at = coalesce(p.broker_check_due_at,
    greatest(clock_timestamp(), p.broker_checked_at + make_interval(secs => r.seconds)))
FROM requested r JOIN locked USING (id) WHERE p.id = r.id"""


def restore_levels_sql(ids: str) -> str:
    """Return an UPDATE that has levels placed again that were removed for exits of positions.

    ids: subquery of the positions, which locks them.
    """
    return f"""UPDATE positions_executionposition SET protection_suspended = false,
  level_sync_due_at = NULL, levels_given_up = false
WHERE id IN ({ids})"""


# ---- sent to brokers -----------------------------------------------------------------------------
FIRST_REPORT_SECONDS = 1

# Protection that is suspended for an exit must be gone at the broker. Otherwise the broker's levels
# must equal ours, and separate stop orders must be as large as the position. A level that was sent
# and not confirmed may be at the broker.
DIFFERS_FROM_BROKER_SQL = f"""(
  protection_suspended AND (broker_sl IS NOT NULL OR broker_tp IS NOT NULL OR quantity > 0
    AND levels_reported_at IS NULL AND (sl_guardian = 'BROKER' OR tp_guardian = 'BROKER'))
  OR quantity > 0 AND NOT protection_suspended AND NOT levels_given_up AND (
    sl_guardian = 'BROKER' AND ({differs_sql("sl", "broker_sl")} OR broker_sl_quantity <> quantity)
    OR {differs_sql("(CASE WHEN tp_guardian = 'BROKER' THEN tp END)", "broker_tp")}))"""

# `level_sync_due_at` is also the claim, so no two processes move the same stop. A broker gets a
# moment to report the levels of a new position before we send them again.
_DUE_LEVELS = f"""
  SELECT id FROM positions_executionposition
  WHERE {DIFFERS_FROM_BROKER_SQL}
    AND (level_sync_due_at IS NULL OR level_sync_due_at <= clock_timestamp())
    AND (protection_suspended OR levels_reported_at IS NOT NULL OR level_sync_attempts > 0
      OR last_activity_at <= clock_timestamp() - interval '{FIRST_REPORT_SECONDS} s')
    AND {in_held_lanes_sql("connection_id")}
"""

# Checked first: mostly no level is due, and planning the claim costs many times as much.
ANY_DUE_LEVELS = f"{_DUE_LEVELS} LIMIT 1"

NEAR_LEVELS_SQL = f"""SELECT p.id, p.side, p.pair, p.price_source_id, p.connection_id,
    p.broker_sl, p.broker_tp, {freeze_level_sql("p")} AS freeze_level
  FROM positions_executionposition p
  WHERE p.id IN ({_DUE_LEVELS}) AND NOT p.protection_suspended"""
"""The positions whose level changes are due, with the levels that their brokers have; without those
whose levels are removed for an exit.
"""

HOLD_LEVELS_SQL = f"""UPDATE positions_executionposition p SET
    level_sync_due_at = clock_timestamp() + interval '1 second',
    levels_frozen_at = coalesce(p.levels_frozen_at, clock_timestamp())
  FROM (SELECT id, levels_frozen_at FROM positions_executionposition WHERE id IN ({LOCK_BY_ID})) h
  WHERE p.id = h.id
  RETURNING p.id, p.signal_id, p.connection_id, h.levels_frozen_at IS NULL AS is_new"""
"""The market is too near to a level: its change waits, and is judged again after a second."""

CLAIM_LEVELS_SQL = f"""WITH due AS (
  {_DUE_LEVELS}
  ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
), p AS (
  UPDATE positions_executionposition o SET level_sync_attempts = least(o.level_sync_attempts + 1,
    100),
    level_sync_due_at = clock_timestamp() + make_interval(secs => %(longest)s),
      levels_reported_at = NULL, levels_frozen_at = NULL,
    -- Brokers hold whole ticks; ours are rounded too, or the two would always differ.
    sl = {on_tick_sql("o.sl", "o")}, tp = {on_tick_sql("o.tp", "o")}
  WHERE o.id = ANY(ARRAY(SELECT id FROM due)) RETURNING o.*
)"""
"""The WITH of a statement that claims level changes: `p` are the positions whose levels to send.
The claim lasts `longest` seconds."""

# Seconds until the next request, 1 to 30. `level_sync_attempts` includes the last request.
_BACKOFF = "least(30, 0.5 * power(2, least(level_sync_attempts, 9)))"

LEVELS_REQUESTED = f"""
UPDATE positions_executionposition SET
  level_sync_attempts = CASE WHEN {DIFFERS_FROM_BROKER_SQL} THEN level_sync_attempts ELSE 0 END,
  level_sync_due_at = CASE WHEN {DIFFERS_FROM_BROKER_SQL}
    THEN clock_timestamp() + make_interval(secs => {_BACKOFF}) END
WHERE id IN ({LOCK_BY_ID})
"""
"""A request was sent, or the call has failed: it is repeated later if levels still differ."""

LEVELS_NOT_STARTED = f"""
UPDATE positions_executionposition SET level_sync_attempts = greatest(level_sync_attempts - 1, 0),
  level_sync_due_at = clock_timestamp() + make_interval(secs => 0.5 + random())
WHERE id IN ({LOCK_BY_ID})
"""
"""There was no free slot for the call: it is repeated soon and does not count."""

REQUEST_NEXT_READ = """
UPDATE positions_executionposition SET broker_check_due_at = clock_timestamp()
WHERE id = ANY(%s) AND protection_suspended AND quantity > 0
"""
"""Protection was removed for an exit; the exit next needs the quantity that the broker holds."""

GIVE_UP_SQL = f"""UPDATE positions_executionposition SET levels_given_up = true,
    level_sync_attempts = 0, level_sync_due_at = NULL
  WHERE id = ANY(%s) AND quantity > 0 AND NOT protection_suspended
    AND levels_reported_at IS NOT NULL AND
  {LACKS_LEVEL_SQL} RETURNING id, signal_id, connection_id"""
"""The level was placed again and the broker still reports none: we stop and guard it ourselves."""

GUARD_OURSELVES_SQL = """UPDATE positions_executionposition SET
    last_activity_at = clock_timestamp(),
    sl_guardian = CASE WHEN sl IS DISTINCT FROM broker_sl THEN 'ENGINE' ELSE sl_guardian END,
    tp_guardian = CASE WHEN tp IS DISTINCT FROM broker_tp THEN 'ENGINE' ELSE tp_guardian END
  WHERE id = ANY(%s) AND quantity > 0 AND NOT protection_suspended
    AND (sl_guardian = 'BROKER' OR tp_guardian = 'BROKER')
  RETURNING id, signal_id, connection_id"""
"""The broker rejected the levels: we guard those that it does not hold."""
