"""Lot sizes, and prices in whole ticks."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.dwx.lots import LotsError, lots_of, symbols_of
from brokers.types import OrderType, Side


@pytest.mark.parametrize(
    ("symbol", "pair", "size", "digits", "pip"),
    [
        ("EURUSD", "EUR/USD", 100_000, 5, "0.0001"),
        ("EURUSD.m", "EUR/USD", 100_000, 5, "0.0001"),
        ("mUSDJPY", "USD/JPY", 100_000, 3, "0.01"),
        ("XAUUSD-pro", "XAU/USD", 100, 2, "0.1"),
        ("XAGUSD", "XAG/USD", 5000, 3, "0.01"),
    ],
)
def test_known_symbols_have_contract_size_and_pip(
    symbol: str, pair: str, size: int, digits: int, pip: str
) -> None:
    lots = lots_of({}, symbol)
    values = (lots.pair, lots.contract_size, lots.digits, lots.pip)
    assert values == (pair, D(size), digits, D(pip))


def test_lots_convert_to_base_units() -> None:
    lots = lots_of({}, "EURUSD")
    assert lots.lots(D(12000)) == D("0.12")
    assert lots.quantity(D("0.12")) == 12000
    for quantity in ("0", "-1000", "1500", "NaN", "Infinity"):
        assert lots.lots(D(quantity)) is None


def test_prices_are_rounded_to_whole_ticks_on_safe_side() -> None:
    lots = lots_of({}, "EURUSD")
    assert lots.price(None, Side.BUY, OrderType.LIMIT) == "0"
    assert lots.price(D("1.1234567"), Side.BUY, OrderType.LIMIT) == "1.12345"
    assert lots.price(D("1.12"), Side.SELL, OrderType.LIMIT) == "1.12000"
    assert lots.level(D("1.1234567"), Side.BUY) == "1.12346"
    with pytest.raises(Rejected):
        lots.level(D("0.000001"), Side.SELL)  # "0" would remove the level


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "contract_size and digits"),
        ({"contract_size": 1}, "contract_size and digits"),
        ({"contract_size": "x", "digits": 1}, "above zero"),
        ({"contract_size": 0, "digits": 1}, "above zero"),
        ({"contract_size": 1, "digits": 6}, "1 to 5"),
        ({"contract_size": 1, "digits": 1.5}, "1 to 5"),
        ({"contract_size": 1, "digits": 1, "lot_step": "0.001"}, "multiple of 0.01"),
    ],
)
def test_incomplete_symbol_settings_are_refused(values: dict[str, Any], text: str) -> None:
    for symbol in ("DAX", "ABCUSD", "EURXYZ"):
        with pytest.raises(LotsError, match=text):
            lots_of({"symbols": {symbol: values}}, symbol)


def test_symbol_settings_define_lots() -> None:
    values = {"contract_size": 5, "digits": 1, "pair": "DAX/EUR", "lot_step": "0.1", "lot_max": 9}
    lots = lots_of({"symbols": {"DAX": values}}, "DAX")
    instrument = lots.instrument()
    assert (instrument.pair, instrument.contract_size, instrument.pip) == ("DAX/EUR", D(5), D(1))
    assert (instrument.quantity_min, instrument.quantity_step) == (D("0.5"), D("0.5"))
    assert instrument.quantity_max == 45
    with pytest.raises(LotsError):
        lots_of({}, "EUR USD")


def test_symbols_are_text_list_or_object() -> None:
    assert list(symbols_of({"symbols": " EURUSD, XAUUSD.m;GBPUSD "})) == [
        "EURUSD",
        "XAUUSD.m",
        "GBPUSD",
    ]
    assert list(symbols_of({"symbols": ["EURUSD"]})) == ["EURUSD"]
    assert symbols_of({}) == {}
    malformed: list[Any] = [5, [5], ["a|b"], {"EURUSD": []}]
    for symbols in malformed:
        with pytest.raises(LotsError):
            symbols_of({"symbols": symbols})
