"""How many decimals amounts of a currency have, and what a pip is in it. Pure."""

from decimal import Decimal

_NONE = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND")
_FRANCS = ("VUV", "XAF", "XOF", "XPF")
_THREE = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_COINS = ("BCH", "BNB", "BTC", "ETH", "LTC", "SOL", "XBT")
_PLACES = {
    **dict.fromkeys((*_NONE, *_FRANCS), 0),
    **dict.fromkeys(_THREE, 3),
    **dict.fromkeys(_COINS, 8),
}


def money_places(currency: str) -> int:
    """Return the decimals of an amount: 0 for JPY, 8 for BTC, 2 for most and for an unknown one.

    >>> money_places("JPY"), money_places("USD"), money_places("KWD"), money_places("BTC")
    (0, 2, 3, 8)
    """
    return _PLACES.get(currency, 2)


LARGE_PIPS = frozenset({"JPY", "HUF"})
"""Currencies in which a pair's pip is 0.01; in all others it is 0.0001."""


def pip_of_quote(currency: str) -> Decimal:
    """Return a pip of a currency pair that is quoted in this currency.

    >>> pip_of_quote("JPY"), pip_of_quote("USD")
    (Decimal('0.01'), Decimal('0.0001'))
    """
    return Decimal("0.01") if currency in LARGE_PIPS else Decimal("0.0001")
