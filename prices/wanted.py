"""Which pairs of a broker's are followed: all of a few, else those that somebody needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from brokers.paper.rates import pairs_between
from common.sql import rows

MOST = 100  # IBKR's market data lines of a login
FEW = 50  # so many are followed whether somebody needs them or not
ORDERS = 100  # of each account: the newest ones tell what its feeds are about

BOOK = "SELECT pair, symbol FROM connections_instrument WHERE book = %s AND is_preferred"

_LEVELS = " UNION ".join(
    f"SELECT pair FROM positions_executionposition WHERE price_source_id = %(source)s"
    f" AND quantity > 0 AND side = '{side}' AND {level} IS NOT NULL"
    for side in ("BUY", "SELL")
    for level in ("sl", "tp")
)
# What is held and what has a level comes first, then what was ordered last: also what was refused
# because there was no price.
NEEDED = f"""
WITH used AS (
  SELECT id FROM connections_executionconnection
  WHERE data_connection_id = %(source)s AND archived_at IS NULL
), needed AS (
  SELECT pair, 0 AS place, 0::bigint AS newest FROM ({_LEVELS}) l
  UNION ALL
  SELECT p.pair, 0, 0 FROM used JOIN positions_executionposition p
    ON p.connection_id = used.id AND p.quantity > 0
  UNION ALL
  SELECT o.pair, 1, -o.id FROM used CROSS JOIN LATERAL (
    SELECT pair, id FROM execution_order WHERE connection_id = used.id
    ORDER BY id DESC LIMIT {ORDERS}) o
)
SELECT pair FROM needed GROUP BY pair ORDER BY min(place), min(newest), pair
"""

CURRENCIES = """
SELECT DISTINCT a.currency FROM connections_accountsnapshot a
JOIN connections_executionconnection c ON c.id = a.connection_id
WHERE c.data_connection_id = %s AND c.archived_at IS NULL
"""


def wanted_of(source: Any) -> dict[str, str]:
    """Return the pairs to follow of a source that an account tells, with the broker's symbols."""
    told_by, book = source.told_by, {}
    for row in rows(BOOK, (told_by.instrument_book,)):
        book[row.pair] = row.symbol
    named = source.settings.get("symbols")
    if isinstance(named, list) and named:
        return chosen(book, [str(one).upper() for one in named], ())
    if len(book) <= FEW:
        return book
    needed = [row.pair for row in rows(NEEDED, {"source": source.pk})]
    currencies = [row.currency for row in rows(CURRENCIES, (source.pk,))]
    return chosen(book, needed, currencies)


def chosen(
    book: Mapping[str, str], needed: Iterable[str], currencies: Sequence[str]
) -> dict[str, str]:
    """Return the first of what is needed that a book lists, each with what its money is converted
    by into these currencies, `MOST` at most. Pure."""
    found = dict.fromkeys(one for one in _with_rates(needed, currencies) if one in book)
    return {pair: book[pair] for pair in islice(found, MOST)}


def _with_rates(needed: Iterable[str], currencies: Sequence[str]) -> Iterator[str]:
    for pair in needed:
        yield pair
        quote = pair.rpartition("/")[2]
        for currency in currencies:
            yield from pairs_between(quote, currency)
