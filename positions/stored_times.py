"""The times of open positions that are corrected after the clock was set back."""

from common.db.stored_times import StoredTimes

TIMES = (
    StoredTimes(
        "positions_executionposition",
        past=(
            "levels_reported_at", "levels_dropped_at", "breached_since", "broker_checked_at",
            "levels_frozen_at", "unprotected_since", "last_activity_at", "missing_since",
        ),
        due={"level_sync_due_at": 0.0, "broker_check_due_at": 0.0},
        where="closed_at IS NULL",
    ),
    StoredTimes("positions_stoprule", "position_id", past=("moved_at",), due={"due_at": 0.0}),
)  # fmt: skip
