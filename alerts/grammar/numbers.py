"""Numbers as people write them in texts: points, decimal commas, thousands. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, Context, Decimal
from itertools import islice, pairwise

from alerts.grammar.levels import magnitude
from alerts.grammar.lexicon import Kind, Token, is_multiple
from alerts.grammar.reading import refusal
from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.units import AssetClass
from signals.symbols import asset_class

_PLAIN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)
_THOUSANDS_WITH_POINT = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+\.[0-9]+", re.ASCII)
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
        raise refusal(
            "list_without_gaps",
            field=field,
            text=text,
            shown=", ".join(parts),
            joined=text.replace(",", ""),
        )
    if is_grouped or _THOUSANDS_WITH_POINT.fullmatch(text):
        return read_decimal(text.replace(",", ""), field=field, positive=True)
    if match := _COMMA.fullmatch(text):
        return _with_comma(text, match[1], match[2], field)
    if len(parts) > 1 and all(map(_PLAIN.fullmatch, parts)):
        raise refusal("several_numbers", field=field, text=text, shown=", ".join(parts[:3]))
    raise refusal("no_number", field=field, text=text[:40])


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
        raise refusal(
            "comma_of_thousands", field=field, text=text, point=point, joined=whole + after
        )
    is_one = after[0] == "0" or whole == "0" or (len(whole) == 1 and len(after) >= 4)
    if not is_one:
        raise refusal(
            "comma_of_list", field=field, text=text, whole=whole, after=after, point=point
        )
    return read_decimal(point, field=field, positive=True)


def mixed_separators(texts: list[str]) -> InvalidInputError | None:
    """Return the error if 18.250 beside a decimal comma may be thousands; None: it is clear."""
    has_comma = any(_COMMA.fullmatch(text) for text in texts)
    for text in texts:
        if has_comma and _POINT_AND_THREE.fullmatch(text):
            return refusal("mixed_separators", text=text, joined=text.replace(".", ""))
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
    return refusal(
        "thousands_with_point", field=field, text=texts[0], joined=texts[0].replace(".", "")
    )


_HOUR, _PAIR = "(?:[01]?[0-9]|2[0-3])", "[0-5][0-9]"
_TIME = re.compile(rf"(?<![0-9.,]){_HOUR} : {_PAIR}(?: : {_PAIR})?(?![0-9.,])")
_JOINT = "( ?[-/.] ?)"
_DATE = re.compile(
    rf"(?<![0-9.,])(?:20[0-9]{{2}}{_JOINT}[01]?[0-9]\1[0-3]?[0-9]"
    rf"|[0-3]?[0-9]{_JOINT}[01]?[0-9]\2(?:20)?[0-9]{{2}})(?![0-9.,])"
)
_FIRST_GROUP, _GROUP = re.compile("[1-9][0-9]{0,2}"), re.compile(r"[0-9]{3}(?:[.,][0-9]+)?")


def part_of_number(tokens: Sequence[Token], place: int) -> InvalidInputError | None:
    """Return the error for a number that is only a part: of a time, 14:30, of a date, 2026-11-28,
    or of a price with a space, 64 500; None: it is none of them."""
    around = " ".join(token.text for token in tokens[max(0, place - 4) : place + 5])
    if found := _DATE.search(around) or _TIME.search(around):
        return refusal("time_or_date", found=found[0].replace(" ", ""))
    texts = [token.text for token in tokens[max(0, place - 1) : place + 2]]
    for before, number in pairwise(texts):
        if _FIRST_GROUP.fullmatch(before) and _GROUP.fullmatch(number):
            return refusal("space_in_number", before=before, number=number)
    return None


_SIZES = {Kind.SIZE, Kind.LEVERAGE, Kind.RISK, Kind.RATIO}

_FAR = 10  # how far below a symbol's prices a number must be to be none of them
_CLEAR_DECIMAL_COMMA = re.compile(r"[1-9][0-9]*,0(?:[0-9]|[0-9]{3,})?|0,[0-9]+|[1-9],[0-9]{4,}")
_POINT_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+", re.ASCII)
_POINT_AND_COMMA = re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]{1,2}", re.ASCII)


def with_clear_numbers(tokens: list[Token]) -> list[Token]:
    """Return the tokens with those numbers written as in English that the habit makes clear.

    Prices show it and follow it; a size may be copied from elsewhere.
    """
    prices = {place for place, token in enumerate(tokens) if _is_price(tokens, place)}
    texts = [tokens[place].text for place in sorted(prices)]
    pairs = [token.pair for token in tokens if token.kind is Kind.SYMBOL]
    rewrite = _habit(texts, in_thousands=all(map(may_be_in_thousands, pairs)))
    if rewrite is None and pairs and _are_only_thousands(texts, pairs):
        rewrite = _without_commas
    if rewrite is None:
        return tokens
    return [
        replace(token, text=rewrite(token.text)) if place in prices else token
        for place, token in enumerate(tokens)
    ]


def _is_price(tokens: list[Token], place: int) -> bool:
    """Whether a number is of no size, leverage or risk: `lot 0.10`, `0.10 lots`. In `66,000 | 10x`
    the leverage has its own number."""
    if tokens[place].kind is not Kind.NUMBER:
        return False
    before = next(_words(tokens, range(place - 1, -1, -1)), None)
    after = list(islice(_words(tokens, range(place + 1, len(tokens))), 2))
    is_unit = bool(after) and after[0].kind in _SIZES and not is_multiple(after[0].text)
    is_unit &= [one.kind for one in after[1:]] != [Kind.NUMBER]
    return not (is_unit or (before is not None and before.kind in _SIZES))


def _are_only_thousands(texts: list[str], pairs: list[str]) -> bool:
    """Whether 43,000 is no price of these symbols with a decimal comma, and one with thousands: a
    bitcoin at 43 is not sold."""
    unclear = [text for text in texts if _THOUSANDS.fullmatch(text)]
    return all(
        Decimal(text.replace(",", ".", 1).replace(",", "")) * _FAR < low
        and low <= Decimal(text.replace(",", "")) <= high
        for low, high in map(magnitude, pairs) for text in unclear
    )  # fmt: skip


def _words(tokens: list[Token], places: range) -> Iterator[Token]:
    """Yield the tokens at these places, without marks."""
    return (tokens[place] for place in places if tokens[place].kind is not Kind.MARK)


def _habit(texts: list[str], *, in_thousands: bool) -> Callable[[str], str] | None:
    """Return how to write a number of the one habit that a text shows; None: none, or several.

    in_thousands: whether its symbol may be quoted so, and 2.345,50 be a price.
    """
    has_english = any(map(_THOUSANDS_WITH_POINT.fullmatch, texts))
    has_continental = any(map(_POINT_AND_COMMA.fullmatch, texts)) and in_thousands
    has_decimal_comma = any(map(_CLEAR_DECIMAL_COMMA.fullmatch, texts))
    if has_english and not (has_continental or has_decimal_comma):
        return _without_commas
    if has_continental and not has_english:
        return _without_points
    if has_decimal_comma and not has_english:
        return _with_point
    return None


def _without_commas(text: str) -> str:
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _without_points(text: str) -> str:
    if _POINT_AND_COMMA.fullmatch(text) or _POINT_THOUSANDS.fullmatch(text):
        text = text.replace(".", "")
    return _with_point(text)


def _with_point(text: str) -> str:
    is_decimal = _COMMA.fullmatch(text) and len(text.partition(",")[2]) != 3
    return text.replace(",", ".") if is_decimal else text
