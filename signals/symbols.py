"""Parse symbols into their canonical spelling. Pure.

`EURUSD`, `eur_usd`, `FX:EURUSD` and `EUR/USD` are one symbol: `EUR/USD`. A share is quoted in the
currency of its exchange: `NASDAQ:AAPL` is `AAPL/USD`. This is only a grammar: the brokers' lists
decide whether a symbol can be traded (`listings.py`). The names below are defaults for short
spellings and asset classes; other symbols are accepted, too.
"""

import re

from common.errors import InvalidInputError
from common.reason_codes import Code
from common.stop_rules import ATR
from common.units import UNITS, AssetClass, Unit, default_unit
from signals.common_names import named_pair


def _split_names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIAT = _split_names(
    "AED AUD BRL CAD CHF CLP CNH CNY CZK DKK EUR GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR "
    "NOK NZD PEN PHP PLN RON RUB SAR SEK SGD THB TRY TWD USD ZAR"
)
_METALS = _split_names("XAG XAU XPD XPT")
_STABLE = _split_names("BUSD DAI FDUSD TUSD USDC USDT")
_CRYPTO = _split_names(
    "1INCH AAVE ADA ALGO APE APT ARB ATOM AVAX AXS BCH BNB BTC CHZ COMP CRV DASH DOGE DOT EGLD "
    "ENS EOS ETC ETH FET FIL FLOW FTM GALA GRT HBAR ICP IMX INJ JUP KAS KSM LDO LINK LTC MANA MKR "
    "NEAR NEO OP PEPE POL QNT RENDER RUNE SAND SEI SHIB SNX SOL STX SUI TAO THETA TIA TON TRX UNI "
    "VET WIF WLD XBT XLM XMR XRP XTZ YFI ZEC"
)
# Shares, funds, indices and energies by quote currency.
_QUOTED_IN: dict[str, frozenset[str]] = {
    "USD": _split_names(
        "A AAL AAPL ABBV ABNB ABT ACN ADBE ADI ADP AIG AMAT AMC AMD AMGN AMT AMZN ANET AVGO AXP BA "
        "BABA BAC BIDU BK BKNG BLK BMY BRK.A BRK.B BX C CAT CL CMCSA CME COIN COP COST CRM CRWD "
        "CSCO CVS CVX DAL DDOG DE DELL DHR DIS DUK EBAY ENPH F FDX GD GE GILD GLD GM GME GOOG "
        "GOOGL GS HD HON HOOD HPQ IBM INTC INTU ISRG IWM JD JNJ JPM KO LLY LMT LOW LRCX LULU MA "
        "MARA MCD MDB MDT MET META MMM MO MRK MRNA MS MSFT MSTR MU NET NFLX NIO NKE NOW NVDA ORCL "
        "OXY PANW PEP PFE PG PLTR PM PYPL QCOM QQQ RBLX RIOT RIVN ROKU RTX SBUX SCHW SHOP SLV "
        "SMCI SNAP SNOW SO SOFI SPGI SPOT SPY SQ T TGT TLT TMO TMUS TSLA TSM TXN UBER UNH UNP UPS "
        "USB V VIX VTI VZ WBA WFC WMT XOM ZM "
        "DJ30 NAS100 NATGAS SPX500 UKOIL US2000 US30 US500 US100 USOIL USTEC WTI"
    ),
    "EUR": _split_names("ESP35 EU50 EUSTX50 FRA40 GER30 GER40 DE40 NETH25"),
    "GBP": _split_names("UK100"),
    "JPY": _split_names("JP225 JPN225"),
    "AUD": _split_names("AUS200"),
    "HKD": _split_names("HK50"),
    "CHF": _split_names("SWI20"),
}
_LISTED = {ticker: quote for quote, tickers in _QUOTED_IN.items() for ticker in tickers}
_QUOTES = _FIAT | _STABLE | {"BTC", "ETH", "BNB"}
# Exchanges by the currency of their shares, funds and futures; names as charts prefix them.
_EXCHANGES: dict[str, frozenset[str]] = {
    "USD": _split_names(
        "AMEX ARCA BATS CBOE CBOT CBOT_MINI CME CME_MINI COMEX ICEUS NASDAQ NYMEX NYSE NYSEARCA OTC"
    ),
    "EUR": _split_names("BME EUREX EURONEXT FWB GETTEX MIL SWB TRADEGATE VIE XETR"),
    "GBP": _split_names("LSE"),
    "JPY": _split_names("OSE TSE"),
    "AUD": _split_names("ASX"),
    "CAD": _split_names("NEO TSX TSXV"),
    "CHF": _split_names("SIX"),
    "HKD": _split_names("HKEX"),
    "INR": _split_names("BSE NSE"),
    "SEK": _split_names("OMXSTO"),
    "DKK": _split_names("OMXCOP"),
    "NOK": _split_names("OSL"),
    "SGD": _split_names("SGX"),
    "ZAR": _split_names("JSE"),
}
_QUOTED_AT = {exchange: quote for quote, names in _EXCHANGES.items() for exchange in names}
# [EXCHANGE:]NAME, then the mark of a continuous future (ES1!) or a contract's currency (:USDT).
_SHAPE = re.compile(
    r"(?:(?P<exchange>[A-Z0-9_]{1,20}):)?(?P<name>[A-Z0-9]{1,20}(?:[/_.-][A-Z0-9]{1,12}){0,2})"
    r"(?:[12]!|(?P<settled>:[A-Z0-9]{2,12}))?",
    re.ASCII,
)
_PAIR = re.compile(r"([A-Z0-9][A-Z0-9.-]{0,11})/([A-Z0-9]{2,12})", re.ASCII)
_WORD = re.compile(r"(?=[0-9.]*[A-Z])[A-Z0-9]{1,12}(?:\.[A-Z0-9]{1,5})?", re.ASCII)
CURRENCY = re.compile("[A-Z0-9]{2,10}", re.ASCII)
_SEPARATOR = re.compile("[/_.-]")
MAX_LENGTH = 20


