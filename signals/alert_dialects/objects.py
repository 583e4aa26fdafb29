"""JSON objects: our own fields, `ticker/action/sentiment` objects, and those of a feed's mapping.

They become objects of our own fields, so that one reader validates them all. Pure.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.alert_dialects.bot_objects import is_bot_object, read_bot_object
from signals.alert_dialects.mapped_object import (
    read_mapped_object,
    require_no_duplicate,
    value_at,
)
from signals.alert_dialects.mapping import AlertMapping
from signals.alert_dialects.nested_strategy import is_nested_strategy, read_nested_strategy
from signals.alert_dialects.object_levels import apart_from, form_of, take_levels, take_percents
from signals.alert_dialects.object_positions import (
    after_reversal,
    closed_share,
    field_fault,
    read_positions,
    require_same_side,
)
from signals.alert_dialects.object_rest import (
    refuse_levels,
    refuse_rest,
    require_no_size,
    require_plain_extras,
    require_whole,
)
from signals.alert_dialects.object_words import in_our_words
from signals.alert_dialects.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    LevelForm,
    Note,
    Reading,
    ambiguous,
    excerpt,
    unread,
)
from signals.alert_dialects.side_objects import as_entry, has_both_levels, only_a_side
from signals.errors import InvalidSignalError
from signals.fields import Fields
from signals.models import Action, Direction
from signals.symbols import read_symbol

# Names that only the objects of other services have.
_FOREIGN = {
    "sentiment", "quantity", "quantityType", "signalPrice", "orderType", "limitPrice", "stopPrice",
    "takeProfit", "stopLoss", "interval", "extras", "tv_instrument", "tv_exchange", "bot_uuid",
    "secret", "max_lag", "trigger_price", "strategy_info", "order", "timestamp",
}  # fmt: skip
_POSITIONS = {"market_position", "prev_market_position", "position_size"}
# Of an object that says no more than its side.
_ONLY_SIDE = {"ticker", "symbol", "pair", "currency_pair", "action", "price", "time", "timenow"}
_WORDS = {"exit", "cancel", "enter_long", "enter_short", "exit_long", "exit_short"}
_IGNORED = {
    "quantity": SIZING, "quantityType": SIZING, "interval": "it has no effect",
    "extras": "it has no effect", "bot_uuid": "the address selects the feed",
    "secret": "the address is the secret here", "max_lag": "an alert counts for 5 minutes",
}  # fmt: skip
_TYPES = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP", "stop_limit": "STOP_LIMIT"}


def read_object(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return an object in our own fields. Raises InvalidInputError."""
    if mapping.paths and all(
        value_at(parsed, mapping.paths[name]) is not None for name in ("symbol", "side")
    ):
        require_no_duplicate(parsed)
        return read_mapped_object(parsed, mapping)
    if is_bot_object(parsed):
        require_no_duplicate(parsed)
        return read_bot_object(parsed, mapping)
    if is_nested_strategy(parsed):
        require_no_duplicate(parsed)
        return read_nested_strategy(parsed, mapping)
    is_ours = not {"direction", "side", "order_type", "refers_to"}.isdisjoint(parsed)
    parsed = in_our_words(parsed)
    action = str(parsed.get("action") or "").strip().lower()
    if is_ours or not (_FOREIGN & set(parsed) or action in _WORDS):
        is_side_only = action in ("buy", "sell") and not _POSITIONS & set(parsed)
        if is_side_only and not is_ours and has_both_levels(parsed):
            parsed = as_entry(parsed)
        elif is_side_only and not is_ours and _ONLY_SIDE.issuperset(parsed):
            require_no_duplicate(parsed)
            raise only_a_side(action)
        return Reading(
            Dialect.OWN, _with_symbol(parsed, mapping), needs_time=not is_side_only,
            level_form=LevelForm.FIELD,
        )  # fmt: skip
    require_no_duplicate(parsed)
    return _order_object(parsed, action, mapping)


