"""Whether the levels of an alert are on the right side: of the market, and of the word that moves
them.
"""

from decimal import Decimal

from alerts.reading import AlertUpdate
from common.errors import InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals.checks.price_guard import Reference, newest_quote
from signals.effective_levels import stop_now, targets_now
from signals.models import Action, Direction, Feed, OrderType, Signal
from signals.reading.draft import SignalDraft

_STOP_ORDERS = (OrderType.STOP, OrderType.STOP_LIMIT)


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
    entry = touch(draft, quote)
    if is_stop:
        _require_beyond(draft, entry, sign)
        return
    limit = draft.open_price if draft.order_type == OrderType.LIMIT else None
    fills_now = limit is not None and (limit - entry) * sign >= 0
    if fills_now or draft.order_type == OrderType.MARKET:
        _require_levels_apart(draft, entry, quote.bid if sign > 0 else quote.ask, sign)


def require_direction(trade: Signal, update: AlertUpdate, stop: Decimal | None) -> None:
    """Raise InvalidInputError ALERT_CONTRADICTORY for “raise SL to 1.0780” of a stop at 1.0800."""
    known = targets_now(trade)
    moves = [("sl", "stop", update.sl_verb, stop_now(trade), stop)]
    if update.targets:
        moves.append(("targets", "target", update.target_verb, known[0] if known else None,
                      update.targets[0].price))  # fmt: skip
    for field, name, verb, before, after in moves:
        if not verb or before is None or after is None:
            continue
        is_up = verb == "raise" or (verb == "tighten" and trade.direction == Direction.BUY)
        if after != before and (after > before) != is_up:
            detail = (
                f"“{verb}” the {name} of {trade.number} from {plain(before)} to {plain(after)}: "
                "the word or the number is wrong. Write “move” to set it all the same."
            )
            raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field=field)


def touch(draft: SignalDraft, quote: Reference) -> Decimal:
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