def asset_class(pair: str) -> AssetClass:
    """Return the asset class of a canonical pair."""
    base, _, quote = pair.rpartition("/")
    if base in _METALS:
        return AssetClass.METAL
    if base in _FIAT and quote in _FIAT:
        return AssetClass.FX
    is_coin = base in _CRYPTO | _STABLE or quote in _STABLE | {"BTC", "ETH", "BNB"}
    return AssetClass.CRYPTO if is_coin else AssetClass.OTHER


def slippage_unit(pair: str, unit: str = "") -> Unit:
    """Return the unit of a pair's slippage: `unit`, else the default of its asset class."""
    return UNITS.get(unit) or default_unit(asset_class(pair))


def rule_unit_word(pair: str, unit: str) -> str:
    """Return the word for the unit of a break-even or trailing rule; empty for a price."""
    if unit in ("PRICE", ATR):
        return "" if unit == "PRICE" else ATR
    return slippage_unit(pair, unit).word


def read_symbol(text: str) -> str:
    """Return the canonical pair of a symbol as people, charts and exchanges write it.

    A word without a currency (`NOPE`, `KOSPI200`) is returned as it is, without a slash: only a
    broker's list can complete it. Raises InvalidInputError SYMBOL_UNKNOWN for any other text.
    """
    match = _SHAPE.fullmatch(text.strip().upper()) if text.isascii() else None
    if match and not (match["settled"] and "/" not in match["name"]):
        name = _without_perpetual(match["name"])
        reading = _at_exchange(match["exchange"], name) or _known(name) or _by_grammar(name)
        if reading and len(reading) <= MAX_LENGTH:
            return reading
    detail = f"{_excerpt(text)} is not written as a symbol."
    raise InvalidInputError(Code.SYMBOL_UNKNOWN, detail)


def read_pair(text: str) -> str:
    """The same, for a symbol that must have its currency. Raises InvalidInputError."""
    pair = read_symbol(text)
    if "/" not in pair:
        detail = f"{_excerpt(text)} has no currency: write {usual_pair(pair)}, for example."
        raise InvalidInputError(Code.SYMBOL_UNKNOWN, detail)
    return pair


def usual_pair(word: str) -> str:
    """Return the pair that is mostly meant by a word without a currency: XAU/USD by GOLD, and
    NOPE/USD by NOPE. For advice only: a broker's own GOLD can be another contract."""
    return named_pair(word) or f"{word}/USD"