def _with_symbol(parsed: Mapping[str, Any], mapping: AlertMapping) -> Mapping[str, Any]:
    """Return our own object with the feed's pair for its word of a symbol."""
    for name in ("ticker", "symbol", "currency_pair", "pair"):
        text = parsed.get(name)
        if isinstance(text, str) and (pair := mapping.symbol_of(text)) != text:
            changed = type(parsed)(parsed)  # type: ignore[call-arg]  # keeps its duplicate keys
            if hasattr(parsed, "duplicates"):
                changed.duplicates = parsed.duplicates  # type: ignore[attr-defined]
            changed[name] = pair  # type: ignore[index]
            return changed
    return parsed


def _order_object(parsed: Mapping[str, Any], action: str, mapping: AlertMapping) -> Reading:
    """Read an object of TradersPost, 3Commas and their like."""
    require_whole(parsed)
    require_plain_extras(parsed.get("extras"))
    rest = dict(parsed)
    notes = [Note(name, _IGNORED[name]) for name in _IGNORED if rest.pop(name, None) is not None]
    if rest.get("cancel") is False:
        del rest["cancel"]
        notes.append(Note("cancel", "nothing is cancelled"))
    if str(rest.get("timeInForce") or "").lower() == "gtc":
        del rest["timeInForce"]
        notes.append(
            Note("timeInForce", "an order waits until it is cancelled, unless it says else")
        )
    symbol = _symbol(rest, mapping)
    time = next((rest.pop(name) for name in ("time", "timenow", "timestamp") if name in rest), None)
    document: dict[str, Any] = {"ticker": symbol} | ({"timenow": time} if time else {})
    for name in ("external_id", "comment", "note", "sl", "tp", "stop_loss", "take_profit",
                 "targets", "feed", "order_id"):  # fmt: skip
        if name in rest:
            document[name] = rest.pop(name)
    rest.pop("action", None)
    side = {"buy": Direction.BUY, "enter_long": Direction.BUY, "sell": Direction.SELL,
            "enter_short": Direction.SELL}.get(action)  # fmt: skip
    form = form_of(parsed)
    percents = take_percents(rest, parsed) if action.startswith("enter_") else ()
    levels = take_levels(rest, side=side, notes=notes)
    price = _price(rest)
    if "order_id" in document and (action == "cancel" or action.startswith("exit")):
        raise unread("order_id")  # of that order only?
    if action == "cancel":
        refuse_levels(parsed, "a cancel")
        refuse_rest(rest, keep=())
        if any(note.text == "quantity" for note in notes):
            raise field_fault("quantity", "A cancel ends an entry as a whole: leave quantity out.")
        sent_at = _moment(time)
        update = AlertUpdate(pair=read_symbol(str(symbol)), cancels=True, sent_at=sent_at)
        return Reading(Dialect.ORDER_OBJECT, update=update, notes=tuple(notes))
    if action == "exit" or action.startswith("exit_"):
        refuse_levels(parsed, "an exit")
        return _exit(document, rest, action, notes, price)
    positions = read_positions(rest, notes)
    _require_market_exit(action, positions, rest)
    if action == "close" and "close_fraction" in rest:
        document["close_fraction"] = rest.pop("close_fraction")
    elif action == "close":
        require_no_size(notes)
    document |= apart_from(levels, document)
    if action.startswith("enter_"):
        direction = Direction.BUY if action == "enter_long" else Direction.SELL
        require_same_side(action, positions)
        document |= {"action": Action.OPEN.value, "direction": direction.value}
        document |= {"price": price} if price else {}
        _order_type(document, rest)
        refuse_rest(rest, keep=())
        return Reading(
            Dialect.ORDER_OBJECT, document, notes=tuple(notes), distances=percents, level_form=form
        )
    if side and not positions and has_both_levels(parsed):
        document["direction"] = side.value
    else:
        document |= {"action": parsed.get("action"), **after_reversal(action, positions)}
    document |= {"price": price} if price else {}
    _order_type(document, rest)
    refuse_rest(rest, keep=())
    if not time:
        reason = "an equal message within 5 minutes counts as the same one"
        notes.append(Note("no time", reason, explains=True))
    dialect = Dialect.STRATEGY_OBJECT if positions else Dialect.ORDER_OBJECT
    return Reading(dialect, document, notes=tuple(notes), needs_time=False, level_form=form)


