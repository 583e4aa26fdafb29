"""Store a broker's account states and instruments. Public through `connections.services`."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from brokers.redaction import storable
from brokers.trading_hours import calendar_of
from brokers.types import AccountState, Instrument
from common.clocks import market_at
from common.db.sql import Query, columns, rows, run
from common.errors import InvalidInputError
from common.money import DIGITS, PLACES, plain
from connections import symbols
from connections.accounts.history import add_to_history_sql
from connections.market_data.twin_lists import with_live_sizes
from signals.symbols import is_pair


class _StoredCount(NamedTuple):
    stored: int


_STORE_ACCOUNTS = Query(
    _StoredCount,
    f"""
WITH read AS (
  SELECT * FROM unnest(%s::uuid[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[], %s::numeric[], %s::text[], %s::timestamptz[], %s::timestamptz[],
    %s::boolean[])
    AS t (id, currency, balance, equity, margin_used, free_margin, leverage, position_mode,
      read_at, market_time, demo)
), stored AS (
  INSERT INTO connections_accountsnapshot AS a (connection_id, currency, balance, equity,
    margin_used, free_margin, leverage, position_mode, read_at, demo)
  SELECT id, currency, balance, equity, margin_used, free_margin, leverage, position_mode, read_at,
    demo
  FROM read ORDER BY id
  ON CONFLICT (connection_id) DO UPDATE SET currency = excluded.currency,
    balance = excluded.balance, equity = excluded.equity, margin_used = excluded.margin_used,
    free_margin = excluded.free_margin, leverage = excluded.leverage,
    position_mode = excluded.position_mode, read_at = excluded.read_at, demo = excluded.demo
  WHERE a.read_at < excluded.read_at
  RETURNING connection_id
), recorded AS (
  {add_to_history_sql("read JOIN stored ON stored.connection_id = read.id")}
)
SELECT count(*)::int AS stored FROM stored
""",
)

_COLUMNS = (
    "symbol", "pair", "digits", "pip", "quantity_min", "quantity_step", "quantity_max",
    "contract_size", "stops_level", "margin_rate",
    "close_min", "close_worth_min", "tick", "freeze_level", "worth_min", "exchange", "price_steps",
)  # fmt: skip
_TYPES = ("text", "text", "smallint", *("numeric",) * 12, "text", "jsonb")
_UNNEST = ", ".join(f"%s::{kind}[]" for kind in _TYPES)
_CHANGED = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
# All accounts of a server share a book of hundreds of symbols, and each of them reads it. So a row
# is only written if it differs, or if it was not confirmed for an hour.
_STORE_INSTRUMENTS = f"""
INSERT INTO connections_instrument AS i (book, is_preferred, read_at, {", ".join(_COLUMNS)})
SELECT %s, false, clock_timestamp(), t.* FROM unnest({_UNNEST}) AS t ({", ".join(_COLUMNS)})
ON CONFLICT (book, symbol) DO UPDATE SET {_CHANGED}, read_at = excluded.read_at,
  hours = CASE WHEN i.exchange = excluded.exchange THEN i.hours END
WHERE i.read_at < excluded.read_at - interval '1 hour'
  OR ({", ".join(f"i.{name}" for name in _COLUMNS[1:])})
     IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _COLUMNS[1:])})
