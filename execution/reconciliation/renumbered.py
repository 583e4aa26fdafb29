"""Positions that have another number at their broker: linked again by the id that they carry."""

from collections.abc import Iterable

from django.db import transaction

from common.db.sql import columns, run
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, position_log_rows_sql
from execution.reconciliation.compare_positions import Differences
from positions.broker_reads import RELINK_SQL
from positions.row_locks import lock_positions

_LINES = position_log_rows_sql(
    "moved m",
    code=f"'{Code.POSITION_RELINKED.value}'",
    detail="'position ' || m.id || ': ' || m.old || ' is ' || m.new || ' now'",
)
RELINK = f"{RELINK_SQL} {insert_log_sql(_LINES)}"


def relink_renumbered(by_account: Iterable[Differences]) -> None:
    """Give positions the number that their broker has for them now.

    Only after the executions were read: what was closed is not open under another number."""
    records = [
        (position.id, position.broker_position_id, number)
        for differences in by_account
        for position, number in differences.relinked
    ]
    if not records:
        return
    with transaction.atomic():
        lock_positions([id_ for id_, _, _ in records])
        run(RELINK, columns(sorted(records), 3))
