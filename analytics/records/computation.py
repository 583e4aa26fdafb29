"""Compute the records of feeds: follow their trades, then add them up. An hourly job does it.

A trade is followed from where it was left, so a run reads only the prices since the last one. Each
feed is one transaction: a run that is killed is repeated from there, with the same result.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from analytics.models import FeedRecord, FeedTrade
from analytics.records import figures as record_figures
from analytics.records.figures import FEWEST
from analytics.records.selectors import in_order, in_order_then
from analytics.records.signal_result import (
    Change,
    MinutePrices,
    TradeState,
    begin,
    exit_price,
    follow,
    from_json,
    results,
    to_json,
)
from common.clocks import market_now
from common.db.sql import run
from connections.selectors import follower_count
from execution.record_fills import RealFills, real_fills
from prices.bars import KEPT
from prices.selectors import minute_bars, minute_of
from signals.checks.late_publication import QUOTE_AGE
from signals.models import Action, Direction, Feed, OrderType, RecordLink, Signal, TimeInForce
from signals.records.selectors import WITHHELD

BATCH = 500
COMMITS_LATE = timedelta(minutes=1)  # what is published at a time can be read so much later
FILLS_MAY_COME = timedelta(days=2)  # exits of subscribers, and corrections of their brokers
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_COMES_BACK = (OrderType.LIMIT, OrderType.IF_TOUCHED)


def compute_records() -> int:
    """Bring the records of all feeds up to date; return how many feeds were computed."""
    published = Exists(Signal.objects.published().filter(feed=OuterRef("pk"), action=Action.OPEN))
    feeds = list(Feed.objects.filter(published).order_by("pk"))
    for feed in feeds:
        compute_feed(feed)
    return len(feeds)


def compute_feed(feed: Feed) -> FeedRecord:
    """Follow a feed's trades until now, and store its figures. Needs all tenants' rows."""
    with transaction.atomic():
        run("SELECT pg_advisory_xact_lock(hashtext('analytics.feed_record'), %s)", (feed.pk,))
        until = market_now()
        for batch in _batches(_unfinished(feed)):
            _follow_all(feed, batch, until)
        figures = record_figures.figures_of(in_order(feed.pk))
        delayed = record_figures.figures_of(in_order_then(feed.pk, until - WITHHELD))
        record, _ = FeedRecord.objects.update_or_create(
            feed=feed,
            defaults={
                "until": until,
                "followers": follower_count(feed.pk, owner_id=feed.owner_id),
                "figures": record_figures.to_json(figures),
                "delayed": record_figures.to_json(delayed),
            },
        )
    return record


def _unfinished(feed: Feed) -> list[int]:
    """Return the ids of the signals that are new, or may still change.

    A sealed result is never computed again, also if its row was removed.
    """
    final = FeedTrade.objects.filter(signal=OuterRef("pk"), is_final=True)
    sealed = RecordLink.objects.filter(signal=OuterRef("pk"), kind=RecordLink.Kind.RESULT)
    opened = Signal.objects.published().filter(
        Q(feed=feed) & ~Exists(final) & ~Exists(sealed), action=Action.OPEN
    )
    return list(opened.order_by("pk").values_list("pk", flat=True))


def _batches(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def _follow_all(feed: Feed, ids: list[int], until: datetime) -> None:
    signals = Signal.objects.in_bulk(ids)
    known = FeedTrade.objects.in_bulk(ids)
    changes: dict[int, list[Signal]] = {}
    followers = Signal.objects.published().filter(refers_to__in=ids)
    for one in followers.order_by("published_at", "pk"):
        assert one.refers_to_id is not None
        changes.setdefault(one.refers_to_id, []).append(one)
    fills = real_fills(ids, owner_id=feed.owner_id)
    trades = [
        _followed(signals[pk], known.get(pk), changes.get(pk, []), fills.get(pk), until)
        for pk in ids
    ]
    names = [field.name for field in FeedTrade._meta.concrete_fields if not field.primary_key]
    FeedTrade.objects.bulk_create(
        trades, update_conflicts=True, unique_fields=["signal"], update_fields=names
    )


def _followed(
    signal: Signal,
    known: FeedTrade | None,
    followers: Sequence[Signal],
    fills: RealFills | None,
    until: datetime,
) -> FeedTrade:
    """Return the trade as of `until`, not saved."""
    assert signal.published_at is not None
    state = from_json(known.progress) if known else _begun(signal)
    since = known.followed_until if known else signal.published_at
    to = minute_of(until - COMMITS_LATE)  # a bar counts when its minute is over
    has_gap = signal.market_source is None or until - since > KEPT
    if not state.is_ended:
        if not is_followable(signal) or has_gap:
            state = replace(state, lost_at=until if known else signal.published_at)
        else:
            changes = [one for one in changes_of(signal, followers) if since < one.at <= to]
            state = follow(state, _bars(signal, since, to), changes, until=to)
    if state.is_lost:
        state = replace(state, ended_at=_closed_by_feed(signal, followers))
    return _trade(signal, state, known, followers, fills, until, max(to, signal.published_at))


def _begun(signal: Signal) -> TradeState:
    bid, ask = market_then(signal)
    return begin(new_trade(signal), bid=bid, ask=ask, is_immediate=is_immediate(signal))


def is_immediate(signal: Signal) -> bool:
    """Whether an entry that is not filled at once is not filled at all."""
    return signal.time_in_force in _IMMEDIATE


def new_trade(signal: Signal) -> TradeState:
    """Return the trade of a published signal before the market of its publication is known."""
    assert signal.published_at is not None
    is_market = signal.order_type == OrderType.MARKET
    is_limit = signal.order_type == OrderType.LIMIT
    price = None if is_market else signal.open_price if is_limit else signal.stop_price
    return TradeState(
        sign=1 if signal.direction == Direction.BUY else -1,
        published_at=signal.published_at,
        price=price,
        comes_back=signal.order_type in _COMES_BACK,
        valid_until=signal.valid_until,
        sl=signal.sl,
        targets=tuple(signal.targets),
    )


def market_then(signal: Signal) -> tuple[Decimal | None, Decimal | None]:
    """Return bid and ask when a signal was published; None if no quote is of that moment."""
    if signal.market_at is None or signal.published_at is None:
        return None, None
    is_fresh = signal.published_at - signal.market_at <= QUOTE_AGE
    return (signal.market_bid, signal.market_ask) if is_fresh else (None, None)


def is_followable(signal: Signal) -> bool:
    """Whether minute bars can follow a trade: its OPEN has no rule that needs the order of quotes.

    A rule that a MODIFY brings later is a `Change` with `has_rule`.
    """
    return not (
        signal.order_type in (OrderType.TRAILING_STOP, OrderType.STOP_LIMIT)
        or signal.time_in_force == TimeInForce.DAY
        or signal.execution_style
        or signal.oco_group
        or signal.has_condition
        or signal.close_after_seconds
        or _has_rule(signal)
    )


def _has_rule(signal: Signal) -> bool:
    return bool(
        signal.break_even_target
        or signal.break_even_profit
        or signal.trailing_distance
        or signal.close_at
        or signal.close_when_signal_id
    )


def changes_of(signal: Signal, followers: Sequence[Signal]) -> list[Change]:
    """Return what its followers and its cancellation change, with the market of each then."""
    changes = []
    for one in followers:
        assert one.published_at is not None
        bid, ask = market_then(one)
        price = one.open_price if signal.order_type == OrderType.LIMIT else one.stop_price
        changes.append(
            Change(
                one.published_at, one.action, one.sl, tuple(one.targets), price,
                one.close_fraction, bid, ask, one.valid_until, _has_rule(one),
            )
        )  # fmt: skip
    if signal.cancelled_at is not None:
        changes.append(Change(signal.cancelled_at, "CANCEL"))
    return changes


def _bars(signal: Signal, since: datetime, to: datetime) -> list[MinutePrices]:
    if signal.market_source is None:
        return []
    found = minute_bars(
        signal.market_source, signal.currency_pair, since=minute_of(since), before=to
    )
    return [MinutePrices(bar.minute, tuple(bar[1:5]), tuple(bar[5:9])) for bar in found]  # type: ignore[arg-type]


def _closed_by_feed(signal: Signal, followers: Sequence[Signal]) -> datetime | None:
    """Return when the feed closed all of a trade, or withdrew it: without prices, its end."""
    closes = [
        one.published_at for one in followers
        if one.action == Action.CLOSE and one.close_fraction == 1
    ]  # fmt: skip
    return min((at for at in (*closes, signal.cancelled_at) if at is not None), default=None)


def _trade(
    signal: Signal, state: TradeState, known: FeedTrade | None, followers: Sequence[Signal],
    fills: RealFills | None, until: datetime, followed_until: datetime,
) -> FeedTrade:  # fmt: skip
    percent, r = results(state)
    entry, basis = state.entry, FeedTrade.Basis.PRICES if state.entry else ""
    ended_at = state.ended_at
    kind = _state_of(state)
    is_shown = fills is not None and fills.persons >= FEWEST
    if state.is_lost:
        percent = r = entry = None
        basis = ""
        if fills is not None and is_shown and fills.entry is not None:
            percent, entry, basis = fills.median, fills.entry, FeedTrade.Basis.FILLS
            r = _r_of(percent, entry, signal.sl)
            kind, ended_at = FeedTrade.State.CLOSED, ended_at or _since(known) or until
    marks = sorted({mark for one in (signal, *followers) for mark in one.marks})
    done = max((at for at in (ended_at, state.lost_at) if at is not None), default=None)
    assert signal.published_at is not None
    return FeedTrade(
        signal=signal, feed_id=signal.feed_id, pair=signal.currency_pair,
        direction=signal.direction, published_at=signal.published_at, ended_at=ended_at,
        state=kind, basis=basis, entry_price=entry, exit_price=exit_price(state),
        percent=percent, r=r, marks=marks, progress=to_json(state), followed_until=followed_until,
        subscribers=fills.persons if fills is not None and is_shown else 0,
        real_low=fills.low if fills is not None and is_shown else None,
        real_median=fills.median if fills is not None and is_shown else None,
        real_high=fills.high if fills is not None and is_shown else None,
        slippage=fills.slippage if fills is not None and fills.measured >= FEWEST else None,
        is_final=done is not None and until - done > _time_for_fills(state),
    )  # fmt: skip


def _since(known: FeedTrade | None) -> datetime | None:
    """Return since when subscribers' fills have been a trade's result; None: they were not."""
    if known is None or known.basis != FeedTrade.Basis.FILLS:
        return None
    return known.ended_at


def _time_for_fills(state: TradeState) -> timedelta:
    """Return how long after its end a trade may change: one without prices waits for fills.

    It is longer than WITHHELD: what is final ended before that, and everybody may see it.
    """
    return FILLS_MAY_COME if not state.is_lost else KEPT * 4


def _state_of(state: TradeState) -> str:
    if state.is_lost:
        return FeedTrade.State.UNKNOWN
    if state.ended_at is None:
        return FeedTrade.State.OPEN
    return FeedTrade.State.CLOSED if state.entry is not None else FeedTrade.State.NOT_ENTERED


def _r_of(percent: Decimal | None, entry: Decimal, sl: Decimal | None) -> Decimal | None:
    if percent is None or sl is None or sl == entry:
        return None
    return (percent / (abs(entry - sl) / entry * 100)).quantize(Decimal("1e-10"))
