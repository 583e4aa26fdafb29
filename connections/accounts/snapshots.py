"""Storing what a broker told of an account and of its instruments. Public through `services`."""

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
# A book of hundreds of symbols is shared by all accounts of a server and told by each of them: only
# what differs is written, or what nobody has confirmed for an hour.
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
AMOUNT_LIMIT = Decimal(10) ** (DIGITS - PLACES)  # an AmountField holds what is below it


def store_account_state(connection_id: UUID, state: AccountState, *, read_at: datetime) -> None:
    """Store an account as its broker told it.

    read_at: when what the read was made with (settings, credentials) was read from the database, by
    its clock. A reading that began before the stored one is dropped: it may be of another account.
    """
    store_account_states([(connection_id, state, read_at)])


@transaction.atomic
def store_account_states(read: Sequence[tuple[UUID, AccountState, datetime]]) -> int:
    """The same for many. Returns how many were newer than what was stored. Raises ValueError for
    what is no number (a database would keep it, and each order would break at it)."""
    for _, state, _ in read:
        for amount in (state.balance, state.equity, state.margin_used, state.free_margin,
                       state.leverage):  # fmt: skip
            if not amount.is_finite():
                raise ValueError("an amount of the account is no number")
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
    """Store a broker's list of symbols in place of what the book had. Returns how many it has.

    Of several symbols of one pair the plainest is preferred (`symbols.preferred`). Symbols that
    cannot be read as a pair, whose steps are not above zero, or that do not fit in, are left out:
    they cannot be traded. An empty list changes nothing: no broker lists nothing.
    """
    usable = tradable_instruments(instruments)
    if not usable:
        return 0
    rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"instruments of {book}",))
    run(_MARK_BOOK_READ, (book,))
    chosen = symbols.preferred([symbols.Listed(i.symbol, pair) for i, pair in usable])
    preferred_symbols = list(chosen.values())
    # First nothing is preferred that will not be: each pair has one preferred symbol at any time.
    run(
        "UPDATE connections_instrument SET is_preferred = false WHERE book = %s AND is_preferred"
        " AND (pair, symbol) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        (book, list(chosen), preferred_symbols),
    )
    listed = [i.symbol for i, _ in usable]
    run("DELETE FROM connections_instrument WHERE book = %s AND symbol <> ALL(%s)", (book, listed))
    run(
        _STORE_INSTRUMENTS,
        [book, *columns([_record(i, pair) for i, pair in usable], len(_COLUMNS))],
    )
    run(
        "UPDATE connections_instrument SET is_preferred = true"
        " WHERE book = %s AND symbol = ANY(%s) AND NOT is_preferred",
        (book, preferred_symbols),
    )
    return len(usable)


def tradable_instruments(instruments: Sequence[Instrument]) -> list[tuple[Instrument, str]]:
    """Return those that can be kept and traded, each with its pair."""
    by_symbol: dict[str, tuple[Instrument, str]] = {}
    for instrument in instruments:
        pair = pair_of(instrument)
        if pair and is_storable(instrument, pair) and all(step > 0 for step in _steps(instrument)):
            by_symbol[instrument.symbol] = (instrument, pair)
    return list(by_symbol.values())


def _steps(instrument: Instrument) -> tuple[Decimal, ...]:
    return (instrument.pip, instrument.quantity_min, instrument.quantity_step)


def is_storable(instrument: Instrument, pair: str) -> bool:
    """Whether an instrument can be kept: no name too long, no amount too large or no number."""
    symbol, _, digits, *amounts = _record(instrument, pair)
    return (
        len(symbol) <= MAX_SYMBOL_LENGTH
        and len(pair) <= MAX_PAIR_LENGTH
        and storable(symbol) == symbol
        and abs(digits) <= MAX_DIGITS
        and all(amount.is_finite() and abs(amount) < AMOUNT_LIMIT for amount in amounts)
    )


def pair_of(instrument: Instrument) -> str | None:
    """Return the canonical pair of a broker's symbol, None if it cannot be told.

    An adapter's pair whose base is not among the name's own letters was said by somebody who knows
    (`{"GER40.cash": "DAX/EUR"}` in the account's settings); else what the lists know comes first,
    and then the adapter's word.
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
