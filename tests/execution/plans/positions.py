"""How the orders of a position are found. The account of it may have traded for years."""

from typing import Any

from execution import signal_outcomes
from execution.disaster_recovery import netting_exits
from execution.disaster_recovery import sql as releases
from execution.exits import dust
from execution.models import Order
from execution.monitoring import broker_positions, level_sync
from execution.reconciliation import auto_correction, missing_positions, open_positions
from execution.reports import broker_exits_sql, overfills, position_rebuild
from execution.runtime import broker_queries
from execution.submission import claim_sql
from tests.execution.plans.cases import LANES, Case
from tests.execution.plans.rules import Rule, live_rows

NEVER = frozenset({"order_of_connection"})  # all orders that an account has ever had
ENTRY = frozenset({"one_entry"})
BY_SIGNAL = Rule(
    "the entry of a position is found by its signal, not among all orders of its account",
    by_any=True, never=NEVER, by_keys=False, least=1,
)  # fmt: skip
BY_KEY = Rule(
    "where many accounts trade, too, the entry of a position is found by its key",
    by=ENTRY, alias="entry", by_keys=False, count=1,
)  # fmt: skip
BY_KEYS = Rule(
    "the orders of a position are found by its keys", by_any=True, never=NEVER, required=ENTRY,
    by_keys=False,
)  # fmt: skip
LEVELS = {"longest": 11, "lanes": LANES}


def account(order: Order) -> Any:
    return ([order.connection_id],)


def beyond(order: Order) -> Any:
    return '{"x"}', str(order.connection_id)


ENTRIES_BY_SIGNAL = (
    Case(claim_sql, "EXITS", ([1],), BY_SIGNAL),
    Case(broker_positions, "OURS", account, BY_SIGNAL),
    Case(overfills, "WAITS", beyond, BY_SIGNAL),
    Case(level_sync, "LEVELS", LEVELS, BY_SIGNAL),
    Case(broker_exits_sql, "LOAD", ([1],), BY_SIGNAL),
    Case(signal_outcomes, "COUNT", lambda one: ([one.signal_id],), BY_SIGNAL),
)
ENTRIES_BY_KEY = (
    Case(broker_positions, "OURS", account, BY_KEY),
    Case(dust, "FIND_DUST", (), BY_KEY),
    Case(overfills, "WAITS", beyond, BY_KEY),
    Case(level_sync, "LEVELS", LEVELS, BY_KEY),
    Case(broker_queries, "ENTRY_OF", lambda one: ([one.connection_id], ["t"]), BY_KEY),
    Case(missing_positions, "PRICES", ([1],), BY_KEY),
)
NOW = {"opened_at": "2026-01-01T00:00Z", "answer_by": "2026-01-01T00:00Z", "ids": [1]}
ORDERS_BY_KEYS = (  # what is rare, and runs while something is wrong
    Case(position_rebuild, "REBUILD", {"ids": [1], "positions": [1]}, BY_KEYS),
    Case(auto_correction, "LOCK_ORDERS", lambda one: (one.connection_id, "t"), BY_KEYS),
    Case(netting_exits, "HELD_EXITS", NOW | {"lanes": LANES}, BY_KEYS),
    Case(releases, "RELEASABLE_EXITS", NOW | {"unsent": [1]}, BY_KEYS),
)
OF_TICKET = Case(
    open_positions, "OURS", lambda one: {"connections": [one.connection_id], "before": []},
    Rule(
        "positions of one ticket of a polled account are found by it",
        by=live_rows("position_of_ticket").by, required=frozenset({"position_of_ticket"}),
    ),
)  # fmt: skip
