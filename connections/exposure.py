"""What an account has open, as SQL that the apps above register.

The apps above own positions and orders, but services here depend on them. As SQL, one statement can
check thousands of accounts, each by an index.
"""

from typing import NamedTuple
from uuid import UUID

from common.db.sql import rows
from common.web.formatting import join_first

_sources: list[str] = []
_priced: list[str] = []
_ordered: list[str] = []


class OpenItem(NamedTuple):
    """A position, or an order that is or may be at the broker. symbol: the broker's own."""

    symbol: str
    what: str


def register_exposure_query(source: str) -> None:
    """Register a SELECT of what is open: `connection_id`, `symbol`, `what`, a row per `OpenItem`.

    The rows of one connection must be found by an index.
    """
    _sources.append(source)


def register_priced_query(source: str) -> None:
    """Register a SELECT of what is open and needs prices: `source_id`, `connection_id`, `pair`.

    The rows of one connection, and those of one source in the order of pairs, must be found by an
    index.
    """
    _priced.append(source)


def register_ordered_query(source: str) -> None:
    """Register a SELECT of what was ordered: `connection_id`, `pair`, `number`.

    number: higher is newer. The rows of one connection must be found by an index, newest first.
    """
    _ordered.append(source)


def is_open_sql(column: str) -> str:
    """Return SQL for whether an account has anything open. column: its id.

    Call it when the statement is built: apps register their queries after this module is imported.
    """
    return f"({' OR '.join(f'EXISTS (SELECT {_rows_of(query, column)})' for query in _sources)})"


def is_monitored_sql(alias: str = "c") -> str:
    """Return SQL for whether a connection is monitored: switched on, or with something open.

    Switching off only stops entries. An archived connection is never monitored.
    """
    return f"({alias}.archived_at IS NULL AND ({alias}.is_active OR {is_open_sql(f'{alias}.id')}))"


def open_count_sql(column: str) -> str:
    """Return SQL for how many items an account has open. column: its id."""
    return f"({' + '.join(f'(SELECT count(*) {_rows_of(query, column)})' for query in _sources)})"


def all_open_sql() -> str:
    """Return SQL, for a FROM, of the open items of all accounts."""
    return f"({' UNION ALL '.join(_sources)})"


def first_priced_sql(condition: str) -> str:
    """Return a SELECT of the first pair, by name, of what is open and needs prices; no row: none.

    condition: on the rows `o`, by their source. Each registered query is read in the order of its
    index and only to its first row: the planner would scan all that is open for their union, or
    with EXISTS, because it expects to find a match soon.
    """
    firsts = " UNION ALL ".join(
        f"(SELECT o.pair FROM ({query}) o WHERE {condition} ORDER BY o.pair LIMIT 1)"
        for query in _priced
    )
    return f"SELECT pair FROM ({firsts}) f ORDER BY pair LIMIT 1"


def all_ordered_sql() -> str:
    """Return SQL, for a FROM, of all that accounts have ordered."""
    return f"({' UNION ALL '.join(_ordered)})"


def is_priced_by_sql(column: str) -> str:
    """Return SQL for whether anything open uses a price source. column: the source's id."""
    return f"(({first_priced_sql(f'o.source_id = {column}')}) IS NOT NULL)"


def _rows_of(source: str, column: str) -> str:
    return f"FROM ({source}) o WHERE o.connection_id = {column}"


def open_items(connection_id: UUID) -> list[OpenItem]:
    """Return what an account has open at its broker, as far as our tables know."""
    items = rows(
        f"SELECT symbol, what FROM {all_open_sql()} o WHERE connection_id = %s", (connection_id,)
    )
    return [OpenItem(row.symbol, row.what) for row in items]


def describe_open_items(items: list[OpenItem]) -> str:
    """Return open items as part of a sentence, the first by name: 'BTC/USDT (an open position)'."""
    return join_first([f"{item.symbol} ({item.what})" for item in items])
