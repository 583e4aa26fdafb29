"""The book's SQL for reading: accounts under lock, lots, orders and prices. Set-based."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from brokers.paper.book_state import Account, BookOrder, Exposure, Listed, Lot, Market
from brokers.paper.db_sessions import Session
from brokers.paper.pg_arrays import numbers, texts
from brokers.types import CloseCause, OrderType, PositionMode, Side, TimeInForce
from common.reason_codes import Code

EXCHANGE_LOCKS = 738_101  # first key of the advisory locks on symbols
SIDE = {side.value: side for side in Side}
ACCOUNT = (
    "id, number, currency, balance, leverage, position_mode, native_stops, "
    "commission_per_million, trading_allowed, reject_code, partial_fill_max, drop_every_nth, "
    "orders_taken, drops_levels"
)
LOT = (
    "id, position, account_id, connection_id, client_order_id, symbol, side, quantity, price, "
    "stop_loss, take_profit, opened_at"
)
ORDER = (
    "id, account_id, connection_id, client_order_id, symbol, side, order_type, time_in_force, "
    "quantity, limit_price, stop_price, stop_loss, take_profit, reduce_only, closes, time, "
    "filled_quantity, status, reason, detail, watch, expires_at, close_cause, entry"
)


def lock_symbols(session: Session, symbols: Iterable[str], *, exclusive: bool) -> None:
    """Lock the symbols until the transaction ends: exclusively for new prices, shared for orders.

    So a new working order and a price that reaches it cannot miss one another.
    """
    suffix = "" if exclusive else "_shared"
    session.execute(
        f"SELECT pg_advisory_xact_lock{suffix}(%s::int, key) FROM "
        "(SELECT DISTINCT hashtext(s) AS key FROM unnest(%s::text[]) s ORDER BY 1) keys",
        (EXCHANGE_LOCKS, texts(symbols)),
    )


def lock_accounts(
    session: Session, ids: Iterable[int], *, skip_locked: bool = False
) -> dict[int, Account]:
    """Lock accounts in the order of their ids and load them. skip_locked: only the free ones."""
    rows = session.execute(
        f"SELECT {ACCOUNT} FROM paper_account WHERE id = ANY(%s::bigint[]) ORDER BY id "
        f"FOR NO KEY UPDATE{' SKIP LOCKED' if skip_locked else ''}",
        (numbers(ids),),
    )
    return {row[0]: to_account(row) for row in rows}


def to_account(row: Sequence[Any]) -> Account:
    """Read a row of the columns ACCOUNT."""
    values = list(row)
    values[5] = PositionMode(values[5])
    return Account(*values)


def load_market(session: Session) -> Market:
    """Load every listed instrument with its current price."""
    rows = session.execute(
        "SELECT i.symbol, pair, digits, pip, quantity_min, quantity_step, quantity_max, "
        "contract_size, stops_level, margin_rate, day_ends, quote_max_age_seconds, "
        "coalesce(bid, 0), coalesce(ask, 0), q.time "
        "FROM paper_instrument i LEFT JOIN paper_quote q ON q.symbol = i.symbol"
    )
    return Market([Listed(*row) for row in rows])


def load_exposures(session: Session, accounts: Mapping[int, Account]) -> None:
    """Load the sums of what the accounts have open."""
    rows = session.execute(
        "SELECT account_id, symbol, side, sum(quantity), sum(quantity * price) "
        "FROM paper_position WHERE account_id = ANY(%s::bigint[]) AND quantity > 0 "
        "GROUP BY account_id, symbol, side",
        (numbers(accounts),),
    )
    for account_id, symbol, side, quantity, cost in rows:
        exposure = accounts[account_id].exposures.setdefault(symbol, Exposure())
        if side == "BUY":
            exposure.long, exposure.long_cost = quantity, cost
        else:
            exposure.short, exposure.short_cost = quantity, cost


def load_lots(
    session: Session, accounts: Mapping[int, Account], pairs: Iterable[tuple[int, str]]
) -> None:
    """Load the open lots of (account, symbol) pairs into their accounts, oldest first."""
    pairs_sorted = sorted(set(pairs))
    if not pairs_sorted:
        return
    rows = session.execute(
        f"SELECT {LOT} FROM paper_position p JOIN unnest(%s::bigint[], %s::text[]) "
        "r(requested_account, requested_symbol) ON p.account_id = requested_account "
        "AND p.symbol = requested_symbol WHERE p.quantity > 0 ORDER BY p.id",
        (numbers(pair[0] for pair in pairs_sorted), texts(pair[1] for pair in pairs_sorted)),
    )
    for row in rows:
        lot = to_lot(row)
        accounts[lot.account].lots.setdefault(lot.symbol, []).append(lot)


def load_ended_lots(
    session: Session, accounts: Mapping[int, Account], orders: Iterable[BookOrder]
) -> None:
    """Load the closed lots of partly filled working orders."""
    started = [order.id for order in orders if order.filled]
    if not started:
        return
    for row in session.execute(
        f"SELECT {LOT} FROM paper_position WHERE id = ANY(%s::bigint[]) AND quantity = 0",
        (numbers(started),),
    ):
        lot = to_lot(row)
        accounts[lot.account].lots.setdefault(lot.symbol, []).append(lot)


def to_lot(row: Sequence[Any]) -> Lot:
    """Read a row of the columns LOT."""
    values = list(row)
    values[6] = SIDE[values[6]]
    return Lot(*values)


def to_order(row: Sequence[Any]) -> BookOrder:
    """Read a row of the columns ORDER."""
    values = list(row)
    values[5], values[6] = SIDE[row[5]], OrderType(row[6])
    values[7] = TimeInForce(row[7])
    values[18] = Code[row[18]] if row[18] else None
    values[22] = CloseCause(row[22]) if row[22] else None
    return BookOrder(*values)


def load_orders(session: Session, where: str, params: Sequence[Any]) -> list[BookOrder]:
    """Load the journal's orders that match a SQL condition, oldest first."""
    rows = session.execute(
        f"SELECT {ORDER} FROM paper_order WHERE {where} ORDER BY id",
        params,
    )
    return [to_order(row) for row in rows]


def tickets(session: Session, expected: int) -> Iterator[int]:
    """Draw ids from the broker's one sequence, `expected` at once and more if needed."""
    while True:
        rows = session.execute(
            "SELECT nextval('paper_ticket') FROM generate_series(1, %s)", (max(expected, 1),)
        )
        yield from [row[0] for row in rows.fetchall()]
        expected = 32
