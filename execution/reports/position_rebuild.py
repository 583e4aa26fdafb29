"""Rebuild positions from their fills, where fills that were counted before have changed."""

from collections.abc import Sequence

from common.db.sql import run
from execution.base.statements import opens_position_sql
from execution.reports.close_reasons import close_reason_sql, is_rest_sql
from positions.joins import entry_position_join_sql, position_join_sql
from positions.quantities import rebuild_positions_sql

# A position is the sum of its fills, less what fees took out of those of its entry, and its average
# price is that of the lots that remain: an exit leaves it as it is, and what is entered later is
# averaged with what is left then. Used only where fills were replaced or corrected, or an entry is
# newer than an exit, by its report or its time: otherwise totals are updated. A corrected quantity
# may close a position or open it again.
#
# run: entries by their times, and the exits until the next entry; most positions have one. An entry
# counts before an exit of the same time. No exit changes the average, so one sum of those of a run
# is enough. Where more was closed than had been entered, the times are of clocks that contradict
# each other: the average of all entries counts.
REBUILD = f"""
WITH RECURSIVE changed AS (
  SELECT p.id FROM execution_order o {position_join_sql("o.position_id")}
  WHERE o.id = ANY(%(ids)s)
  UNION
  SELECT p.id FROM execution_order o {entry_position_join_sql("o")}
  WHERE o.id = ANY(%(ids)s) AND o.position_id IS NULL
  UNION
  SELECT unnest(%(positions)s::bigint[])
), executed AS (
  SELECT p.id, false AS is_exit, f.time, f.quantity - f.fee_in_base AS quantity,
    (f.quantity - f.fee_in_base) * f.price AS value, 0 AS rate,
    coalesce(round(f.commission * f.commission_rate, 18), 0) AS commission
  FROM changed JOIN positions_executionposition p USING (id)
  JOIN execution_order o ON {opens_position_sql("o", "p")}
  JOIN execution_fill f ON f.order_id = o.id
  UNION ALL
  SELECT p.id, true, f.time, f.quantity, f.quantity * f.price,
    coalesce(o.conversion_rate, p.conversion_rate),
    coalesce(round(f.commission * f.commission_rate, 18), 0)
  FROM changed JOIN positions_executionposition p USING (id)
  JOIN execution_order o ON o.position_id = p.id
  JOIN execution_fill f ON f.order_id = o.id
), total AS (
  SELECT id, sum(quantity) FILTER (WHERE NOT is_exit) AS opened_quantity,
    round(sum(value) FILTER (WHERE NOT is_exit)
      / sum(quantity) FILTER (WHERE NOT is_exit), 18) AS entry_price,
    coalesce(sum(quantity) FILTER (WHERE is_exit), 0) AS closed_quantity,
    coalesce(sum(value * rate) FILTER (WHERE is_exit), 0) AS value,
    coalesce(sum(quantity * rate) FILTER (WHERE is_exit), 0) AS weight,
    sum(commission) AS commission, min(time) FILTER (WHERE NOT is_exit) AS opened_at
  FROM executed GROUP BY id HAVING bool_or(NOT is_exit)
), numbered AS (
  SELECT *, count(*) FILTER (WHERE begins) OVER (
    PARTITION BY id ORDER BY time, is_exit ROWS UNBOUNDED PRECEDING) AS run
  FROM (SELECT *, NOT is_exit AND lag(is_exit) OVER (PARTITION BY id ORDER BY time, is_exit)
      AS begins FROM executed) e
), run AS (
  SELECT id, run AS number, coalesce(sum(quantity) FILTER (WHERE NOT is_exit), 0) AS opened,
    coalesce(sum(value) FILTER (WHERE NOT is_exit), 0) AS cost,
    coalesce(sum(quantity) FILTER (WHERE is_exit), 0) AS closed,
    coalesce(sum(value * rate) FILTER (WHERE is_exit), 0) AS value,
    coalesce(sum(quantity * rate) FILTER (WHERE is_exit), 0) AS weight
  FROM numbered GROUP BY id, run
), folded AS (
  SELECT id, -1::bigint AS number, 0::numeric AS left_open, 0::numeric AS price,
    0::numeric AS gain, true AS is_possible
  FROM total
  UNION ALL
  SELECT f.id, r.number, now.held - r.closed, now.price,
    f.gain + r.value - now.price * r.weight, f.is_possible AND now.held >= r.closed
  FROM folded f JOIN run r ON r.id = f.id AND r.number = f.number + 1
  CROSS JOIN LATERAL (SELECT f.left_open + r.opened AS held, coalesce(round(
      (f.left_open * f.price + r.cost) / nullif(f.left_open + r.opened, 0), 18), f.price)
      AS price) now
), by_lots AS (
  SELECT DISTINCT ON (id) * FROM folded ORDER BY id, number DESC
), newest_exit AS (
  SELECT DISTINCT ON (o.position_id) o.position_id AS id,
    max(f.time) OVER (PARTITION BY o.position_id) AS time,
    {close_reason_sql("o.leg", "o.position_id", "o.signal_id")} AS close_reason
  FROM changed JOIN execution_order o ON o.position_id = changed.id
  JOIN execution_fill f ON f.order_id = o.id
  ORDER BY o.position_id, {is_rest_sql("o.leg")}, f.time DESC, f.broker_fill_id DESC
), sums AS (
  SELECT id, total.opened_quantity, total.opened_at, total.commission,
    total.opened_quantity - total.closed_quantity AS open_quantity,
    CASE WHEN is_possible THEN by_lots.price ELSE total.entry_price END AS entry_price,
    CASE WHEN is_possible THEN by_lots.gain
      ELSE total.value - total.entry_price * total.weight END AS gain,
    newest_exit.close_reason, newest_exit.time
  FROM total JOIN by_lots USING (id) LEFT JOIN newest_exit USING (id)
)
{rebuild_positions_sql("sums")}
"""

# The quantity of an exit that its broker made is what it has executed.
SHRINK = """
UPDATE execution_order SET quantity = filled_quantity
WHERE id = ANY(%s) AND position_id IS NOT NULL AND client_order_id IS NULL
  AND filled_quantity > 0 AND filled_quantity < quantity
"""


def rebuild_positions(order_ids: Sequence[int], position_ids: Sequence[int] = ()) -> None:
    """Rebuild from their fills these positions, and those that these orders opened or are closing.

    Must run in the transaction that has locked the orders and their positions.
    """
    if order_ids or position_ids:
        run(REBUILD, {"ids": list(order_ids), "positions": list(position_ids)})
    if order_ids:
        run(SHRINK, (list(order_ids),))
