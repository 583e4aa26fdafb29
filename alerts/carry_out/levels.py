"""Whether levels are near the market or their trade, so that a distance is no price.

`dialects.level_support` compares levels with the price that an alert states. Without one, the
quote of the moment decides; without a recent quote, a level that may be a distance is refused. New
levels of an open trade are compared with its prices, whichever alert moves them.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from alerts.carry_out.sides import require_sides, touch
from alerts.reading import LevelForm, may_be_distance, needs_quote, require_near, require_within
from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.checks.price_guard import newest_quote, prices_of
from signals.effective_levels import newest_modify, stop_now, targets_now
from signals.models import Action, Feed, OrderType, Signal
from signals.publishing.ingest import find_referred
from signals.reading.draft import SignalDraft


def require_near_market(feed: Feed, draft: SignalDraft, form: LevelForm) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a level that may be a distance from the entry.

    form: how its dialect writes levels. The draft's pair must be complete.
    """
    has_levels = draft.sl is not None or bool(draft.targets)
    is_known = draft.entry_price is not None and draft.order_type != OrderType.MARKET
    if draft.action != Action.OPEN or is_known or not has_levels:
        return
    quote = newest_quote(feed, draft.pair)
    if quote is not None:
        require_within(draft, touch(draft, quote), form)
    elif needs_quote(draft, form):
        level = draft.sl if draft.sl is not None else draft.targets[0].price
        shown = plain(level)
        detail = (
            f"{shown} of {draft.pair} could mean the price {shown}, or a distance of {shown}, and "
            "no recent quote shows which. Write the entry price too, or the level with all "
            "decimals of a price."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="sl")


def level_error(feed: Feed, draft: SignalDraft | None, form: LevelForm) -> InvalidInputError | None:
    """Return the error for such a level of what an order opens; None: there is none."""
    try:
        if draft is not None:
            require_near_market(feed, draft, form)
            require_sides(feed, draft)
    except InvalidInputError as error:
        return error
    return None


def require_near_trade(trade: Signal, prices: Iterable[Decimal]) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for new levels of a trade that are near no price of
    it and of the market: they could be distances, or have a digit too many."""
    require_near(trade.currency_pair, prices, _known_prices(trade))


def require_clear_levels(feed: Feed, draft: SignalDraft, form: LevelForm) -> None:
    """Raise as `require_near_trade` for those levels of a MODIFY that may be distances.

    Its other levels may be far away, as those of an entry in our own JSON; the feed's limits hold.
    """
    trade = find_referred(feed, draft) if draft.action == Action.MODIFY else None
    if trade is not None:
        pair, prices = trade.currency_pair, levels_of(draft)
        require_near_trade(trade, [one for one in prices if may_be_distance(pair, one, form)])


def levels_of(draft: SignalDraft) -> list[Decimal]:
    """Return the stop and the targets of a draft. Pure."""
    stop = [] if draft.sl is None else [draft.sl]
    return [*stop, *(target.price for target in draft.targets)]


def _known_prices(trade: Signal) -> Iterator[Decimal]:
    """Yield the prices that a trade's signals state, and that of the market."""
    moved = newest_modify(trade, "open_price") or newest_modify(trade, "stop_price")
    yield from (price for _, price, _ in prices_of(trade))
    yield from () if moved is None else (price for _, price, _ in prices_of(moved))
    if (stop := stop_now(trade)) is not None:
        yield stop
    yield from targets_now(trade)
    if quote := newest_quote(trade.feed, trade.currency_pair):
        yield quote.middle
