"""The paper broker's books, for the audit."""

from decimal import Decimal

from brokers.broker_books import AcceptedOrder, BookPosition, BrokerBooks
from brokers.paper.db_sessions import Session, sessions
from brokers.types import PositionMode, Side

ACCEPTED = """
SELECT connection_id, client_order_id, count(*), min(time) FROM paper_order
WHERE accepted_at IS NOT NULL AND client_order_id LIKE %s AND connection_id <> ''
GROUP BY connection_id, client_order_id
"""
OPEN_POSITIONS = """
SELECT p.connection_id, p.id, p.position, p.side, p.quantity, a.position_mode,
  p.client_order_id
FROM paper_position p JOIN paper_account a ON a.id = p.account_id
WHERE p.quantity > 0 AND p.connection_id <> ''
"""


def read(id_prefix: str) -> BrokerBooks:
    """Return all accepted orders whose id begins with `id_prefix`, and all open positions."""
    with sessions.transaction() as session:
        session.execute("SET LOCAL enable_seqscan = on")  # all rows are read
        session.execute("SET LOCAL statement_timeout = 0")
        accepted = [AcceptedOrder(*row) for row in session.execute(ACCEPTED, (f"{id_prefix}%",))]
        return BrokerBooks(accepted, _open_positions(session))


def _open_positions(session: Session) -> list[BookPosition]:
    """Return one position per entry if hedging, one per symbol if netting."""
    quantities: dict[tuple[str, str], Decimal] = {}
    entries: dict[tuple[str, str], str] = {}
    for connection_id, lot, position, side, quantity, mode, entry in session.execute(
        OPEN_POSITIONS
    ):
        is_lot = mode == PositionMode.HEDGING
        key = (connection_id, str(lot if is_lot else position))
        quantities[key] = quantities.get(key, Decimal(0)) + Side(side).sign * quantity
        entries[key] = entry if is_lot else ""
    return [
        BookPosition(*key, Side.BUY if quantity > 0 else Side.SELL, abs(quantity), entries[key])
        for key, quantity in quantities.items()
        if quantity != 0
    ]
