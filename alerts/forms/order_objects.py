"""Objects of TradersPost, 3Commas and their like: `ticker/action/sentiment`. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from alerts.forms.fields import NOTHING, Command, Form, Stated
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    Distance,
    LevelForm,
    Note,
    Reading,
    Unit,
    refusal,
    require_entry_size,
    unread,
)
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.reason_codes import Code
from signals.models import Action, Direction
from signals.reading.fields import read_time
from signals.reading.strict_json import first_duplicate
from signals.symbols import read_symbol

ORDER = Form("object")
POSITIONS = ("market_position", "prev_market_position", "position_size")
_SIZES = ("market_position_size", "prev_market_position_size", "contracts")
_NESTED = ("takeProfit", "stopLoss", "order", "strategy_info", "strategy")
_WAITS = ("open_price", "stop_price")
STOPS, TARGETS = ("sl", "stop_loss"), ("tp", "take_profit", "targets")
_PRICES = {"stopLoss": ("stopPrice", "price"), "takeProfit": ("limitPrice", "price")}
_CENT = Decimal("1e-8")
# What extras may not have: {"dryRun": true}, {"stopLoss": 140}.
_CHANGES = re.compile(
    r"test|dry.?run|paper|simul|demo|clos|reduce|exit|cancel|disab|enab|ignor|skip|inver|revers",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"(?:stop|\bsl\b|\btp[0-9]?\b|profit|target|limit|trail|trigger|break.?even|expir|delay)"
    r'[^"]*"\s*:',
    re.IGNORECASE,
)


def items_of(parsed: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys and values; those of an object within it with a point, `stopLoss.stopPrice`."""
    require_no_duplicate(parsed)
    for key, value in parsed.items():
        if key in _NESTED and isinstance(value, Mapping):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def require_no_duplicate(parsed: Mapping[str, Any]) -> None:
    if duplicate := first_duplicate(parsed):
        raise refusal("no_duplicate", field=duplicate, duplicate=duplicate)


def read_order_object(
    parsed: Mapping[str, Any], action: str, command: Command, mapping: AlertMapping
) -> Reading:
    if not any(parsed.get(name) for name in ("ticker", "symbol", "tv_instrument")):
        raise refusal("order_object", write=ORDER.write)
    _require_plain_extras(parsed.get("extras"))
    stated = ORDER.read(items_of(parsed))
    _require_whole(parsed)
    stated.take("action")
    symbol = symbol_of_object(stated, mapping)
    document = {"ticker": symbol, **stated.take_all("timenow"), **stated.own}
    if command.action in ("CANCEL", "CLOSE"):
        if "order_id" in document:
            raise unread("order_id")  # of that order only?
        _refuse_levels(parsed, action)
    if command.action == "CANCEL":
        return _cancel(stated, symbol, document.get("timenow"))
    if command.action == "CLOSE":
        return _close(stated, action, command.side, document)
    levels, distances = _levels(parsed, stated, command)
    positions = _positions(stated)
    for name, value in levels.items():
        other = {"sl": "stop_loss", "tp": "take_profit"}[name]
        document[name if document.get(name) is None else other] = value
    document |= _entry_price(stated, is_exit=positions.get("market_position") == "flat")
    stated.refuse_rest()
    form = _form_of(parsed)
    if command.action == "OPEN":
        _require_same_side(action, positions)
        document |= {"action": Action.OPEN.value, "direction": command.side}
        return Reading(
            Dialect.ORDER_OBJECT, document, notes=tuple(stated.notes), distances=distances,
            level_form=form,
        )  # fmt: skip
    if command.side and not positions and has_both_levels(parsed):
        document["direction"] = command.side
    else:
        document |= {"action": parsed.get("action"), **_after_reversal(command, positions)}
    if not document.get("timenow"):
        reason = "an equal message within 5 minutes counts as the same one"
        stated.notes.append(Note("no time", reason, explains=True))
    dialect = Dialect.STRATEGY_OBJECT if positions else Dialect.ORDER_OBJECT
    return Reading(dialect, document, notes=tuple(stated.notes), needs_time=False, level_form=form)


def symbol_of_object(stated: Stated, mapping: AlertMapping) -> Any:
    text, exchange = stated.take("ticker"), stated.take("exchange")
    if not isinstance(text, str):
        raise refusal("symbol_of_object")
    pair = mapping.symbol_of(text)
    is_apart = pair == text and isinstance(exchange, str) and ":" not in text
    return f"{exchange}:{text}" if is_apart else pair


