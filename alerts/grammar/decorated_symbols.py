"""Brokers' spellings of a symbol: `EURUSD.m`, `XAUUSD.raw`, `EURUSDm`, `US30.cash`. Pure.

A chart of such a broker sends its own spelling. It is the plain pair, which each account trades in
its broker's spelling. Shares keep their suffix, which names an exchange.
"""

import re

from common.errors import InvalidInputError
from common.units import AssetClass
from signals.symbols import asset_class, known_pair

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
