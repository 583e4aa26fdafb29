"""What recovery and the waiting orders query every few seconds."""

from common.clocks import market_now
from execution.changes import order_ends, passed_entries, signal_changes
from execution.monitoring import (
    change_statements,
    condition_exits,
    condition_watch,
    level_sync,
    pending_actions,
)
from execution.recovery import stale_orders, sweeps
from execution.submission import route_writes
from positions import broker_levels
from tests.execution.plans.cases import LANES, Case
from tests.execution.plans.rules import by_index, seeking

DUE = {"priority": 9, "grace": 1, "limit": 500, "lanes": LANES}
LOOKUPS = {"first": 2, "longest": 60, "claim": 31, "worker_id": "", "lanes": LANES}
NOT_BEFORE_TIME = "rows that wait until later are not read"
IN_FLIGHT = by_index("order_in_flight", "order_with_broker")
WORKING = by_index("order_with_broker")
LOOKUP = by_index("order_lookup")
LEVELS = by_index("position_level_sync")

SWEEPS = (
    Case(sweeps, "DUE", DUE, seeking("order_pending", text=NOT_BEFORE_TIME), is_kept=True),
    # It is built like DUE.
    Case(sweeps, "DUE_DEFERRED", DUE, by_index("order_waiting", "order_pending")),
    Case(sweeps, "MARK_ORPHANED_UNKNOWN", ("me",), IN_FLIGHT, is_kept=True),
    Case(
        sweeps, "CLAIM_LOOKUPS", LOOKUPS, seeking("order_lookup", text=NOT_BEFORE_TIME),
        is_kept=True,
    ),
    Case(sweeps, "RELEASE_CLAIMS", (), LOOKUP),
    Case(sweeps, "CANCEL_EXPIRED_WORKING", {"now": market_now()}, WORKING),
    Case(stale_orders, "ALERT_STALE_UNKNOWN", (60,), IN_FLIGHT),
    Case(stale_orders, "LOOK_UP_STUCK", {"stuck": 60, "answer": 10}, WORKING),
    Case(stale_orders, "HANDLE_STUCK", (), WORKING),
    Case(
        stale_orders, "ALERT_UNANSWERED_CANCELS", {"tries": 4, "seconds": 60},
        by_index("order_pending_action", "order_with_broker"),
    ),
    Case(stale_orders, "ALERT_AWAITED_COMPARISONS", {"seconds": 300}, by_index("order_waiting")),
    Case(
        pending_actions, "LOCK", {"lanes": LANES},
        seeking("order_pending_action", text=NOT_BEFORE_TIME), is_kept=True,
    ),
    Case(broker_levels, "ANY_DUE_LEVELS", {"lanes": LANES}, LEVELS, is_kept=True),
    Case(level_sync, "LEVELS", {"longest": 11, "lanes": LANES}, LEVELS),
    Case(
        condition_watch, "WAKE", {"now": market_now()},
        by_index("order_condition", "position_of_entry"), is_kept=True,
    ),
    Case(
        condition_exits, "POSITIONS", {"limit": 100},
        by_index("position_close_when", "position_open", "position_open_by_signal", "one_exit",
                 "position_of_entry"),
    ),
    Case(
        condition_exits, "ENTRIES", {"limit": 100},
        by_index("order_exit_condition", "position_of_entry"), is_kept=True,
    ),
    Case(
        passed_entries, "PASSED_RESTS", (),
        by_index("order_with_broker", "position_of_entry", "position_open_by_signal",
                 "position_open"),
        is_kept=True,
    ),
    Case(order_ends, "PROLONGED", (), by_index("order_prolonged"), is_kept=True),
    Case(route_writes, "FAILED", (), by_index("order_route_failed")),
    Case(signal_changes, "DUE", None, None, is_kept=True),
    Case(change_statements, "ANY_DUE", None, None, is_kept=True),
)  # fmt: skip
