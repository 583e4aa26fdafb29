"""What people and brokers call a metal, an index, an energy or a coin. Pure.

The one table for advice (`symbols.py`), suggestions (`symbol_suggestions.py`), and the names and
levels of alerts (`alerts`). A name is no pair: a broker's own GOLD can be another contract.
"""

# The usual pair, and other names of what it trades.
_TABLE = """
XAU/USD GOLD
XAG/USD SILVER
XPT/USD PLATINUM
XPD/USD PALLADIUM
USOIL/USD OIL CRUDE CRUDEOIL WTI XTI
UKOIL/USD BRENT XBR
NATGAS/USD GAS NGAS XNG
GER40/EUR DAX DAX40 DE30 DE40 GER30
EU50/EUR ESTX50 EUSTX50 STOXX50
FRA40/EUR CAC40 F40 FR40
ESP35/EUR IBEX35 SPA35
UK100/GBP FTSE FTSE100
AUS200/AUD ASX200
HK50/HKD HSI
JP225/JPY JPN225 NI225 NIKKEI NIKKEI225
US30/USD DJ30 DJI DOW DOWJONES WS30
NAS100/USD NAS NASDAQ NASDAQ100 NDX NQ US100 USTEC
US500/USD SP500 SPX SPX500
US2000/USD RUSSELL RUT
BTC/USD BITCOIN XBT
ETH/USD ETHEREUM
XRP/USD RIPPLE
DOGE/USD DOGECOIN
SOL/USD SOLANA
LTC/USD LITECOIN
ADA/USD CARDANO
"""
# Those that are no other word in a text about a trade, in whatever case they are written.
_SPOKEN = frozenset(["GOLD", "SILVER", "OIL", "DAX", "NASDAQ", "BITCOIN", "ETHEREUM"])


def _pairs() -> dict[str, str]:
    """Return the usual pair of each name, and of its own base."""
    pairs: dict[str, str] = {}
    for line in _TABLE.split("\n"):
        for pair in line.split()[:1]:
            pairs |= dict.fromkeys([pair.partition("/")[0], *line.split()[1:]], pair)
    return pairs


_USUAL = _pairs()


def named_pair(word: str) -> str:
    """Return the pair that is mostly meant by a name in capitals: XAU/USD by GOLD; '' by others."""
    return _USUAL.get(word, "")


def other_names(word: str) -> frozenset[str]:
    """Return all names of what a name in capitals stands for, with it: GOLD, XAU."""
    pair = named_pair(word)
    return frozenset(name for name, usual in _USUAL.items() if pair == usual) | {word}


def is_spoken(word: str) -> bool:
    """Whether a word is a name that is no other word, in any case: gold, Bitcoin."""
    return word.upper() in _SPOKEN
