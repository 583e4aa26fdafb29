"""SQL of what entries cost and how long they took, for statistics: slippage, latency, money."""

_SIGN = "CASE o.side WHEN 'BUY' THEN 1 ELSE -1 END"
_MEASURED = "o.slippage_pips IS NOT NULL AND o.filled_quantity > 0"


def slippage_cost_sql(position: str) -> str:
    """Return a scalar SELECT: what slippage cost a position, in the account's currency.

    Of its entries and exits whose slippage is known; + is worse, NULL: of none it is known.
    position: alias of its row.
    """
    cost = (
        f"(o.avg_fill_price - o.expected_price) * {_SIGN} * o.filled_quantity"
        f" * coalesce(o.conversion_rate, {position}.conversion_rate)"
    )
    of_entry = (
        f"o.signal_id = {position}.signal_id AND o.connection_id = {position}.connection_id"
        f" AND o.leg LIKE 'entry%%' AND o.position_leg = {position}.entry_leg"
    )
    parts = " UNION ALL ".join(
        f"SELECT {cost} AS cost FROM execution_order o"
        f" WHERE {where} AND {_MEASURED} AND o.expected_price IS NOT NULL"
        for where in (of_entry, f"o.position_id = {position}.id")
    )
    return f"(SELECT sum(cost) FROM ({parts}) measured)"


def all_entries_sql(where: str) -> str:
    """Return a SELECT of entries, of those in the archive, too, which ended without a fill.

    where: a condition on columns that both tables have, of the orders `o`.
    """
    return f"""
  SELECT o.connection_id, o.pair, o.side, o.status, o.filled_quantity, o.slippage_pips,
    o.slippage_unit, o.expected_price, o.avg_fill_price, o.created_at, o.submitted_at, o.filled_at
  FROM execution_order o WHERE o.leg LIKE 'entry%%' AND {where}
  UNION ALL
  SELECT o.connection_id, o.pair, o.side, o.status, 0, NULL, 'PIPS', NULL, NULL, o.created_at,
    o.submitted_at, NULL
  FROM execution_archivedorder o WHERE {where}"""


def all_orders_sql(where: str) -> str:
    """Return a SELECT of entries and exits with what pages of operators count, the archive's too.

    Columns besides those of the orders: is_exit, is_first (not a later slice), sign (of the side),
    is_beyond (a fill is beyond the slippage limit). where: a condition on columns that both tables
    have, of the orders `o`.
    """
    return f"""
  SELECT o.id, o.signal_id, o.connection_id, o.leg NOT LIKE 'entry%%' AS is_exit,
    o.leg = 'entry' AS is_first, o.pair, o.order_type, {_SIGN} AS sign, o.status,
    o.quantity, o.filled_quantity, o.slippage_pips,
    o.slippage_unit, o.expected_price, o.avg_fill_price, o.pip, o.conversion_rate, o.commission,
    o.unconverted_fees <> '{{}}' AS is_unconverted, o.worst_price,
    CASE WHEN o.worst_price IS NOT NULL AND o.filled_quantity > 0 THEN EXISTS (
      SELECT FROM execution_fill f
      WHERE f.order_id = o.id AND (f.price - o.worst_price) * {_SIGN} > 0) ELSE false
    END AS is_beyond, o.created_at, o.submitted_at, o.filled_at
  FROM execution_order o WHERE {where}
  UNION ALL
  SELECT o.id, o.signal_id, o.connection_id, false, true, o.pair, o.order_type, {_SIGN},
    o.status, o.quantity, 0, NULL, 'PIPS', NULL, NULL, NULL, NULL, 0, false, NULL, false,
    o.created_at, o.submitted_at, NULL
  FROM execution_archivedorder o WHERE {where}"""


ORDER_DAYS = """
SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date AS day FROM (
  SELECT created_at FROM execution_order WHERE created_at < %(before)s
  UNION ALL SELECT created_at FROM execution_archivedorder WHERE created_at < %(before)s) o
"""
"""The UTC days before a time on which orders were written. It reads all orders."""

NEWEST_LINE_SQL = "SELECT coalesce(max(id), 0) FROM execution_executionlog"


def filled_entries_sql(where: str) -> str:
    """Return a SELECT with one row for each account that an entry of a signal has filled on.

    Columns: signal_id, connection_id, pair, side, quantity, unit, slippage (in that unit) and bps,
    both weighted by quantity, cost (money lost to slippage), to_wire and to_fill in milliseconds.
    Latencies are of market entries only: others wait for their price. where: a condition on the
    orders `o`.
    """
    measured = f"FILTER (WHERE {_MEASURED})"
    weight = f"nullif(sum(o.filled_quantity) {measured}, 0)"
    bps = (
        f"(o.avg_fill_price - o.expected_price) / nullif(o.expected_price, 0) * 10000 * {_SIGN}"
        " * o.filled_quantity"
    )
    cost = (
        f"(o.avg_fill_price - o.expected_price) * {_SIGN} * o.filled_quantity * o.conversion_rate"
    )
    market = "FILTER (WHERE o.order_type = 'MARKET')"
    return f"""SELECT o.signal_id, o.connection_id, min(o.pair) AS pair, min(o.side) AS side,
    sum(o.filled_quantity) AS quantity, min(o.slippage_unit) AS unit,
    (sum(o.slippage_pips * o.filled_quantity) {measured} / {weight})::numeric(38, 18)
      AS slippage,
    (sum({bps}) {measured} / {weight})::numeric(38, 18) AS bps,
    sum({cost}) {measured} AS cost,
    extract(epoch FROM min(o.submitted_at) {market} - min(o.created_at) {market}) * 1000 AS to_wire,
    extract(epoch FROM min(o.filled_at) {market} - min(o.submitted_at) {market}) * 1000 AS to_fill
  FROM execution_order o
  WHERE o.leg LIKE 'entry%%' AND o.filled_quantity > 0 AND {where}
  GROUP BY o.signal_id, o.connection_id"""
