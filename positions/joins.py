"""Parts of other apps' SQL statements: what they join or test of positions `p`."""

from signals.joins import signal_join_sql

NET_SQL = "p.realized_pnl - p.commission + p.swap"
"""The net result of the closed part of a position `p`, account currency."""


def position_join_sql(position_id: str) -> str:
    """Return SQL that joins the position with this id, an expression."""
    return f"JOIN positions_executionposition p ON p.id = {position_id}"


def median_move_sql(signal_id: str) -> str:
    """Return a scalar SELECT: the median result of a signal's closed positions, before costs.

    As a fraction of what each opened for; NULL: none has closed. signal_id: an expression.
    """
    return f"""(SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY
    p.realized_pnl / nullif(p.entry_price * p.opened_quantity * p.conversion_rate, 0))
  FROM positions_executionposition p
  WHERE p.signal_id = {signal_id} AND p.closed_at IS NOT NULL AND p.opened_quantity > 0)"""


def of_position_sql(position_id: str, expression: str) -> str:
    """Return SQL of an expression over the position `p` with this id; NULL without one."""
    return f"(SELECT {expression} FROM positions_executionposition p WHERE p.id = {position_id})"


def entry_position_join_sql(entry: str) -> str:
    """Return SQL that joins the position that an entry has opened. entry: alias of its order."""
    return (
        f"JOIN positions_executionposition p ON p.connection_id = {entry}.connection_id"
        f" AND p.signal_id = {entry}.signal_id AND p.entry_leg = {entry}.position_leg"
    )


def opened_position_id_sql(entry: str) -> str:
    """Return a SELECT of the id of the position that an entry has opened. entry: as above."""
    return (
        "SELECT p.id FROM positions_executionposition p WHERE p.connection_id ="
        f" {entry}.connection_id AND p.signal_id = {entry}.signal_id"
        f" AND p.entry_leg = {entry}.position_leg"
    )


def trade_sql(entry: str, columns: str) -> str:
    """Return a SELECT over all positions `p` of an entry's trade: more than one if slices hedge.

    entry: alias of any of its orders. columns: expressions over p.
    """
    return (
        f"SELECT {columns} FROM positions_executionposition p"
        f" WHERE p.connection_id = {entry}.connection_id AND p.signal_id = {entry}.signal_id"
    )


def is_further_ticket_sql() -> str:
    """Return SQL: whether a position `p` belongs to a trade that another open one stands for.

    Only slices of an entry on a hedging account open more than one position.
    """
    return (
        "p.entry_leg <> 'entry' AND EXISTS (SELECT FROM positions_executionposition n"
        " WHERE n.connection_id = p.connection_id AND n.signal_id = p.signal_id"
        " AND n.quantity > 0 AND (n.entry_leg = 'entry' OR n.id < p.id) AND n.id <> p.id)"
    )


def has_open_position_sql(connection_id: str) -> str:
    """Return SQL: whether a connection, an expression of its id, has an open position."""
    return (
        "EXISTS (SELECT FROM positions_executionposition p"
        f" WHERE p.connection_id = {connection_id} AND p.quantity > 0)"
    )


def accounts_with_positions_sql() -> str:
    """Return a SELECT of the connection ids of all open positions, one of each position."""
    return "SELECT p.connection_id FROM positions_executionposition p WHERE p.quantity > 0"


def open_of_signal_sql(signal_id: str, position: str = "") -> str:
    """Return SQL: whether a position is open and of this signal, an expression.

    By the index `position_open_by_signal`, which has the same conditions. position: its alias with
    a point, such as `p.`.
    """
    return (
        f"{position}signal_id = {signal_id} AND {position}signal_id > 0 AND {position}quantity > 0"
    )


def has_open_trade_sql(connection_id: str, signal_id: str) -> str:
    """Return SQL: whether a signal has an open position on a connection. Both are expressions."""
    return (
        "EXISTS (SELECT FROM positions_executionposition p"
        f" WHERE p.signal_id = {signal_id} AND p.connection_id = {connection_id}"
        " AND p.quantity > 0)"
    )


