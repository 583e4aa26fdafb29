"""A feed's record as it was 24 hours ago: what those see who do not take the feed.

A CLOSE or MODIFY is withheld from them as an OPEN is, and with it what would show it: the end of
the trade, its result, and what subscribers made of it. A trade that is open, and one that ended
since, look the same to them. Pure.
"""

from collections.abc import Sequence
from datetime import datetime

from analytics.models import FeedTrade
from analytics.records.signal_result import as_of, exit_price, from_json, to_json


def had_ended(trade: FeedTrade, at: datetime) -> bool:
    """Whether a trade had ended at an earlier time; a final one had, two days ago at least."""
    return trade.is_final or (trade.ended_at is not None and trade.ended_at <= at)


def as_it_was(trade: FeedTrade, at: datetime, marks: Sequence[str] = ()) -> FeedTrade:
    """Return a trade as it was at an earlier time: itself if it had ended, else one of no table.

    marks: of its signals until then. It has no result: what it was worth then is not kept.
    """
    if had_ended(trade, at):
        return trade
    state = as_of(from_json(trade.progress), at)
    entry = None if state.is_lost else state.entry
    return FeedTrade(
        signal_id=trade.signal_id, feed_id=trade.feed_id, pair=trade.pair,
        direction=trade.direction, published_at=trade.published_at,
        state=FeedTrade.State.UNKNOWN if state.is_lost else FeedTrade.State.OPEN,
        basis=FeedTrade.Basis.PRICES if entry is not None else "",
        entry_price=entry, exit_price=exit_price(state), marks=sorted(marks),
        progress=to_json(state), followed_until=min(trade.followed_until, at),
    )  # fmt: skip
