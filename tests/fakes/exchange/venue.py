"""An exchange's books: what it accepted, executed and holds. No HTTP here.

One lock guards them, since the server runs on its own thread and tests read them from theirs.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.fakes.exchange.model import (
    ONE,
    ZERO,
    Fault,
    Funding,
    Market,
    Order,
    Position,
    RejectedError,
    Trade,
)

D = Decimal
Level = tuple[str, Decimal, bool]
"""Of a conditional order: client order id, trigger, and whether the price must rise to it."""
__all__ = ["Fault", "Market", "Order", "Position", "RejectedError", "Trade", "Venue"]


@dataclass
class Venue:
    """One account at an exchange. fill_share: how much of an order finds liquidity;
    trades_per_fill: in how many trades. refuses_duplicates: a repeated client order id is refused
    while its order is 'open', or 'always'."""

    markets: dict[str, Market]
    prices: dict[str, Decimal]
    balances: dict[str, Decimal] = field(default_factory=dict)
    derivatives: bool = False
    hedged: bool = False
    refuses_duplicates: str = "open"
    delisted: set[str] = field(default_factory=set)  # markets that are no longer listed
    fee_rate: Decimal = ZERO
    fee_in_base: bool = False
    quiet_base_fees: set[str] = field(default_factory=set)  # ids of orders: taken from the base,
    # but stated in the quote
    fee_coin: tuple[str, Decimal] | None = None  # currency in which fees are paid, and its price
    fill_share: Decimal = ONE
    trades_per_fill: int = 1
    shortens_exits: str = ""  # to what is open: "amount" states it as ordered, "filled" as it was
    closed: bool = False
    book_is_empty: bool = False  # no bids or asks: no price, and nothing is executed
    can_trade: bool = True
    may_withdraw: bool = False  # whether the key may
    skew_ms: int = 0
    hidden_lookups: int = 0  # how many look-ups do not find an order yet
    truncates_reads: bool = False  # every read gets half of its answer
    edit_read: Callable[[Any], Any] | None = None  # changes the answer to each read
    fills_before_cancel: bool = False  # the order is filled before the next cancel
    journal: Path | None = None  # file for the client order id of each accepted order
    trades_lag: bool = False  # the list of executions lacks the newest one
    history_lags: bool = False  # Bybit's list of ended orders is still empty
    price_band: Decimal | None = None  # how far a limit price may be from the market, as a share
    max_conditional: int = 10  # conditional orders of one symbol
    takes_levels: tuple[str, ...] = ("STOP_LOSS", "TAKE_PROFIT")  # Binance spot: its symbols' types
    drops_levels: bool = False  # it accepts a conditional exit or its change, and ends them all
    reserves_for_levels: bool = True  # spot: conditional orders that wait reserve their coins
    hides_levels: bool = False  # conditional orders are not listed yet
    refuses_streams: bool = False  # by websocket the key is refused; by REST it is not
    stream_generation: int = 0  # of its listen key; `expire_listen_key` begins the next
    may_read_spot: bool = True  # Binance: whether the key of a futures account may
    earning: frozenset[str] = frozenset()  # Kraken: currencies that are in its rewards
    most_leverage: int = 100
    margin_modes: dict[str, str] = field(default_factory=dict)  # by symbol; others are cross
    leverages: dict[str, int] = field(default_factory=dict)  # by symbol; others have 10
    named_modes: dict[str, str] = field(default_factory=dict)  # OKX: an order's tdMode, by its id
    uid: str = "1001"  # the exchange's id of the account
    key: str = "key-1"
    secret: str = "c2VjcmV0LTE="  # base64, as Kraken requires
    password: str = "pass-1"
    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    fundings: list[Funding] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    writes: list[str] = field(default_factory=list)  # received orders and cancels
    request_lines: list[str] = field(default_factory=list)
    arrivals: list[tuple[float, str]] = field(default_factory=list)  # time.monotonic(), with body
    last_write: dict[str, str] = field(default_factory=dict)
    last_partial_answer: str = ""  # what was sent of a truncated answer
    lock: threading.RLock = field(default_factory=threading.RLock)

    # ---- for tests and the server -----------------------------------------------------------
    def accepted(self, cid: str) -> int:
        """Return how many orders with this client order id were ever accepted."""
        with self.lock:
            return sum(1 for order in self.orders if order.cid == cid)

    @property
    def listed(self) -> dict[str, Market]:
        return {name: one for name, one in self.markets.items() if name not in self.delisted}

    @property
    def listen_key(self) -> str:
        """The listen key or token of the account's websockets."""
        return sha256(f"{self.stream_generation} {self.key}".encode()).hexdigest()

    def expire_listen_key(self) -> None:
        """Let the listen key or token expire: what uses it ends."""
        with self.lock:
            self.stream_generation += 1

    def margin(self) -> Decimal:
        """Return the margin of open positions, at a leverage of ten."""
        with self.lock:
            return sum(
                (
                    abs(held.amount) * self.markets[name].contract_size * self.prices[name] / 10
                    for (name, _), held in self.positions.items()
                ),
                ZERO,
            )

    def margin_mode(self, symbol: str) -> str:
        """Return a symbol's margin mode, 'cross' or 'isolated'."""
        return self.margin_modes.get(symbol, "cross")

    def leverage(self, symbol: str) -> int:
        return self.leverages.get(symbol, 10)

    def set_margin_mode(self, symbol: str, mode: str) -> None:
        """Change a symbol's margin mode. Raises RejectedError while something of it is open."""
        with self.lock:
            if self.margin_mode(symbol) == mode:
                raise RejectedError("same_margin")
            if any(name == symbol and held.amount for (name, _), held in self.positions.items()):
                raise RejectedError("held")
            self.margin_modes[symbol] = mode

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Change a symbol's leverage. Raises RejectedError for more than it may have."""
        with self.lock:
            if leverage > self.most_leverage:
                raise RejectedError("leverage")
            self.leverages[symbol] = leverage

    def now(self) -> int:
        """Return the exchange's time in milliseconds since 1970."""
        return int(time.time() * 1000) + self.skew_ms

    def best_bid_ask(self, symbol: str) -> tuple[str, str]:
        """Return the best bid and ask; empty texts if the book is empty."""
        if self.book_is_empty:
            return "", ""
        price = self.prices[symbol]
        return str(price), str(price + self.markets[symbol].tick)

    def charge(self, symbol: str, amount: Decimal, *, ago_ms: int = 0) -> None:
        """Book funding of what is held of a symbol: below 0 it is charged."""
        with self.lock:
            held = sum((abs(p.amount) for (name, _), p in self.positions.items() if name == symbol),
                       ZERO)  # fmt: skip
            number = 7_000_000_000_000_000 + len(self.fundings)
            self.fundings.append(Funding(number, symbol, amount, held, self.now() - ago_ms))
            self.balances["USDT"] = self.balances.get("USDT", ZERO) + amount

    def find_fundings(self, start: int, end: int) -> list[Funding]:
        """Return the funding of a time, oldest first."""
        with self.lock:
            found = [one for one in self.fundings if start <= one.time_ms <= end]
            return sorted(found, key=lambda one: one.time_ms)

    def pop_fault(self, on: str) -> Fault | None:
        """Return the next fault, if it is for this kind of request, and remove it."""
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
        position_side: str = "BOTH",
        trigger: Decimal | None = None,
        rises: bool | None = None,
        expires_ms: int = 0,
        refuses_reached: bool = False,
    ) -> Order:
        """Accept an order and match it. Raises RejectedError.

        refuses_reached: a stop price that the market has reached is refused.
        """
        with self.lock:
            market = self._check(symbol, amount, price, cid, reduce_only)
            if price is None and amount > market.max_market:
                raise RejectedError("market_lot")
            order = Order(
                len(self.orders) + 1001, symbol, side, type, tif, amount, price, cid, reduce_only,
                position_side, self.now(), trigger=trigger, rises=rises, expires_ms=expires_ms,
            )  # fmt: skip
            self._check_conditions(order, market, refuses_reached=refuses_reached)
            self._check_money(order, market)
            if order.reduce_only and self.shortens_exits == "amount":
                order.amount = min(order.amount, self._reducible(order))
            self._accept(order)
            self.match(order, time_ms=order.time_ms)
            self._drop(order)
            return order

    def place_pair(self, symbol: str, side: str, amount: Decimal, *levels: Level) -> list[Order]:
        """Accept two conditional market orders that cancel each other. Raises RejectedError.

        They reserve the coins once, and the market must be between them.
        """
        with self.lock:
            found: list[Order] = []
            for cid, trigger, rises in levels:
                market = self._check(symbol, amount, None, cid, False)
                order = Order(
                    len(self.orders) + 1001 + len(found), symbol, side, "MARKET", "GTC", amount,
                    None, cid, False, "BOTH", self.now(), trigger=trigger, rises=rises,
                    pair=len(self.orders) + 1001,
                )  # fmt: skip
                self._check_conditions(order, market, refuses_reached=True, more=len(found))
                found.append(order)
            self._check_money(found[0], market)
            for order in found:
                self._accept(order)
            self._drop(found[0])
            return found

    def _accept(self, order: Order) -> None:
        self.orders.append(order)
        if self.journal is not None:
            with self.journal.open("a") as lines:
                lines.write(f"{order.cid}\n")

    def _end_other(self, order: Order, status: str) -> None:
        for other in self.orders:
            if order.pair and other.pair == order.pair and other is not order and other.is_open:
                other.status = status

    def locked(self, currency: str) -> Decimal:
        """Return what working spot orders have reserved of a currency; a pair reserves it once."""
        with self.lock:
            reserved: dict[int, Decimal] = {}
            for order in [] if self.derivatives else self.orders:
                if order.is_level and not self.reserves_for_levels:
                    continue
                market = self.markets[order.symbol]
                left = order.amount - order.filled
                if order.is_open and order.side == "SELL" and market.base == currency:
                    reserved[order.pair or order.number] = left
                if order.is_open and order.side == "BUY" and market.quote == currency:
                    price = order.price or self.prices[order.symbol]
                    reserved[order.number] = left * price
            return sum(reserved.values(), ZERO)

    def _drop(self, order: Order) -> None:
        if self.drops_levels and order.is_level:
            self.drop_levels()

    def drop_levels(self) -> None:
        """End the conditional exits that wait, as a risk control of the exchange would."""
        with self.lock:
            for order in self.orders:
                if order.is_level and order.is_untriggered:
                    order.status = "CANCELED"

    def _check(
        self, symbol: str, amount: Decimal, price: Decimal | None, cid: str, reduce_only: bool
    ) -> Market:
        if symbol not in self.listed:
            raise RejectedError("symbol")
        if self.closed:
            raise RejectedError("closed")
        if not self.can_trade:
            raise RejectedError("disabled")
        market = self.markets[symbol]
        if amount <= 0 or amount % market.step or (price is not None and price % market.tick):
            raise RejectedError("lot")
        market_price = self.prices[symbol]
        if price and self.price_band and abs(price - market_price) > self.price_band * market_price:
            raise RejectedError("band")
        cost = amount * market.contract_size * (price or self.prices[symbol])
        if cost < market.min_cost and not reduce_only:
            raise RejectedError("notional")
        same_id = [order for order in self.orders if order.cid == cid and cid]
        if any(order.is_open for order in same_id) or (
            same_id and self.refuses_duplicates == "always"
        ):
            raise RejectedError("duplicate")
        return market

    def _check_conditions(
        self, order: Order, market: Market, *, refuses_reached: bool, more: int = 0
    ) -> None:
        """more: conditional orders that come in the same request."""
        if order.trigger is not None:
            is_level = order.is_level and order.type == "MARKET"
            if (order.price is None and not is_level) or order.trigger % market.tick:
                raise RejectedError("trigger")
            waiting = [one for one in self.orders if one.is_untriggered]
            count = sum(one.symbol == order.symbol for one in waiting) + more
            if count >= self.max_conditional:
                raise RejectedError("conditional")
            if refuses_reached and order.reaches_trigger(self.prices[order.symbol]):
                raise RejectedError("trigger")
        if order.tif == "GTD" and order.expires_ms <= self.now():
            raise RejectedError("expiry")

    def expire(self) -> None:
        """End the orders whose expiry has passed."""
        with self.lock:
            for order in self.orders:
                if order.is_open and 0 < order.expires_ms <= self.now():
                    order.status = "EXPIRED"

    def _check_money(self, order: Order, market: Market) -> None:
        price = order.price or self.prices[order.symbol]
        if self.derivatives:
            if order.reduce_only or self.hedged:
                self._check_reduces(order)
            closes = order.reduce_only or (self.hedged and self._is_closing(order))
            if not closes and order.amount * market.contract_size * price / 100 > self.balances.get(
                market.quote, D(0)
            ):
                raise RejectedError("money")
            return
        needed, currency = order.amount, market.base
        if order.side == "BUY":
            needed, currency = order.amount * price, market.quote
        if needed > self.balances.get(currency, D(0)) - self.locked(currency):
            raise RejectedError("money")

    def _check_reduces(self, order: Order) -> None:
        opening = {"LONG": "BUY", "SHORT": "SELL"}.get(order.position_side)
        if self.hedged and opening is None:
            raise RejectedError("mode")
        if self.hedged and opening == order.side:
            return
        held = self.positions.get((order.symbol, order.position_side), Position()).amount
        against = held > 0 if order.side == "SELL" else held < 0
        if not (against if not self.hedged else held > 0):
            raise RejectedError("flat")

    def _reducible(self, order: Order) -> Decimal:
        """Return how much an order can take off its position."""
        held = self.positions.get((order.symbol, order.position_side), Position()).amount
        if self.hedged:
            return abs(held)
        return max(ZERO, held if order.side == "SELL" else -held)

    def match(self, order: Order, part: Decimal | None = None, time_ms: int = 0) -> None:
        """Execute what finds liquidity at the current price. time_ms: 0 for now; an order that
        fills as it is placed has the same time in every answer."""
        with self.lock:
            market, price = self.markets[order.symbol], self.prices[order.symbol]
            if order.trigger is not None and not order.is_triggered:
                order.is_triggered = order.reaches_trigger(price)
                if not order.is_triggered:
                    return
                self._end_other(order, "EXPIRED")
                if self._lacks_coins(order, market):
                    order.status = "EXPIRED"
                    return
            if order.price is not None:
                is_marketable = (
                    order.price >= price if order.side == "BUY" else order.price <= price
                )
                if not is_marketable:
                    order.status = "EXPIRED" if order.tif in ("IOC", "FOK") else order.status
                    return
            share = self.fill_share if part is None else part
            most = self._reducible(order) if order.reduce_only else None
            if self.book_is_empty:
                share = ZERO
            amount = order.amount * share // market.step * market.step
            amount = min(amount, order.amount - order.filled)
            if order.reduce_only or (self.hedged and self._is_closing(order)):
                amount = min(amount, self._reducible(order))
            if order.tif == "FOK" and amount < order.amount:
                amount = D(0)
            self._execute(order, market, amount, price, time_ms or self.now())
            stays_open = order.type == "LIMIT" and order.tif in ("GTC", "GTD")
            is_shortened = self.shortens_exits == "filled" and order.filled == most
            if order.filled == order.amount or is_shortened:
                order.status = "FILLED"
            elif not stays_open:
                order.status = "EXPIRED"
            elif order.filled:
                order.status = "PARTIALLY_FILLED"

    def _lacks_coins(self, order: Order, market: Market) -> bool:
        """Whether a level for which nothing was reserved finds too little when it triggers."""
        if self.derivatives or self.reserves_for_levels or not order.is_level:
            return False
        return order.amount > self.balances.get(market.base, D(0)) - self.locked(market.base)

    def execute(self, order: Order) -> None:
        """Execute all that is left of an open order, at its own price."""
        with self.lock:
            market = self.markets[order.symbol]
            price = order.price or self.prices[order.symbol]
            order.is_triggered = order.trigger is not None
            self._end_other(order, "EXPIRED")
            self._execute(order, market, order.amount - order.filled, price, self.now())
            order.status = "FILLED"

    def _execute(
        self, order: Order, market: Market, amount: Decimal, price: Decimal, time_ms: int
    ) -> None:
        left = amount
        for piece in range(self.trades_per_fill, 0, -1):
            part = left if piece == 1 else left / piece // market.step * market.step
            if part:
                self._trade(order, market, part, price, time_ms)
                left -= part

    def _trade(
        self, order: Order, market: Market, amount: Decimal, price: Decimal, time_ms: int
    ) -> None:
        order.filled += amount
        order.cost += amount * price
        cost = amount * market.contract_size * price
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
            held = self.positions.get((order.symbol, order.position_side), Position()).amount
            closed = self._is_closing(order) or (not self.hedged and held * sign < 0)
            realized = self._move(order, amount, price)
            self._add(market.quote, realized * market.contract_size)
            self._add(currency, -fee)
        else:
            self._add(market.base, sign * amount)
            self._add(market.quote, -sign * cost)
            base_fee = amount * self.fee_rate
            if order.cid in self.quiet_base_fees and self.balances[market.base] >= base_fee:
                self._add(market.base, -base_fee)
            else:
                self._add(currency, -fee)
        self.trades.append(
            Trade(
                len(self.trades) + 1, order, amount, price, fee, currency, realized, time_ms, closed
            )
        )

    def _add(self, currency: str, amount: Decimal) -> None:
        self.balances[currency] = self.balances.get(currency, D(0)) + amount

    def _is_closing(self, order: Order) -> bool:
        return (order.position_side, order.side) in (("LONG", "SELL"), ("SHORT", "BUY"))

    def _move(self, order: Order, amount: Decimal, price: Decimal) -> Decimal:
        """Change a position; return the realized profit for one base unit."""
        held = self.positions.setdefault((order.symbol, order.position_side), Position())
        if self.hedged:
            change = -amount if self._is_closing(order) else amount
            direction = 1 if order.position_side == "LONG" else -1
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
        """Cancel an open order. Raises RejectedError."""
        with self.lock:
            if order is not None and self.fills_before_cancel:
                self.fills_before_cancel = False
                self.execute(order)
            if order is None or not order.is_open:
                raise RejectedError("no_order")
            order.status = "CANCELED"
            self._end_other(order, "CANCELED")
            return order

    def amend(
        self,
        order: Order | None,
        amount: Decimal | None,
        price: Decimal | None,
        trigger: Decimal | None = None,
        *,
        refuses_reached: bool = False,
    ) -> Order:
        """Change an open order in place, and match it. Raises RejectedError."""
        with self.lock:
            if order is None or not order.is_open:
                raise RejectedError("no_order")
            amount, price = amount or order.amount, price or order.price
            market = self.markets[order.symbol]
            if amount <= order.filled or amount % market.step or (price or ZERO) % market.tick:
                raise RejectedError("lot")
            changed = replace(order, trigger=trigger or order.trigger)
            if refuses_reached and trigger and changed.reaches_trigger(self.prices[order.symbol]):
                raise RejectedError("trigger")
            order.amount, order.price, order.trigger = amount, price, changed.trigger
            self.match(order)
            self._drop(order)
            return order

    def find(self, symbol: str | None, cid: str = "", number: str = "") -> Order | None:
        """Return the latest order with this id; None if there is none or it is still hidden."""
        with self.lock:
            for order in reversed(self.orders):
                matches = order.cid == cid if cid else str(order.number) == number
                if matches and symbol in (None, order.symbol):
                    if self.hidden_lookups > 0:
                        self.hidden_lookups -= 1
                        return None
                    return order
            return None

    def find_trades(
        self, symbol: str | None = None, number: str = "", start: int = 0, end: int = 2**62
    ) -> list[Trade]:
        """Return the trades of a symbol, an order and a time, oldest first. start, end: ms."""
        with self.lock:
            return [
                trade
                for trade in (self.trades[:-1] if self.trades_lag else self.trades)
                if symbol in (None, trade.order.symbol)
                and number in ("", str(trade.order.number))
                and start <= trade.time_ms <= end
            ]
