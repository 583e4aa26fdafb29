"""Every statement that writes a guarded row is named in a table of guards, or listed here."""

import pytest

from tests.execution.guarded_statements import guarded, named
from tests.execution.guards import Guard, expect_guards

# Their rows were locked, read and judged in the same transaction: no other party writes in between.
LOCKED = {
    "execution.cancels.REQUEST_CANCEL": "`_lock_together` locks and judges them",
    "execution.changes.order_changes.CHANGE_OURS": "`change_order` locks the order and judges it",
    "execution.changes.order_changes.REQUEST": "`change_order` locks the order and judges it",
    "execution.changes.signal_changes.CHANGE_UNSENT": "the signal's orders are locked and judged",
    "execution.changes.signal_changes.POSTPONE": "`_begin` locks the change, and ends if it began",
    "execution.changes.signal_changes.REFUSE": "`_begin` locks the change, and ends if it began",
    "execution.exits.partial_closes.SETTLE": "LOCK_DUE, which is in a table, locks and judges them",
    "execution.monitoring.freeze.HOLD_CANCELS": "`pending_actions.LOCK` locks and judges them",
    "execution.monitoring.pending_actions.CLAIM_CANCEL": "LOCK, in a table, judges them",
    "execution.monitoring.pending_actions.END_ACTIONS": "LOCK, in a table, judges them",
    "execution.monitoring.pending_actions.WAIT_FOR_OUTCOME": "LOCK, in a table, judges them",
    "execution.reports.aggregate_ends.GROW_EXITS": "`_move` locks the aggregate's orders",
    "execution.reports.explained_overfills.SETTLE": "the rest of an exit is applied under its lock",
    "execution.submission.aggregate_rows.JOIN_ORDERS": "the claim locks and judges its members",
    "positions.broker_reads.MARK_BREACHED": "the caller locks the positions and judges them",
    "positions.owner_rules.DROP_RULE": "the owner's change locks the position",
}
# What a broker reported is applied to rows that `apply_reports` has locked; late, doubled and
# reordered reports are `test_late_…`, `test_*model.py` and the tests of reports.
REPORTED = {
    f"execution.reports.{name}"
    for name in (
        "aggregates.DISSOLVE", "broker_exits_sql.GROW", "commissions.ADD_TO_ORDERS",
        "cumulative_fills.SET_INFERRED_QUANTITY", "fees.UPDATE_OF_ORDERS",
        "inferred_closes.REVERSE", "levels.NOT_HELD", "position_rebuild.SHRINK", "sql.CLOSE_AGAIN",
        "sql.END_LOOK_UPS", "sql.WRITE",
    )
}  # fmt: skip
# They decide about all rows that are as stated in their WHERE, and have tests of their own.
ELSEWHERE = {
    "execution.disaster_recovery.sql.RESOLVE_KNOWN": "disaster_recovery: its order exists here now",
    "execution.fan_out_sql.SET_EXIT_CONDITION": "test_condition_exits: a MODIFY's condition",
    "execution.fan_out_sql.WITHDRAW": "test_guards_of_waiting_entries: by a CLOSE of the signal",
    "execution.monitoring.condition_watch.WAKE": "submission/test_conditions",
    "execution.monitoring.trigger_upkeep.WAKE_MOVED": "monitoring/test_trigger_upkeep",
    "execution.reconciliation.auto_correction.DONE": "decisions/test_auto_correction",
    "execution.reconciliation.auto_resolve.RESOLVE": "reconciliation/test_auto_resolve",
    "execution.recovery.sweeps.END_LOOKUPS": "test_late_decisions: a look-up's late answer",
    "execution.runtime.lane_leases.RELEASE_LOOKUPS": "test_guards_of_sent_entries: a taken lane",
    "positions.broker_reads.RELINK_SQL": "reconciliation/test_renumbered",
    "positions.broker_reads.UNMARK_ALL_MISSING": "disaster_recovery: it is of all rows",
    "positions.condition_exits.MOVE_CONDITION_SQL": "test_condition_exits: of what is open",
    "positions.protection.END_PERIODS_SQL": "monitoring/test_unprotected_time",
    "positions.time_exits.MOVE_CLOSE_TIME_SQL": "test_time_exits: of what is open",
    "positions.broker_levels.MOVE_LEVELS_SQL": "test_follow_ups: of what is open",
}
# They write only when a row has its next turn, whatever it is in the middle of.
TURNS = {
    "positions.broker_levels.HOLD_LEVELS_SQL",
    "positions.broker_levels.LEVELS_NOT_STARTED",
    "positions.broker_levels.LEVELS_REQUESTED",
}
LISTED = {*LOCKED, *REPORTED, *ELSEWHERE, *TURNS}


def test_each_statement_on_guarded_rows_is_in_a_table_or_listed() -> None:
    statements, in_tables = guarded(), named()
    assert sorted(statements - in_tables - LISTED) == []  # add a cell, or list it with its reason


def test_no_listed_statement_is_gone_or_in_a_table() -> None:
    assert sorted(LISTED - guarded()) == []
    assert sorted(LISTED & named()) == []


@pytest.mark.django_db
def test_error_in_one_cell_hides_no_other() -> None:
    """A statement that cannot run is one wrong cell of a table."""

    def fails(_: object) -> int:
        raise ZeroDivisionError("it cannot run")

    table = {"broken": Guard(fails, {}, {"later": {}}), "idle": Guard(lambda _: 0, {}, {})}
    with pytest.raises(pytest.fail.Exception) as failed:
        expect_guards(table, {})
    assert str(failed.value).splitlines() == [
        "3 of 3 cells are wrong:",
        "  broken, it is as it was seen: failed: ZeroDivisionError: it cannot run",
        "  broken, later: failed: ZeroDivisionError: it cannot run",
        "  idle, it is as it was seen: expected something to change, found []",
    ]
