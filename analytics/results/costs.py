"""What trades cost in spread and slippage: computed from minute prices while these are kept."""

from datetime import datetime, timedelta

from django.db import transaction

from common.clocks import market_now
from common.db.sql import run
from execution.entry_quality import slippage_cost_sql
from positions.joins import CLOSED_SINCE_SQL
from prices.bars import KEPT, mean_spread_sql

MARGIN = timedelta(hours=6)  # the job may be late; older minutes may be deleted already

_ENTRY = mean_spread_sql("p.price_source_id", "p.pair", "p.opened_at")
_EXIT = mean_spread_sql("p.price_source_id", "p.pair", "p.closed_at")
_AMOUNT = "::numeric(38, 18)"
# A spread that is known stays: its minutes are deleted after a week.
COMPUTE_COSTS = f"""
INSERT INTO analytics_tradecost AS c
  (position_id, connection_id, entry_spread, exit_spread, slippage, computed_at)
SELECT p.id, p.connection_id,
  ({_ENTRY} / 2 * p.opened_quantity * p.conversion_rate){_AMOUNT},
  ({_EXIT} / 2 * p.opened_quantity * p.conversion_rate){_AMOUNT},
  {slippage_cost_sql("p")}{_AMOUNT}, clock_timestamp()
{CLOSED_SINCE_SQL}
ORDER BY p.id
ON CONFLICT (position_id) DO UPDATE SET
  entry_spread = coalesce(excluded.entry_spread, c.entry_spread),
  exit_spread = coalesce(excluded.exit_spread, c.exit_spread),
  slippage = excluded.slippage, computed_at = excluded.computed_at
"""


def compute_costs(now: datetime | None = None) -> int:
    """Write the costs of what closed within the last week, and of open positions; return how many.

    Safe to repeat: what minute prices no longer show stays as it was. now: market time.
    """
    since = (now or market_now()) - KEPT - MARGIN
    with transaction.atomic():
        run("SET LOCAL jit = off")
        run("SELECT pg_advisory_xact_lock(hashtext('analytics.compute_costs'))")
        return run(COMPUTE_COSTS, {"since": since})
