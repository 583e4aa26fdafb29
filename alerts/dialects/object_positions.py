"""The position and the sizes that an object states beside its order. Pure."""

from collections.abc import Mapping
from typing import Any

from alerts.grammar.reading import SIZING, Note, ambiguous, excerpt, require_entry_size, unread
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.reason_codes import Code

_SENTIMENTS = {"bullish": "long", "bearish": "short", "long": "long", "short": "short",
               "flat": "flat"}  # fmt: skip
_OF_POSITION = "position_percent"


def _order_amount(rest: dict[str, Any]) -> tuple[Any, str]:
    """Take the size of a nested order out of an object; return it with its unit."""
    order = rest.pop("order", None)
    if order is None:
        return None, ""
    if not isinstance(order, Mapping):
        raise field_fault("order", "An order is an object with amount and currency_type.")
    for name in order:
        if name not in ("amount", "currency_type"):
            raise unread(str(name), f"order.{name}")
    return order.get("amount"), str(order.get("currency_type") or "")


def closed_share(rest: dict[str, Any]) -> Any:
    """Return the share that an exit closes: all, or the percent of the position that it states."""
    amount, unit = _order_amount(rest)
    if amount is None:
        return None
    if unit != _OF_POSITION:
        raise ambiguous(
            f"order.amount {amount} of an exit", "a close of that much", "a close of everything",
            field="order.amount",
            write="Leave order out to close everything, or send it with position_percent.",
        )  # fmt: skip
    share = read_decimal(amount, field="order.amount", positive=True) / 100
    if share > 1:
        raise field_fault("order.amount", "More than 100 % of the position cannot be closed.")
    return plain(share)


def read_positions(rest: dict[str, Any], notes: list[Note]) -> dict[str, Any]:
    """Return the strategy's position and sizes that an object states."""
    info = rest.pop("strategy_info", None)
    found = dict(info) if isinstance(info, Mapping) else {}
    for name in ("market_position", "market_position_size", "prev_market_position",
                 "prev_market_position_size", "position_size", "contracts"):  # fmt: skip
        if name in rest:
            found[name] = rest.pop(name)
    amount, unit = _order_amount(rest)
    if amount is not None and found:
        found["contracts"] = amount
    elif amount is not None:
        require_entry_size("order.amount", f"{amount}%p" if unit == _OF_POSITION else str(amount))
        notes.append(Note(f"order.amount {amount} {unit}".strip(), SIZING))
    sentiment = rest.pop("sentiment", None)
    if sentiment is not None:
        word = _SENTIMENTS.get(str(sentiment).strip().lower())
        if word is None:
            raise field_fault("sentiment", f"{excerpt(str(sentiment))} is not long, short or flat.")
        if str(found.get("market_position", word)).lower() != word:
            raise field_fault("sentiment", "sentiment and market_position differ.")
        found["market_position"] = word
    return found


def require_same_side(action: str, positions: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for an entry beside a position that it does not lead to."""
    if positions and positions != {"market_position": action.removeprefix("enter_")}:
        stated = ", ".join(f"{name} {positions[name]}" for name in sorted(positions))[:120]
        raise ambiguous(
            f"{action} beside {stated}", "an entry", "an order that ends or turns a trade",
            field="action", write="Send buy or sell with the position, or the action alone.",
        )  # fmt: skip


def after_reversal(action: str, positions: dict[str, Any]) -> dict[str, Any]:
    """Return the positions with the one before a buy that ends long, or a sell that ends short.

    Whether it enters, adds or reverses, it does the same to the feed: what is open on the other
    side is closed, and one trade is opened. So it is read as a reversal, which does just that.
    """
    opposite = {("buy", "long"): "short", ("sell", "short"): "long"}
    before = opposite.get((action, str(positions.get("market_position")).lower()))
    if before and set(positions) == {"market_position"}:
        return positions | {"prev_market_position": before}
    return positions


def field_fault(name: str, detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field=name)
