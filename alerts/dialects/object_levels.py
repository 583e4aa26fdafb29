"""The stop and the target of an object as `takeProfit` and `stopLoss` state them. Pure.

A price is taken as it is. A percent or an amount counts from the price that the object itself
states, as TradersPost documents it; without one it is refused.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from alerts.grammar.reading import Distance, LevelForm, Note, Unit, excerpt, unread
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.reason_codes import Code
from signals.models import Direction

_PLACE = Decimal("1e-8")
_UNSUPPORTED = {
    "trailPrice": "Send JSON of ours with trailing_distance.",
    "trailAmount": "Send JSON of ours with trailing_distance.",
    "trailPercent": "Send JSON of ours with trailing_distance.",
    "relativePrice": "Send the price itself.",
}


class _Level(NamedTuple):
    """A nested object: our field, the names of its price, and whether it is on the gaining side."""

    ours: str
    prices: tuple[str, ...]
    gains: bool


_BARE = ("sl", "tp", "stop_loss", "take_profit", "targets")
_LEVELS = {
    "takeProfit": _Level("tp", ("limitPrice", "price"), gains=True),
    "stopLoss": _Level("sl", ("stopPrice", "price"), gains=False),
}


def form_of(parsed: Mapping[str, Any]) -> LevelForm:
    """Return how an object writes its levels: as numbers, if it has one that is not nested."""
    nested = [parsed[name] for name in _LEVELS if isinstance(parsed.get(name), Mapping)]
    if not nested or any(parsed.get(name) not in (None, "") for name in _BARE):
        return LevelForm.NUMBER
    is_counted = all({"percent", "amount"} & set(level) for level in nested)
    return LevelForm.COUNTED if is_counted else LevelForm.PRICE


def take_levels(
    rest: dict[str, Any], *, side: Direction | None, notes: list[Note]
) -> dict[str, Any]:
    """Take the nested levels out of an object; return them in our own fields.

    side: of the trade; None: it is not known. notes: gets how a distance was counted. Raises
    InvalidInputError with the name of a part that cannot be carried out.
    """
    entry = _stated_price(rest)
    found = {}
    for name, level in _LEVELS.items():
        value = rest.pop(name, None)
        if value is not None:
            found[level.ours] = _price(name, level, value, entry, side, notes)
    return found


def take_percents(rest: dict[str, Any], parsed: Mapping[str, Any]) -> tuple[Distance, ...]:
    """Take the levels in percent of an entry that states no price: they count from its fill, here
    from the quote of the moment. Beside a flat level, which may be the same one, none is taken."""
    if _stated_price(parsed) is not None or any(parsed.get(one) not in (None, "") for one in _BARE):
        return ()
    found = []
    for name, level in _LEVELS.items():
        value = parsed.get(name)
        if not isinstance(value, Mapping):
            continue
        given = {key: part for key, part in value.items() if part not in (None, "")}
        is_plain = given.get("type") in ((None,) if level.gains else (None, "stop"))
        if is_plain and given.keys() - {"type"} == {"percent"}:
            number = read_decimal(given["percent"], field=f"{name}.percent", positive=True)
            found.append(Distance(level.ours, number, Unit.PERCENT))
            del rest[name]
    return tuple(found)


def apart_from(levels: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested levels, under their other names where the object states the same level flat.

    One of them does not overwrite the other: both names together are refused as they are in our
    own fields, and a reversal still closes.
    """
    others = {"sl": ("stop_loss", ("sl", "stop_loss")),
              "tp": ("take_profit", ("tp", "take_profit", "targets"))}  # fmt: skip
    found = {}
    for name, value in levels.items():
        other, flat = others[name]
        stated = [one for one in flat if document.get(one) is not None]
        found[other if stated and stated[0] != other else name] = value
    return found


def _stated_price(rest: Mapping[str, Any]) -> Any:
    names = ("limitPrice", "stopPrice", "signalPrice", "price", "trigger_price")
    return next((rest[name] for name in names if rest.get(name) not in (None, "")), None)


def _price(
    name: str,
    level: _Level,
    value: Any,
    entry: Any,
    side: Direction | None,
    notes: list[Note],
) -> Any:
    if not isinstance(value, Mapping):
        raise _fault(name, f'Send {name} as {{"{level.prices[0]}": 1.0850}}.')
    given = {key: part for key, part in value.items() if part not in (None, "")}
    kind = given.pop("type", "stop")
    if kind != "stop" or (level.gains and "type" in value):
        raise _fault(f"{name}.type", f"{excerpt(str(kind))} cannot be carried out: send a price.")
    for key in given:
        if key in _UNSUPPORTED:
            raise _fault(f"{name}.{key}", f"It cannot be carried out here. {_UNSUPPORTED[key]}")
        if key not in (*level.prices, "percent", "amount"):
            raise unread(str(key), f"{name}.{key}")
    if len(given) != 1:
        raise _fault(name, f"Send one of {level.prices[0]}, percent and amount.")
    [(key, number)] = given.items()
    if key in level.prices:
        return number
    return _counted(name, key, number, entry, side, notes, gains=level.gains)


def _counted(
    name: str,
    key: str,
    number: Any,
    entry: Any,
    side: Direction | None,
    notes: list[Note],
    *,
    gains: bool,
) -> str:
    """Return the price at a distance from the object's own price."""
    if entry is None or side is None:
        raise _fault(
            f"{name}.{key}", f"A {key} counts from a price: send limitPrice or signalPrice too."
        )
    start = read_decimal(entry, field="signalPrice", positive=True)
    size = read_decimal(number, field=f"{name}.{key}", positive=True)
    distance = start * size / 100 if key == "percent" else size
    sign = 1 if (side == Direction.BUY) == gains else -1
    price = (start + sign * distance).quantize(_PLACE, ROUND_HALF_EVEN)
    if price <= 0:
        raise _fault(f"{name}.{key}", f"{plain(size)} is the whole price or more.")
    unit = " %" if key == "percent" else ""
    reason = f"{plain(size)}{unit} from {plain(start)}: {plain(price)}"
    notes.append(Note(f"{name}.{key}", reason, explains=True))
    return plain(price)


def _fault(name: str, detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field=name)
