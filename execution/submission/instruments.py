"""What the brokers of a bundle's accounts list."""

from collections.abc import Iterable
from typing import Any

from common.sql import rows
from execution.submission import claim_sql as sql


def instruments_of(pending: Iterable[Any]) -> dict[tuple[str, str], Any]:
    """Return the instruments of these rows by (book, broker's symbol), and by (book, pair) the
    preferred one of each pair."""
    named = {(row.instrument_book, row.pair) for row in pending}
    books, pairs = {book for book, _ in named}, {pair for _, pair in named}
    found: dict[tuple[str, str], Any] = {}
    for row in rows(sql.INSTRUMENTS, (list(books), list(pairs))):
        found[row.book, row.symbol] = row
        if row.is_preferred:
            found[row.book, row.pair] = row
    return found
