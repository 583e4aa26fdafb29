"""Which lines of the execution log, audit runs and orders may be archived. docs/retention.md."""

from common.archive.kinds import ArchiveKind
from common.reason_codes import Code
from connections.selectors import EPOCH_IS_OPEN_SQL, is_in_comparison_sql
from execution.models import may_move_sql
from positions.joins import has_open_trade_sql, has_trade_sql, is_open_position_sql

# What the engine or the audit reads from the log stays as long as its order: RISEN compares with
# it, a late fill asks whether an operator retried, a routed entry whether a restore moved it.
EVIDENCE = (
    Code.NEVER_ARRIVED,
    Code.OPERATOR_RETRY,
    Code.RESTORED,
    Code.FLATTENED,
    Code.LEVEL_PAST_ENTRY,
)
# So do the figures of the reason why an order was denied or ended (docs/adr/0034).
_LINE_IS_OVER = f"""
r.code NOT IN ({", ".join(f"'{code.value}'" for code in EVIDENCE)})
AND NOT EXISTS (
  SELECT FROM execution_order o WHERE o.id = r.order_id AND (
    o.done_at IS NULL OR o.done_at >= %(cutoff)s OR o.pending_action <> ''
    OR o.reason = r.code AND r.numbers <> '{{}}'
    OR {is_open_position_sql("o.position_id")}))
AND NOT {has_open_trade_sql("r.connection_id", "r.signal_id")}
"""
_RUN_IS_OVER = "r.id <> (SELECT max(id) FROM execution_auditrun)"

# After a restore the broker may have an order that its row does not know of: it may be linked.
_RESTORED = (Code.RESTORED, Code.RESTORED_UNSENT, Code.RESTORED_EXIT)
# Whether an order `o` has traded, or ended too late, or may still move along its route.
_STILL_COUNTS = f"""(o.done_at IS NULL OR o.done_at >= %(cutoff)s OR o.filled_quantity > 0
  OR {may_move_sql("o")})"""
# docs/adr/0054 states why each of these is needed. The cheap ones come first.
_NEVER_TRADED = f"""
r.leg = 'entry' AND r.position_leg = 'entry' AND r.filled_quantity = 0 AND r.inferred_quantity = 0
AND r.status IN ('SKIPPED', 'DENIED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED')
AND r.done_at < %(cutoff)s AND r.pending_action = '' AND r.lookup_after IS NULL
AND r.aggregate_id IS NULL AND NOT {may_move_sql("r")}
AND r.reason NOT IN ({", ".join(f"'{code.value}'" for code in _RESTORED)})
AND NOT {EPOCH_IS_OPEN_SQL} AND NOT {is_in_comparison_sql("r.connection_id")}
AND NOT EXISTS (SELECT FROM execution_fill f WHERE f.order_id = r.id)
AND NOT {has_trade_sql("r.connection_id", "r.signal_id")}
AND NOT EXISTS (SELECT FROM execution_sliceplan d WHERE d.order_id = r.id)
AND NOT EXISTS (SELECT FROM execution_ordertrigger t WHERE t.order_id = r.id AND t.is_armed)
AND NOT EXISTS (SELECT FROM execution_entrychange h
  WHERE h.order_id = r.id AND h.state NOT IN ('DONE', 'REFUSED'))
AND NOT EXISTS (SELECT FROM execution_driftitem i
  WHERE i.order_id = r.id AND i.state <> 'RESOLVED')
AND NOT EXISTS (SELECT FROM execution_order o
  WHERE o.signal_id = r.signal_id AND o.connection_id = r.connection_id AND o.leg LIKE 'entry%%'
    AND o.id <> r.id AND {_STILL_COUNTS})
AND (r.routed_from_id IS NULL OR NOT EXISTS (SELECT FROM execution_order o
  WHERE o.signal_id = r.signal_id AND o.routed_from_id = r.routed_from_id
    AND o.leg LIKE 'entry%%' AND o.route_state IN ('OPEN', 'HERE', 'LAST') AND {_STILL_COUNTS}))
AND (r.oco_group IS NULL OR NOT EXISTS (SELECT FROM execution_order o
  WHERE o.oco_group = r.oco_group AND o.connection_id = r.connection_id AND {_STILL_COUNTS}))
"""


def _as_texts(row: str) -> str:
    """Return SQL of a row as an object of texts: no figure is rounded when it is read back."""
    return f"(SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each_text(to_jsonb({row})) e)"


# What stands with an order in other tables, and goes with it.
_WITH_ORDER = {
    "trigger": f"(SELECT {_as_texts('t')} FROM execution_ordertrigger t WHERE t.order_id = r.id)",
    "decision": f"(SELECT {_as_texts('d')} FROM execution_entrydecision d WHERE d.order_id = r.id)",
    "changes": f"(SELECT jsonb_agg({_as_texts('h')} ORDER BY h.id) FROM execution_entrychange h"
    " WHERE h.order_id = r.id)",
}

KINDS = (
    ArchiveKind(
        name="logs",
        what="Lines of the execution log",
        setting="log_days",
        table="execution_executionlog",
        times=("at",),
        removable=_LINE_IS_OVER,
        # No role of the application may delete lines; this function deletes what the archive has.
        remove="SELECT execution_remove_archived_lines(%(file)s, %(ids)s::bigint[]) AS removed",
        locks_rows=False,  # a line never changes
        filters={"account": "connection_id", "order": "order_id", "signal": "signal_id"},
    ),
    ArchiveKind(
        name="audit-runs",
        what="Results of the hourly audit",
        setting="audit_run_days",
        table="execution_auditrun",
        times=("at",),
        removable=_RUN_IS_OVER,
    ),
    ArchiveKind(
        name="orders",
        what="Entries that ended without a fill",
        setting="order_days",
        table="execution_order",
        times=("created_at",),  # ids rise with it; the end has to be as old, too
        removable=_NEVER_TRADED,
        remove="SELECT execution_remove_archived_orders(%(file)s, %(ids)s::bigint[]) AS removed",
        filters={"account": "connection_id", "order": "id", "signal": "signal_id"},
        with_it=_WITH_ORDER,
    ),
)
"""In the order in which they are archived."""
