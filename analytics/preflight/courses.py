"""The course of each signal's trade, for any account: when it was entered and left. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from analytics.models import FeedTrade
from analytics.preflight.prices import Basis, Market, PriceHistory
from analytics.records import computation as feed_records
from analytics.records.signal_result import Exit, TradeState, begin, follow, from_json
from prices.selectors import minute_of
from signals.models import Action, Signal

HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Course:
    """A trade from its publication on.

    market: bid and ask when it was published; None: no price of then is kept. entered_at: None if
    it never was. entry: the price at which a waiting entry was filled. stops: later stops with
    their times. basis: of its result; UNKNOWN: it has none.
    """

    market: Market | None
    entered_at: datetime | None
    entry: Decimal | None
    exits: tuple[Exit, ...]
    ended_at: datetime | None
    stops: tuple[tuple[datetime, Decimal], ...]
    basis: Basis


def course_of(
    signal: Signal,
    pair: str,
    followers: Sequence[Signal],
    history: PriceHistory,
    recorded: FeedTrade | None,
    until: datetime,
) -> Course:
    """Return the course of a published OPEN signal until a market time.

    pair: that the account trades for it. recorded: the trade as its feed's record has it. What the
    account's own source has kept comes first.
    """
    assert signal.published_at is not None
    stops = tuple(
        (one.published_at, one.sl)
        for one in followers
        if one.action == Action.MODIFY and one.sl is not None and one.published_at is not None
    )
    market = history.market(pair, signal.published_at) or _kept_market(signal, recorded)
    own = _followed(signal, pair, followers, history, until)
    if own is not None:
        return _from_state(market, own, stops, Basis.RECORDED)
    if recorded is not None and recorded.basis == FeedTrade.Basis.PRICES:
        return _from_state(market, from_json(recorded.progress), stops, Basis.FEED)
    if recorded is not None and recorded.state == FeedTrade.State.NOT_ENTERED:
        return Course(market, None, None, (), recorded.ended_at, stops, Basis.FEED)
    if recorded is not None and recorded.basis == FeedTrade.Basis.FILLS:
        return _from_fills(signal, market, recorded, stops, until)
    return Course(market, signal.published_at, None, (), None, stops, Basis.UNKNOWN)


def _kept_market(signal: Signal, recorded: FeedTrade | None) -> Market | None:
    bid, ask = feed_records.market_then(signal)
    if bid is not None and ask is not None:
        return Market(bid, ask, Basis.FEED)
    is_filled = recorded is not None and recorded.basis == FeedTrade.Basis.FILLS
    if is_filled and recorded is not None and recorded.entry_price is not None:
        return Market(recorded.entry_price, recorded.entry_price, Basis.FILLS)
    own = signal.open_price or signal.stop_price
    return Market(own, own, Basis.SIGNAL) if own is not None else None


def _followed(
    signal: Signal, pair: str, followers: Sequence[Signal], history: PriceHistory, until: datetime
) -> TradeState | None:
    """Return the trade by the prices of the account's source; None: they do not reach."""
    assert signal.published_at is not None
    market = history.market(pair, signal.published_at)
    if market is None or not feed_records.is_followable(signal):
        return None
    changes = []
    for change in feed_records.changes_of(signal, followers):
        then = history.market(pair, change.at)
        changes.append(replace(change, bid=then.bid, ask=then.ask) if then else change)
    state = begin(
        feed_records.new_trade(signal),
        bid=market.bid, ask=market.ask, is_immediate=feed_records.is_immediate(signal),
    )  # fmt: skip
    to = minute_of(until)
    bars = history.between(pair, minute_of(signal.published_at), to)
    state = follow(state, bars, [one for one in changes if one.at <= to], until=to)
    return None if state.is_lost else state


def _from_state(
    market: Market | None,
    state: TradeState,
    stops: tuple[tuple[datetime, Decimal], ...],
    basis: Basis,
) -> Course:
    return Course(market, state.entered_at, state.entry, state.exits, state.ended_at, stops, basis)


def _from_fills(
    signal: Signal,
    market: Market | None,
    recorded: FeedTrade,
    stops: tuple[tuple[datetime, Decimal], ...],
    until: datetime,
) -> Course:
    """Return the course by subscribers' median result: in at their median, out once."""
    entry, percent = recorded.entry_price, recorded.percent
    if entry is None or percent is None:
        return Course(market, signal.published_at, None, (), None, stops, Basis.UNKNOWN)
    sign = 1 if signal.direction == "BUY" else -1
    ended = recorded.ended_at or until
    out = Exit(ended, entry * (1 + sign * percent / HUNDRED), Decimal(1), "fills")
    return Course(market, signal.published_at, entry, (out,), ended, stops, Basis.FILLS)
