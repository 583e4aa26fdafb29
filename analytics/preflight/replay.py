"""Replay a feed's last signals on an account, by the rules of the claim. Pure.

Each signal is decided at its time with `evaluate.decide_entry`, the function that the claim calls:
with the account's row, the prices of then and the portfolio that the replay carries along. A trade
then follows its course (`courses.py`). Nothing is sent or stored here.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from analytics.preflight.limits import LossLimits
from analytics.preflight.outcome import Case, Outcome, not_replayed
from analytics.preflight.portfolio import Portfolio, Trade
from analytics.preflight.prices import Basis, Market, PriceHistory
from brokers.account_capabilities import Capabilities
from brokers.types import OrderType
from common.money import divide
from common.operational.document import OrderDefaults
from common.units import size_of
from connections.selectors import AppliedLimit
from execution.models import TriggerKind
from execution.submission.eligibility import find_instrument
from execution.submission.evaluate import decide_entry
from execution.submission.outcomes import Decision, Deferred, EvaluationContext, Intent
from execution.submission.rows import InstrumentRow, OrderRow, QuoteRow
from execution.submission.sizing import ZERO, Denial
from prices.selectors import pairs_between
from signals.symbols import slippage_unit

TICKS = 1500  # how often the equity is looked at
MINUTE = timedelta(minutes=1)
ORDER = {"stop": 0, "exit": 1, "tick": 2, "fill": 3, "signal": 4}  # at the same time


@dataclass(frozen=True, slots=True)
class Setting:
    """The account as it is now, and the prices of then.

    withheld: how many signals of the last day are left out, as they are for subscribers.
    """

    currency: str
    balance: Decimal
    leverage: Decimal
    capabilities: Capabilities
    instruments: Mapping[tuple[str, str], InstrumentRow]
    history: PriceHistory
    limits: Sequence[AppliedLimit]
    until: datetime
    market_entry_max_age_seconds: int = 60
    order_defaults: OrderDefaults = field(default_factory=OrderDefaults)
    withheld: int = 0


@dataclass(slots=True)
class Curve:
    """The equity over time, and its deepest fall from a peak: the one of the largest percent."""

    points: list[tuple[datetime, Decimal]] = field(default_factory=list)
    peak: Decimal = ZERO
    peak_at: datetime | None = None
    deepest: Decimal = ZERO
    deepest_percent: Decimal = ZERO
    deepest_from: datetime | None = None
    deepest_at: datetime | None = None
    most_risk_percent: Decimal = ZERO

    def add(self, at: datetime, equity: Decimal, risk: Decimal) -> None:
        """Count the equity of a moment. risk: what everything held may lose then."""
        self.points.append((at, equity))
        if self.peak_at is None or equity > self.peak:
            self.peak, self.peak_at = equity, at
        fall = self.peak - equity
        percent = fall * 100 / self.peak if self.peak > 0 else ZERO
        if (percent, fall) > (self.deepest_percent, self.deepest):
            self.deepest, self.deepest_percent = fall, percent
            self.deepest_from, self.deepest_at = self.peak_at, at
        if equity > 0:
            self.most_risk_percent = max(self.most_risk_percent, risk * 100 / equity)


class Replay:
    """One run over the signals; `run` yields how many are decided."""

    def __init__(self, cases: Sequence[Case], setting: Setting) -> None:
        """Prepare the run. cases: by their time."""
        self.setting = setting
        self.portfolio = Portfolio(
            setting.currency, setting.balance, setting.leverage, setting.history
        )
        self.limits, self.curve = LossLimits(setting.limits), Curve()
        self.outcomes = [Outcome(case) for case in cases]
        self._events: list[tuple[datetime, int, int, str, Any]] = []
        self._number = count()

    def run(self) -> Iterator[int]:
        """Replay all signals, in order of time together with what becomes of their trades."""
        for outcome in self.outcomes:
            assert outcome.case.signal.published_at is not None
            self._push(outcome.case.signal.published_at, "signal", outcome)
        self._push_ticks()
        if self._events:
            self.curve.add(self._events[0][0], self.setting.balance, ZERO)
        decided = 0
        while self._events:
            at, _, _, kind, what = heapq.heappop(self._events)
            if kind == "signal":
                self._decide_signal(what, at)
                decided += 1
                yield decided
            elif kind == "fill":
                self._fill(what, at)
            elif kind == "stop":
                trade, sl = what
                trade.sl = sl
            elif kind == "exit":
                trade, part = what
                self._exit(trade, part, at)
            self._observe(at)

    def equity(self, at: datetime) -> Decimal:
        """Return the account's equity at a moment."""
        return self.portfolio.balance + self.portfolio.unrealized(at)

    def _push(self, at: datetime, kind: str, what: Any) -> None:
        heapq.heappush(self._events, (at, ORDER[kind], next(self._number), kind, what))

    def _push_ticks(self) -> None:
        if not self._events:
            return
        since, until = self._events[0][0], self.setting.until
        firsts = [bars[0].minute for bars in self.setting.history.bars.values() if bars]
        since = max(since, min(firsts)) if firsts else until
        step = max(MINUTE, (until - since) / TICKS)
        at = since + step
        while at < until:
            self._push(at, "tick", None)
            at += step
        self._push(max(until, self._events[0][0]), "tick", None)

    def _observe(self, at: datetime) -> None:
        portfolio = self.portfolio
        equity = self.equity(at)
        self.curve.add(at, equity, portfolio.risk())
        if self.limits.observe(at, portfolio.balance, equity, portfolio.closed):
            for trade in list(portfolio.live):
                price = portfolio.mark(trade, at) if trade.is_filled else None
                if price is not None:
                    portfolio.leave(trade, price, trade.open, at)
                elif not trade.is_filled:
                    portfolio.end(trade, at)

    # ---- one signal ----------------------------------------------------------------------------
    def _decide_signal(self, outcome: Outcome, at: datetime) -> None:
        case = outcome.case
        if note := not_replayed(case):
            outcome.note = note
            return
        market = case.course.market
        assert market is not None  # else it was not replayed
        outcome.decision = self._decide(outcome, case.row, market, at)
        held = outcome.decision
        if isinstance(held, Deferred) and held.trigger is not None:
            outcome.waits = True
            if held.trigger.kind is TriggerKind.TRAILING:
                outcome.decision, outcome.note = None, "Trailing entries cannot be replayed."
            elif case.course.entered_at is None:
                outcome.decision, outcome.is_held = None, True
                outcome.note = "Your broker lacks its type: the engine holds it until its price."
            else:  # the engine decides it again when its trigger fires
                self._push(case.course.entered_at, "fill", outcome)
            return
        self._send(outcome, at)

    def _decide(self, outcome: Outcome, row: OrderRow, market: Market, at: datetime) -> Decision:
        """Decide an entry as the claim does, by the account that the replay carries along."""
        case, portfolio = outcome.case, self.portfolio
        equity = self.equity(at)
        row = row._replace(
            balance=portfolio.balance,
            equity=None if row.equity is None else equity,
            free_margin=equity - portfolio.margin_used(),
        )
        context = EvaluationContext(
            signals={case.signal.pk: case.published},
            instruments=self.setting.instruments,
            quotes={row.data_connection_id or 0: self._quotes(row, market, at)},
            exits={},
            now=at,
            market_entry_max_age_seconds=self.setting.market_entry_max_age_seconds,
            order_defaults=self.setting.order_defaults,
            recent={row.id: portfolio.recent(row, case.signal.feed_id, at)},
        )
        instrument = find_instrument(row, context)
        if instrument is not None and case.published.sl is not None:
            touch = market.ask if row.side == "BUY" else market.bid
            own = row.limit_price or row.stop_price or touch
            unit = outcome.unit = slippage_unit(row.pair)
            one = size_of(unit, price=own, pip=instrument.pip, tick=instrument.pip)
            outcome.stop_distance = divide(abs(own - case.published.sl), one)
        if code := context.order_defaults.refusal_of(case.published.order_type):
            return Denial(code)
        if denial := self.limits.denial(at):
            return denial
        exposure = portfolio.exposure(row)
        return decide_entry(row, context, exposure, self.setting.capabilities)

    def _quotes(self, row: OrderRow, market: Market, at: datetime) -> dict[str, QuoteRow]:
        """Return the quotes of then: of the entry's pair, and of what converts its currency."""
        quote = row.pair.rpartition("/")[2]
        pairs = pairs_between(quote, row.currency) if row.currency else ()
        found = {pair: self.setting.history.rate_market(pair, at) for pair in pairs}
        found[row.pair] = market
        source = row.data_connection_id or 0
        return {
            pair: QuoteRow(source, pair, one.bid, one.ask, at, 0)
            for pair, one in found.items()
            if one is not None
        }

    def _send(self, outcome: Outcome, at: datetime) -> None:
        """Add what was decided to the account, with what becomes of it."""
        intent, case = outcome.decision, outcome.case
        if not isinstance(intent, Intent):
            return
        course = case.course
        share = intent.whole_quantity / intent.quantity
        trade = Trade(
            case.row, at, intent.whole_quantity, intent.expected_price, intent.rate,
            (intent.margin or ZERO) * share, (intent.risk or ZERO) * share, case.published.sl,
        )  # fmt: skip
        is_waiting = intent.limit_price is not None or intent.stop_price is not None
        outcome.trade, outcome.waits = trade, outcome.waits or is_waiting
        self.portfolio.send(trade)
        if course.basis is Basis.UNKNOWN:
            outcome.note = "Its result is not known: no price after its entry is kept."
            self.portfolio.end(trade, at)
            return
        if course.entered_at is None:
            if course.ended_at is not None:
                self._push(max(course.ended_at, at), "exit", (trade, None))
            return
        if is_waiting and course.entered_at > at:
            self._push(course.entered_at, "fill", outcome)
        else:
            self._enter(outcome, at)

    def _fill(self, outcome: Outcome, at: datetime) -> None:
        """Fill a waiting order; one that the engine held is decided now, at its price."""
        if isinstance(outcome.decision, Intent):
            if outcome.trade is not None and not outcome.trade.is_over:
                self._enter(outcome, at)
            return
        held = outcome.decision
        assert isinstance(held, Deferred)
        assert held.trigger is not None
        own = outcome.case.row
        # Where no price shows whether it fired, it is sized at its own one.
        price = outcome.case.course.entry or own.stop_price or own.limit_price
        assert price is not None  # a trigger has one
        row = own._replace(order_type=held.trigger.sent_as.value, stop_price=None, retried_at=at)
        if held.trigger.sent_as is OrderType.MARKET:
            row = row._replace(limit_price=None)
        market = self.setting.history.market(row.pair, at)
        spread = market.ask - market.bid if market else ZERO
        is_buy = row.side == "BUY"
        fired = Market(
            price - spread if is_buy else price, price if is_buy else price + spread, Basis.RECORDED
        )
        outcome.decision = self._decide(outcome, row, fired, at)
        self._send(outcome, at)

    def _enter(self, outcome: Outcome, at: datetime) -> None:
        """Open the position, and plan how its course leaves it."""
        trade, course = outcome.trade, outcome.case.course
        assert trade is not None
        is_waiting = trade.sent_at < at and course.entry is not None
        self.portfolio.fill(trade, course.entry if is_waiting and course.entry else trade.price)
        for moved_at, sl in course.stops:
            self._push(max(moved_at, at), "stop", (trade, sl))
        for one in course.exits:
            self._push(max(one.at, at), "exit", (trade, one))

    def _exit(self, trade: Trade, part: Any, at: datetime) -> None:
        if trade.is_over:
            return
        if part is None:
            self.portfolio.end(trade, at)
        else:
            self.portfolio.leave(trade, part.price, part.fraction, at)
