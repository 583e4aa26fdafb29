"""Order objects of TradersPost, 3Commas and their like: `ticker/action/sentiment`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.dialects.object_levels import apart_from, form_of, take_levels, take_percents
from alerts.dialects.object_positions import (
    after_reversal,
    closed_share,
    field_fault,
    read_positions,
    require_same_side,
)
from alerts.dialects.object_rest import (
    refuse_levels,
    refuse_rest,
    require_no_size,
    require_plain_extras,
    require_whole,
)
from alerts.dialects.side_objects import has_both_levels
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    Distance,
    LevelForm,
    Note,
    Reading,
    ambiguous,
    excerpt,
    unread,
)
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.models import Action, Direction
from signals.reading.errors import InvalidSignalError
from signals.reading.fields import Fields
from signals.symbols import read_symbol

_IGNORED = {
    "quantity": SIZING, "quantityType": SIZING, "interval": "it has no effect",
    "extras": "it has no effect", "bot_uuid": "the address selects the feed",
    "secret": "the address is the secret here", "max_lag": "an alert counts for 5 minutes",
}  # fmt: skip
_OWN_FIELDS = ("external_id", "comment", "note", "sl", "tp", "stop_loss", "take_profit", "targets",
               "feed", "order_id")  # fmt: skip
_SIDES = {"buy": Direction.BUY, "enter_long": Direction.BUY, "sell": Direction.SELL,
          "enter_short": Direction.SELL}  # fmt: skip
_TYPES = {"market": "MARKET", "limit": "LIMIT", "stop": "STOP", "stop_limit": "STOP_LIMIT"}


@dataclass(slots=True)
class _Order:
    """An object of TradersPost, 3Commas or their like, taken apart.

    rest: fields that are not read yet. document: our own fields so far. levels, distances: of its
    stops and targets.
    """

    parsed: Mapping[str, Any]
    action: str
    rest: dict[str, Any]
    document: dict[str, Any]
    notes: list[Note]
    time: Any
    price: Any
    levels: dict[str, Any]
    distances: tuple[Distance, ...]
    form: LevelForm

    def reading(self, dialect: Dialect = Dialect.ORDER_OBJECT, **more: Any) -> Reading:
        """Return what was read. Raises InvalidInputError for fields that are left."""
        refuse_rest(self.rest, keep=())
        return Reading(dialect, self.document, notes=tuple(self.notes), **more)


def read_order_object(parsed: Mapping[str, Any], action: str, mapping: AlertMapping) -> Reading:
    """Read an object of TradersPost, 3Commas and their like."""
    require_whole(parsed)
    require_plain_extras(parsed.get("extras"))
    order = _taken_apart(parsed, action, mapping)
    is_exit = action == "exit" or action.startswith("exit_")
    if "order_id" in order.document and (action == "cancel" or is_exit):
        raise unread("order_id")  # of that order only?
    if action == "cancel":
        return _cancel(order)
    if is_exit:
        refuse_levels(parsed, "an exit")
        return _exit(order)
    positions = read_positions(order.rest, order.notes)
    _require_market_exit(action, positions, order.rest)
    if action == "close" and "close_fraction" in order.rest:
        order.document["close_fraction"] = order.rest.pop("close_fraction")
    elif action == "close":
        require_no_size(order.notes)
    order.document |= apart_from(order.levels, order.document)
    if action.startswith("enter_"):
        return _named_entry(order, positions)
    return _side(order, positions)


def _taken_apart(parsed: Mapping[str, Any], action: str, mapping: AlertMapping) -> _Order:
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
    document |= {name: rest.pop(name) for name in _OWN_FIELDS if name in rest}
    rest.pop("action", None)
    distances = take_percents(rest, parsed) if action.startswith("enter_") else ()
    levels = take_levels(rest, side=_SIDES.get(action), notes=notes)
    return _Order(
        parsed, action, rest, document, notes, time, _price(rest), levels, distances,
        form_of(parsed),
    )  # fmt: skip


def _cancel(order: _Order) -> Reading:
    refuse_levels(order.parsed, "a cancel")
    refuse_rest(order.rest, keep=())
    if any(note.text == "quantity" for note in order.notes):
        raise field_fault("quantity", "A cancel ends an entry as a whole: leave quantity out.")
    sent_at = _moment(order.time)
    pair = read_symbol(str(order.document["ticker"]))
    update = AlertUpdate(pair=pair, cancels=True, sent_at=sent_at)
    return Reading(Dialect.ORDER_OBJECT, update=update, notes=tuple(order.notes))


def _named_entry(order: _Order, positions: dict[str, Any]) -> Reading:
    """Read enter_long or enter_short: it opens, whatever is open."""
    require_same_side(order.action, positions)
    direction = Direction.BUY if order.action == "enter_long" else Direction.SELL
    order.document |= {"action": Action.OPEN.value, "direction": direction.value}
    _order_type(order)
    return order.reading(distances=order.distances, level_form=order.form)


def _side(order: _Order, positions: dict[str, Any]) -> Reading:
    """Read a side, with the positions that it leads to, or with both levels."""
    side = _SIDES.get(order.action)
    if side and not positions and has_both_levels(order.parsed):
        order.document["direction"] = side.value
    else:
        words = {"action": order.parsed.get("action"), **after_reversal(order.action, positions)}
        order.document |= words
    _order_type(order)
    if not order.time:
        reason = "an equal message within 5 minutes counts as the same one"
        order.notes.append(Note("no time", reason, explains=True))
    dialect = Dialect.STRATEGY_OBJECT if positions else Dialect.ORDER_OBJECT
    return order.reading(dialect, needs_time=False, level_form=order.form)


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


def _exit(order: _Order) -> Reading:
    """Read a close by symbol; its size is not a share, so it closes all of it."""
    side = {"exit_long": Direction.BUY, "exit_short": Direction.SELL}.get(order.action)
    order.document |= {"action": Action.CLOSE.value} | ({"direction": side.value} if side else {})
    if (share := closed_share(order.rest)) is not None:
        order.document["close_fraction"] = share
    refuse_rest(order.rest, keep=("sentiment",))
    if str(order.rest.get("sentiment") or "flat").lower() != "flat":
        detail = "An exit that leaves a position has no share: send action CLOSE, close_fraction."
        raise InvalidInputError(Code.ALERT_CONTRADICTORY, detail, field="sentiment")
    if order.price:
        order.notes.append(Note("price", "an exit is made at market"))
    require_no_size(order.notes)
    return Reading(Dialect.ORDER_OBJECT, order.document, notes=tuple(order.notes))


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


def _order_type(order: _Order) -> None:
    """Read the price, orderType, limitPrice and stopPrice into our own fields."""
    document, rest = order.document, order.rest
    document |= {"price": order.price} if order.price else {}
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