def _symbol(rest: dict[str, Any], mapping: AlertMapping) -> str:
    used = [name for name in ("ticker", "symbol", "tv_instrument") if rest.get(name)]
    if len(used) != 1 or not isinstance(rest[used[0]], str):
        detail = "Send one symbol, as ticker." if len(used) != 1 else "A symbol is a text."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="ticker")
    text, exchange = rest.pop(used[0]), rest.pop("tv_exchange", None)
    if (pair := mapping.symbol_of(text)) != text:
        return pair
    return f"{exchange}:{text}" if isinstance(exchange, str) and ":" not in text else str(text)


def _moment(time: Any) -> datetime | None:
    """Return when an object was sent. Raises InvalidSignalError for what is no time."""
    fields = Fields({"time": time})
    sent_at = fields.moment("time")
    if fields.errors:
        raise InvalidSignalError(fields.errors)
    return sent_at


def _price(rest: dict[str, Any]) -> Any:
    names = [name for name in ("price", "signalPrice", "trigger_price") if rest.get(name)]
    if len({str(rest[name]) for name in names}) > 1:
        raise field_fault(names[1], f"{names[0]} and {names[1]} differ: send one price.")
    values = [rest.pop(name) for name in ("price", "signalPrice", "trigger_price") if name in rest]
    return next(filter(None, values), None)


def _exit(
    document: dict[str, Any], rest: dict[str, Any], action: str, notes: list[Note], price: Any
) -> Reading:
    """Read a close by symbol; its size is not a share, so it closes all of it."""
    side = {"exit_long": Direction.BUY, "exit_short": Direction.SELL}.get(action)
    document |= {"action": Action.CLOSE.value} | ({"direction": side.value} if side else {})
    if (share := closed_share(rest)) is not None:
        document["close_fraction"] = share
    refuse_rest(rest, keep=("sentiment",))
    if str(rest.get("sentiment") or "flat").lower() != "flat":
        detail = "An exit that leaves a position has no share: send action CLOSE, close_fraction."
        raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field="sentiment")
    if price:
        notes.append(Note("price", "an exit is made at market"))
    require_no_size(notes)
    return Reading(Dialect.ORDER_OBJECT, document, notes=tuple(notes))


def _require_market_exit(action: str, positions: dict[str, Any], rest: dict[str, Any]) -> None:
    """Raise InvalidInputError for an order to flat, or a close, that waits for a price."""
    if action != "close" and str(positions.get("market_position")).lower() != "flat":
        return
    waits = [name for name in ("limitPrice", "stopPrice") if rest.get(name) not in (None, "")]
    kind = str(rest.get("orderType") or "market").lower()
    if waits or kind != "market":
        raise ambiguous(
            f"An exit with {waits[0] if waits else f'orderType {kind}'}", "a close now",
            "a close when the price is there", field=waits[0] if waits else "orderType",
            write="Leave orderType and its price out to close now; send a target as takeProfit.",
        )  # fmt: skip


def _order_type(document: dict[str, Any], rest: dict[str, Any]) -> None:
    """Read orderType, limitPrice and stopPrice into our own fields."""
    name, limit, stop = (rest.pop(key, None) for key in ("orderType", "limitPrice", "stopPrice"))
    if name is not None:
        kind = _TYPES.get(str(name).lower())
        if kind is None:
            raise field_fault("orderType", f"{excerpt(str(name))} is not market, limit or stop.")
        document["order_type"] = kind
    waits = "limitPrice" if limit is not None else "stopPrice" if stop is not None else ""
    if waits and document.get("order_type", "MARKET") == "MARKET":
        raise ambiguous(
            f"{waits} of a market order", "an order that waits for that price",
            "an entry now, with the price as a note", field=waits,
            write="Send orderType limit or stop with it, or signalPrice instead.",
        )  # fmt: skip
    if limit is not None:
        document.pop("price", None)
        document["open_price"] = limit
    if stop is not None:
        document.pop("price", None)
        document["stop_price"] = stop
