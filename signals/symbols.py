"""Which symbols this installation knows, and their one canonical spelling. Pure.

`EURUSD`, `eur_usd`, `FX:EURUSD` and `EUR/USD` are one symbol: `EUR/USD`. A share is quoted in the
currency of its exchange: `AAPL` is `AAPL/USD`. What is in no list is refused rather than guessed:
a typing error must not become a trade.
"""

import re
from collections.abc import Callable, Collection

from common.codes import Code
from common.errors import InvalidInputError
from common.units import UNITS, AssetClass, Unit, default_unit


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIAT = _words(
    "AED AUD BRL CAD CHF CLP CNH CNY CZK DKK EUR GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR "
    "NOK NZD PEN PHP PLN RON RUB SAR SEK SGD THB TRY TWD USD ZAR"
)
_METALS = _words("XAG XAU XPD XPT")
_STABLE = _words("BUSD DAI FDUSD TUSD USDC USDT")
_CRYPTO = _words(
    "1INCH AAVE ADA ALGO APE APT ARB ATOM AVAX AXS BCH BNB BTC CHZ COMP CRV DASH DOGE DOT EGLD "
    "ENS EOS ETC ETH FET FIL FLOW FTM GALA GRT HBAR ICP IMX INJ JUP KAS KSM LDO LINK LTC MANA MKR "
    "NEAR NEO OP PEPE POL QNT RENDER RUNE SAND SEI SHIB SNX SOL STX SUI TAO THETA TIA TON TRX UNI "
    "VET WIF WLD XLM XMR XRP XTZ YFI ZEC"
)
# Shares, funds, indices and energies, by the currency that they are quoted in.
_QUOTED_IN: dict[str, frozenset[str]] = {
    "USD": _words(
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
    "EUR": _words("ESP35 EU50 EUSTX50 FRA40 GER30 GER40 DE40 NETH25"),
    "GBP": _words("UK100"),
    "JPY": _words("JP225 JPN225"),
    "AUD": _words("AUS200"),
    "HKD": _words("HK50"),
    "CHF": _words("SWI20"),
}
_LISTED = {ticker: quote for quote, tickers in _QUOTED_IN.items() for ticker in tickers}
_QUOTES = _FIAT | _STABLE | {"BTC", "ETH", "BNB"}
_SHAPE = re.compile(r"(?:[A-Z0-9_]{1,20}:)?([A-Z0-9]{1,12}(?:[/_.-][A-Z0-9]{1,12}){0,2})", re.ASCII)
_SEPARATOR = re.compile("[/_.-]")
LONGEST = 20


def asset_class(pair: str) -> AssetClass:
    """Say what kind of thing a canonical pair is."""
    base, _, quote = pair.rpartition("/")
    if base in _METALS:
        return AssetClass.METAL
    if base in _FIAT and quote in _FIAT:
        return AssetClass.FX
    is_coin = base in _CRYPTO | _STABLE or quote in _STABLE | {"BTC", "ETH", "BNB"}
    return AssetClass.CRYPTO if is_coin else AssetClass.OTHER


def slippage_unit(pair: str, said: str = "") -> Unit:
    """The unit of a pair's slippage: what is said, else its asset class's."""
    return UNITS.get(said) or default_unit(asset_class(pair))


Listing = Callable[[], Collection[str]]
_listings: list[Listing] = []


def add_listing(listing: Listing) -> None:
    """Let a room above make more symbols known, for example those that a broker listed.

    listing: returns canonical pairs. It is asked only for what the lists here do not have.
    """
    if listing not in _listings:
        _listings.append(listing)


def canonical(text: str) -> str:
    """Return `EUR/USD` for EURUSD, EUR_USD, eur/usd, FX:EURUSD; `AAPL/USD` for AAPL.

    Raises InvalidInputError SYMBOL_UNKNOWN for what is in no list.
    """
    shape = _SHAPE.fullmatch(text.strip().upper()) if text.isascii() else None
    if shape:
        readings = [pair for pair in _readings(shape[1]) if len(pair) <= LONGEST]
        for knows in (_is_known, _is_listed_elsewhere):  # what needs no question first
            for pair in readings:
                if knows(pair):
                    return pair
    shown = text if len(text) <= 40 else text[:40] + "…"
    raise InvalidInputError(Code.SYMBOL_UNKNOWN, f"{shown!r} is not a symbol known here.")


def _readings(text: str) -> list[str]:
    """Return what a spelling may mean, likeliest first."""
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
    found = list(_SEPARATOR.finditer(text))
    return (text[: found[-1].start()], text[found[-1].end() :]) if found else None


def _is_known(pair: str) -> bool:
    base, _, quote = pair.rpartition("/")
    if base == quote or quote not in _QUOTES:
        return False
    if quote in _FIAT and base in _FIAT | _METALS | _STABLE:
        return True
    return base in _CRYPTO or (base in _STABLE and quote in _STABLE) or _LISTED.get(base) == quote


def _is_listed_elsewhere(pair: str) -> bool:
    return any(pair in listing() for listing in _listings)
