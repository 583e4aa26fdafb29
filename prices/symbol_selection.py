"""Select the pairs to follow of each source: all of a short book, else those that are needed."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from brokers.paper.currency_conversion import pairs_between
from common.db.sql import array, columns, rows
from connections.exposure import all_ordered_sql, first_priced_sql
from connections.models import DataConnection
from connections.selectors import connection_join_sql, pairs_stood_in_for

MAX_PAIRS = 100  # IBKR's market data lines of a login
SHORT_BOOK_PAIRS = 50  # a book of at most so many pairs is followed whole
# The newest orders of an account show which pairs its feeds trade. We read so many of each account,
# and fewer where many accounts share a source.
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

CURRENCIES = f"""
SELECT DISTINCT c.data_connection_id AS source, a.currency FROM connections_accountsnapshot a
{connection_join_sql("a.connection_id")}
WHERE c.data_connection_id = ANY(%(sources)s::bigint[]) AND c.archived_at IS NULL
"""


def required_pairs_sql() -> str:
    """Return the SELECT of the pairs that sources (%(sources)s) must follow, most urgent first.

    First the pairs that use each source's prices (one index lookup for each pair), then those of
    the newest orders, including orders that were denied because there was no price.
    """
    return f"""
WITH RECURSIVE priced AS (
  SELECT s.source, first.pair FROM unnest(%(sources)s::bigint[]) s(source)
  CROSS JOIN LATERAL ({first_priced_sql("o.source_id = s.source")}) first
  UNION ALL
  SELECT p.source, next.pair FROM priced p
  CROSS JOIN LATERAL ({first_priced_sql("o.source_id = p.source AND o.pair > p.pair")}) next
), used AS (
  SELECT id, data_connection_id AS source, least({MAX_ORDERS_PER_ACCOUNT},
    greatest({MIN_ORDERS_PER_ACCOUNT},
    {MAX_ORDERS_PER_SOURCE} / count(*) OVER (PARTITION BY data_connection_id))) AS share
  FROM connections_executionconnection
  WHERE data_connection_id = ANY(%(sources)s::bigint[]) AND archived_at IS NULL
), needed AS (
  SELECT source, pair, 0 AS urgency, 0::bigint AS newest FROM priced
  UNION ALL
  SELECT used.source, o.pair, 1, -o.number FROM used CROSS JOIN LATERAL (
    SELECT pair, number FROM {all_ordered_sql()} o WHERE o.connection_id = used.id
    ORDER BY number DESC LIMIT used.share) o
)
SELECT source, pair FROM needed GROUP BY source, pair
ORDER BY source, min(urgency), min(newest), pair
"""


Books = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class SymbolSelection:
    """The pairs to follow of one source.

    symbols: the broker's own, by pair. unlisted: pairs that the broker does not list, although the
    settings name them or nothing else is needed. is_empty: the broker lists no pair at all.
    """

    symbols: Mapping[str, str]
    unlisted: tuple[str, ...] = ()
    is_empty: bool = False


def select_symbols(sources: Sequence[DataConnection]) -> dict[int, SymbolSelection]:
    """Return what to follow of each source, by id. The number of statements is constant.

    sources: those with a broker connection.
    """
    if not sources:
        return {}
    books = {source.pk: _book_of(source) for source in sources}
    parameters = {"books": array(set(books.values())), "few": SHORT_BOOK_PAIRS}
    short = {row.book for row in rows(SHORT_BOOKS, parameters)}
    needed = {
        source.pk: RequiredPairs(named)
        for source in sources
        if (named := _configured_pairs(source))
    }
    needed |= _required_pairs(
        [pk for pk, book in books.items() if book not in short and pk not in needed]
    )
    single_pairs = {(books[pk], pair) for pk, required in needed.items() for pair in required.all}
    symbols = _symbols(short, single_pairs)
    return {
        pk: select(symbols[book], needed[pk]) if pk in needed else _whole_book(symbols[book])
        for pk, book in books.items()
    }


def _book_of(source: DataConnection) -> str:
    assert source.broker_connection is not None  # the caller passes only brokers' sources
    return source.broker_connection.instrument_book


def _configured_pairs(source: DataConnection) -> list[str]:
    """Return the pairs that the source's settings name; an empty list if they name none."""
    named = source.settings.get("symbols") if isinstance(source.settings, dict) else None
    return [str(pair).upper() for pair in named] if isinstance(named, list) else []


@dataclass(frozen=True)
class RequiredPairs:
    """Pairs that a source's owner names or that accounts need, the most urgent first.

    currencies: of the accounts, into which amounts are converted. None: the owner named the pairs,
    and only these are followed.
    """

    pairs: Sequence[str]
    currencies: Sequence[str] | None = None

    @cached_property
    def all(self) -> list[str]:
        """The pairs, and those for converting their quote currencies."""
        return with_rates(self.pairs, self.currencies or ())


def _required_pairs(sources: Collection[int]) -> dict[int, RequiredPairs]:
    """Return what accounts need of sources whose settings name no pairs and whose book is long."""
    if not sources:
        return {}
    parameters, currencies = {"sources": array(sources)}, defaultdict[int, list[str]](list)
    for row in rows(CURRENCIES, parameters):
        currencies[row.source].append(row.currency)
    pairs: dict[int, list[str]] = {source: [] for source in sources}
    for row in rows(required_pairs_sql(), parameters):
        pairs[row.source].append(row.pair)
    for source, others in pairs_stood_in_for(sources).items():
        pairs[source] += others  # after what its own accounts need
    return {source: RequiredPairs(pairs[source], currencies[source]) for source in sources}


def _symbols(short: Collection[str], of_others: Collection[tuple[str, str]]) -> Books:
    """Return the symbols of whole short books, and of single pairs of other books."""
    books = defaultdict[str, dict[str, str]](dict)
    for row in rows(SYMBOLS, (array(short), *columns([*of_others], 2))):
        books[row.book][row.pair] = row.symbol
    return books


def _whole_book(book: Mapping[str, str]) -> SymbolSelection:
    return SymbolSelection(dict(book), is_empty=not book)


def select(book: Mapping[str, str], needed: RequiredPairs) -> SymbolSelection:
    """Return the first needed pairs that a book lists, at most `MAX_PAIRS`. Pure."""
    symbols = dict(islice(((pair, book[pair]) for pair in needed.all if pair in book), MAX_PAIRS))
    # Accounts of another broker may trade pairs that only that broker lists: this is no error here.
    ignores_unlisted = bool(symbols) and needed.currencies is not None
    unlisted = () if ignores_unlisted else (pair for pair in needed.pairs if pair not in book)
    return SymbolSelection(symbols, tuple(islice(unlisted, MAX_PAIRS)))


def with_rates(needed: Iterable[str], currencies: Sequence[str]) -> list[str]:
    """Return the needed pairs and those for converting into these currencies, each once. Pure."""
    return list(dict.fromkeys(_with_rates(needed, currencies)))


def _with_rates(needed: Iterable[str], currencies: Sequence[str]) -> Iterator[str]:
    for pair in needed:
        yield pair
        quote = pair.rpartition("/")[2]
        for currency in currencies:
            yield from pairs_between(quote, currency)
