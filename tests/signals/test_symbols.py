"""All spellings of a symbol are mapped to one pair; other texts are rejected."""

import pytest

from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.symbol_suggestions import suggest_symbols
from signals.symbols import known_pair, read_pair, read_symbol


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("EUR/USD", "EUR/USD"),
        ("EURUSD", "EUR/USD"),
        ("eur/usd", "EUR/USD"),
        ("EUR_USD", "EUR/USD"),
        ("EUR-USD", "EUR/USD"),
        ("EUR.USD", "EUR/USD"),
        (" eurusd ", "EUR/USD"),
        ("FX:EURUSD", "EUR/USD"),
        ("OANDA:USDJPY", "USD/JPY"),
        ("FX_IDC:EURUSD", "EUR/USD"),
        ("XAUUSD", "XAU/USD"),
        ("BTCUSD", "BTC/USD"),
        ("BTCUSDT", "BTC/USDT"),
        ("BINANCE:ETHBTC", "ETH/BTC"),
        ("USDCUSDT", "USDC/USDT"),
        ("1INCHUSDT", "1INCH/USDT"),
        ("AAPL", "AAPL/USD"),
        ("NASDAQ:AAPL", "AAPL/USD"),
        ("AAPL/USD", "AAPL/USD"),
        ("BRK.B", "BRK.B/USD"),
        ("GER40", "GER40/EUR"),
        ("DAX/EUR", "DAX/EUR"),
        ("XETR:DAX", "DAX/EUR"),
        ("NASDAQ:ACME", "ACME/USD"),
        ("TSX:SHOP", "SHOP/CAD"),
        ("AAPL/EUR", "AAPL/EUR"),
        ("EUREX:EURUSD", "EUR/USD"),
        ("BTCUSDT.P", "BTC/USDT"),
        ("BINANCE:BTCUSDTPERP", "BTC/USDT"),
        ("BYBIT:1000000MOGUSDT.P", "1000000MOG/USDT"),
        ("BTC/USDT:USDT", "BTC/USDT"),
        ("NEWCOINUSDT", "NEWCOIN/USDT"),
        ("OANDA:DE30EUR", "DE30/EUR"),
        ("CME_MINI:ES1!", "ES/USD"),
        ("XXX/YYY", "XXX/YYY"),
    ],
)
def test_every_spelling_is_mapped_to_one_pair(text: str, pair: str) -> None:
    assert read_symbol(text) == read_pair(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "EUR",
        "EUR/EUR",
        "EUR//USD",
        "EUR/USD/JPY",
        "ＥＵＲＵＳＤ",
        "EUR/USD\x00",
        "EUR USD",
        "FX:FX:EURUSD",
        "BTC:USDT",
        "BTC-PERP",
        "A/B",
        "123",
        "VERYLONGNAMEOFIT/USD",
        "{{ticker}}",
        "E" * 200,
    ],
)
def test_invalid_symbol_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_symbol(text)
    assert caught.value.code == Code.SYMBOL_UNKNOWN


@pytest.mark.parametrize("text", ["NOPE", "KRX:KOSPI200", "EURUSDX", "OANDA:EURUSB", "SHOP.TO"])
def test_symbol_without_currency_is_left_to_the_brokers(text: str) -> None:
    assert read_symbol(text) == text.rpartition(":")[2]
    with pytest.raises(InvalidInputError, match="has no currency"):
        read_pair(text)


@pytest.mark.parametrize("text", ["EURUSD.m", "NOPE", "DAX/EUR", "ES1!", "BTC/USDT:USDT", ""])
def test_only_listed_names_are_known_pairs(text: str) -> None:
    with pytest.raises(InvalidInputError):
        known_pair(text)


LISTED = [
    "EUR/USD", "AUD/USD", "GER40/EUR", "US500/USD", "BTC/USDT", "BTC/USD", "XAU/USD", "AAPL/USD",
    "KOSPI200/KRW",
]  # fmt: skip


@pytest.mark.parametrize(
    ("symbol", "near"),
    [
        ("EUR/UDS", ["EUR/USD"]),
        ("DAX/EUR", ["GER40/EUR"]),
        ("SPX/USD", ["US500/USD"]),
        ("BTC/USDC", ["BTC/USD", "BTC/USDT"]),
        ("GOLD/USD", ["XAU/USD"]),
        ("AAPPL/USD", ["AAPL/USD"]),
        ("AAPPL", ["AAPL/USD"]),
        ("KOSPI", ["KOSPI200/KRW"]),
        ("EURUSB", ["EUR/USD"]),
        ("ZZZ/QQQ", []),
    ],
)
def test_similar_symbols_are_suggested(symbol: str, near: list[str]) -> None:
    suggestions = suggest_symbols(symbol, LISTED)
    assert suggestions[: len(near)] == near
    assert near or not suggestions
    assert suggest_symbols(symbol, list(reversed(LISTED))) == suggestions


def test_suggestions_are_limited_to_five() -> None:
    assert len(suggest_symbols("AAA/USD", [f"AA{letter}/USD" for letter in "BCDEFGHIJK"])) == 5
