"""The levels and the pending price of a comma command: prices, pips or percent. Pure.

Levels without a unit are pips for pairs of major currencies, where no price looks like that.
"""

from collections.abc import Mapping
from decimal import Decimal

from alerts.grammar.level_support import apart, looks_like_distance
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import Distance, Unit, ambiguous
from alerts.grammar.targets import read_pips
from common.money import plain, read_decimal

_LEVELS = ("sl", "tp")
_SHOWN = {"pips": "pips", "pct": "percent", "price": "price"}
_MAJORS = {"EUR", "USD", "GBP", "CHF", "AUD", "NZD", "CAD"}
_LEAST_PIPS, _NEAR = Decimal(5), Decimal("0.05")


def require_clear_price(
    command: str, kind: str, price: str, pair: str, levels: Mapping[str, str]
) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for a price of a market order, and for one that may
    be pips from the market. levels: those that are prices; one near it shows that it is one."""
    if kind == "MARKET":
        raise ambiguous(
            f"{command} with the price {price}", "an entry at market", "an order at that price",
            field="open_price",
            write=f"Leave the price out, or send {command}limit or {command}stop."
            if command in ("buy", "sell") else "Leave the price out, or send buylimit or sellstop.",
        )  # fmt: skip
    number = read_decimal(price, field="price", positive=True)
    is_like_level = any(apart(number, Decimal(text)) <= _NEAR for text in levels.values())
    is_large = _is_major(pair) and number >= _LEAST_PIPS
    if is_large or (looks_like_distance(pair, number) and not is_like_level):
        raise ambiguous(
            f"price={price}", "a price", "pips from the market", field="open_price",
            write="Send it with all decimals of a price, like price=1.0850, or with sl_price=.",
        )  # fmt: skip


def take_levels(
    options: dict[str, str], pair: str, mapping: AlertMapping
) -> tuple[dict[str, str], tuple[Distance, ...]]:
    """Return the levels that are prices, and those that are distances."""
    prices, distances, units = {}, [], dict[str, str]()
    for level in _LEVELS:
        names = (level, f"{level}_price", f"{level}_pips", f"{level}_pct")
        given = [name for name in names if name in options]
        if len(given) > 1:
            raise ambiguous(
                f"{given[0]}= with {given[1]}=", "the one", "the other", field=level,
                write="Send one of them.",
            )  # fmt: skip
        if not given:
            continue
        text = options.pop(given[0])
        number = read_decimal(text, field=level, positive=True)
        if given[0].endswith("_pips"):
            number = read_pips(text, level)
        unit = given[0].removeprefix(level).lstrip("_") or _unit(level, number, pair, mapping)
        units[given[0]] = unit
        if unit == "price":
            prices[level] = text
        else:
            distances.append(
                Distance(level, number, Unit({"pips": "PIPS", "pct": "PERCENT"}[unit]))
            )
    if set(units) == set(_LEVELS) and len(set(units.values())) > 1:  # one setting is for both
        raise ambiguous(
            f"sl= in {_SHOWN[units['sl']]} and tp= in {_SHOWN[units['tp']]}",
            "what each looks like", "both in one unit", field="sl",
            write="Send sl_pips=, sl_price= or sl_pct=, and so for tp.",
        )  # fmt: skip
    return prices, tuple(distances)


def _is_major(pair: str) -> bool:
    base, _, quote = pair.partition("/")
    return {base, quote} <= _MAJORS


def _unit(level: str, number: Decimal, pair: str, mapping: AlertMapping) -> str:
    """Return the unit of a level that is sent without one. Raises ALERT_AMBIGUOUS."""
    if mapping.distances:
        return {"PIPS": "pips", "PERCENT": "pct", "PRICE": "price"}[mapping.distances]
    if _is_major(pair):  # their prices are 0.3 to 3
        if number >= _LEAST_PIPS:
            return "pips"
        exponent = number.as_tuple().exponent
        if isinstance(exponent, int) and exponent <= -3 and Decimal("0.3") <= number < 3:
            return "price"
    shown = plain(number)
    raise ambiguous(
        f"{level}={shown} of {pair}", f"{shown} pips", f"the price {shown}", f"{shown} percent",
        field=level,
        write=f"Send {level}_pips=, {level}_price= or {level}_pct=, or choose it in the feed's "
        "mapping.",
    )  # fmt: skip