def known_pair(text: str) -> str:
    """Return the pair of a name in the lists above, for brokers' names with a prefix or suffix.

    Raises InvalidInputError SYMBOL_UNKNOWN for any other name: what remains after a prefix or
    suffix is removed must not be guessed.
    """
    shape = _SHAPE.fullmatch(text.strip().upper()) if text.isascii() else None
    pair = _known(shape["name"]) if shape and shape["name"] == shape[0].split(":")[-1] else None
    if pair:
        return pair
    raise InvalidInputError(Code.SYMBOL_UNKNOWN, f"{_excerpt(text)} is not a known symbol.")


def is_exchange(name: str) -> bool:
    """Whether a name is that of an exchange whose shares have one currency: NYSE."""
    return name.upper() in _QUOTED_AT


def needs_currency(symbol: str) -> bool:
    """Whether a symbol's base must be sent with a currency: EUR or BTC alone is not a symbol,
    because pairs are quoted in it."""
    return symbol.partition("/")[0] in _QUOTES


def is_asset(text: str) -> bool:
    """Whether a text is the upper-case code of a currency, a precious metal or a coin."""
    return text in _FIAT or text in _METALS or text in _STABLE or text in _CRYPTO


def is_currency_or_metal(text: str) -> bool:
    """Whether a text is the upper-case code of a currency or a precious metal."""
    return text in _FIAT or text in _METALS


def is_pair(text: str) -> bool:
    """Whether a text is a canonical pair by its form."""
    match = _PAIR.fullmatch(text)
    return match is not None and match[1] != match[2] and len(text) <= MAX_LENGTH


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _known(name: str) -> str | None:
    """Return the most likely reading that is in the lists above."""
    readings = (pair for pair in _readings(name) if len(pair) <= MAX_LENGTH)
    return next((pair for pair in readings if _is_known(pair)), None)


def _without_perpetual(name: str) -> str:
    """Remove the mark of a perpetual contract: each account's settings choose spot or contracts."""
    for mark in (".P", "PERP"):
        spot = name.removesuffix(mark).rstrip("_.-")
        if spot != name and (_known(spot) or "/" in _by_grammar(spot)):
            return spot
    return name


def _at_exchange(exchange: str | None, name: str) -> str:
    """Return the pair of a ticker at an exchange with a known currency; empty for other names."""
    quote = _QUOTED_AT.get(exchange or "")
    if quote is None or not _WORD.fullmatch(name):
        return ""
    pair = _known(name)
    return pair if pair and not pair.startswith(f"{name}/") else f"{name}/{quote}"


def _by_grammar(name: str) -> str:
    """Return BASE/QUOTE as written or after a cut, else a word to complete; empty: neither."""
    if "/" in name:
        return name if is_pair(name) else ""
    if (cut := _cut_at_last_separator(name)) and cut[1] in _QUOTES:
        pair = f"{cut[0]}/{cut[1]}"
        return pair if is_pair(pair) else ""
    if not cut:
        for width in (5, 4, 3):  # the longer quote first: BTCUSDT is BTC/USDT, not BTCU in SDT
            base, quote = name[:-width], name[-width:]
            if quote in _QUOTES and len(base) >= 2 and base != quote:
                pair = f"{base}/{quote}"
                return pair if is_pair(pair) else ""
    return name if _WORD.fullmatch(name) and name not in _QUOTES else ""


def _readings(text: str) -> list[str]:
    """Return what a spelling may mean, the most likely first."""
    readings = []
    if text in _LISTED:
        readings.append(f"{text}/{_LISTED[text]}")
    cut = _cut_at_last_separator(text)
    if cut:
        readings.append(f"{cut[0]}/{cut[1]}")
    if not _SEPARATOR.search(text):
        # The longer quote first: BTCUSDT is BTC/USDT, not BTCU in SDT.
        readings += [
            f"{text[:-width]}/{text[-width:]}" for width in (5, 4, 3) if len(text) - width >= 2
        ]
    return readings


def _cut_at_last_separator(text: str) -> tuple[str, str] | None:
    separators = list(_SEPARATOR.finditer(text))
    return (text[: separators[-1].start()], text[separators[-1].end() :]) if separators else None


def _is_known(pair: str) -> bool:
    base, _, quote = pair.rpartition("/")
    if base == quote or quote not in _QUOTES:
        return False
    if quote in _FIAT and base in _FIAT | _METALS | _STABLE:
        return True
    return base in _CRYPTO or (base in _STABLE and quote in _STABLE) or _LISTED.get(base) == quote
