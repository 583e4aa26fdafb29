"""The account that a replay carries along: what it holds, has sent and is worth. Pure.

Every sum is counted as the claim counts it from the tables (`claim_sql.EXPOSURE`, `recent.RECENT`),
so that the same entry gets the same decision from both.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from analytics.preflight.prices import PriceHistory
from brokers.types import PositionMode
from connections.trading_day import trading_day
from execution.submission.outcomes import SIDES
from execution.submission.recent import ENTRIES_SEARCHED, LAST_ENTRIES, NewEntry, RecentRow
from execution.submission.risk import PortfolioExposure
from execution.submission.rows import OrderRow

ZERO, ONE = Decimal(0), Decimal(1)
SECOND_MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class Trade:
    """An entry that the replay sent. Prices: quote currency; margin, risk, rates: account's.

    open: the part that is held. is_filled: until then it is an order at the broker. rate: account
    currency for one of quote currency when it was sent.
    """

    row: OrderRow
    sent_at: datetime
    quantity: Decimal
    price: Decimal
    rate: Decimal
    margin: Decimal
    risk: Decimal
    sl: Decimal | None
    is_filled: bool = False
    is_over: bool = False
    open: Decimal = ZERO
    result: Decimal = ZERO
    ended_at: datetime | None = None

    @property
    def sign(self) -> int:
        """1 of a buy, -1 of a sell."""
        return SIDES[self.row.side].sign

    @property
    def notional(self) -> Decimal:
        """Of what is held or ordered, account currency."""
        part = self.open if self.is_filled else ONE
        return self.quantity * part * self.price * self.rate

    def risk_now(self, leverage: Decimal) -> Decimal:
        """Return what it may lose, as `claim_sql.EXPOSURE` counts it."""
        if not self.is_filled:
            return self.risk
        if self.sl is None:
            return self.notional / max(leverage, ONE)
        distance = max((self.price - self.sl) * self.sign, ZERO)
        return distance * self.quantity * self.open * self.rate


@dataclass(slots=True)
class Portfolio:
    """The account's state at a moment of the replay. Account currency.

    closed: (time, net result) of each trade that ended.
    """

    currency: str
    balance: Decimal
    leverage: Decimal
    history: PriceHistory
    trades: list[Trade] = field(default_factory=list)
    live: list[Trade] = field(default_factory=list)
    closed: list[tuple[datetime, Decimal]] = field(default_factory=list)

    def exposure(self, row: OrderRow) -> PortfolioExposure:
        """Return the exposure that the entry `row` is checked with."""
        found = PortfolioExposure()
        for one in self.live:
            found.positions += 1
            found.orders += not one.is_filled
            found.notional += one.notional
            found.margin_in_flight += ZERO if one.is_filled else one.margin
            found.risk += one.risk_now(self.leverage)
            if row.terms.limits.max_symbol_exposure_percent is not None:
                of_pair = found.notional_by_pair.get(one.row.pair, ZERO)
                found.notional_by_pair[one.row.pair] = of_pair + one.notional
            if row.position_mode == PositionMode.NETTING:
                found.sides.add((one.row.pair, one.row.side))
        return found

    def recent(self, row: OrderRow, feed_id: int, at: datetime) -> RecentRow:
        """Return what was sent and is held before the entry `row`."""
        day = trading_day(row.terms, at).start
        base, _, quote = row.pair.rpartition("/")
        counted = [(one, self._counted(one)) for one in self.trades if one.sent_at >= day]
        nets = {base: ZERO, quote: ZERO}
        for one in self.live:
            entry = NewEntry(one.row.pair, one.sign, one.quantity, one.notional, feed_id)
            for currency, value in entry.parts:
                if currency in nets:
                    nets[currency] += value
        alike = [
            one for one in self.trades
            if (one.row.pair, one.row.side) == (row.pair, row.side)
            and (not one.is_over or one.is_filled)
        ]  # fmt: skip
        last = [
            one.quantity for one in reversed(self.trades[-ENTRIES_SEARCHED:])
            if one.row.pair == row.pair and one.is_filled
        ]  # fmt: skip
        age = Decimal(str((at - alike[-1].sent_at).total_seconds())) if alike else None
        return RecentRow(
            id=row.id,
            sent_in_minute=sum(one.sent_at > at - SECOND_MINUTE for one in self.trades),
            day_notional=sum((part * one.price * one.rate for one, part in counted), ZERO),
            day_volume=sum((part for one, part in counted if one.row.pair == row.pair), ZERO),
            net_base=nets[base],
            net_quote=nets[quote],
            last_quantities=last[:LAST_ENTRIES],
            same_trade_age=age,
        )

    def _counted(self, trade: Trade) -> Decimal:
        return trade.quantity if trade.is_filled or not trade.is_over else ZERO

    def unrealized(self, at: datetime) -> Decimal:
        """Return what is held is worth above its entry, at the prices of a moment."""
        total = ZERO
        for one in self.live:
            if one.is_filled and (price := self.mark(one, at)) is not None:
                total += self._gain(one, price, one.open, at)
        return total

    def margin_used(self) -> Decimal:
        """Return the margin of what is held."""
        return sum((one.margin * one.open for one in self.live if one.is_filled), ZERO)

    def risk(self) -> Decimal:
        """Return what everything that is held and ordered may lose together."""
        return sum((one.risk_now(self.leverage) for one in self.live), ZERO)

    def mark(self, trade: Trade, at: datetime) -> Decimal | None:
        """Return the price at which a trade could be left; None: no price of then is kept."""
        market = self.history.last(trade.row.pair, at)
        if market is None:
            return None
        return market.bid if trade.sign > 0 else market.ask

    def send(self, trade: Trade) -> None:
        """Add an order."""
        self.trades.append(trade)
        self.live.append(trade)

    def fill(self, trade: Trade, price: Decimal) -> None:
        """Open a trade's position."""
        trade.is_filled, trade.open, trade.price = True, ONE, price

    def leave(self, trade: Trade, price: Decimal, part: Decimal, at: datetime) -> None:
        """Close a part of a position. part: of the whole."""
        part = min(part, trade.open)
        gain = self._gain(trade, price, part, at)
        trade.open -= part
        trade.result += gain
        self.balance += gain
        if trade.open <= 0:
            self.end(trade, at)
            self.closed.append((at, trade.result))

    def end(self, trade: Trade, at: datetime) -> None:
        """Forget an order that was never filled, or a position that is closed."""
        trade.is_over, trade.ended_at = True, at
        self.live.remove(trade)

    def _gain(self, trade: Trade, price: Decimal, part: Decimal, at: datetime) -> Decimal:
        moved = (price - trade.price) * trade.sign * trade.quantity * part
        return moved * trade.rate
