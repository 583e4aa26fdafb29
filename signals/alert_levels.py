"""Whether the levels of an entry fit the market: near it, so that a distance is no price, and on
the right side of it.

`alert_dialects.level_support` compares levels with the price that an alert states. Without one, the
quote of the moment decides; without a recent quote, a level that may be a distance is refused.
"""

from decimal import Decimal

from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.alert_dialects import LevelForm, needs_quote, require_within
from signals.draft import SignalDraft
from signals.models import Action, Direction, Feed, OrderType
from signals.price_guard import Reference, newest_quote

_STOP_ORDERS = (OrderType.STOP, OrderType.STOP_LIMIT)


def require_fit(feed: Feed, draft: SignalDraft, form: LevelForm) -> None:
    """Raise as `require_near_market` and `require_sides` do."""
    require_near_market(feed, draft, form)
    require_sides(feed, draft)


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
        require_within(draft, _touch(draft, quote), form)
    elif needs_quote(draft, form):
        level = draft.sl if draft.sl is not None else draft.targets[0].price
        shown = plain(level)
        detail = (
            f"{shown} of {draft.pair} could mean the price {shown}, or a distance of {shown}, and "
            "no recent quote shows which. Write the entry price too, or the level with all "
            "decimals of a price."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="sl")


def require_sides(feed: Feed, draft: SignalDraft) -> None:
    """Raise InvalidInputError STOP_WRONG_SIDE, TARGET_WRONG_SIDE or PRICE_WRONG_SIDE for an entry
    whose stop, target or trigger the market has passed: it was meant for another price, or side.

    Of a limit only if it fills now. Without a recent quote, or if it waits for a time or another
    signal, nothing is compared.
    """
    has_levels = draft.sl is not None or bool(draft.targets)
    is_stop = draft.order_type in _STOP_ORDERS
    if draft.action != Action.OPEN or draft.has_condition or not (has_levels or is_stop):
        return
    quote = newest_quote(feed, draft.pair)
    if quote is None:
        return
    sign = 1 if draft.direction == Direction.BUY else -1
    entry = _touch(draft, quote)
    if is_stop:
        _require_beyond(draft, entry, sign)
        return
    limit = draft.open_price if draft.order_type == OrderType.LIMIT else None
    fills_now = limit is not None and (limit - entry) * sign >= 0
    if fills_now or draft.order_type == OrderType.MARKET:
        _require_levels_apart(draft, entry, quote.bid if sign > 0 else quote.ask, sign)


def _touch(draft: SignalDraft, quote: Reference) -> Decimal:
    """Return the price at which an entry would fill now."""
    return quote.ask if draft.direction == Direction.BUY else quote.bid


def _require_beyond(draft: SignalDraft, entry: Decimal, sign: int) -> None:
    trigger = draft.stop_price
    if trigger is not None and (trigger - entry) * sign <= 0:
        side, where = _words(sign)
        raise _wrong_side(
            Code.PRICE_WRONG_SIDE, "stop_price",
            f"The stop order of a {side} at {plain(trigger)} must lie {where} the market, "
            f"{plain(entry)} now.",
        )  # fmt: skip


def _require_levels_apart(draft: SignalDraft, entry: Decimal, closing: Decimal, sign: int) -> None:
    """closing: the price at which the trade could be closed now."""
    side, where = _words(sign)
    start = f"This {side} would fill now, at {plain(entry)}: its"
    if draft.sl is not None and (closing - draft.sl) * sign <= 0:
        behind = "below" if sign > 0 else "above"
        detail = f"{start} stop {plain(draft.sl)} must lie {behind} the market, {plain(closing)}."
        raise _wrong_side(Code.STOP_WRONG_SIDE, "sl", detail)
    for target in draft.targets:
        if (target.price - entry) * sign <= 0:
            detail = f"{start} target {plain(target.price)} must lie {where} that."
            raise _wrong_side(Code.TARGET_WRONG_SIDE, "targets", detail)


def _words(sign: int) -> tuple[str, str]:
    return ("buy", "above") if sign > 0 else ("sell", "below")


def _wrong_side(code: Code, field: str, detail: str) -> InvalidInputError:
    return InvalidInputError(code, detail, field=field)


def level_error(feed: Feed, draft: SignalDraft | None, form: LevelForm) -> InvalidInputError | None:
    """Return the error for such a level of what an order opens; None: there is none."""
    try:
        if draft is not None:
            require_fit(feed, draft, form)
    except InvalidInputError as error:
        return error
    return None
