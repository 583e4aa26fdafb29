"""One spelling for each symbol; what is in no list is refused."""

import pytest

from common.codes import Code
from common.errors import InvalidInputError
from signals import symbols
from signals.symbols import canonical


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
    ],
)
def test_every_spelling_is_one_symbol(text: str, pair: str) -> None:
    assert canonical(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "EUR",
        "EUR/EUR",
        "EUR/UDS",
        "EURUSDX",
        "EUR//USD",
        "XXX/YYY",
        "NOPE",
        "AAPL/EUR",
        "USD/BTC",
        "EUR/USD/JPY",
        "ＥＵＲＵＳＤ",
        "EUR/USD\x00",
        "EUR USD",
        "FX:FX:EURUSD",
        "BTCUSDT.P",
        "E" * 200,
    ],
)
def test_what_is_in_no_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        canonical(text)
    assert caught.value.code == Code.SYMBOL_UNKNOWN


def test_rooms_above_can_make_symbols_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "_listings", [])
    with pytest.raises(InvalidInputError):
        canonical("ACME/USD")
    symbols.add_listing(lambda: {"ACME/USD"})
    assert canonical("acme_usd") == "ACME/USD"
