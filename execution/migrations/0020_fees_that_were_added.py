"""Fees in another currency were added as if it were the account's. They are worked out anew.

Those in the pair's own currencies are converted by the price and rate of their order; for all
others there is no rate any more, and they stand beside the result. Days of the last sixty whose
trades change here are computed again by the daily job.
"""

from django.db import migrations

from common.batches import run_by_id

FILLS = """
CREATE TEMPORARY TABLE fees_worked_out ON COMMIT DROP AS
SELECT f.id, f.order_id, CASE
    WHEN f.commission_currency = split_part(o.pair, '/', 2) THEN o.conversion_rate
    WHEN f.commission_currency = split_part(o.pair, '/', 1) THEN f.price * o.conversion_rate
  END AS rate
FROM execution_order o JOIN execution_fill f ON f.order_id = o.id
LEFT JOIN connections_accountsnapshot a ON a.connection_id = f.connection_id
WHERE o.id BETWEEN %(first)s AND %(last)s AND f.commission <> 0 AND f.commission_currency <> ''
  AND f.commission_currency IS DISTINCT FROM a.currency AND f.commission_rate_at IS NULL
"""

RATES = """
UPDATE execution_fill f SET commission_rate = round(w.rate, 18), commission_rate_at = f.time
FROM fees_worked_out w WHERE f.id = w.id
"""

ORDERS = """
UPDATE execution_order o SET commission = n.commission, unconverted_fees = n.fees
FROM (
  SELECT order_id, coalesce(sum(converted), 0) AS commission,
    coalesce(jsonb_object_agg(currency, trim_scale(fee)::text) FILTER (WHERE fee <> 0), '{}') AS fees
  FROM (
    SELECT order_id, commission_currency AS currency, sum(round(commission * commission_rate, 18))
        AS converted, coalesce(sum(commission) FILTER (WHERE commission_rate IS NULL), 0) AS fee
    FROM execution_fill WHERE order_id IN (SELECT order_id FROM fees_worked_out)
    GROUP BY 1, 2) x
  GROUP BY 1
) n WHERE o.id = n.order_id
"""

# Of all orders of a position: what a later range has is added when its turn comes.
POSITIONS = """
WITH mine AS (
  SELECT o.position_id AS id FROM execution_order o
  WHERE o.id IN (SELECT order_id FROM fees_worked_out) AND o.position_id IS NOT NULL
  UNION
  SELECT p.id FROM execution_order o JOIN positions_executionposition p
    ON p.connection_id = o.connection_id AND p.signal_id = o.signal_id
  WHERE o.id IN (SELECT order_id FROM fees_worked_out) AND o.position_id IS NULL
), of AS (
  SELECT m.id, o.commission, o.unconverted_fees
  FROM mine m JOIN execution_order o ON o.position_id = m.id
  UNION ALL
  SELECT m.id, o.commission, o.unconverted_fees
  FROM mine m JOIN positions_executionposition p USING (id)
  JOIN execution_order o ON o.position_id IS NULL AND o.connection_id = p.connection_id
    AND o.signal_id = p.signal_id AND o.leg LIKE 'entry%%'
), sums AS (
  SELECT id, sum(commission) AS commission FROM of GROUP BY id
), beside AS (
  SELECT id, jsonb_object_agg(currency, trim_scale(fee)::text) AS fees FROM (
    SELECT of.id, e.key AS currency, sum(e.value::numeric) AS fee
    FROM of CROSS JOIN jsonb_each_text(of.unconverted_fees) e GROUP BY 1, 2) x
  GROUP BY id
)
UPDATE positions_executionposition p SET commission = s.commission,
  unconverted_fees = coalesce(b.fees, '{}'), touched_at = clock_timestamp()
FROM sums s LEFT JOIN beside b USING (id) WHERE p.id = s.id
"""
CLEAN = "DROP TABLE IF EXISTS pg_temp.fees_worked_out"
LOCK = "SET LOCAL lock_timeout = '10s'"


def work_out(apps, schema_editor):
    connection = schema_editor.connection
    run_by_id(connection, "execution_order", LOCK, CLEAN, FILLS, RATES, ORDERS, POSITIONS)


class Migration(migrations.Migration):
    """A range of orders at a time; what an interrupted run has done it does not do again."""

    atomic = False
    dependencies = [
        ("execution", "0019_fees_are_converted"),
        ("positions", "0008_fees_without_a_rate"),
        ("connections", "0026_least_of_an_exit"),
    ]
    operations = [migrations.RunPython(work_out, migrations.RunPython.noop)]
