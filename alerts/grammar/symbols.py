"""Spellings of symbols: with a suffix of a broker, glued to a word, by initials. Pure."""

import re
from collections.abc import Collection

from alerts.grammar.levels import listed_pair
from alerts.grammar.lexicon import LEXICON, NOT_SYMBOLS, WORDS
from alerts.grammar.reading import refusal
from alerts.grammar.words import meaningful
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.units import AssetClass
from signals.common_names import is_spoken
from signals.symbols import asset_class, is_currency_or_metal, is_exchange, known_pair, read_symbol

_SUFFIXES = "m|c|i|k|r|s|x|z|pro|ecn|raw|std|stp|micro|mini|cent|prime|vip|cash|spot|cfd|zero|plus"
_AT = r"(?:[A-Z0-9_]{1,20}:)?"
_APART = re.compile(
    rf"{_AT}(?P<name>[A-Z]{{6}}|[A-Z]{{2,6}}[0-9]{{2,4}})[._-](?:{_SUFFIXES})", re.IGNORECASE
)
_GLUED = re.compile(rf"{_AT}(?P<name>[A-Z]{{6}})(?:m|c|z|pro|ecn|raw|micro|mini)", re.ASCII)
_PERPETUAL = re.compile(rf"{_AT}(?P<name>[A-Z0-9]{{5,16}})[._-]PERP", re.IGNORECASE)


def without_suffix(text: str) -> str:
    """Return the pair of a symbol with a broker's suffix; the text as it is if it has none."""
    match = _APART.fullmatch(text) or _GLUED.fullmatch(text) or _PERPETUAL.fullmatch(text)
    if match is None or not text.isascii():
        return text
    try:
        pair = known_pair(match["name"])
    except InvalidInputError:
        return text
    kind = asset_class(pair)
    is_share = kind is AssetClass.OTHER and match["name"].isalpha()
    is_other_coin = kind is AssetClass.CRYPTO and text.endswith("USDc")  # BTC/USDC
    return text if is_share or is_other_coin else pair


_CURRENCIES = {"E": "EUR", "G": "GBP", "A": "AUD", "N": "NZD", "C": "CAD", "U": "USD", "J": "JPY"}
_OTHERS = {"GC", "NG"}  # futures of gold and gas