def _cancel(stated: Stated, symbol: str, time: Any) -> Reading:
    stated.take("price")  # at which it was sent
    stated.refuse_rest()
    if stated.shares:
        raise fault("quantity", "A cancel ends an entry as a whole: leave quantity out.")
    sent_at = None if time is None else read_time(time)
    update = AlertUpdate(pair=read_symbol(symbol), cancels=True, sent_at=sent_at)
    return Reading(Dialect.ORDER_OBJECT, update=update, notes=tuple(stated.notes))


def _close(
    stated: Stated, action: str, side: Direction | None, document: dict[str, Any]
) -> Reading:
    """Return a close by symbol, of all or of a stated share."""
    document |= {"action": Action.CLOSE.value} | ({"direction": side.value} if side else {})
    if (share := stated.take("close_fraction")) is None:
        stated.require_no_size("an exit")
        share = _share(stated)
    if share is not None:
        document["close_fraction"] = share
    if stated.take("sentiment") not in (None, "flat"):
        raise refusal("exit_with_position")
    if action != "close" and stated.take("price"):
        stated.notes.append(Note("price", "an exit is made at market"))
    _require_market_exit(stated, action)
    stated.refuse_rest()
    return Reading(Dialect.ORDER_OBJECT, document, notes=tuple(stated.notes))


def _share(stated: Stated) -> str | None:
    """Return the share of the position that a nested order states; None for none."""
    amount, unit = stated.take("amount"), stated.take("amount_unit")
    if amount is not None and unit != "position_percent":
        raise refusal("amount_of_exit", amount=amount)
    if amount is None:
        return None
    return plain(read_decimal(amount, field="order.amount", positive=True) / 100)


def _levels(
    parsed: Mapping[str, Any], stated: Stated, command: Command
) -> tuple[dict[str, Any], tuple[Distance, ...]]:
    """Return the nested levels: prices, and percents of an entry that states no price and no other
    level. A percent or an amount counts from the price that the object itself states."""
    given = {name: one for name in ("tp", "sl") if (one := stated.values.pop(name, None))}
    for name, key in (("sl", "stopLoss"), ("tp", "takeProfit")):
        if parsed.get(key) is not None and name not in given:
            raise fault(key, f"Send {key} with one of {_PRICES[key][0]}, percent and amount.")
    prices = ("open_price", "stop_price", "price")
    entry = next((stated.values[name].value for name in prices if name in stated.values), None)
    flat = any(stated.own.get(name) not in NOTHING for name in (*STOPS, *TARGETS))
    found, distances = dict[str, Any](), list[Distance]()
    for name, one in given.items():
        if one.unit == "PRICE":
            found[name] = one.value
            continue
        size = read_decimal(one.value, field=one.key, positive=True)
        if one.unit == "PERCENT" and command.action == "OPEN" and entry is None and not flat:
            distances.append(Distance(name, size, Unit.PERCENT))
            continue
        if entry is None or command.side is None:
            raise fault(one.key, "It counts from a price: send limitPrice or signalPrice too.")
        start = read_decimal(entry, field="signalPrice", positive=True)
        distance = start * size / 100 if one.unit == "PERCENT" else size
        sign = 1 if (command.side == Direction.BUY) == (name == "tp") else -1
        price = (start + sign * distance).quantize(_CENT, ROUND_HALF_EVEN)
        if price <= 0:
            raise fault(one.key, f"{plain(size)} is the whole price or more.")
        unit = " %" if one.unit == "PERCENT" else ""
        reason = f"{plain(size)}{unit} from {plain(start)}: {plain(price)}"
        stated.notes.append(Note(one.key, reason, explains=True))
        found[name] = plain(price)
    return found, tuple(distances)


def _form_of(parsed: Mapping[str, Any]) -> LevelForm:
    """Return how an object writes its levels: as numbers, if it has one that is not nested."""
    nested = [parsed[name] for name in _NESTED[:2] if isinstance(parsed.get(name), Mapping)]
    if not nested or any(parsed.get(name) not in NOTHING for name in (*STOPS, *TARGETS)):
        return LevelForm.NUMBER
    is_counted = all({"percent", "amount"} & set(level) for level in nested)
    return LevelForm.COUNTED if is_counted else LevelForm.PRICE


