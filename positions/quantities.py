"""SQL that writes quantities, prices and profit of positions.

The statement that writes the executions of orders also opens and closes their positions, so these
functions return parts of a statement: the caller puts them into a WITH.

A source is the text after FROM: a table of the caller's statement with the alias and the columns
that the function names. In each statement, p is the position. Except when it opens them, the caller
has locked the positions (`row_locks.py`). Quantities are in base units, profit and commission in
the account currency.
"""

from connections.selectors import smallest_close_sql

# Of the lots that remain, as ON CONFLICT sees them: p has what is open, EXCLUDED what is added.
_AVERAGE_ENTRY_PRICE = """round((p.quantity * p.entry_price
      + EXCLUDED.quantity * EXCLUDED.entry_price) / (p.quantity + EXCLUDED.quantity), 18)"""

# The sign of a profit when the price rises.
_DIRECTION = "CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END"

# Of what only changes a result: a closed position is counted again. An open one has had no
# activity: what was read of it at the broker still counts, and no exit has to wait.
_RESULT_CHANGED = """last_activity_at = CASE WHEN p.quantity = 0 THEN clock_timestamp()
    ELSE p.last_activity_at END"""


def open_positions_sql(executions: str) -> str:
    """Return an INSERT that opens positions by entries' executions, or adds to open ones.

    executions: a SELECT of the inserted columns, in their order: at most one row for each
    connection, signal and entry leg. The INSERT returns of each position its id, connection_id,
    signal_id, its new quantity and entry_price, its stop, `is_new`: false if it existed before, and
    `has_exited`: a part of it was closed before. Rebuild it then: the entry may be older than that.
    """
    return f"""INSERT INTO positions_executionposition AS p (
    connection_id, signal_id, entry_leg, pair, symbol, side, quantity, opened_quantity, entry_price,
    sl, tp, sl_guardian, tp_guardian, broker_sl, broker_tp, broker_sl_quantity,
    levels_reported_at, broker_position_id, price_source_id, pip, conversion_rate,
    commission, opened_at, close_at, close_when_signal_id, close_when_state)
  {executions}
  ON CONFLICT (connection_id, signal_id, entry_leg) DO UPDATE SET
    quantity = p.quantity + EXCLUDED.quantity,
    opened_quantity = p.opened_quantity + EXCLUDED.opened_quantity,
    entry_price = {_AVERAGE_ENTRY_PRICE},
    commission = p.commission + EXCLUDED.commission,
    opened_at = least(p.opened_at, EXCLUDED.opened_at),
    broker_position_id = coalesce(nullif(EXCLUDED.broker_position_id, ''), p.broker_position_id),
    closed_at = NULL, close_reason = '', last_activity_at = clock_timestamp()
  RETURNING p.id, p.connection_id, p.signal_id, p.quantity, p.entry_price, p.sl,
    p.xmax = 0 AS is_new,  -- 0: inserted, not found
    p.quantity < p.opened_quantity AS has_exited"""


def exit_rate_sql(exit_row: str) -> str:
    """Return the rate to the account currency of an exit's row, else of its position: an exit that
    was restored may have none."""
    return f"""coalesce({exit_row}.conversion_rate, (SELECT p.conversion_rate
      FROM positions_executionposition p WHERE p.id = {exit_row}.position_id))"""


# Less than can be closed is left of the part that a last target closes; NULL: it closes all.
_PART_IS_CLOSED = f"""(executed.last_part IS NULL OR executed.last_part * p.opened_quantity
      - executed.target_filled < {smallest_close_sql("p")})"""


def close_positions_sql(exits: str, *, next_target: str) -> str:
    """Return an UPDATE that deducts what exits have executed from their positions.

    exits: source with two aliases, both with position_id. executed: quantity, weight (the sum of
    quantity × rate to the account currency), converted (of quantity × price × rate), commission,
    first_fill (time of the first one) and last_target (number of the last target whose exit has
    ended; NULL: none); if that closes a part only, last_part (the fraction) and target_filled (what
    its exits have filled). newest_exit: time and close_reason of the newest exit; NULL without one.
    next_target: an expression over p and executed: the price of the target after last_target.
    Several exits may be of one target.

    A closed position keeps its levels: they count if a late fill or a correction opens it again.
    An exit that is older than an entry of its position was made at another average price: rebuild
    the position then.

    The UPDATE returns what an event about the position states, closed_quantity, first_fill and the
    position's entry_leg.
    """
    is_over = f"""executed.last_target >= p.tp_number AND {_PART_IS_CLOSED}
      AND (p.quantity > executed.quantity OR {next_target} IS NOT NULL)"""
    return f"""UPDATE positions_executionposition p SET quantity = p.quantity - executed.quantity,
    reserved = least(p.reserved, p.quantity - executed.quantity),  -- until it is recomputed
    realized_pnl = p.realized_pnl
      + round((executed.converted - executed.weight * p.entry_price) * {_DIRECTION}, 18),
    commission = p.commission + executed.commission, last_activity_at = clock_timestamp(),
    tp_number = CASE WHEN {is_over} THEN executed.last_target + 1 ELSE p.tp_number END,
    tp = CASE WHEN {is_over} THEN {next_target} ELSE p.tp END,
    close_reason = CASE WHEN p.quantity = executed.quantity
      THEN coalesce(newest_exit.close_reason, p.close_reason) ELSE p.close_reason END,
    closed_at = CASE WHEN p.quantity = executed.quantity
      THEN coalesce(newest_exit.time, p.closed_at) ELSE p.closed_at END
  FROM {exits} WHERE p.id = executed.position_id
  RETURNING p.id, p.connection_id, p.signal_id, p.quantity, executed.quantity AS closed_quantity,
    p.close_reason, p.realized_pnl, p.commission, p.swap, p.unconverted_fees,
    executed.first_fill, p.entry_leg"""


