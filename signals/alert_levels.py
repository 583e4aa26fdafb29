"""Whether the levels of an entry at market are near the market, so that a distance is no price.

`alert_dialects.level_support` compares levels with the price that an alert states. Without one, the
quote of the moment decides; without a recent quote, a level that may be a distance is refused.
"""

from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.alert_dialects import LevelForm, needs_quote, require_within
from signals.draft import SignalDraft
from signals.models import Action, Direction, Feed
from signals.price_guard import newest_quote


def require_near_market(feed: Feed, draft: SignalDraft, form: LevelForm) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a level that may be a distance from the entry.

    form: how its dialect writes levels. The draft's pair must be complete.
    """
    has_levels = draft.sl is not None or bool(draft.targets)
    if draft.action != Action.OPEN or draft.entry_price or not has_levels:
        return
    quote = newest_quote(feed, draft.pair)
    if quote is not None:
        market = quote.ask if draft.direction == Direction.BUY else quote.bid
        require_within(draft, market, form)
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
    except InvalidInputError as error:
        return error
    return None
