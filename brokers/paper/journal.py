"""The paper broker's books as an auditor sees them."""

from decimal import Decimal

from brokers.base import PositionMode, Side
from brokers.journal import Accepted, Held, Journal
from brokers.paper.sessions import Session, sessions

ACCEPTED = """
SELECT connection_id, client_order_id, count(*), min(time) FROM paper_order
WHERE accepted_at IS NOT NULL AND client_order_id LIKE %s AND connection_id <> ''
GROUP BY connection_id, client_order_id
"""
HELD = """
SELECT p.connection_id, p.id, p.position, p.side, p.quantity, a.position_mode
FROM paper_position p JOIN paper_account a ON a.id = p.account_id
WHERE p.quantity > 0 AND p.connection_id <> ''
"""


def read(tag: str) -> Journal:
    """Everything accepted from ids that begin with `tag`, and everything that is open."""
    with sessions.transaction() as session:
        session.execute("SET LOCAL enable_seqscan = on")  # all of it is wanted
        session.execute("SET LOCAL statement_timeout = 0")
        accepted = [Accepted(*row) for row in session.execute(ACCEPTED, (f"{tag}%",))]
        return Journal(accepted, _held(session))


def _held(session: Session) -> list[Held]:
    """One an entry on a hedging account, one a symbol on a netting one."""
    found: dict[tuple[str, str], Decimal] = {}
    for connection_id, lot, position, side, quantity, mode in session.execute(HELD):
        ticket = str(lot if mode == PositionMode.HEDGING else position)
        key = (connection_id, ticket)
        found[key] = found.get(key, Decimal(0)) + Side(side).sign * quantity
    return [
        Held(connection_id, ticket, Side.BUY if quantity > 0 else Side.SELL, abs(quantity))
        for (connection_id, ticket), quantity in found.items()
        if quantity != 0
    ]
