"""Reads of the paper broker: accounts, positions, instruments, events."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from brokers.base import ReadFailed
from brokers.paper import order_history, queries
from brokers.paper.book_state import Account, Lot
from brokers.paper.db_sessions import Session, sessions
from brokers.paper.margin import equity_and_margin, to_cents
from brokers.paper.pg_arrays import numbers, texts
from brokers.paper.reports import from_json
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    HeldLevels,
    Instrument,
    OrderReport,
    PositionMode,
    Quote,
)
from common.clocks import market_now
from common.money import divide
from common.reason_codes import Code


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """Access to one account: its password, network delays and faults."""

    account_id: int
    password_hash: str
    latency_ms: int
    reply_delay_ms: int
    unreachable: bool
    silent_before: bool
    silent_after: bool

    def admits(self, password: str) -> bool:
        """Whether the password is right; an account without a password accepts any."""
        given = hash_password(password)
        return not self.password_hash or hmac.compare_digest(given, self.password_hash)


def hash_password(password: str) -> str:
    """Hash a paper account's password. Fast on purpose: it guards play money, on every order."""
    return hashlib.sha256(b"fillcast paper " + password.encode()).hexdigest()


def account_access(accounts: Iterable[str]) -> dict[str, AccountAccess]:
    """Return access data of accounts, by number, without unknown accounts."""
    with sessions.transaction() as session:
        rows = session.execute(
            "SELECT number, id, password_hash, latency_ms, reply_delay_ms, unreachable, "
            "silent_before, silent_after FROM paper_account WHERE number = ANY(%s::text[])",
            (texts(accounts),),
        )
        return {row[0]: AccountAccess(*row[1:]) for row in rows}


def account_state(account_id: int) -> AccountState:
    """Compute an account's state from the broker's own books, at current prices."""
    with sessions.transaction() as session:
        account = load_account(session, account_id)
        queries.load_exposures(session, {account_id: account})
        equity, used = equity_and_margin(account, queries.load_market(session))
    equity, used = to_cents(equity), to_cents(used)
    return AccountState(
        account=account.number,
        currency=account.currency,
        balance=account.balance,
        equity=equity,
        margin_used=used,
        free_margin=equity - used,
        leverage=account.leverage,
        position_mode=account.mode,
        time=market_now(),
        trading_allowed=account.trading_allowed,
        demo=True,
    )


def load_account(session: Session, account_id: int) -> Account:
    """Load an account without its lock."""
    row = session.execute(
        f"SELECT {queries.ACCOUNT} FROM paper_account WHERE id = %s", (account_id,)
    ).fetchone()
    assert row is not None  # accounts are never deleted
    return queries.to_account(row)


def positions(account_id: int) -> list[BrokerPosition]:
    """Return the open positions: one per entry if hedging, one per symbol if netting."""
    with sessions.transaction() as session:
        mode = load_account(session, account_id).mode
        rows = session.execute(
            f"SELECT {queries.LOT} FROM paper_position WHERE account_id = %s AND quantity > 0 "
            "ORDER BY id",
            (account_id,),
        )
        lots = [queries.to_lot(row) for row in rows]
    if mode is PositionMode.HEDGING:
        return [_position([lot]) for lot in lots]
    groups: dict[int, list[Lot]] = {}
    for lot in lots:
        groups.setdefault(lot.position, []).append(lot)
    return [_position(group) for group in groups.values()]


def _position(lots: Sequence[Lot]) -> BrokerPosition:
    first = lots[0]
    quantity = sum((lot.quantity for lot in lots), Decimal(0))
    price = first.price
    if len(lots) > 1:
        price = divide(sum((lot.quantity * lot.price for lot in lots), Decimal(0)), quantity)
    return BrokerPosition(
        broker_position_id=str(first.position),
        symbol=first.symbol,
        side=first.side,
        quantity=quantity,
        entry_price=price,
        levels=HeldLevels(first.stop_loss, first.take_profit),
        client_order_id=first.client_order_id,
        opened_at=first.opened_at,
    )


