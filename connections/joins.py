"""Parts of other apps' SQL statements: what they join or test of connections.

The aliases are the same everywhere. c: a connection; h: its health; t: its preset; a: the last
snapshot of its account; i: an instrument that its broker lists. `selectors` exports them all.
"""

OWNER_ID_SQL = "coalesce(c.user_id, c.admin_id)"
"""The owner of a connection `c`."""

CONNECTIONS_WITH_HEALTH_SQL = """connections_executionconnection c
JOIN connections_connectionhealth h ON h.connection_id = c.id"""
"""For a FROM: all connections `c`, archived ones too, each with its health `h`."""

HEALTH_JOIN_SQL = "JOIN connections_connectionhealth h ON h.connection_id = c.id"
PRESET_JOIN_SQL = "LEFT JOIN connections_tradingpreset t ON t.id = c.preset_id"
"""Joins the preset of `c`, if it has one."""

LISTED_INSTRUMENTS_SQL = """connections_instrument i
JOIN connections_executionconnection c ON c.instrument_book = i.book"""
"""For a FROM: the instruments that the brokers of connections list."""

HOST_IS_DOWN_SQL = (
    "c.broker_host IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)"
)
"""Whether the circuit of the host of `c` is open: its broker is not called."""
HOST_IS_UP_SQL = HOST_IS_DOWN_SQL.replace(" IN ", " NOT IN ")

EPOCH_IS_OPEN_SQL = "EXISTS (SELECT FROM connections_epoch WHERE released_at IS NULL)"
"""Whether a recovery epoch is open."""


def connection_join_sql(connection_id: str) -> str:
    """Return SQL that joins the connection `c` with this id, an expression."""
    return f"JOIN connections_executionconnection c ON c.id = {connection_id}"


def account_join_sql(connection_id: str = "c.id") -> str:
    """Return SQL that joins the snapshot `a` of an account, if it has been read.

    It has currency, balance, equity, free_margin, leverage, position_mode and read_at.
    """
    return f"LEFT JOIN connections_accountsnapshot a ON a.connection_id = {connection_id}"


def instrument_join_sql(symbol: str) -> str:
    """Return SQL that joins the instrument `i` with this symbol, if the broker of `c` lists it."""
    return (
        f"LEFT JOIN connections_instrument i ON i.book = c.instrument_book AND i.symbol = {symbol}"
    )