"""
_STORE_HOURS = """
UPDATE connections_instrument i SET hours = t.hours
FROM unnest(%s::text[], %s::jsonb[]) AS t (symbol, hours)
WHERE i.book = %s AND i.symbol = t.symbol AND i.hours IS DISTINCT FROM t.hours
"""
_MARK_BOOK_READ = """
INSERT INTO connections_instrumentbook (book, read_at) VALUES (%s, clock_timestamp())
ON CONFLICT (book) DO UPDATE SET read_at = excluded.read_at
"""
MAX_RIVALS = 4  # names of MAX_SYMBOL_LENGTH, so that they fit into the column
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

    Newer ones are added to the history, too.

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
            market_at(read_at), state.demo,
        )
        for connection_id, state, read_at in read
    ]  # fmt: skip
    return rows(_STORE_ACCOUNTS, columns(records, 11))[0].stored


@transaction.atomic
def store_instruments(book: str, instruments: Sequence[Instrument]) -> int:
    """Replace the content of a book by a broker's list of symbols; return how many it has.

    Of several symbols of one pair one is preferred; those that fit equally well are stored beside
    it (`symbols.preferred`). Symbols that are not readable as a pair, whose steps are not above
    zero, or that do not fit into the columns, are left out and cannot be traded. An empty list
    changes nothing, since no broker lists nothing.
    """
    tradable = tradable_instruments(with_live_sizes(book, instruments))
    if not tradable:
        return 0
    rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"instruments of {book}",))
    run(_MARK_BOOK_READ, (book,))
    chosen = symbols.preferred([symbols.Listed(i.symbol, pair) for i, pair in tradable])
    preferred_symbols = [choice.symbol for choice in chosen.values()]
    rivals = [_names_of(choice.rivals) for choice in chosen.values()]
    # First those that are no longer preferred: a pair has at most one preferred symbol at any time.
    run(
        "UPDATE connections_instrument SET is_preferred = false, rivals = ''"
        " WHERE book = %s AND is_preferred"
        " AND (pair, symbol) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        (book, list(chosen), preferred_symbols),
    )
    listed = [i.symbol for i, _ in tradable]
    run("DELETE FROM connections_instrument WHERE book = %s AND symbol <> ALL(%s)", (book, listed))
    run(
        _STORE_INSTRUMENTS,
        [book, *columns([_record(i, pair) for i, pair in tradable], len(_COLUMNS))],
    )
    stated = [(i.symbol, json.dumps(i.hours.stored())) for i, _ in tradable if i.hours]
    if stated:
        run(_STORE_HOURS, [*columns(stated, 2), book])
    run(
        "UPDATE connections_instrument i SET is_preferred = true, rivals = t.rivals"
        " FROM unnest(%s::text[], %s::text[]) AS t (symbol, rivals)"
        " WHERE i.book = %s AND i.symbol = t.symbol"
        " AND (NOT i.is_preferred OR i.rivals <> t.rivals)",
        (preferred_symbols, rivals, book),
    )
    return len(tradable)


def _names_of(rivals: Sequence[str]) -> str:
    """Return the first names of a list, as many as the column holds."""
    more = len(rivals) - MAX_RIVALS
    return ", ".join(rivals[:MAX_RIVALS]) + (f", {more} more" if more > 0 else "")


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
    symbol, _, digits, *amounts, _, _ = _record(instrument, pair)
    return (
        len(symbol) <= MAX_SYMBOL_LENGTH
        and len(pair) <= MAX_PAIR_LENGTH
        and storable(symbol) == symbol
        and abs(digits) <= MAX_DIGITS
        and all(map(is_storable_amount, amounts))
    )


def is_storable_amount(amount: Decimal) -> bool:
    """Return whether an amount's column can hold it."""
    return amount.is_finite() and abs(amount) < AMOUNT_LIMIT


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


def _record(
    instrument: Instrument, pair: str
) -> tuple[str, str, int, *tuple[Decimal, ...], str, str | None]:
    return (
        instrument.symbol, pair, instrument.digits, instrument.pip, instrument.quantity_min,
        instrument.quantity_step, instrument.quantity_max, instrument.contract_size,
        instrument.stops_level, instrument.margin_rate,
        instrument.close_min, instrument.close_worth_min, instrument.tick,
        instrument.freeze_level, instrument.worth_min,
        "" if instrument.hours else calendar_of(instrument.exchange),
        _stored_steps(instrument),
    )  # fmt: skip


def _stored_steps(instrument: Instrument) -> str | None:
    """Return the price steps as JSON, exact as texts; None if the tick counts at each price."""
    if len(instrument.price_steps) < 2:
        return None
    return json.dumps([[plain(low), plain(step)] for low, step in instrument.price_steps])
