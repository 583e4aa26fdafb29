"""Map brokers' symbols to canonical pairs. Pure.

Brokers decorate symbols: `EURUSD.m`, `EURUSD-pro`, `EURUSDm`, `#AAPL`, `mEURUSD`. Without the
decoration, a symbol must be in the lists of `signals.symbols`. A symbol that cannot be read with
certainty is refused; then the adapter's own pair is used (`snapshots.pair_of`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
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


@dataclass(frozen=True, slots=True)
class Preferred:
    """The symbol of a pair, and the others of the pair that fit equally well.

    With such others, the symbol serves for prices only: an entry is denied until a subscription's
    symbol map names the symbol to trade.
    """

    symbol: str
    rivals: tuple[str, ...] = ()


# The account's own suffix: at least so many times as frequent in its list as those of the rivals.
_OWN_SUFFIX_RATIO = 2


def preferred(listed: Iterable[Listed]) -> dict[str, Preferred]:
    """Choose one symbol for each pair: pair → choice. The order of the list does not matter.

    1. A pair's plain name (`EURUSD`, `EUR/USD`; `AAPL`) before any other symbol.
    2. Without a plain name, the symbol with the account's own decoration: `EURUSD.m` before
       `EURUSD.x` if at least twice as many symbols of the list have `.m` as have the decorations of
       the pair's other symbols together.
    3. Otherwise the symbols fit equally well. The shortest is returned, then the first in the
       alphabet; the others are its rivals.
    """
    by_pair: dict[str, set[str]] = {}
    for item in listed:
        by_pair.setdefault(item.pair, set()).add(item.symbol)
    decorations = {
        pair: {symbol: _decoration(symbol, pair) for symbol in symbols}
        for pair, symbols in by_pair.items()
    }
    frequency = Counter(name for names in decorations.values() for name in names.values())
    return {pair: _choose(names, frequency) for pair, names in decorations.items()}


def _choose(decorations: Mapping[str, str], frequency: Mapping[str, int]) -> Preferred:
    """Choose one of a pair's symbols. decorations: by symbol; "": it is the plain name."""
    candidates = [symbol for symbol, name in decorations.items() if not name] or [
        symbol
        for symbol, name in decorations.items()
        if frequency[name]
        >= _OWN_SUFFIX_RATIO
        * sum(frequency[other] for other in {*decorations.values()} if other != name)
    ]
    first, *rivals = sorted(candidates or decorations, key=lambda symbol: (len(symbol), symbol))
    return Preferred(first, tuple(rivals))


def _decoration(symbol: str, pair: str) -> str:
    """Return what a symbol has beside the pair's name: `*.m` of EURUSD.m, `#*` of #AAPL.

    Another name than the pair's (GOLD for XAU/USD) is a decoration of its own.
    """
    base, _, quote = pair.rpartition("/")
    for name in (f"{re.escape(base)}[/_.-]?{re.escape(quote)}", re.escape(base)):
        if match := re.search(name, symbol, re.ASCII | re.IGNORECASE):
            before, after = symbol[: match.start()], symbol[match.end() :]
            return f"{before}*{after}" if before or after else ""
    return symbol


def resolve(
    pair: str, *, symbol_map: Mapping[str, str] | None, preferred_symbol: str | None
) -> str | None:
    """Return the broker's symbol for a pair: the owner's choice, else the preferred one."""
    return (symbol_map or {}).get(pair) or preferred_symbol
