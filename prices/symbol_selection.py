"""Which pairs of a broker's are followed: all of a few, else those that somebody needs."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from brokers.paper.currency_conversion import pairs_between
from common.sql import array, columns, rows
from connections.exposure import all_ordered_sql, all_priced_sql
from connections.models import DataConnection

MAX_PAIRS = 100  # IBKR's market data lines of a login
SHORT_BOOK_PAIRS = 50  # so many are followed whether somebody needs them or not
# The newest orders of each account tell what its feeds are about: so many, and fewer of each where
# many accounts go by one source.
MAX_ORDERS_PER_ACCOUNT, MAX_ORDERS_PER_SOURCE, MIN_ORDERS_PER_ACCOUNT = 100, 2000, 1

SHORT_BOOKS = """
SELECT book FROM unnest(%(books)s::text[]) b(book) WHERE (SELECT count(*) FROM (
  SELECT FROM connections_instrument i WHERE i.book = b.book AND is_preferred LIMIT %(few)s + 1) i
) <= %(few)s
"""
SYMBOLS = """
SELECT book, pair, symbol FROM connections_instrument
WHERE is_preferred AND book = ANY(%s::text[])
UNION ALL
SELECT i.book, i.pair, i.symbol FROM unnest(%s::text[], %s::text[]) n(book, pair)
JOIN connections_instrument i ON i.book = n.book AND i.pair = n.pair AND i.is_preferred
"""

CURRENCIES = """
SELECT DISTINCT c.data_connection_id AS source, a.currency FROM connections_accountsnapshot a
JOIN connections_executionconnection c ON c.id = a.connection_id
WHERE c.data_connection_id = ANY(%(sources)s::bigint[]) AND c.archived_at IS NULL
"""


def required_pairs_sql() -> str:
    """What goes by each source first (one index look for each pair), then what was ordered last:
    also what was refused because there was no price."""
    of_pair = f"SELECT pair FROM {all_priced_sql()} o WHERE o.source_id"
    return f"""
WITH RECURSIVE priced AS (
  SELECT s.source, first.pair FROM unnest(%(sources)s::bigint[]) s(source)
  CROSS JOIN LATERAL ({of_pair} = s.source ORDER BY pair LIMIT 1) first
  UNION ALL
  SELECT p.source, next.pair FROM priced p
  CROSS JOIN LATERAL ({of_pair} = p.source AND pair > p.pair ORDER BY pair LIMIT 1) next
), used AS (
  SELECT id, data_connection_id AS source, least({MAX_ORDERS_PER_ACCOUNT},
    greatest({MIN_ORDERS_PER_ACCOUNT},
    {MAX_ORDERS_PER_SOURCE} / count(*) OVER (PARTITION BY data_connection_id))) AS share
  FROM connections_executionconnection
  WHERE data_connection_id = ANY(%(sources)s::bigint[]) AND archived_at IS NULL
), needed AS (
  SELECT source, pair, 0 AS place, 0::bigint AS newest FROM priced
  UNION ALL
  SELECT used.source, o.pair, 1, -o.number FROM used CROSS JOIN LATERAL (
    SELECT pair, number FROM {all_ordered_sql()} o WHERE o.connection_id = used.id
    ORDER BY number DESC LIMIT used.share) o
)
SELECT source, pair FROM needed GROUP BY source, pair
ORDER BY source, min(place), min(newest), pair
"""


Books = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class SymbolSelection:
    """What to follow of one source. symbols: the broker's, by pair; unlisted: what was named, or is
    needed where nothing else is, and its broker does not list; is_empty: it lists nothing at all.
    """

    symbols: Mapping[str, str]
    unlisted: tuple[str, ...] = ()
    is_empty: bool = False


def select_symbols(sources: Sequence[DataConnection]) -> dict[int, SymbolSelection]:
    """Return, by source that an account tells, what to follow: as many statements for all as for
    one."""
    books = {source.pk: _book_of(source) for source in sources}
    asked = {"books": array(set(books.values())), "few": SHORT_BOOK_PAIRS}
    short = {row.book for row in rows(SHORT_BOOKS, asked)}
    needed = {
        source.pk: RequiredPairs(named)
        for source in sources
        if (named := _configured_pairs(source))
    }
    needed |= _required_pairs(
        [pk for pk, book in books.items() if book not in short and pk not in needed]
    )
    asked_for = {(books[pk], pair) for pk, one in needed.items() for pair in one.all}
    symbols = _symbols(short, asked_for)
    return {
        pk: select(symbols[book], needed[pk]) if pk in needed else _whole_book(symbols[book])
        for pk, book in books.items()
    }


def _book_of(source: DataConnection) -> str:
    assert source.broker_connection is not None  # an account tells it
    return source.broker_connection.instrument_book


def _configured_pairs(source: DataConnection) -> list[str]:
    """What its settings name, if they do."""
    named = source.settings.get("symbols") if isinstance(source.settings, dict) else None
    return [str(one).upper() for one in named] if isinstance(named, list) else []


@dataclass(frozen=True)
class RequiredPairs:
    """Pairs that are named by a source's owner, or that somebody needs, the most urgent first.
    currencies: what their money is converted into."""

    pairs: Sequence[str]
    currencies: Sequence[str] | None = None  # None: they were named, and these alone are followed

    @cached_property
    def all(self) -> list[str]:
        """They and what their money is converted by."""
        return with_rates(self.pairs, self.currencies or ())


def _required_pairs(sources: Collection[int]) -> dict[int, RequiredPairs]:
    """What somebody needs of sources that name nothing and list much."""
    if not sources:
        return {}
    asked, currencies = {"sources": array(sources)}, defaultdict[int, list[str]](list)
    for row in rows(CURRENCIES, asked):
        currencies[row.source].append(row.currency)
    pairs: dict[int, list[str]] = {source: [] for source in sources}
    for row in rows(required_pairs_sql(), asked):
        pairs[row.source].append(row.pair)
    return {source: RequiredPairs(pairs[source], currencies[source]) for source in sources}


def _symbols(short: Collection[str], of_others: Collection[tuple[str, str]]) -> Books:
    """Whole books that are short; of others single pairs."""
    found = defaultdict[str, dict[str, str]](dict)
    for row in rows(SYMBOLS, (array(short), *columns([*of_others], 2))):
        found[row.book][row.pair] = row.symbol
    return found


def _whole_book(book: Mapping[str, str]) -> SymbolSelection:
    return SymbolSelection(dict(book), is_empty=not book)


def select(book: Mapping[str, str], needed: RequiredPairs) -> SymbolSelection:
    """Return the first of what is needed that a book lists, `MAX_PAIRS` at most. Pure."""
    found = dict(islice(((one, book[one]) for one in needed.all if one in book), MAX_PAIRS))
    # What accounts of another broker trade may be listed there alone: that is no fault of this one.
    tells_it = bool(found) and needed.currencies is not None
    lacks = () if tells_it else (one for one in needed.pairs if one not in book)
    return SymbolSelection(found, tuple(islice(lacks, MAX_PAIRS)))


def with_rates(needed: Iterable[str], currencies: Sequence[str]) -> list[str]:
    """Return what is needed, each once and with what its money is converted by into these
    currencies. Pure."""
    return list(dict.fromkeys(_with_rates(needed, currencies)))


def _with_rates(needed: Iterable[str], currencies: Sequence[str]) -> Iterator[str]:
    for pair in needed:
        yield pair
        quote = pair.rpartition("/")[2]
        for currency in currencies:
            yield from pairs_between(quote, currency)
