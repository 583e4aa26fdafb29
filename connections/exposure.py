"""What an account has open: the rooms above know it, and some things here depend on it.

They tell it as SQL, so that one statement can ask it of thousands of accounts, each by an index.
"""

from typing import NamedTuple
from uuid import UUID

from common.formatting import join_first
from common.sql import rows

_sources: list[str] = []
_priced: list[str] = []
_ordered: list[str] = []


class OpenItem(NamedTuple):
    """One position, or one order that is at the broker or may be. symbol: the broker's own."""

    symbol: str
    what: str


def register_exposure_query(source: str) -> None:
    """Add what a room above knows: a SELECT of `connection_id`, `symbol` and `what`, a row for each
    `OpenItem`. Those of one connection must be found by an index."""
    _sources.append(source)


def register_priced_query(source: str) -> None:
    """Add what a room above has open and goes by prices: a SELECT of `source_id`, `connection_id`
    and `pair`. Those of one connection, and of one source by their pairs, must be found by an
    index."""
    _priced.append(source)


def register_ordered_query(source: str) -> None:
    """Add what a room above has been told to trade: a SELECT of `connection_id`, `pair` and
    `number`, the newest the highest. Those of one connection must be found by an index, newest
    first."""
    _ordered.append(source)


def is_open_sql(column: str) -> str:
    """Return SQL for whether anything is open in the account whose id a column has.

    Put it together when it is asked: rooms above tell theirs after this module is imported.
    """
    return f"({' OR '.join(f'EXISTS (SELECT {_rows_of(one, column)})' for one in _sources)})"


def is_monitored_sql(alias: str = "c") -> str:
    """Return SQL for whether a connection is looked after: it is switched on, or something is open
    in it, for switching off keeps nothing but entries away. What is archived never is."""
    return f"({alias}.archived_at IS NULL AND ({alias}.is_active OR {is_open_sql(f'{alias}.id')}))"


def open_count_sql(column: str) -> str:
    """Return SQL for how many things are open in the account whose id a column has."""
    return f"({' + '.join(f'(SELECT count(*) {_rows_of(one, column)})' for one in _sources)})"


def all_open_sql() -> str:
    """Return SQL, for a FROM, of all that is open in all accounts."""
    return f"({' UNION ALL '.join(_sources)})"


def all_priced_sql() -> str:
    """Return SQL, for a FROM, of all that is open and goes by prices."""
    return f"({' UNION ALL '.join(_priced)})"


def all_ordered_sql() -> str:
    """Return SQL, for a FROM, of all that accounts have been told to trade."""
    return f"({' UNION ALL '.join(_ordered)})"


def is_priced_by_sql(column: str) -> str:
    """Return SQL for whether something that is open goes by the source whose id a column has.

    In the order of an index: for EXISTS the planner reads all that is open, since it takes it that
    among so many one is soon found.
    """
    return f"""((SELECT true FROM {all_priced_sql()} o WHERE o.source_id = {column}
      ORDER BY o.pair LIMIT 1) IS NOT NULL)"""


def _rows_of(source: str, column: str) -> str:
    return f"FROM ({source}) o WHERE o.connection_id = {column}"


def open_items(connection_id: UUID) -> list[OpenItem]:
    """Return what an account has open at its broker, as far as our books know."""
    found = rows(
        f"SELECT symbol, what FROM {all_open_sql()} o WHERE connection_id = %s", (connection_id,)
    )
    return [OpenItem(row.symbol, row.what) for row in found]


def describe_open_items(found: list[OpenItem]) -> str:
    """Say it in a sentence's middle, the first three by name: 'BTC/USDT (an open position)'."""
    return join_first([f"{one.symbol} ({one.what})" for one in found])