def reopen_positions_sql(reversed_exits: str) -> str:
    """Return an UPDATE that adds to positions what an exit had deducted, and reverses its profit.

    reversed_exits: source with two aliases. deducted: position_id and quantity. exit_order: the
    exit's avg_fill_price and conversion_rate.
    """
    return f"""UPDATE positions_executionposition p SET quantity = p.quantity + deducted.quantity,
    realized_pnl = p.realized_pnl
      - round(deducted.quantity * (exit_order.avg_fill_price - p.entry_price)
      * {_DIRECTION}
      * coalesce(exit_order.conversion_rate, p.conversion_rate), 18)
  FROM {reversed_exits} WHERE p.id = deducted.position_id"""


def rebuild_positions_sql(totals: str) -> str:
    """Return an UPDATE that replaces positions' totals by those of all their executions.

    totals: source with alias sums: id (the position's), entry_price (of the lots that remain),
    opened_quantity, open_quantity, opened_at (time of the first execution), commission, gain (above
    0 if the exits had higher prices than the entry), and of the newest exit its time and
    close_reason.
    """
    return f"""UPDATE positions_executionposition p SET entry_price = round(sums.entry_price, 18),
  opened_quantity = sums.opened_quantity, quantity = sums.open_quantity,
  reserved = least(p.reserved, sums.open_quantity),  -- until it is recomputed
  opened_at = sums.opened_at, commission = sums.commission,
  realized_pnl = round(sums.gain * {_DIRECTION}, 18),
  close_reason = CASE WHEN sums.open_quantity = 0 THEN coalesce(sums.close_reason, p.close_reason)
    ELSE '' END,
  closed_at = CASE WHEN sums.open_quantity = 0 THEN coalesce(sums.time, p.closed_at) END,
  last_activity_at = clock_timestamp()
FROM {totals} WHERE p.id = sums.id"""


def reserve_sql(exits: str, *, returning: str) -> str:
    """Return an UPDATE that reserves the quantity of new exits, if so much is open and unreserved.

    exits: source with alias requested: position_id, quantity. returning: the columns of p and
    requested that the UPDATE returns for each exit whose quantity it has reserved.
    """
    return f"""UPDATE positions_executionposition p
  SET reserved = p.reserved + requested.quantity, last_activity_at = clock_timestamp()
  FROM {exits} WHERE p.id = requested.position_id AND p.reserved + requested.quantity <= p.quantity
  RETURNING {returning}"""


def recompute_reserved_sql(live_exits: str) -> str:
    """Return an UPDATE of the reserved quantities, and of what depends on live exits.

    The broker's levels that were suspended for an exit are placed again when no live exit is left.
    Where levels are orders of their own (broker_sl_quantity is set), those of a closed position are
    suspended, so that they are removed.

    live_exits: subquery of id (the position's) and quantity: what its live exits may still fill.
    """
    return f"""UPDATE positions_executionposition p
SET reserved = least(p.quantity, live_exits.quantity),
  protection_suspended = CASE WHEN p.quantity = 0 THEN p.broker_sl_quantity IS NOT NULL
      AND (p.broker_sl IS NOT NULL OR p.broker_tp IS NOT NULL)
    ELSE p.protection_suspended AND live_exits.quantity > 0 END,
  levels_given_up = p.levels_given_up AND NOT (p.protection_suspended
    AND live_exits.quantity = 0)  -- what was suspended is placed again, even if it was given up
FROM ({live_exits}) live_exits
WHERE p.id = live_exits.id AND (p.reserved <> least(p.quantity, live_exits.quantity)
  OR p.protection_suspended AND live_exits.quantity = 0
  OR p.quantity = 0 AND p.broker_sl_quantity IS NOT NULL)"""


def store_unconverted_fees_sql(fees: str) -> str:
    """Return an UPDATE of the fees that have no conversion rate, where they have changed.

    fees: source with alias unconverted: id (the position's), fees (jsonb: amount by currency).
    """
    return f"""UPDATE positions_executionposition p SET unconverted_fees = unconverted.fees,
  {_RESULT_CHANGED}
FROM {fees} WHERE p.id = unconverted.id AND p.unconverted_fees <> unconverted.fees"""


def add_commissions_sql(commissions: str) -> str:
    """Return an UPDATE that adds commissions which came after their executions.

    commissions: source with alias charged: id (the position's), commission (account currency, below
    0 if it was corrected).
    """
    return f"""UPDATE positions_executionposition p SET commission = p.commission
    + charged.commission,
  {_RESULT_CHANGED}
FROM {commissions} WHERE p.id = charged.id"""


def store_swaps_sql(swaps: str) -> str:
    """Return an UPDATE of what was booked for holding positions, where it has changed.

    swaps: source with alias booked: id (the position's), swap (account currency), of its fills.
    """
    return f"""UPDATE positions_executionposition p SET swap = booked.swap + p.funding,
  last_activity_at = clock_timestamp()
FROM {swaps} WHERE p.id = booked.id AND p.swap <> booked.swap + p.funding"""


def add_funding_sql(payments: str) -> str:
    """Return an UPDATE that adds what came apart from fills to the swap of positions.

    payments: source with alias paid: id (the position's), amount (account currency).
    """
    return f"""UPDATE positions_executionposition p SET swap = p.swap + paid.amount,
  funding = p.funding + paid.amount, last_activity_at = clock_timestamp()
FROM {payments} WHERE p.id = paid.id"""
