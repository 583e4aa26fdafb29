"""How many decimals amounts of a currency have. Pure."""

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
