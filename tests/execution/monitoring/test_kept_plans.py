"""Batches of quotes are judged by statements whose plans the session keeps."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import Quote
from common.clocks import market_now
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.monitoring.tick_monitor import TickMonitor
from execution.monitoring.trigger_monitor import TriggerMonitor

USES = """
SELECT statement, sum(generic_plans)::integer AS n FROM pg_prepared_statements
WHERE position(%s IN statement) > 0
GROUP BY statement
"""


def uses_of_plans(table: str) -> dict[str, int]:
    """How often the session has used the kept plan of each statement that names a table."""
    return {row.statement: row.n for row in rows(USES, (table,))}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("monitor", "table"),
    [
        (TickMonitor, "positions_executionposition"),
        (StopRuleMonitor, "stop_moves_at"),
        (TriggerMonitor, "execution_pricepeak"),
    ],
)
def test_plan_is_kept(monitor: type[Any], table: str, alice: ExecutionConnection) -> None:
    quotes = [Quote("EUR/USD", D("1.1"), D("1.1001"), market_now())]
    monitor().process_quotes(alice.data_connection_id, quotes)
    before = uses_of_plans(table)
    for _ in range(2):
        monitor().process_quotes(alice.data_connection_id, quotes)
    after = uses_of_plans(table)
    # By statement: sessions of tests keep many, and drop the oldest of them.
    assert [n - before[text] for text, n in after.items() if n > before.get(text, n)] == [2]
