"""What a MODIFY changes without a change row: a line in the log of each entry that it concerns.

The slices' price limit, and the stop and targets of the coming position, are read from the newest
MODIFY when they count. So the lines are the only trace of from what to what, and by which signal.
"""

from common.db.sql import run
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, log_rows_sql
from execution.models import may_move_sql
from signals.effective_levels import LEVELS_BEFORE_SQL, prices_text_sql
from signals.models import Signal

_NEW_TARGETS = prices_text_sql("%(targets)s")


def _from_to(name: str, old: str, new: str) -> str:
    """Return SQL of `name old to new`; NULL if nothing new is set, or it is the same."""
    return (
        f"CASE WHEN {new} IS DISTINCT FROM {old} AND {new} IS NOT NULL THEN"
        f" '{name} ' || coalesce({old}, 'none') || ' to ' || {new} END"
    )


# The first slice has the plan: what counts for the rest of it is stated there as well, also if that
# slice has filled.
_LIMIT_CODE = f"""CASE
    WHEN e.is_ending THEN '{Code.ORDER_BEING_CANCELLED.value}'
    WHEN e.is_unsent OR e.has_slices THEN '{Code.ORDER_CHANGED.value}'
    ELSE '{Code.CHANGE_UNSUPPORTED.value}' END"""
_LIMIT_NOTE = """CASE
    WHEN e.is_ending THEN ''
    WHEN e.is_unsent THEN ''
    WHEN e.has_slices THEN ', for the slices that are not sent yet'
    ELSE ': it counts for slices that are not sent yet, and this one is' END"""
WRITE_LINES = f"""
WITH before AS (
{LEVELS_BEFORE_SQL}
), entries AS (
  SELECT o.id, o.signal_id, o.connection_id, o.status, o.done_at,
    coalesce(trim_scale(o.own_stop_loss)::text, b.sl) AS old_sl,
    trim_scale(%(sl)s::numeric)::text AS new_sl,
    CASE WHEN o.own_take_profit IS NULL THEN b.targets
      ELSE concat_ws(' ', trim_scale(o.own_take_profit)::text,
        nullif(substring(b.targets FROM ' (.*)$'), '')) END AS old_targets,
    {_NEW_TARGETS} AS new_targets,
    b.price_limit AS old_limit, trim_scale(%(price_limit)s::numeric)::text AS new_limit,
    o.status = 'PENDING' OR {may_move_sql("o")} AS is_unsent,
    o.pending_action <> '' OR o.status = 'CANCEL_REQUESTED' AS is_ending,
    o.leg = 'entry' AND EXISTS (SELECT FROM execution_order x WHERE x.signal_id = o.signal_id
      AND x.connection_id = o.connection_id AND x.leg LIKE 'entry%%' AND x.status = 'PENDING')
      AS has_slices,
    o.done_at IS NULL OR {may_move_sql("o")} AS may_fill
  FROM execution_order o JOIN before b ON b.signal_id = o.signal_id
  WHERE o.signal_id = %(refers_to)s AND o.leg LIKE 'entry%%'
), lines AS (
  SELECT e.*, concat_ws(', ', {_from_to("stop loss", "e.old_sl", "e.new_sl")},
      {_from_to("targets", "e.old_targets", "e.new_targets")}) AS levels,
    {_from_to("price limit", "e.old_limit", "e.new_limit")} || {_LIMIT_NOTE} AS limit_text,
    {_LIMIT_CODE} AS limit_code
  FROM entries e WHERE e.may_fill OR e.has_slices
)
{
    insert_log_sql(
        log_rows_sql(
            "lines m",
            code=f"'{Code.ORDER_CHANGED.value}'",
            detail="left(m.levels || '; by ' || %(name)s, 300)",
            where="m.levels <> '' AND m.may_fill",
        ),
        log_rows_sql(
            "lines m",
            code="m.limit_code",
            detail="left(m.limit_text || '; by ' || %(name)s, 300)",
            where="m.limit_text IS NOT NULL",
        ),
    )
}
"""


def write_modify_lines(signal: Signal) -> None:
    """State on each entry that may fill what a MODIFY changes of its levels and price limit.

    Call it in the transaction of its publication, before the entries' own levels are dropped; the
    entries are locked.
    """
    if signal.sl is None and not signal.target_prices and signal.price_limit is None:
        return
    parameters = {
        "refers_to": signal.refers_to_id,
        "signal_id": signal.pk,
        "sl": signal.sl,
        "targets": signal.target_prices or None,
        "price_limit": signal.price_limit,
        "name": signal.number,
    }
    run(WRITE_LINES, parameters)
