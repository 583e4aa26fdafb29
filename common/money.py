"""Decimals for money, prices and quantities: strict reading and rounding.

Never a float: `Decimal(0.1)` is already wrong. Text from outside is read by one strict grammar,
because Python's Decimal accepts `NaN`, `1_000`, full-width digits and `1e999`.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

from common.errors import InvalidInputError
from common.reason_codes import Code

DIGITS, PLACES = 38, 18
_PLAIN = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?", re.ASCII)
_LEADING_ZERO = re.compile(r"-?0[0-9]", re.ASCII)
_QUANTUM = Decimal(1).scaleb(-PLACES)
_WIDE = Context(prec=DIGITS + PLACES, rounding=ROUND_HALF_EVEN)


def read_decimal(value: object, *, field: str = "", positive: bool = False) -> Decimal:
    """Return the Decimal of a text in plain digits (`1.2345`, `-3`), an int or a Decimal.

    Rejects floats, exponents, NaN, infinities, separators, non-ASCII digits and more than 20
    digits before or 18 after the point. Raises InvalidInputError NUMBER_MALFORMED,
    NUMBER_NOT_POSITIVE.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidInputError(Code.NUMBER_MALFORMED, f"{value!r} is not a decimal.", field=field)
    text = format(value, "f") if isinstance(value, Decimal) and value.is_finite() else str(value)
    if not _PLAIN.fullmatch(text):
        excerpt = text if len(text) <= 40 else text[:40] + "…"
        raise InvalidInputError(
            Code.NUMBER_MALFORMED,
            f"{excerpt!r} is not a plain decimal such as 1.2345.",
            field=field,
        )
    number = Decimal(text) or Decimal(0)  # -0 is 0
    if positive and number <= 0:
        raise InvalidInputError(
            Code.NUMBER_NOT_POSITIVE, f"{text} must be greater than 0.", field=field
        )
    return number


def canonical(text: str) -> str:
    """Return a plain decimal without trailing zeros, so that equal ones are equal texts.

    Any other text, also one with leading zeros, as an id may have, is returned as it is.
    """
    if not _PLAIN.fullmatch(text) or _LEADING_ZERO.match(text):
        return str(text)
    return plain(Decimal(text))


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `quantity` (both >= 0)."""
    return quantity // step * step


def ceil_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` that is not below `quantity` (both >= 0)."""
    floored = floor_to_step(quantity, step)
    return floored if floored == quantity else floored + step


def to_stored(value: Decimal) -> Decimal:
    """Round to numeric(38,18), so that comparisons use the stored value."""
    return _WIDE.quantize(value, _QUANTUM)


def rounded_apart(value: Decimal, bound: Decimal, places: int = 2) -> Decimal:
    """Round a value to `places`, or to as many more as keep it on its side of a bound.

    So a value that breaks a limit never reads as equal to it.
    """
    for digits in range(places, PLACES):
        shown = value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN, _WIDE)
        if (shown > bound, shown < bound) == (value > bound, value < bound):
            return shown
    return value


def percent_apart(a: Decimal, b: Decimal) -> Decimal:
    """Return how far the larger of two positive numbers is above the smaller, in percent of it."""
    low, high = sorted((a, b))
    return _WIDE.divide(_WIDE.multiply(_WIDE.subtract(high, low), Decimal(100)), low)


def significant(value: Decimal, digits: int = 6, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    """Round a value to significant digits, but no whole units: `0.0000123457`, `12345678`.

    So what is small in absolute terms, such as the spread of a low-priced coin, does not become 0.
    """
    places = max(0, digits - 1 - value.adjusted()) if value else 0
    return value.quantize(Decimal(1).scaleb(-places), rounding, _WIDE)


def rounded_apart_sql(value: str, bound: str) -> str:
    """Return SQL of `rounded_apart` to two places. value, bound: SQL of numeric(38,18) values."""
    half_even = (
        f"CASE WHEN mod(abs({value}) * power(10::numeric, digits), 2) = 0.5"
        f" THEN trunc({value}, digits) ELSE round({value}, digits) END"
    )
    return f"""coalesce((SELECT shown FROM (
      SELECT digits, {half_even} AS shown FROM generate_series(2, {PLACES - 1}) digits) rounded
    WHERE sign(shown - {bound}) = sign({value} - {bound}) ORDER BY digits LIMIT 1), {value})"""


def divide(a: Decimal, b: Decimal) -> Decimal:
    """Divide at full precision and round to numeric(38,18)."""
    return _WIDE.quantize(_WIDE.divide(a, b), _QUANTUM)


def plain(value: Decimal | None) -> str:
    """Return a Decimal as text without exponent or trailing zeros: `1.386`; None is empty."""
    if value is None:
        return ""
    text = format(value or abs(value), "f")  # -0 is 0
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain_or_none(value: Decimal | None) -> str | None:
    """Return `plain(value)`, or None for None."""
    return None if value is None else plain(value)
