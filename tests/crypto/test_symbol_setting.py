"""Symbols of a crypto account: an exchange's own symbol names are refused."""

import pytest

from brokers.crypto.form import FORM
from common.errors import InvalidInputError

SYMBOLS = next(field for field in FORM.settings if field.key == "symbols")


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("BTCUSDT", "BTC/USDT"),
        ("btcusdt", "BTC/USDT"),
        ("BTC-USDT", "BTC/USDT"),
        ("BTC_USDT", "BTC/USDT"),
        ("BINANCE:BTCUSDT.P", "BTC/USDT"),
        ("ETH-USDT-SWAP", "ETH/USDT"),
        ("1INCHUSDC", "1INCH/USDC"),
        ("ETHBTC", "ETH/BTC"),
    ],
)
def test_exchanges_own_name_is_refused_with_proposal(name: str, proposal: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        SYMBOLS.read(["ETH/USDT", name])
    assert caught.value.field == "settings.symbols"
    assert f"{name} is an exchange's own name" in caught.value.detail
    assert f"Write {proposal} (perpetuals: {proposal}:" in caught.value.detail


def test_name_that_cannot_be_cut_gets_no_proposal() -> None:
    with pytest.raises(InvalidInputError) as caught:
        SYMBOLS.read("NOTHING")
    assert "Write" not in caught.value.detail.partition("slash.")[2]


@pytest.mark.parametrize("name", ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-251226", "1INCH/EUR"])
def test_unified_names_are_accepted(name: str) -> None:
    assert SYMBOLS.read([name]) == [name]
