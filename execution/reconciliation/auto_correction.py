"""Taking the broker's side, or putting ours back: by a decision, or by itself where it may.

A connection's `auto_correct` allows two things without a decision, once a difference was seen in
two reads: a quantity that has become smaller at the broker, and levels. What its owner moved there
becomes ours; a level that is gone there is put back. Unknown positions and orders are never taken.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from common.reason_codes import Code
from common.sql import columns, rows, run
from execution.base.drift_items import DriftRecord
from execution.reconciliation.missing_positions import SEEN_AGAIN_AFTER, external_close_report
from execution.reports.apply import apply_reports
from execution.reports.inferred_closes import IS_INFERRED_CLOSE

SEEN_BEFORE = """
SELECT d.kind, d.connection_id::text, d.key FROM execution_driftitem d
JOIN unnest(%s::text[], %s::uuid[], %s::text[], %s::text[]) AS t(kind, connection_id, key, differs)
  ON t.kind = d.kind AND t.connection_id = d.connection_id AND t.key = d.key
WHERE d.state = 'OPEN' AND d.evidence->>'differs' = t.differs
  AND d.found_at < clock_timestamp() - make_interval(secs => %s)
"""

DONE = f"""
WITH ended AS (
  UPDATE execution_driftitem d SET state = 'RESOLVED', resolved_at = clock_timestamp(),
    resolution = 'Corrected by itself, as the connection allows.'
  FROM unnest(%s::text[], %s::uuid[], %s::text[]) AS t(kind, connection_id, key)
  WHERE d.state = 'OPEN' AND t.kind = d.kind AND t.connection_id = d.connection_id
    AND t.key = d.key
  RETURNING d.id, d.kind, d.connection_id, d.key
)
INSERT INTO execution_executionlog (connection_id, code, detail)
SELECT connection_id, '{Code.DRIFT_CORRECTED.value}', left(kind || ' ' || key, 300) FROM ended
"""

# A level that is the same on both sides keeps its guardian; one that differs is the broker's from
# now on, or ours is told to it next (`pending_actions.LEVELS`), or there is none any more.
LEVELS = """
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

HELD = """
SELECT broker_sl, broker_tp FROM positions_executionposition WHERE id = %s FOR NO KEY UPDATE
"""

# Orders before positions, as everywhere, but conclusions: those change under their position's lock.
LOCK_ORDERS = f"""
SELECT o.id FROM execution_order o JOIN positions_executionposition p
  ON o.position_id = p.id OR o.connection_id = p.connection_id AND o.signal_id = p.signal_id
WHERE p.connection_id = %s AND p.broker_position_id = %s AND p.quantity > 0
  AND ({IS_INFERRED_CLOSE}) IS NOT TRUE
ORDER BY o.id FOR NO KEY UPDATE OF o
"""
LOCK = """
SELECT id, side, quantity, reserved FROM positions_executionposition
WHERE connection_id = %s AND broker_position_id = %s AND quantity > 0
ORDER BY opened_at, id FOR NO KEY UPDATE
"""


def auto_correct(accounts: Mapping[UUID, Any], records: Sequence[DriftRecord]) -> list[DriftRecord]:
    """Correct what the connections allow and what was seen before; return the other records."""
    allowed = {str(key) for key, row in accounts.items() if row.auto_correct}
    candidates = [r for r in records if r.connection_id in allowed and _may_be_corrected(r)]
    if not candidates:
        return list(records)
    lines = [(r.kind.value, r.connection_id, r.key, str(r.evidence["differs"])) for r in candidates]
    seconds = SEEN_AGAIN_AFTER.total_seconds()
    seen = {tuple(row) for row in rows(SEEN_BEFORE, (*columns(lines, 4), seconds))}
    done = [r for r in candidates if (r.kind.value, r.connection_id, r.key) in seen and _correct(r)]
    if done:
        run(DONE, columns([(r.kind.value, r.connection_id, r.key) for r in done], 3))
    return [record for record in records if record not in done]


def _may_be_corrected(record: DriftRecord) -> bool:
    if record.kind is Code.LEVELS_DIFFER:
        return record.position_id is not None
    return record.kind is Code.QUANTITY_DIFFERS and surplus(record.evidence) > 0


def surplus(evidence: Mapping[str, Any]) -> Decimal:
    """How much more we hold than the broker; below zero: it holds more, or the other side."""
    ours, theirs = evidence["ours"], evidence["theirs"]
    held = Decimal(ours["quantity"]) * (1 if ours["side"] == theirs["side"] else -1)
    return held - Decimal(theirs["quantity"])


def _correct(record: DriftRecord) -> bool:
    if record.kind is Code.QUANTITY_DIFFERS:
        return shrink(record.connection_id, record.evidence)
    theirs = record.evidence["theirs"]
    assert record.position_id is not None  # `_may_be_corrected` has looked
    gone_sl, gone_tp = theirs["stop_loss"] is None, theirs["take_profit"] is None
    return take_levels(record.position_id, theirs, stop=not gone_sl, target=not gone_tp)


def shrink(connection_id: str, evidence: Mapping[str, Any]) -> bool:
    """Take the broker's smaller quantity over: what it lacks was closed outside, oldest first.

    False: what we hold has changed since, or something is on its way to close it.
    """
    with transaction.atomic():
        rows(LOCK_ORDERS, (connection_id, evidence["broker_position_id"]))
        mine = rows(LOCK, (connection_id, evidence["broker_position_id"]))
        side = evidence["theirs"]["side"]
        held = sum((p.quantity if p.side == side else -p.quantity for p in mine), Decimal(0))
        left = held - Decimal(evidence["theirs"]["quantity"])
        if left != surplus(evidence) or any(p.reserved > 0 or p.side != side for p in mine):
            return False
        closing: dict[int, Decimal | None] = {}
        for position in mine:
            if left > 0:
                closing[position.id] = min(left, position.quantity)
                left -= min(left, position.quantity)
        apply_reports(external_close_report(closing))
    return True


def take_levels(position_id: int, theirs: Mapping[str, Any], *, stop: bool, target: bool) -> bool:
    """Write down what levels the broker holds, and make them ours (stop, target: True), or have
    ours told to it (False).

    A level that it was said to have none of, and has confirmed since, works there: it is left as it
    is. Returns False where nothing is left to take, for a position that is closed, and where it
    could not be told what the broker holds.
    """
    if "stop_loss" not in theirs or "take_profit" not in theirs:
        return False
    shown = [theirs["stop_loss"], theirs["take_profit"]]
    with transaction.atomic():
        if not (found := rows(HELD, (position_id,))):
            return False
        held, taken = [found[0].broker_sl, found[0].broker_tp], [stop, target]
        for at in (0, 1):
            if taken[at] and shown[at] is None and held[at] is not None:
                shown[at], taken[at] = held[at], False
        if taken != [stop, target] and [one and Decimal(one) for one in shown] == held:
            return False
        levels = {"id": position_id, "sl": shown[0], "tp": shown[1]}
        return run(LEVELS, {**levels, "take_sl": taken[0], "take_tp": taken[1]}) == 1
