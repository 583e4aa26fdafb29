"""Rebuild positions from their fills, where fills that were counted before have changed."""

from collections.abc import Sequence

from common.sql import run
from execution.base.statements import opens_position_sql
from execution.reports.close_reasons import close_reason_sql, is_rest_sql
from positions.joins import entry_position_join_sql, position_join_sql
from positions.quantities import rebuild_positions_sql

# A position is the sum of its fills, less what fees took out of those of its entry. Used only where
# fills were replaced or corrected: otherwise totals are updated. A corrected quantity may close a
# position or open it again.
REBUILD = f"""
WITH changed AS (
  SELECT p.id FROM execution_order o {position_join_sql("o.position_id")}
  WHERE o.id = ANY(%(ids)s)
  UNION
  SELECT p.id FROM execution_order o {entry_position_join_sql("o")}
  WHERE o.id = ANY(%(ids)s) AND o.position_id IS NULL
), entered AS (
  SELECT p.id, sum(f.net * f.price) / sum(f.net) AS entry_price,
    sum(f.net) AS opened_quantity,
    sum(f.cost) AS commission, min(f.time) AS opened_at
  FROM changed JOIN positions_executionposition p USING (id)
  JOIN execution_order o ON {opens_position_sql("o", "p")}
  CROSS JOIN LATERAL (SELECT price, time, quantity - fee_in_base AS net,
    coalesce(round(commission * commission_rate, 18), 0) AS cost
    FROM execution_fill WHERE order_id = o.id) f
  GROUP BY p.id
), exited AS (
  SELECT p.id, sum(f.quantity) AS quantity,
    sum(coalesce(round(f.commission * f.commission_rate, 18), 0)) AS commission,
    sum(f.quantity * (f.price - round(entered.entry_price, 18))
      * coalesce(o.conversion_rate, p.conversion_rate)) AS gain
  FROM entered JOIN positions_executionposition p USING (id)
  JOIN execution_order o ON o.position_id = p.id
  JOIN execution_fill f ON f.order_id = o.id GROUP BY p.id
), newest_exit AS (
  SELECT DISTINCT ON (o.position_id) o.position_id AS id,
    max(f.time) OVER (PARTITION BY o.position_id) AS time,
    {close_reason_sql("o.leg")} AS close_reason
  FROM changed JOIN execution_order o ON o.position_id = changed.id
  JOIN execution_fill f ON f.order_id = o.id
  ORDER BY o.position_id, {is_rest_sql("o.leg")}, f.time DESC, f.broker_fill_id DESC
), sums AS (
  SELECT id, entered.entry_price, entered.opened_quantity, entered.opened_at,
    entered.opened_quantity - coalesce(exited.quantity, 0) AS open_quantity, exited.gain,
    entered.commission + coalesce(exited.commission, 0) AS commission,
    newest_exit.close_reason, newest_exit.time
  FROM entered LEFT JOIN exited USING (id) LEFT JOIN newest_exit USING (id)
)
{rebuild_positions_sql("sums")}
"""

# The quantity of an exit that its broker made is what it has executed.
SHRINK = """
UPDATE execution_order SET quantity = filled_quantity
WHERE id = ANY(%s) AND position_id IS NOT NULL AND client_order_id IS NULL
  AND filled_quantity > 0 AND filled_quantity < quantity
"""


def rebuild_positions(order_ids: Sequence[int]) -> None:
    """Rebuild, from their fills, the positions that these orders opened or are closing.

    Must run in the transaction that has locked the orders and their positions.
    """
    if order_ids:
        run(REBUILD, {"ids": list(order_ids)})
        run(SHRINK, (list(order_ids),))
