"""Which lines of the execution log, and which audit runs, may be archived. docs/retention.md."""

from common.archive.kinds import ArchiveKind
from common.reason_codes import Code
from positions.joins import has_open_trade_sql, is_open_position_sql

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

KINDS = (
    ArchiveKind(
        name="logs",
        what="Lines of the execution log",
        setting="FILLCAST_RETENTION_LOG_DAYS",
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
        setting="FILLCAST_RETENTION_AUDIT_RUN_DAYS",
        table="execution_auditrun",
        times=("at",),
        removable=_RUN_IS_OVER,
    ),
)
"""In the order in which they are archived."""
