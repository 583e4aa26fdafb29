"""Margins that brokers calculated for entries; `runtime/margin_queries.py` requests them."""

from collections.abc import Iterable
from decimal import Decimal

from common.clocks import machine_time
from execution.submission.rows import OrderRow

MAX_AGE_SECONDS = 60.0  # the same as for a quote
Key = tuple[str, str, str]
stored_margins: dict[Key, tuple[Decimal, float]] = {}
"""Margin of one base unit in the account's currency, and when it was received (machine time)."""


def known_margins(pending: Iterable[OrderRow]) -> dict[int, Decimal]:
    """Return the brokers' fresh margins of these entries: of one base unit, by order id."""
    if not stored_margins:
        return {}
    margins = {
        row.id: stored_margins.get(key_of(row)) for row in pending if row.position_id is None
    }
    return {
        order_id: margin[0] for order_id, margin in margins.items() if margin and is_fresh(margin)
    }


def key_of(row: OrderRow) -> Key:
    """Return the key of an entry in `stored_margins`: connection, pair and side."""
    return row.connection_id, row.pair, row.side


def is_fresh(margin: tuple[Decimal, float] | None) -> bool:
    """Return whether a stored margin exists and is recent enough to be used."""
    return margin is not None and machine_time() - margin[1] <= MAX_AGE_SECONDS
