"""Store a broker's account states and instruments. Public through `connections.services`."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from brokers.redaction import storable
from brokers.types import AccountState, Instrument
from common.errors import InvalidInputError
from common.money import DIGITS, PLACES
from common.sql import columns, rows, run
from connections import symbols
from signals.symbols import is_pair

_STORE_ACCOUNTS = """
INSERT INTO connections_accountsnapshot AS a (connection_id, currency, balance, equity,
  margin_used, free_margin, leverage, position_mode, read_at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::text[], %s::timestamptz[]) AS t (id, currency, balance,
  equity, margin_used, free_margin, leverage, position_mode, read_at)
ORDER BY id
ON CONFLICT (connection_id) DO UPDATE SET currency = excluded.currency,
  balance = excluded.balance, equity = excluded.equity, margin_used = excluded.margin_used,
  free_margin = excluded.free_margin, leverage = excluded.leverage,
  position_mode = excluded.position_mode, read_at = excluded.read_at
WHERE a.read_at < excluded.read_at
"""

_COLUMNS = (
    "symbol", "pair", "digits", "pip", "quantity_min", "quantity_step", "quantity_max",
    "contract_size", "stops_level", "margin_rate",
    "close_min", "close_worth_min", "tick",
)  # fmt: skip
_TYPES = ("text", "text", "smallint", *("numeric",) * 10)
_UNNEST = ", ".join(f"%s::{kind}[]" for kind in _TYPES)
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
# All accounts of a server share a book of hundreds of symbols, and each of them reads it. So a row
# is only written if it differs, or if it was not confirmed for an hour.
_STORE_INSTRUMENTS = f"""
INSERT INTO connections_instrument AS i (book, is_preferred, read_at, {", ".join(_COLUMNS)})
SELECT %s, false, clock_timestamp(), t.* FROM unnest({_UNNEST}) AS t ({", ".join(_COLUMNS)})
ON CONFLICT (book, symbol) DO UPDATE SET {_CHANGED}, read_at = excluded.read_at
WHERE i.read_at < excluded.read_at - interval '1 hour'
  OR ({", ".join(f"i.{name}" for name in _COLUMNS[1:])})
     IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _COLUMNS[1:])})
"""
_MARK_BOOK_READ = """
INSERT INTO connections_instrumentbook (book, read_at) VALUES (%s, clock_timestamp())
ON CONFLICT (book) DO UPDATE SET read_at = excluded.read_at
"""
MAX_SYMBOL_LENGTH, MAX_PAIR_LENGTH, MAX_DIGITS = 40, 20, 100
AMOUNT_LIMIT = Decimal(10) ** (DIGITS - PLACES)  # an AmountField holds amounts below it


def store_account_state(connection_id: UUID, state: AccountState, *, read_at: datetime) -> None:
    """Store the state of an account as its broker reported it.

    read_at: when the settings and credentials of the call were read, by the database's clock. A
    state from before the stored one is dropped: it may be of another account.
    """
    store_account_states([(connection_id, state, read_at)])


@transaction.atomic
def store_account_states(read: Sequence[tuple[UUID, AccountState, datetime]]) -> int:
    """Store the states of many accounts; return how many were newer than the stored ones.

    Raises ValueError for an amount that is not a number: the database would store it, and each
    order would fail because of it.
    """
    for _, state, _ in read:
        for amount in (
            *(state.balance, state.equity, state.margin_used),
            *(state.free_margin, state.leverage),
        ):
            if not amount.is_finite():
                raise ValueError("an amount of the account is not a number")
    records = [
        (
            connection_id, state.currency, state.balance, state.equity, state.margin_used,
            state.free_margin, state.leverage, state.position_mode.value, read_at,
        )
        for connection_id, state, read_at in read
    ]  # fmt: skip
    return run(_STORE_ACCOUNTS, columns(records, 9))


@transaction.atomic
def store_instruments(book: str, instruments: Sequence[Instrument]) -> int:
    """Replace the content of a book by a broker's list of symbols; return how many it has.

    Of several symbols of one pair the plainest is preferred (`symbols.preferred`). Symbols that are
    not readable as a pair, whose steps are not above zero, or that do not fit into the columns, are
    left out and cannot be traded. An empty list changes nothing, since no broker lists nothing.
    """
    tradable = tradable_instruments(instruments)
    if not tradable:
        return 0
    rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"instruments of {book}",))
    run(_MARK_BOOK_READ, (book,))
    chosen = symbols.preferred([symbols.Listed(i.symbol, pair) for i, pair in tradable])
    preferred_symbols = list(chosen.values())
    # First those that are no longer preferred: a pair has at most one preferred symbol at any time.
    run(
        "UPDATE connections_instrument SET is_preferred = false WHERE book = %s AND is_preferred"
        " AND (pair, symbol) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        (book, list(chosen), preferred_symbols),
    )
    listed = [i.symbol for i, _ in tradable]
    run("DELETE FROM connections_instrument WHERE book = %s AND symbol <> ALL(%s)", (book, listed))
    run(
        _STORE_INSTRUMENTS,
        [book, *columns([_record(i, pair) for i, pair in tradable], len(_COLUMNS))],
    )
    run(
        "UPDATE connections_instrument SET is_preferred = true"
        " WHERE book = %s AND symbol = ANY(%s) AND NOT is_preferred",
        (book, preferred_symbols),
    )
    return len(tradable)


def tradable_instruments(instruments: Sequence[Instrument]) -> list[tuple[Instrument, str]]:
    """Return the instruments that can be stored and traded, each with its pair."""
    by_symbol: dict[str, tuple[Instrument, str]] = {}
    for instrument in instruments:
        pair = pair_of(instrument)
        if pair and is_storable(instrument, pair) and all(step > 0 for step in _steps(instrument)):
            by_symbol[instrument.symbol] = (instrument, pair)
    return list(by_symbol.values())


def _steps(instrument: Instrument) -> tuple[Decimal, ...]:
    return (instrument.pip, instrument.quantity_min, instrument.quantity_step)


def is_storable(instrument: Instrument, pair: str) -> bool:
    """Return whether the columns can hold an instrument: its names and its amounts."""
    symbol, _, digits, *amounts = _record(instrument, pair)
    return (
        len(symbol) <= MAX_SYMBOL_LENGTH
        and len(pair) <= MAX_PAIR_LENGTH
        and storable(symbol) == symbol
        and abs(digits) <= MAX_DIGITS
        and all(amount.is_finite() and abs(amount) < AMOUNT_LIMIT for amount in amounts)
    )


def pair_of(instrument: Instrument) -> str | None:
    """Return the canonical pair of a broker's symbol; None if it is unknown.

    If the base of the adapter's pair is not part of the symbol, the pair comes from the account's
    settings (`{"GER40.cash": "DAX/EUR"}`) and is used. Otherwise our lists of symbols decide, and
    then the adapter's pair.
    """
    stated = instrument.pair.upper()
    is_stated = is_pair(stated)
    if is_stated and stated.partition("/")[0] not in instrument.symbol.upper():
        return stated
    for text in (instrument.pair, instrument.symbol):
        try:
            return symbols.canonical(text)
        except InvalidInputError:
            continue
    return stated if is_stated else None


def _record(instrument: Instrument, pair: str) -> tuple[str, str, int, *tuple[Decimal, ...]]:
    return (
        instrument.symbol, pair, instrument.digits, instrument.pip, instrument.quantity_min,
        instrument.quantity_step, instrument.quantity_max, instrument.contract_size,
        instrument.stops_level, instrument.margin_rate,
        instrument.close_min, instrument.close_worth_min, instrument.tick,
    )  # fmt: skip
