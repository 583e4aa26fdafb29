"""What others ask about orders without touching them."""

from uuid import UUID

from common.sql import rows

OPEN_SYMBOLS = """
SELECT symbol FROM positions_executionposition WHERE connection_id = %(one)s AND quantity > 0
UNION
SELECT coalesce(nullif(symbol, ''), pair) FROM execution_order WHERE connection_id = %(one)s
  AND status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
"""


def open_symbols(connection_id: UUID) -> set[str]:
    """Return what an account has an order at its broker or a position in: the broker's names."""
    return {row.symbol for row in rows(OPEN_SYMBOLS, {"one": connection_id})}
