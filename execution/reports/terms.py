"""Store which terms, quantity and prices, a broker reports that a working order has.

Only a broker's own statement counts: the answer to a change, or what it lists. A report that comes
twice, or after the order has ended, changes nothing more.
"""

from collections.abc import Iterable

from brokers.types import OrderReport
from common.db.sql import columns, run
from execution.base.statements import AT_BROKER_SQL

# Nothing below what has filled. A price that the broker does not report any more, as the stop price
# of a triggered order, stays.
WRITE_TERMS = f"""
WITH t AS (
  SELECT DISTINCT ON (cid) * FROM unnest(%s::text[], %s::uuid[], %s::numeric[], %s::numeric[],
    %s::numeric[]) WITH ORDINALITY
  AS t(cid, connection_id, quantity, limit_price, stop_price, n) ORDER BY cid, n DESC
), locked AS (
  SELECT o.id, greatest(t.quantity, o.filled_quantity) AS quantity,
    coalesce(t.limit_price, o.limit_price) AS limit_price,
    coalesce(t.stop_price, o.stop_price) AS stop_price
  FROM t JOIN execution_order o ON o.client_order_id = t.cid AND o.connection_id = t.connection_id
  WHERE o.status = ANY({AT_BROKER_SQL}) ORDER BY o.id FOR NO KEY UPDATE OF o
)
UPDATE execution_order o SET quantity = l.quantity, limit_price = l.limit_price,
  stop_price = l.stop_price,
  expected_price = coalesce(l.limit_price, l.stop_price, o.expected_price)
FROM locked l WHERE o.id = l.id
"""


def write_terms(reports: Iterable[OrderReport]) -> None:
    """Give the orders of these reports the terms that they state, in the caller's transaction."""
    records = [
        (
            report.client_order_id,
            report.connection_id,
            report.terms.quantity,
            report.terms.limit_price,
            report.terms.stop_price,
        )
        for report in reports
        if report.terms is not None
    ]
    if records:
        run(WRITE_TERMS, columns(records, 5))
