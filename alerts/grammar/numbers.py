"""Numbers as people write them in texts: points, decimal commas, thousands. Pure."""

import re
from decimal import ROUND_DOWN, Context, Decimal

from alerts.grammar.reading import ambiguous, excerpt, not_understood
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.units import AssetClass
from signals.symbols import asset_class

_PLAIN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+", re.ASCII)
_THOUSANDS_WITH_POINT = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+\.[0-9]+", re.ASCII)
_POINT_AND_THREE = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}", re.ASCII)
_K = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)k", re.ASCII | re.IGNORECASE)
_ALIKE = 2  # how many times the highest price of a list may be the lowest one
_COMMA = re.compile(r"(0|[1-9][0-9]*),([0-9]+)", re.ASCII)


EXACT, PLACE = Context(prec=40, rounding=ROUND_DOWN), Decimal("1e-18")


def equal_parts(count: int) -> list[Decimal]:
    """Return equal shares of a trade, the last one with the rest."""
    part = EXACT.quantize(EXACT.divide(Decimal(1), Decimal(count)), PLACE)
    return [*[part] * (count - 1), 1 - part * (count - 1)]


def read_number(text: str, *, field: str = "") -> Decimal:
    """Return the number that a text can only mean. Raises InvalidInputError.

    1.0850 and 64,200.50 have one meaning; 1,085 could be 1.085 or 1085; 95,90 could be 95.90 or two
    prices, but 1,0850 only 1.0850.
    """
    if _PLAIN.fullmatch(text):
        return read_decimal(text, field=field, positive=True)
    parts = text.split(",")
    is_grouped = len(parts) > 2 and bool(_THOUSANDS.fullmatch(text))
    if is_grouped and _are_alike(parts):
        raise ambiguous(
            repr(text), text.replace(",", ""), f"the prices {', '.join(parts)}", field=field,
            write=f"Write {text.replace(',', '')}, or “{', '.join(parts)}” with spaces.",
        )  # fmt: skip
    if is_grouped or _THOUSANDS_WITH_POINT.fullmatch(text):
        return read_decimal(text.replace(",", ""), field=field, positive=True)
    if match := _COMMA.fullmatch(text):
        return _with_comma(text, match[1], match[2], field)
    if len(parts) > 1 and all(map(_PLAIN.fullmatch, parts)):
        raise not_understood(
            f"{excerpt(text)} is not one number.",
            f"Write a space after each comma: “{', '.join(parts[:3])}”.", field=field,
        )  # fmt: skip
    raise not_understood(
        f"{text[:40]!r} is not a number.", "Write prices like 1.0850 or 64200.5.", field=field
    )


def without_k(text: str) -> str:
    """Return a price like 63k in full, 63000; '' for another text."""
    match = _K.fullmatch(text)
    return plain(Decimal(match[1]) * 1000) if match else ""


def _are_alike(parts: list[str]) -> bool:
    """Whether the parts of 155,160,170 look like prices of one symbol."""
    numbers = [int(part) for part in parts]
    return min(numbers) >= 100 and max(numbers) < min(numbers) * _ALIKE


def _with_comma(text: str, whole: str, after: str, field: str) -> Decimal:
    """Return the number of digits, a comma and digits, if it has one meaning."""
    point = f"{whole}.{after}"
    if len(after) == 3 and whole != "0":
        raise ambiguous(
            repr(text), plain(Decimal(point)), whole + after, field=field,
            write=f"Write {point} or {whole}{after}.",
        )  # fmt: skip
    is_one = after[0] == "0" or whole == "0" or (len(whole) == 1 and len(after) >= 4)
    if not is_one:
        raise ambiguous(
            repr(text), plain(Decimal(point)), f"the two prices {whole} and {after}", field=field,
            write=f"Write {point}, or “{whole}, {after}” with a space.",
        )  # fmt: skip
    return read_decimal(point, field=field, positive=True)


def mixed_separators(texts: list[str]) -> InvalidInputError | None:
    """Return the error if 18.250 beside a decimal comma may be thousands; None: it is clear."""
    has_comma = any(_COMMA.fullmatch(text) for text in texts)
    for text in texts:
        if has_comma and re.fullmatch(r"[1-9][0-9]{0,2}\.[0-9]{3}", text, re.ASCII):
            return ambiguous(
                f"{text!r} beside a decimal comma", text, text.replace(".", ""),
                write="Write all prices with a point for decimals.",
            )  # fmt: skip
    return None


# Of these, prices with three decimals are usual, or thousands are impossible.
_BELOW_THOUSANDS = {
    "XAG", "OIL", "USOIL", "UKOIL", "WTI", "BRENT", "NATGAS", "XTI", "XBR", "XNG", "CL", "NG",
}  # fmt: skip
_COINS_IN_THOUSANDS = {"BTC", "XBT", "ETH", "MKR", "YFI", "BNB", "BCH", "PAXG"}


def may_be_in_thousands(pair: str) -> bool:
    """Whether prices of a symbol may be above 1000, as those of indices, gold and large coins."""
    base = pair.partition("/")[0]
    kind = asset_class(pair)
    is_small = kind is AssetClass.CRYPTO and base not in _COINS_IN_THOUSANDS
    return not (kind is AssetClass.FX or is_small or base in _BELOW_THOUSANDS)


def thousands_with_point(
    pair: str, texts: list[str], *, field: str = "open_price"
) -> InvalidInputError | None:
    """Return the error if all prices look like 18.250, which can be 18250; None: it is clear.

    Currencies and small coins are quoted with three decimals; indices, shares, gold and large coins
    are not, so there a point before three digits is as likely the one of thousands.
    """
    if not may_be_in_thousands(pair):
        return None
    if not texts or not all(_POINT_AND_THREE.fullmatch(text) for text in texts):
        return None
    text = texts[0]
    return ambiguous(
        repr(text), plain(Decimal(text)), text.replace(".", ""), field=field,
        write=f"Write {text}0 for the one, or {text.replace('.', '')} for the other.",
    )  # fmt: skip