def has_trade_sql(connection_id: str, signal_id: str) -> str:
    """Return SQL: whether a signal has or had a position on a connection. Both are expressions."""
    return (
        "EXISTS (SELECT FROM positions_executionposition p"
        f" WHERE p.signal_id = {signal_id} AND p.connection_id = {connection_id})"
    )


def is_open_position_sql(position_id: str) -> str:
    """Return SQL: whether the position with this id, an expression, is open."""
    return (
        "EXISTS (SELECT FROM positions_executionposition p"
        f" WHERE p.id = {position_id} AND p.quantity > 0)"
    )


def open_nets_sql(connection_id: str, *, where: str) -> str:
    """Return SQL of the pair and the net notional of a connection's open positions.

    Account currency; a sold position's is below 0. connection_id, where: expressions.
    """
    return (
        "SELECT p.pair, p.quantity * p.entry_price * p.conversion_rate"
        " * CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END AS net"
        " FROM positions_executionposition p"
        f" WHERE {where} AND p.connection_id = {connection_id} AND p.quantity > 0"
    )


# Each uses one of the indexes position_open, position_open_by_source and position_open_by_signal.
OPEN_POSITIONS_SQL = """
SELECT connection_id, symbol, 'an open position' AS what
FROM positions_executionposition WHERE quantity > 0
"""
"""For `connections.exposure.register_exposure_query`."""

PRICED_POSITIONS_SQL = """
SELECT price_source_id AS source_id, connection_id, pair
FROM positions_executionposition WHERE quantity > 0 AND price_source_id > 0
"""
"""For `connections.exposure.register_priced_query`."""

SIGNAL_HAS_OPEN_POSITION_SQL = f"""EXISTS (
SELECT FROM positions_executionposition p WHERE {open_of_signal_sql("s.id", "p.")})"""
"""Whether a signal `s` has an open position."""

SIGNAL_HAS_POSITION_SQL = """EXISTS (
SELECT FROM positions_executionposition p WHERE p.signal_id = s.id)"""
"""Whether a signal `s` has or had a position."""

TRADES_ENDED_SINCE_SQL = f"""
SELECT DISTINCT p.signal_id AS id FROM positions_executionposition p
{signal_join_sql("p.signal_id")}
WHERE p.closed_at > %(since)s AND s.feed_id = %(feed)s
"""
"""The signals of a feed that lost a position since a market time; by position_closed_at."""

CLOSED_SINCE_SQL = """FROM positions_executionposition p
WHERE p.closed_at >= %(since)s OR p.quantity > 0"""
"""The open positions `p`, and those closed since a market time, the parameter `since`."""


def closed_trades_join_sql(connection_id: str, starts: str, ends: str) -> str:
    """Return SQL that joins a connection's positions `p` that closed in [starts, ends).

    All arguments are expressions. It uses the index position_closed_of_account.
    """
    return (
        f"JOIN positions_executionposition p ON p.connection_id = {connection_id}"
        f" AND p.closed_at >= {starts} AND p.closed_at < {ends}"
    )


def positions_since_sql(connection_id: str, symbol: str, since: str) -> str:
    """Return a SELECT of the positions of an account and symbol that were open at `since` or later.

    Two parts, each with its own index: a table of a million closed positions is not read. The
    parameters are expressions.
    """
    return (
        "SELECT o.* FROM positions_executionposition o"
        f" WHERE o.connection_id = {connection_id} AND o.quantity > 0 AND o.symbol = {symbol}"
        " UNION ALL SELECT c.* FROM positions_executionposition c"
        f" WHERE c.connection_id = {connection_id} AND c.closed_at IS NOT NULL"
        f" AND c.closed_at >= {since} AND c.quantity = 0 AND c.symbol = {symbol}"
    )


OPEN_IDS_SQL = "SELECT id FROM positions_executionposition WHERE closed_at IS NULL"
"""The ids of open positions, by the index of these."""


def stop_moved_by_sql(position_id: str) -> str:
    """Return SQL of the kind of the rule whose stop a position has; NULL: it has no rule's stop.

    The rule's stop may be rounded to the broker's tick. position_id: an expression.
    """
    return f"""(SELECT r.moved_by FROM positions_stoprule r
    JOIN positions_executionposition held ON held.id = r.position_id
    WHERE r.position_id = {position_id} AND abs(r.moved_to - held.sl) < held.pip)"""