def open_orders(account_id: int) -> list[BrokerOrder]:
    """Return the working orders."""
    with sessions.transaction() as session:
        waiting = queries.load_orders(
            session, "account_id = %s AND status = 'WORKING'", (account_id,)
        )
    return [
        BrokerOrder(
            broker_order_id=str(order.id),
            symbol=order.symbol,
            side=order.side,
            order_type=order.order_type,
            quantity=order.quantity,
            filled=order.filled,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            stop_loss=order.stop_loss,
            take_profit=order.take_profit,
            client_order_id=order.client_order_id,
            broker_position_id=str(order.closes or ""),
            placed_at=order.time,
        )
        for order in waiting
    ]


def fills_since(account_id: int, connection_id: str, since: datetime) -> list[OrderReport]:
    """Return each order that was executed at or after a market time, with all its executions.

    connection_id is set in all reports, also those of the owner's own trades.
    """
    with sessions.transaction() as session:
        currency = load_account(session, account_id).currency
        reports = order_history.executed_since(session, account_id, since, currency)
    return [replace(report, connection_id=connection_id) for report in reports]


def instruments() -> list[Instrument]:
    with sessions.transaction() as session:
        market = queries.load_market(session)
    return [
        Instrument(
            symbol=one.symbol,
            pair=one.pair,
            digits=one.digits,
            pip=one.pip,
            quantity_min=one.quantity_min,
            quantity_step=one.quantity_step,
            quantity_max=one.quantity_max,
            contract_size=one.contract_size,
            stops_level=one.stops_level,
            margin_rate=one.margin_rate,
        )
        for one in market.by_symbol.values()
    ]


def quote(symbol: str) -> Quote:
    """Return the current price. Raises ReadFailed UNKNOWN_SYMBOL_AT_BROKER or MARKET_CLOSED."""
    with sessions.transaction() as session:
        row = session.execute(
            "SELECT pair, bid, ask, q.time FROM paper_instrument i "
            "LEFT JOIN paper_quote q ON q.symbol = i.symbol WHERE i.symbol = %s",
            (symbol,),
        ).fetchone()
    if row is None:
        raise ReadFailed(Code.UNKNOWN_SYMBOL_AT_BROKER, symbol[:60])
    if row[3] is None:
        raise ReadFailed(Code.MARKET_CLOSED, f"{symbol} was never quoted")
    return Quote(*row)


def find_order(account_id: int, client_order_id: str) -> list[OrderReport] | None:
    """Return all reports of an order; None: it never reached this account."""
    with sessions.transaction() as session:
        currency = load_account(session, account_id).currency
        return order_history.find(session, account_id, client_order_id, currency)


def events(limit: int, after: str = "") -> list[OrderReport]:
    """Return unacknowledged events, oldest first. after: only those after this id."""
    with sessions.transaction() as session:
        rows = session.execute(
            "SELECT id, report FROM paper_event WHERE acknowledged_at IS NULL AND id > %s "
            "ORDER BY id LIMIT %s",
            (int(after or 0), limit),
        )
        return [from_json(report, str(event_id)) for event_id, report in rows]


def acknowledge(event_ids: Iterable[str]) -> None:
    """Mark events as acknowledged; they are not returned again."""
    with sessions.transaction() as session:
        session.execute(
            "UPDATE paper_event SET acknowledged_at = clock_timestamp() "
            "WHERE id = ANY(%s::bigint[]) AND acknowledged_at IS NULL",
            (numbers(int(event_id) for event_id in event_ids),),
        )


def last_prices() -> dict[str, datetime | None]:
    """Return when each symbol was last quoted, by the market clock."""
    with sessions.transaction() as session:
        return {
            one.symbol: one.quoted_at for one in queries.load_market(session).by_symbol.values()
        }


def keeps_stops(account_id: int) -> bool:
    """Whether the account keeps stop loss and take profit at the broker."""
    with sessions.transaction() as session:
        return load_account(session, account_id).native_stops