def has_both_levels(parsed: Mapping[str, Any]) -> bool:
    """Whether an object states a stop and a target as prices. Both, each on its side, are an
    entry's: of an exit they would lie the other way round."""

    def is_stated(ours: tuple[str, ...], name: str) -> bool:
        level = parsed.get(name)
        inner = level if isinstance(level, Mapping) else {}
        values = (*map(parsed.get, ours), *map(inner.get, _PRICES[name]))
        return any(value not in NOTHING for value in values)

    return is_stated(STOPS, "stopLoss") and is_stated(TARGETS, "takeProfit")


def _positions(stated: Stated) -> dict[str, Any]:
    """Return the strategy's position and sizes that an object states."""
    found = stated.take_all(*POSITIONS, *_SIZES)
    amount, unit = stated.take("amount"), str(stated.take("amount_unit") or "")
    if amount is not None and found:
        found["contracts"] = amount
    elif amount is not None:
        of_position = "%p" if unit == "position_percent" else ""
        require_entry_size("order.amount", f"{amount}{of_position}")
        stated.notes.append(Note(f"order.amount {amount} {unit}".strip(), SIZING))
    if word := stated.take("sentiment"):
        if str(found.get("market_position", word)).lower() != word:
            raise fault("sentiment", "sentiment and market_position differ.")
        found["market_position"] = word
    return found


def _after_reversal(command: Command, positions: dict[str, Any]) -> dict[str, Any]:
    """Return the positions with the one before a buy that ends long, or a sell that ends short.

    Whether it enters, adds or reverses, it does the same to the feed: what is open on the other
    side is closed, and one trade is opened. So it is read as a reversal, which does just that.
    """
    opposite = {(Direction.BUY, "long"): "short", (Direction.SELL, "short"): "long"}
    after = str(positions.get("market_position")).lower()
    before = opposite.get((command.side, after)) if command.side else None
    is_alone = set(positions) == {"market_position"}
    return positions | ({"prev_market_position": before} if before and is_alone else {})


def _require_same_side(action: str, positions: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for an entry beside a position that it does not lead to."""
    if positions and positions != {"market_position": action.removeprefix("enter_")}:
        stated = ", ".join(f"{name} {positions[name]}" for name in sorted(positions))[:120]
        raise refusal("same_side", action=action, stated=stated)


def _entry_price(stated: Stated, *, is_exit: bool) -> dict[str, Any]:
    """Return the price and the type of an order in our own fields."""
    if is_exit:
        _require_market_exit(stated, "An exit")
    waits = next((one for name in _WAITS if (one := stated.values.get(name))), None)
    found = stated.take_all("order_type", *_WAITS, "price")
    if waits and found.get("order_type", "MARKET") == "MARKET":
        raise refusal("price_without_order_type", field=waits.key, waits=waits.key)
    if waits:
        found.pop("price", None)
    return found


def _require_market_exit(stated: Stated, what: str) -> None:
    """Raise ALERT_AMBIGUOUS for an exit that waits for a price."""
    kind = stated.values.get("order_type")
    waits = [one for name in _WAITS if (one := stated.values.get(name))]
    waits += [kind] if kind and kind.value != "MARKET" else []
    if waits:
        raise refusal("market_exit", field=waits[0].key, what=what, shown=waits[0].key)


def _refuse_levels(parsed: Mapping[str, Any], what: str) -> None:
    """Raise ALERT_AMBIGUOUS for a close or a cancel with levels."""
    for name in (*STOPS, *TARGETS, *_NESTED[:2]):
        if parsed.get(name) not in (*NOTHING, {}):
            raise refusal("levels_of_exit", field=name, key=name, what=what)


def _require_whole(parsed: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a share of a position, which an order alone does not close."""
    size = str(parsed.get("quantity") or "")
    is_of_position = "position" in str(parsed.get("quantityType") or "").lower()
    if is_of_position and size.removesuffix("%") not in ("100", "100.0"):
        raise refusal("whole", shown=size or "A quantity")


def _require_plain_extras(extras: Any) -> None:
    """Raise InvalidInputError for extras that can change what is meant, like {"dryRun": true}."""
    text = json.dumps(extras) if extras else ""
    if found := _CHANGES.search(text) or _ORDERS.search(text):
        raise refusal("plain_extras", found=found[0])


def fault(name: str, detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field=name)
