"""The minute's scan of levels, and what the exit modules query each second."""

import re
from collections.abc import Iterator
from datetime import timedelta

from common.clocks import market_now
from execution.exits import dust, orders
from execution.models import Order
from execution.monitoring import (
    broker_positions,
    incomplete_closes,
    level_monitor,
    level_sync,
    pending_actions,
    stop_failover,
    stop_rules,
    tick_monitor,
    time_exits,
    unprotected_time,
)
from positions import broker_levels, broker_reads, protection, stop_rule_rows
from tests.execution.plans.cases import LANES, Case
from tests.execution.plans.rules import BIG, Rule, live_rows

ROWS = live_rows()
CLOSES_BY_INDEX = Rule(
    "finds closes among all signals ever published by their index",
    seeking=frozenset({"signal_published_closes", "signals_signal_pkey"}),
    required=frozenset({"signal_published_closes"}),
    tables=("signals_signal",),
)


def closes(_: Order) -> dict[str, object]:
    return {"since": market_now() - timedelta(days=7), "retry": 30}


EXITS = (
    Case(level_monitor, "HITS", None, ROWS, is_kept=True),
    Case(level_monitor, "DETAILS", (30, [1, 2]), ROWS),
    Case(incomplete_closes, "OF_CLOSES", closes, ROWS, is_kept=True),
    Case(incomplete_closes, "OF_PARTS", closes, ROWS, is_kept=True),
    Case(incomplete_closes, "OF_PARTS", closes, CLOSES_BY_INDEX),
    Case(incomplete_closes, "OF_CLOSES", closes, CLOSES_BY_INDEX),
    Case(incomplete_closes, "OF_PAUSES", {"retry": 30}, ROWS, is_kept=True),
    Case(incomplete_closes, "OF_HALTS", {"retry": 30}, ROWS, is_kept=True),
    Case(dust, "FIND_DUST", (), ROWS),
    Case(dust, "REQUEST_READ", None, ROWS),
    Case(dust, "HELD_BACK_BY_OLD_FACTS", (), ROWS),
    Case(stop_failover, "PASSED", None, ROWS, is_kept=True),
    Case(stop_failover, "REQUEST_READ", None, ROWS, is_kept=True),
    Case(stop_failover, "MAY_TAKE_OVER", None, ROWS, is_kept=True),
    Case(broker_reads, "BREACHED", None, ROWS),
    Case(broker_reads, "UNMARK_MISSING", lambda one: ([one.connection_id], [1]), ROWS),
    Case(unprotected_time, "UNMONITORED", None, ROWS, is_kept=True),
    Case(unprotected_time, "UNCONFIRMED", None, ROWS, is_kept=True),
    Case(unprotected_time, "ALERT", None, ROWS),
    Case(protection, "RECORDED", None, ROWS),
    Case(protection, "OF_UNMONITORED_PAIRS", lambda _: ([1], ["EUR/USD"], [market_now()]), ROWS),
    Case(
        broker_positions, "CLAIM", {"longest": 11, "lanes": LANES, "reading": "{}"}, ROWS,
        is_kept=True,
    ),
    Case(broker_positions, "UNBLOCKED", ([1, 2],), ROWS),
    Case(broker_positions, "ENTERING", lambda one: {"ids": [one.connection_id]}, ROWS),
    Case(time_exits, "DUE", {"now": market_now()}, ROWS),
    Case(tick_monitor, "HITS", ([1], ["EUR/USD"], [1], [1], [1], [1], [1.0]), ROWS),
    Case(stop_rule_rows, "REACHED_RULES", ([1], ["EUR/USD"], [1], [1]), ROWS),
    Case(orders, "LOAD", ([1, 2],), ROWS),
    Case(orders, "OPEN_OF_SIGNAL", (1,), ROWS),
    Case(pending_actions, "LOCK", {"lanes": LANES}, ROWS),
    Case(broker_levels, "ANY_DUE_LEVELS", {"lanes": LANES}, ROWS),
    Case(level_sync, "LEVELS", {"longest": 11, "lanes": LANES}, ROWS),
)  # fmt: skip
MODULES = {
    broker_levels, broker_positions, broker_reads, dust, incomplete_closes, level_monitor,
    level_sync, orders, pending_actions, protection, stop_failover, stop_rule_rows, stop_rules,
    tick_monitor, unprotected_time,
}  # fmt: skip
ELSEWHERE = {"OURS"}  # in `positions.py`
PARTS = {"HELD_BACK", "_DUE_LEVELS"}  # of the statements above, as is what ends with _SQL
ONCE = {"UNMARK_ALL_MISSING"}  # after a restore
BY_IDS = re.compile(
    r"\b(id|position_id) = (ANY\()?%(\(id\))?s|FROM unnest\(%s|FROM requested WHERE"
)


def statements_without_a_case() -> Iterator[str]:
    """Return the statements of the exit modules that neither have a case nor select by ids."""
    known = {(one.module, one.attribute) for one in EXITS}
    planned = {one.sql for one in EXITS}
    for module in MODULES:
        for name, sql in vars(module).items():
            if not (name.isupper() and isinstance(sql, str) and any(one in sql for one in BIG)):
                continue
            if (module, name) in known or sql in planned or BY_IDS.search(sql):
                continue
            if name not in ELSEWHERE | PARTS | ONCE and not name.endswith("_SQL"):
                yield f"{module.__name__}.{name}"