def refuse_initials(text: str) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for the initials of a pair."""
    is_pair = len(text) == 2 and text[0] != text[1] and set(text) <= set(_CURRENCIES)
    if not is_pair or text[0] == "J" or text in _OTHERS:
        return
    pair = "/".join(_CURRENCIES[letter] for letter in text)
    raise refusal("initials", text=text, pair=pair)


_VOCABULARY = WORDS - {"usdt"}
_JOINT = re.compile("([/:._-])")
# With a price or a chart's length behind it: XAUUSD2345, EURUSD1H.
_PRICED = re.compile(r"(?P<pair>[A-Za-z]{6,9})[0-9][0-9.]*[A-Za-z]?", re.ASCII)
_ORDERED = re.compile(
    r"(?P<pair>[A-Za-z0-9]{3,12}?)(?:now|market|cmp|limit|stop|buy|sell|long|short|sl|tp[0-9]?|entry)",
    re.ASCII | re.IGNORECASE,
)
_CHART = re.compile("[0-9]{1,2}[mhdw]|[mhdw][0-9]{1,2}", re.ASCII | re.IGNORECASE)
_LONG = 6
_DATE = re.compile("[0-9]{6}", re.ASCII)  # of a contract: BTCUSDT_260327


def is_glued(text: str, words: Collection[str]) -> bool:
    """Whether a word is a symbol and something else. words: in capitals, that are no symbols."""
    head, *rest = _JOINT.split(text)
    if not rest:
        match = _PRICED.fullmatch(text) or _ORDERED.fullmatch(text)
        return match is not None and not listed_pair(text) and bool(listed_pair(match["pair"]))
    if (match := _PRICED.fullmatch(head)) and listed_pair(match["pair"]):
        return True
    if head.lower() in _VOCABULARY and len(rest[1]) >= _LONG and listed_pair(rest[1]):
        return rest[0] != ":"  # LIMIT/EURUSD; a label's colon stays one
    if rest[0] == ":" and is_exchange(head):
        return False  # NYSE:NOW
    parts = list(zip(rest[::2], rest[1::2], strict=True))
    is_other = any(
        part.upper() in words
        or part.lower() in _VOCABULARY
        or _is_number(joint, part)
        or _CHART.fullmatch(part)
        for joint, part in parts
    )
    joint, tail = parts[0]
    is_settled = is_currency_or_metal(tail) or tail.upper().startswith("USD")
    return bool(is_other or (joint == ":" and listed_pair(head) and not is_settled))


def _is_number(joint: str, part: str) -> bool:
    return part.isdigit() and not (joint in "-_" and _DATE.fullmatch(part))


# Contracts of small coins count them by the thousand.
_THOUSANDS = re.compile(
    rf"(?:1000|10000|1000000|1M)(?:{'|'.join(LEXICON['symbols']['thousands'])})/?US(?:DT|DC|D)"
)
# A coin in dollars, which may be in no list: no other word ends so.
_COIN = re.compile(r"(?P<coin>[A-Z][A-Z0-9]{1,11})[/_-]?USD[TC]", re.ASCII)


def is_coin(text: str) -> bool:
    """Whether a text in capitals can only be a coin in dollars: ZENUSDT, but not LONGUSDT."""
    match = _COIN.fullmatch(text)
    coin = match["coin"] if match else ""
    is_other = coin in NOT_SYMBOLS or coin.lower() in WORDS or _is_word(coin)
    return bool(coin) and not is_other


def is_any_word(text: str) -> bool:
    """Whether nothing but its place shows that a word is a symbol: it is in no list, and has no
    digit."""
    return text.isalpha() and not listed_pair(text)


def pair_of(text: str, bare: str) -> str:
    """Return the pair of a word that can only be a symbol; '' for others.

    A word without a currency is one if it is marked as one, or a common name; `symbol_after_side`
    finds those beside the side.
    """
    is_upper = bare == bare.upper()
    if bare.upper() in NOT_SYMBOLS and not text.startswith("$"):
        return ""
    halves = bare.split("/")
    if len(halves) == 2 and all(len(half) >= 6 and listed_pair(half) for half in halves):
        raise refusal("two_symbols_as_one", *map(known_pair, halves), text=text)
    if text.startswith("#") and not is_spoken(bare) and _is_topic(bare):
        return ""
    try:
        if text != bare and bare[0].isdigit():
            return known_pair(bare) if listed_pair(bare) else _counted_in_thousands(bare)
        if text != bare:
            refuse_initials(bare)
            return read_symbol(bare)
        if ("/" in bare or ":" in bare) and (is_upper or bare == bare.lower()):
            return read_symbol(bare)
        if is_spoken(bare):
            return read_symbol(bare)
        if pair := _counted_in_thousands(bare):
            return pair
        if is_upper and is_coin(bare):
            return read_symbol(bare)
        is_long = len(bare) >= 6 or (is_upper and len(bare) >= 2)
        is_long |= any(letter.isdigit() for letter in bare)  # us30
        return known_pair(bare) if is_long else ""
    except InvalidInputError as error:
        if error.code == Code.ALERT_AMBIGUOUS:
            raise
        if text != bare:
            raise refusal("unclear_symbol", text=text) from error  # fmt: skip
        return ""


def _counted_in_thousands(text: str) -> str:
    """Return the pair of a perpetual contract like 1000PEPEUSDT; '' for another word."""
    plain = text.upper().removesuffix(".P")  # as charts name perpetuals
    return read_symbol(plain) if _THOUSANDS.fullmatch(plain) else ""


def _is_topic(text: str) -> bool:
    return _is_word(text) or (text.islower() and not listed_pair(text))


def _is_word(text: str) -> bool:
    """Whether a text is rather a word about a trade than a symbol: closed, later."""
    return len(text) > 4 and bool(meaningful(text))


def symbol_after_side(text: str) -> str:
    """Return the symbol of an upper-case word beside the side; '' if it can be another word."""
    word = re.fullmatch(r"[A-Z][A-Z0-9.]{1,11}(?:(?<=[A-Z])[12]!)?", text, re.ASCII)
    refuse_initials(text)
    if word is None or text in NOT_SYMBOLS or _is_word(text) or is_glued(text, NOT_SYMBOLS):
        return ""
    try:
        return read_symbol(text)
    except InvalidInputError:
        return ""
