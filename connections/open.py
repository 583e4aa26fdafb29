"""What an account has open: the rooms above know it, and some things here depend on it.

They tell it as SQL, so that one statement can ask it of thousands of accounts, each by an index.
"""

from typing import NamedTuple
from uuid import UUID

from common.shown import first_of
from common.sql import rows

_sources: list[str] = []
_priced: list[str] = []
_ordered: list[str] = []


class Open(NamedTuple):
    """One position, or one order that is at the broker or may be. symbol: the broker's own."""

    symbol: str
    what: str


def tell(source: str) -> None:
    """Add what a room above knows: a SELECT of `connection_id`, `symbol` and `what`, a row for each
    `Open`. Those of one connection must be found by an index."""
    _sources.append(source)


def tell_priced(source: str) -> None:
    """Add what a room above has open and goes by prices: a SELECT of `source_id`, `connection_id`
    and `pair`. Those of one connection, and of one source by their pairs, must be found by an
    index."""
    _priced.append(source)


def tell_ordered(source: str) -> None:
    """Add what a room above has been told to trade: a SELECT of `connection_id`, `pair` and
    `number`, the newest the highest. Those of one connection must be found by an index, newest
    first."""
    _ordered.append(source)


def is_open(column: str) -> str:
    """Return SQL for whether anything is open in the account whose id a column has.

    Put it together when it is asked: rooms above tell theirs after this module is imported.
    """
    return f"({' OR '.join(f'EXISTS (SELECT {_of(one, column)})' for one in _sources)})"


def is_watched(alias: str = "c") -> str:
    """Return SQL for whether a connection is looked after: it is switched on, or something is open
    in it, for switching off keeps nothing but entries away. What is archived never is."""
    return f"({alias}.archived_at IS NULL AND ({alias}.is_active OR {is_open(f'{alias}.id')}))"


def how_much_is_open(column: str) -> str:
    """Return SQL for how many things are open in the account whose id a column has."""
    return f"({' + '.join(f'(SELECT count(*) {_of(one, column)})' for one in _sources)})"


def all_open() -> str:
    """Return SQL, for a FROM, of all that is open in all accounts."""
    return f"({' UNION ALL '.join(_sources)})"


def all_priced() -> str:
    """Return SQL, for a FROM, of all that is open and goes by prices."""
    return f"({' UNION ALL '.join(_priced)})"


def all_ordered() -> str:
    """Return SQL, for a FROM, of all that accounts have been told to trade."""
    return f"({' UNION ALL '.join(_ordered)})"


def is_priced_by(column: str) -> str:
    """Return SQL for whether something that is open goes by the source whose id a column has.

    In the order of an index: for EXISTS the planner reads all that is open, since it takes it that
    among so many one is soon found.
    """
    return f"""((SELECT true FROM {all_priced()} o WHERE o.source_id = {column}
      ORDER BY o.pair LIMIT 1) IS NOT NULL)"""


def _of(source: str, column: str) -> str:
    return f"FROM ({source}) o WHERE o.connection_id = {column}"


def what_is_open(connection_id: UUID) -> list[Open]:
    """Return what an account has open at its broker, as far as our books know."""
    found = rows(
        f"SELECT symbol, what FROM {all_open()} o WHERE connection_id = %s", (connection_id,)
    )
    return [Open(row.symbol, row.what) for row in found]


def in_words(found: list[Open]) -> str:
    """Say it in a sentence's middle, the first three by name: 'BTC/USDT (an open position)'."""
    return first_of([f"{one.symbol} ({one.what})" for one in found])
