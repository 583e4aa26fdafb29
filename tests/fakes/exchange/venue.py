"""An exchange's books: what it accepted, executed and holds. No HTTP here.

One lock, since the server runs on a thread of its own and tests look in from theirs.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tests.fakes.exchange.model import (
    ONE,
    ZERO,
    Fault,
    Market,
    Order,
    Position,
    RejectedError,
    Trade,
)

D = Decimal
__all__ = ["Fault", "Market", "Order", "Position", "RejectedError", "Trade", "Venue"]


@dataclass
class Venue:
    """unique: whether a client order id is refused beside an 'open' order with it or 'always'.
    fill: how much of an order finds liquidity; pieces: in how many trades."""

    markets: dict[str, Market]
    prices: dict[str, Decimal]
    balances: dict[str, Decimal] = field(default_factory=dict)
    derivatives: bool = False
    hedged: bool = False
    unique: str = "open"
    fee_rate: Decimal = ZERO
    fee_in_base: bool = False
    fee_coin: tuple[str, Decimal] | None = None  # fees are paid in it, at this price of it
    fill: Decimal = ONE
    pieces: int = 1
    closed: bool = False
    book_gone: bool = False  # nobody bids or asks: no price, and nothing is executed
    can_trade: bool = True
    may_withdraw: bool = False  # what the key may do besides
    skew_ms: int = 0
    lag: int = 0  # how many look-ups still miss an order
    reads_torn: bool = False  # every read is answered by half
    overtaken: bool = False  # the next cancel arrives after a fill
    journal: Path | None = None  # where each accepted order's client order id is written, at once
    history_late: bool = False  # Bybit's list of ended orders has nothing yet
    may_read_spot: bool = True  # Binance: whether a futures account's key may
    uid: str = "1001"  # what the exchange calls the account
    key: str = "key-1"
    secret: str = "c2VjcmV0LTE="  # base64, which Kraken wants
    password: str = "pass-1"
    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    arrived: list[str] = field(default_factory=list)  # bytes of writes that reached us
    seen: list[str] = field(default_factory=list)  # every request line
    last_write: dict[str, str] = field(default_factory=dict)
    last_half: str = ""  # of an order's or a cancel's answer: what of it left
    lock: threading.RLock = field(default_factory=threading.RLock)

    # ---- what tests ask -------------------------------------------------------------------
    def accepted(self, cid: str) -> int:
        """How many orders with this client order id were ever accepted: the journal."""
        with self.lock:
            return sum(1 for order in self.orders if order.cid == cid)

    def margin(self) -> Decimal:
        """What open positions bind, at ten to one."""
        with self.lock:
            return sum(
                (
                    abs(held.amount) * self.markets[name].size * self.prices[name] / 10
                    for (name, _), held in self.positions.items()
                ),
                ZERO,
            )

    def now(self) -> int:
        return int(time.time() * 1000) + self.skew_ms

    def top(self, symbol: str) -> tuple[str, str]:
        """The best bid and ask; empty texts where the book is gone."""
        if self.book_gone:
            return "", ""
        price = self.prices[symbol]
        return str(price), str(price + self.markets[symbol].tick)

    def take_fault(self, on: str) -> Fault | None:
        with self.lock:
            if self.faults and self.faults[0].on == on:
                return self.faults.popleft()
            return None

    # ---- orders ---------------------------------------------------------------------------
    def place(
        self,
        symbol: str,
        side: str,
        type: str,
        amount: Decimal,
        price: Decimal | None = None,
        *,
        tif: str = "GTC",
        cid: str = "",
        reduce_only: bool = False,
        side_of: str = "BOTH",
    ) -> Order:
        with self.lock:
            market = self._check(symbol, amount, price, cid, reduce_only)
            order = Order(
                len(self.orders) + 1001, symbol, side, type, tif, amount, price, cid, reduce_only,
                side_of, self.now(),
            )  # fmt: skip
            self._check_money(order, market)
            self.orders.append(order)
            if self.journal is not None:
                with self.journal.open("a") as lines:
                    lines.write(f"{cid}\n")
            self.match(order, at=order.at)
            return order

    def _check(
        self, symbol: str, amount: Decimal, price: Decimal | None, cid: str, reduce_only: bool
    ) -> Market:
        if symbol not in self.markets:
            raise RejectedError("symbol")
        if self.closed:
            raise RejectedError("closed")
        if not self.can_trade:
            raise RejectedError("disabled")
        market = self.markets[symbol]
        if amount <= 0 or amount % market.step or (price is not None and price % market.tick):
            raise RejectedError("lot")
        cost = amount * market.size * (price or self.prices[symbol])
        if cost < market.least_cost and not reduce_only:
            raise RejectedError("notional")
        mine = [one for one in self.orders if one.cid == cid and cid]
        if any(one.is_open for one in mine) or (mine and self.unique == "always"):
            raise RejectedError("duplicate")
        return market

    def _check_money(self, order: Order, market: Market) -> None:
        price = order.price or self.prices[order.symbol]
        if self.derivatives:
            if order.reduce_only or self.hedged:
                self._check_reduces(order)
            closes = order.reduce_only or (self.hedged and self._is_closing(order))
            if not closes and order.amount * market.size * price / 100 > self.balances.get(
                market.quote, D(0)
            ):
                raise RejectedError("money")
            return
        need, currency = order.amount, market.base
        if order.side == "BUY":
            need, currency = order.amount * price, market.quote
        if need > self.balances.get(currency, D(0)):
            raise RejectedError("money")

    def _check_reduces(self, order: Order) -> None:
        opening = {"LONG": "BUY", "SHORT": "SELL"}.get(order.side_of)
        if self.hedged and opening is None:
            raise RejectedError("mode")
        if self.hedged and opening == order.side:
            return
        held = self.positions.get((order.symbol, order.side_of), Position()).amount
        against = held > 0 if order.side == "SELL" else held < 0
        if not (against if not self.hedged else held > 0):
            raise RejectedError("flat")

    def match(self, order: Order, part: Decimal | None = None, at: int = 0) -> None:
        """Execute what finds liquidity at the present price. at: now where it is not said; what
        fills as it is placed has one time in every answer."""
        with self.lock:
            market, price = self.markets[order.symbol], self.prices[order.symbol]
            if order.price is not None:
                is_good = order.price >= price if order.side == "BUY" else order.price <= price
                if not is_good:
                    order.status = "EXPIRED" if order.tif in ("IOC", "FOK") else order.status
                    return
            share = self.fill if part is None else part
            if self.book_gone:
                share = ZERO
            amount = order.amount * share // market.step * market.step
            amount = min(amount, order.amount - order.filled)
            if order.reduce_only or (self.hedged and self._is_closing(order)):
                held = self.positions.get((order.symbol, order.side_of), Position()).amount
                amount = min(amount, abs(held))
            if order.tif == "FOK" and amount < order.amount:
                amount = D(0)
            self._execute(order, market, amount, price, at or self.now())
            rests = order.type == "LIMIT" and order.tif == "GTC"
            if order.filled == order.amount:
                order.status = "FILLED"
            elif not rests:
                order.status = "EXPIRED"
            elif order.filled:
                order.status = "PARTIALLY_FILLED"

    def execute(self, order: Order) -> None:
        """Somebody takes the whole of an order that rests, at its own price."""
        with self.lock:
            market = self.markets[order.symbol]
            price = order.price or self.prices[order.symbol]
            self._execute(order, market, order.amount - order.filled, price, self.now())
            order.status = "FILLED"

    def _execute(
        self, order: Order, market: Market, amount: Decimal, price: Decimal, at: int
    ) -> None:
        left = amount
        for piece in range(self.pieces, 0, -1):
            part = left if piece == 1 else left / piece // market.step * market.step
            if part:
                self._trade(order, market, part, price, at)
                left -= part

    def _trade(
        self, order: Order, market: Market, amount: Decimal, price: Decimal, at: int
    ) -> None:
        order.filled += amount
        order.cost += amount * price
        cost = amount * market.size * price
        fee, currency = cost * self.fee_rate, market.quote
        if self.fee_in_base and order.side == "BUY":
            fee, currency = amount * self.fee_rate, market.base
        if self.fee_coin:
            currency, price_of_coin = self.fee_coin
            fee = cost * self.fee_rate / price_of_coin
        realized = D(0)
        sign = 1 if order.side == "BUY" else -1
        closed = False
        if self.derivatives:
            held = self.positions.get((order.symbol, order.side_of), Position()).amount
            closed = self._is_closing(order) or (not self.hedged and held * sign < 0)
            realized = self._move(order, amount, price)
            self._add(market.quote, realized * market.size)
            self._add(currency, -fee)
        else:
            self._add(market.base, sign * amount)
            self._add(market.quote, -sign * cost)
            self._add(currency, -fee)
        self.trades.append(
            Trade(len(self.trades) + 1, order, amount, price, fee, currency, realized, at, closed)
        )

    def _add(self, currency: str, amount: Decimal) -> None:
        self.balances[currency] = self.balances.get(currency, D(0)) + amount

    def _is_closing(self, order: Order) -> bool:
        return (order.side_of, order.side) in (("LONG", "SELL"), ("SHORT", "BUY"))

    def _move(self, order: Order, amount: Decimal, price: Decimal) -> Decimal:
        """Change a position; returns what was realised for one unit of size."""
        held = self.positions.setdefault((order.symbol, order.side_of), Position())
        if self.hedged:
            change = -amount if self._is_closing(order) else amount
            direction = 1 if order.side_of == "LONG" else -1
        else:
            change = amount if order.side == "BUY" else -amount
            direction = 1 if held.amount > 0 else -1
        if held.amount and (held.amount > 0) != (change > 0):
            closed = min(abs(held.amount), abs(change))
            held.amount += change
            return (price - held.entry) * closed * direction
        total = abs(held.amount) + abs(change)
        held.entry = (held.entry * abs(held.amount) + price * abs(change)) / total
        held.amount += change
        return D(0)

    def cancel(self, order: Order | None) -> Order:
        with self.lock:
            if order is not None and self.overtaken:
                self.overtaken = False
                self.execute(order)
            if order is None or not order.is_open:
                raise RejectedError("no_order")
            order.status = "CANCELED"
            return order

    def find(self, symbol: str | None, cid: str = "", number: str = "") -> Order | None:
        """The latest order with an id."""
        with self.lock:
            for order in reversed(self.orders):
                named = order.cid == cid if cid else str(order.number) == number
                if named and symbol in (None, order.symbol):
                    if self.lag > 0:
                        self.lag -= 1
                        return None
                    return order
            return None

    def trades_of(
        self, symbol: str | None = None, number: str = "", start: int = 0, end: int = 2**62
    ) -> list[Trade]:
        with self.lock:
            return [
                trade
                for trade in self.trades
                if symbol in (None, trade.order.symbol)
                and number in ("", str(trade.order.number))
                and start <= trade.at <= end
            ]
