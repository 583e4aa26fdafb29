"""Suggest listed symbols that are similar to one that is not listed. Pure."""

from collections.abc import Collection
from difflib import get_close_matches

MAX_SUGGESTIONS, LIKENESS = 5, 0.75

# Different names that brokers use for the same index or commodity.
_INDICES = tuple(
    frozenset(names.split())
    for names in (
        "DAX DAX40 DE30 DE40 GER30 GER40",
        "AUS200 ASX200",
        "ESP35 IBEX35 SPA35",
        "ESTX50 EU50 EUSTX50 STOXX50",
        "CAC40 F40 FR40 FRA40",
        "FTSE FTSE100 UK100",
        "HK50 HSI",
        "JP225 JPN225 NI225 NIKKEI225",
        "DJ30 DJI DOW DOWJONES US30 WS30",
        "NAS100 NASDAQ NASDAQ100 NDX NQ US100 USTEC",
        "SP500 SPX SPX500 US500",
        "RUT US2000",
        "CRUDE CRUDEOIL OIL USOIL WTI XTI",
        "BRENT UKOIL XBR",
        "NATGAS NGAS XNG",
        "GOLD XAU",
        "PLATINUM XPT",
        "PALLADIUM XPD",
        "BITCOIN BTC XBT",
        "ETH ETHEREUM",
        "SILVER XAG",
    )
)


def suggest_symbols(symbol: str, listed: Collection[str], most: int = MAX_SUGGESTIONS) -> list[str]:
    """Return similar listed pairs: first other names and currencies, then similar spellings.

    symbol: a pair, or a word without a currency.
    """
    base, slash, _ = symbol.partition("/")
    others = {base}.union(*(names for names in _INDICES if base in names))
    same = [pair for pair in sorted(listed) if _base(pair) in others]
    flat, spelled = _flat(symbol), {_flat(pair): pair for pair in sorted(listed)}
    if not slash:
        spelled = {_base(pair): pair for pair in sorted(listed)} | spelled
        same += [pair for pair in sorted(listed) if len(base) > 2 and pair.startswith(base)]
    near = [name for name in spelled if abs(len(name) - len(flat)) <= 2]
    alike = get_close_matches(flat, near, n=most, cutoff=LIKENESS)
    suggestions = dict.fromkeys((*same, *(spelled[name] for name in alike)))
    suggestions.pop(symbol, None)
    return list(suggestions)[:most]


def _base(pair: str) -> str:
    return pair.partition("/")[0]


def _flat(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())
