"""Map brokers' symbols to canonical pairs. Pure.

Brokers decorate symbols: `EURUSD.m`, `EURUSD-pro`, `EURUSDm`, `#AAPL`, `mEURUSD`. Without the
decoration, a symbol must be in the lists of `signals.symbols`. A symbol that cannot be read with
certainty is refused; then the adapter's own pair is used (`snapshots.pair_of`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals import symbols as known

_SUFFIX = re.compile(
    r"(?P<name>[A-Z0-9]{3,12}(?:[/_.-][A-Z0-9]{2,6})??)"
    r"(?:[._#!+-](?P<suffix>[A-Z0-9]{0,8})|[._#!+-]+)",
    re.ASCII | re.IGNORECASE,
)
# Most suffixes of a ticker name an exchange with another currency (SHOP.TO); these do not.
_SAME_TICKER = frozenset({None, "", "CASH", "CFD", "NAS", "NASDAQ", "NYSE", "SPOT", "US"})
# Suffixes without a separator; only those that brokers are known to use.
_GLUED = re.compile(r"(?P<name>[A-Z]{6})(?:m|c|z|pro|ecn|raw|micro|mini)", re.ASCII)
_PREFIX = re.compile(r"[#._]?(?P<name>.+)", re.ASCII)


def canonical(text: str) -> str:
    """Return `EUR/USD` for EURUSD, EUR_USD, eur/usd, EURUSD.m, EURUSD-pro, EURUSDm.

    Raises InvalidInputError SYMBOL_UNKNOWN if no reading of it is in the lists.
    """
    for reading, suffix in _readings(text.strip()):
        try:
            pair = known.known_pair(reading)
        except InvalidInputError:
            continue
        is_ticker = pair.startswith(f"{reading.upper()}/")
        if not is_ticker or (suffix.upper() if suffix else suffix) in _SAME_TICKER:
            return pair
    shortened = text if len(text) <= 40 else text[:40] + "…"
    raise InvalidInputError(Code.SYMBOL_UNKNOWN, f"{shortened!r} is not a known symbol.")


def _readings(text: str) -> Iterable[tuple[str, str | None]]:
    """Yield the possible names in a symbol, each with its cut-off suffix; the likeliest first."""
    yield text, None
    if match := _PREFIX.fullmatch(text):
        text = match["name"]
        yield text, None
    if match := _SUFFIX.fullmatch(text):
        yield match["name"], match["suffix"]
    if match := _GLUED.fullmatch(text):
        yield match["name"], None


@dataclass(frozen=True, slots=True)
class Listed:
    """A broker's symbol and its pair."""

    symbol: str
    pair: str


def preferred(listed: Sequence[Listed]) -> dict[str, str]:
    """Choose one symbol for each pair: pair → symbol.

    Of several symbols of one pair the plainest is traded: the shortest, then the first in the
    alphabet, so that the choice is always the same. A subscription's symbol map can name another.
    """
    chosen: dict[str, str] = {}
    for item in sorted(listed, key=lambda item: (len(item.symbol), item.symbol)):
        chosen.setdefault(item.pair, item.symbol)
    return chosen


def resolve(
    pair: str, *, symbol_map: Mapping[str, str] | None, preferred_symbol: str | None
) -> str | None:
    """Return the broker's symbol for a pair: the owner's choice, else the preferred one."""
    return (symbol_map or {}).get(pair) or preferred_symbol
