"""Corrections of quantities and levels: automatic where the connection allows it, or by decision.

A connection's `auto_correct` allows two corrections without a decision, once two reads have shown
the same difference: a quantity that is smaller at the broker, and levels. We take over a level that
was moved at the broker, and restore a level that is gone. Unknown positions and orders are never
adopted automatically.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction

from common.db.sql import Query, columns, rows, run
from common.reason_codes import Code
from execution.base.drift_items import DriftRecord
from execution.base.statements import is_entry_of_sql
from execution.reconciliation.missing_positions import SEEN_AGAIN_AFTER, external_close_report
from execution.reports.apply import apply_reports
from execution.reports.inferred_closes import IS_INFERRED_CLOSE
from positions.broker_levels import lock_held_levels, settle_levels


class SeenItem(NamedTuple):
    kind: str
    connection_id: str
    key: str


class LockedPosition(NamedTuple):
    id: int
    side: str
    quantity: Decimal
    reserved: Decimal


SEEN_BEFORE = Query(
    SeenItem,
    """
SELECT d.kind, d.connection_id::text, d.key FROM execution_driftitem d
JOIN unnest(%s::text[], %s::uuid[], %s::text[], %s::text[]) AS t(kind, connection_id, key, differs)
  ON t.kind = d.kind AND t.connection_id = d.connection_id AND t.key = d.key
WHERE d.state = 'OPEN' AND d.evidence->>'differs' = t.differs
  AND d.found_at < clock_timestamp() - make_interval(secs => %s)
""",
)

DONE = f"""
WITH ended AS (
  UPDATE execution_driftitem d SET state = 'RESOLVED', resolved_at = clock_timestamp(),
    resolution = 'Corrected automatically, as the connection allows.'
  FROM unnest(%s::text[], %s::uuid[], %s::text[]) AS t(kind, connection_id, key)
  WHERE d.state = 'OPEN' AND t.kind = d.kind AND t.connection_id = d.connection_id
    AND t.key = d.key
  RETURNING d.id, d.kind, d.connection_id, d.key
)
INSERT INTO execution_executionlog (connection_id, code, detail)
SELECT connection_id, '{Code.DRIFT_CORRECTED.value}', left(kind || ' ' || key, 300) FROM ended
"""

# Orders are locked before positions, as everywhere. Inferred closes are left out: they only change
# under their position's lock.
LOCK_ORDERS = f"""
WITH p AS MATERIALIZED (
  SELECT id, connection_id, signal_id FROM positions_executionposition
  WHERE connection_id = %s AND broker_position_id = %s AND quantity > 0
)
SELECT o.id FROM execution_order o
WHERE o.id IN (
    SELECT x.id FROM p JOIN execution_order x ON x.position_id = p.id
    UNION ALL
    SELECT x.id FROM p JOIN execution_order x ON {is_entry_of_sql("x", "p")}
  ) AND ({IS_INFERRED_CLOSE}) IS NOT TRUE
ORDER BY o.id FOR NO KEY UPDATE OF o
"""
LOCK = Query(
    LockedPosition,
    """
SELECT id, side, quantity, reserved FROM positions_executionposition
WHERE connection_id = %s AND broker_position_id = %s AND quantity > 0
ORDER BY opened_at, id FOR NO KEY UPDATE
""",
)


def auto_correct(allowed: Collection[str], records: Sequence[DriftRecord]) -> list[DriftRecord]:
    """Correct differences that were seen before and may be corrected; return the other records.

    allowed: ids of the connections that allow automatic corrections.
    """
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
    """Return how much more we hold than the broker.

    Negative if the broker holds more, or holds the other side.
    """
    ours, theirs = evidence["ours"], evidence["theirs"]
    held = Decimal(ours["quantity"]) * (1 if ours["side"] == theirs["side"] else -1)
    return held - Decimal(theirs["quantity"])


def _correct(record: DriftRecord) -> bool:
    if record.kind is Code.QUANTITY_DIFFERS:
        return shrink(record.connection_id, record.evidence)
    theirs = record.evidence["theirs"]
    assert record.position_id is not None  # checked by `_may_be_corrected`
    has_sl, has_tp = theirs["stop_loss"] is not None, theirs["take_profit"] is not None
    return take_levels(record.position_id, theirs, stop=has_sl, target=has_tp)


def shrink(connection_id: str, evidence: Mapping[str, Any]) -> bool:
    """Reduce our positions to the broker's smaller quantity, oldest first, as closed outside.

    Returns False if our quantity has changed since, or an exit of it is in flight.
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
    """Store the broker's levels and settle each difference.

    stop, target: True takes the broker's level over; False has ours sent to the broker. A level
    that the evidence lacks but the broker has confirmed since stays as it is.

    Returns False if nothing is left to change, if the position is closed, or if the read did not
    show levels.
    """
    if "stop_loss" not in theirs or "take_profit" not in theirs:
        return False
    shown = [theirs["stop_loss"], theirs["take_profit"]]  # the stop, the target
    with transaction.atomic():
        if (confirmed := lock_held_levels(position_id)) is None:
            return False
        held, take_over = [confirmed.broker_sl, confirmed.broker_tp], [stop, target]
        for i in (0, 1):
            if take_over[i] and shown[i] is None and held[i] is not None:
                shown[i], take_over[i] = held[i], False
        if take_over != [stop, target] and [level and Decimal(level) for level in shown] == held:
            return False
        return settle_levels(position_id, *shown, take_sl=take_over[0], take_tp=take_over[1])
