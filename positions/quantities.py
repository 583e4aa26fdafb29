"""SQL that writes quantities, prices and profit of positions.

Executions open and close positions in the statement that writes the orders, so these are parts of
statements. A source is what stands after FROM. Every caller has locked the positions
(`row_locks.py`), except when it opens them.
"""

_AVERAGE = """round((p.opened_quantity * p.entry_price
      + EXCLUDED.opened_quantity * EXCLUDED.entry_price)
      / (p.opened_quantity + EXCLUDED.opened_quantity), 18)"""

_DIRECTION = "CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END"


def open_positions_sql(executions: str) -> str:
    """Return an INSERT that opens positions by entries' executions, or adds to open ones.

    executions: a SELECT of the inserted columns, in their order: at most one row for each
    connection and signal. Returns of each position id, connection_id, signal_id, its quantity and
    entry_price now, and `is_new`: false if it existed.
    """
    return f"""INSERT INTO positions_executionposition AS p (
    connection_id, signal_id, pair, symbol, side, quantity, opened_quantity, entry_price,
    sl, tp, sl_guardian, tp_guardian, broker_sl, broker_tp, broker_sl_quantity,
    levels_reported_at, broker_position_id, price_source_id, pip, conversion_rate,
    commission, opened_at)
  {executions}
  ON CONFLICT (connection_id, signal_id) DO UPDATE SET
    quantity = p.quantity + EXCLUDED.quantity,
    opened_quantity = p.opened_quantity + EXCLUDED.opened_quantity,
    entry_price = {_AVERAGE},
    -- What was closed earlier was closed against an entry price that changes now.
    realized_pnl = p.realized_pnl - round((p.opened_quantity - p.quantity)
      * ({_AVERAGE} - p.entry_price) * {_DIRECTION}
      * p.conversion_rate, 18),
    commission = p.commission + EXCLUDED.commission,
    opened_at = least(p.opened_at, EXCLUDED.opened_at),
    broker_position_id = coalesce(nullif(EXCLUDED.broker_position_id, ''), p.broker_position_id),
    closed_at = NULL, close_reason = '', last_activity_at = clock_timestamp()
  RETURNING p.id, p.connection_id, p.signal_id, p.quantity, p.entry_price,
    p.xmax = 0 AS is_new  -- 0: inserted, not found"""


def close_positions_sql(exits: str, *, next_target: str) -> str:
    """Return an UPDATE that deducts exits' executions from positions.

    exits: source with two aliases, both with position_id. g: q (quantity), v (Σ quantity × price),
    commission and rate (account currency; rate NULL: the position's) and targets_done, how many
    targets have ended. last: time and why, of the newest exit; may be absent.
    next_target: expression over p and g, the price of the next target.

    Returns what an event about the position states, and q.
    """
    return f"""UPDATE positions_executionposition p SET quantity = p.quantity - g.q,
    reserved = least(p.reserved, p.quantity - g.q),  -- until it is recomputed
    realized_pnl = p.realized_pnl + round((g.v - g.q * p.entry_price)
      * {_DIRECTION} * coalesce(g.rate, p.conversion_rate), 18),
    commission = p.commission + g.commission, last_activity_at = clock_timestamp(),
    tp_number = p.tp_number + g.targets_done,
    tp = CASE WHEN g.targets_done > 0 THEN {next_target} ELSE p.tp END,
    close_reason = CASE WHEN p.quantity = g.q THEN coalesce(last.why, p.close_reason)
      ELSE p.close_reason END,
    closed_at = CASE WHEN p.quantity = g.q THEN coalesce(last.time, p.closed_at)
      ELSE p.closed_at END
  FROM {exits} WHERE p.id = g.position_id
  RETURNING p.id, p.connection_id, p.signal_id, p.quantity, g.q, p.close_reason, p.realized_pnl,
    p.commission, p.unconverted_fees"""


def reopen_positions_sql(reversed_exits: str) -> str:
    """Return an UPDATE that adds again what an exit had deducted, and takes back its profit.

    reversed_exits: source with aliases d (position_id, quantity) and o, the exit's order.
    """
    return f"""UPDATE positions_executionposition p SET quantity = p.quantity + d.quantity,
    realized_pnl = p.realized_pnl - round(d.quantity * (o.avg_fill_price - p.entry_price)
      * {_DIRECTION}
      * coalesce(o.conversion_rate, p.conversion_rate), 18)
  FROM {reversed_exits} WHERE p.id = d.position_id"""


def rebuild_positions_sql(totals: str) -> str:
    """Return an UPDATE that replaces positions' totals by those of all their executions.

    totals: source with alias now: id (the position's), price (average of the entry), quantity
    (opened), left_open, first (time of the first execution), costs, gain (positive if the exits
    were higher; NULL: no exits), and of the newest exit time and close_reason.
    """
    return f"""UPDATE positions_executionposition p SET entry_price = round(now.price, 18),
  opened_quantity = now.quantity, quantity = now.left_open,
  reserved = least(p.reserved, now.left_open),  -- until it is recomputed
  opened_at = now.first, commission = now.costs,
  realized_pnl = round(coalesce(now.gain, 0) * {_DIRECTION}, 18),
  close_reason = CASE WHEN now.left_open = 0 THEN coalesce(now.close_reason, p.close_reason)
    ELSE '' END,
  closed_at = CASE WHEN now.left_open = 0 THEN coalesce(now.time, p.closed_at) END,
  last_activity_at = clock_timestamp()
FROM {totals} WHERE p.id = now.id"""


def reserve_sql(exits: str, *, returning: str) -> str:
    """Return an UPDATE that reserves the quantity of new exits, as long as it is open and free.

    exits: source with alias w: position_id, quantity. returning: columns of p and w.
    """
    return f"""UPDATE positions_executionposition p
  SET reserved = p.reserved + w.quantity, last_activity_at = clock_timestamp()
  FROM {exits} WHERE p.id = w.position_id AND p.reserved + w.quantity <= p.quantity
  RETURNING {returning}"""


def recompute_reserved_sql(live_exits: str) -> str:
    """Return an UPDATE of the reserved quantities, and of what depends on live exits.

    Levels that were suspended for an exit are placed again when no exit is left; where levels are
    separate orders, they are removed when the position is closed.

    live_exits: subquery of id (the position's) and live: what its live exits may still fill.
    """
    return f"""UPDATE positions_executionposition p SET reserved = least(p.quantity, l.live),
  protection_suspended = CASE WHEN p.quantity = 0 THEN p.broker_sl_quantity IS NOT NULL
      AND (p.broker_sl IS NOT NULL OR p.broker_tp IS NOT NULL)
    ELSE p.protection_suspended AND l.live > 0 END,
  levels_given_up = p.levels_given_up AND NOT (p.protection_suspended
    AND l.live = 0)  -- placed again after it
FROM ({live_exits}) l
WHERE p.id = l.id AND (p.reserved <> least(p.quantity, l.live) OR p.protection_suspended
  AND l.live = 0
  OR p.quantity = 0 AND p.broker_sl_quantity IS NOT NULL)"""


def store_unconverted_fees_sql(fees: str) -> str:
    """Return an UPDATE of the fees without a conversion rate, where they have changed.

    fees: source with alias u: id (the position's), fees (jsonb).
    """
    return f"""UPDATE positions_executionposition p SET unconverted_fees = u.fees,
  last_activity_at = clock_timestamp()
FROM {fees} WHERE p.id = u.id AND p.unconverted_fees <> u.fees"""
