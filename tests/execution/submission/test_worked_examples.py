"""Each sizing mode on each class of instrument, computed by hand.

Every account has a balance of 10,000 and an equity of 12,000 in its currency, and the presets are
the same for all: see `MODES`. `rate` is calculated from quotes, as in production. Steps, minimums
and maximums are what the adapters read from the answers of the fake brokers: a contract size that
is read wrong gives another size.
"""

from dataclasses import dataclass, replace
from decimal import Decimal as D
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.mt5.lots import Lots
from brokers.types import Instrument
from execution.submission.sizing import (
    Account,
    ProviderFigures,
    QuantityLimits,
    Size,
    Sizing,
    loss_per_unit,
    size,
)
from prices.selectors import conversion
from tests.crypto.factories import close, open_account
from tests.fakes.exchange.venue import Market
from tests.fakes.mt5.symbols import symbol
from tests.ibkr.factories import Environment, with_environment

ACCOUNT = Account(balance=D(10_000), equity=D(12_000))


@dataclass(frozen=True)
class Quote:
    bid: D
    ask: D


@dataclass(frozen=True)
class Example:
    """An entry. own, theirs: the quantities of the modes FIXED and PROVIDER_MULTIPLE."""

    pair: str
    currency: str  # the account's
    sign: int
    entry: str
    stop: str
    step: str  # also the minimum: of what the broker's adapter reads
    own: str
    theirs: str
    quotes: dict[str, str]
    expected: dict[str, str]


EXAMPLES = [
    # Forex major. One unit is worth 1.25 USD and loses 1.25 - 1.245 = 0.005 USD.
    Example(
        "EUR/USD", "USD", 1, "1.25", "1.245", "1000", "10500", "15400", {"EUR/USD": "1.25"},
        {
            "FIXED": "10000",  # 10,500
            "PER_BALANCE": "26000",  # 10,500 * 10,000 / 4,000 = 26,250
            "PERCENT_BALANCE": "4000",  # 5,000 / 1.25
            "PERCENT_EQUITY": "4000",  # 6,000 / 1.25 = 4,800
            "FIXED_AMOUNT": "2000",  # 3,000 / 1.25 = 2,400
            "RISK_PERCENT": "24000",  # 120 / 0.005
            "RISK_AMOUNT": "20000",  # 100 / 0.005
            "RISK_CATEGORY": "72000",  # 360 / 0.005
            "PROVIDER_MULTIPLE": "15000",  # 15,400
            "EQUITY_RATIO": "3000",  # 15,400 * 12,000 / 48,000 = 3,850
        },
    ),
    # A yen pair, sold on a dollar account. 1 JPY = 1 / 125 = 0.008 USD; one unit is worth
    # 125 * 0.008 = 1 USD and loses 0.5 * 0.008 = 0.004 USD.
    Example(
        "USD/JPY", "USD", -1, "125", "125.5", "1000", "10500", "15400", {"USD/JPY": "125"},
        {
            "FIXED": "10000",
            "PER_BALANCE": "26000",
            "PERCENT_BALANCE": "5000",  # 5,000 / 1
            "PERCENT_EQUITY": "6000",  # 6,000 / 1
            "FIXED_AMOUNT": "3000",  # 3,000 / 1
            "RISK_PERCENT": "30000",  # 120 / 0.004
            "RISK_AMOUNT": "25000",  # 100 / 0.004
            "RISK_CATEGORY": "90000",  # 360 / 0.004
            "PROVIDER_MULTIPLE": "15000",
            "EQUITY_RATIO": "3000",
        },
    ),
    # A cross on an account in a third currency. 1 GBP = 1.5 USD; one unit is worth
    # 0.8 * 1.5 = 1.2 USD and loses 0.004 * 1.5 = 0.006 USD.
    Example(
        "EUR/GBP", "USD", 1, "0.8", "0.796", "1000", "10500", "15400",
        {"EUR/GBP": "0.8", "GBP/USD": "1.5"},
        {
            "FIXED": "10000",
            "PER_BALANCE": "26000",
            "PERCENT_BALANCE": "4000",  # 5,000 / 1.2 = 4,166.67
            "PERCENT_EQUITY": "5000",  # 6,000 / 1.2
            "FIXED_AMOUNT": "2000",  # 3,000 / 1.2 = 2,500
            "RISK_PERCENT": "20000",  # 120 / 0.006
            "RISK_AMOUNT": "16000",  # 100 / 0.006 = 16,666.67
            "RISK_CATEGORY": "60000",  # 360 / 0.006
            "PROVIDER_MULTIPLE": "15000",
            "EQUITY_RATIO": "3000",
        },
    ),
    # Gold on a euro account; 0.01 lots are an ounce. 1 USD = 1 / 1.25 = 0.8 EUR; one ounce is worth
    # 2,000 * 0.8 = 1,600 EUR and loses 10 * 0.8 = 8 EUR.
    Example(
        "XAU/USD", "EUR", 1, "2000", "1990", "1", "2.5", "9.9",
        {"XAU/USD": "2000", "EUR/USD": "1.25"},
        {
            "FIXED": "2",  # 2.5
            "PER_BALANCE": "6",  # 2.5 * 2.5 = 6.25
            "PERCENT_BALANCE": "3",  # 5,000 / 1,600 = 3.125
            "PERCENT_EQUITY": "3",  # 6,000 / 1,600 = 3.75
            "FIXED_AMOUNT": "1",  # 3,000 / 1,600 = 1.875
            "RISK_PERCENT": "15",  # 120 / 8
            "RISK_AMOUNT": "12",  # 100 / 8 = 12.5
            "RISK_CATEGORY": "45",  # 360 / 8
            "PROVIDER_MULTIPLE": "9",  # 9.9
            "EQUITY_RATIO": "2",  # 9.9 / 4 = 2.475
        },
    ),
    # An index in euro on a dollar account. 1 EUR = 1.25 USD; one unit is worth
    # 16,000 * 1.25 = 20,000 USD and loses 100 * 1.25 = 125 USD.
    Example(
        "DAX/EUR", "USD", 1, "16000", "15900", "0.1", "0.75", "2.55",
        {"DAX/EUR": "16000", "EUR/USD": "1.25"},
        {
            "FIXED": "0.7",  # 0.75
            "PER_BALANCE": "1.8",  # 0.75 * 2.5 = 1.875
            "PERCENT_BALANCE": "0.2",  # 5,000 / 20,000 = 0.25
            "PERCENT_EQUITY": "0.3",  # 6,000 / 20,000
            "FIXED_AMOUNT": "0.1",  # 3,000 / 20,000 = 0.15
            "RISK_PERCENT": "0.9",  # 120 / 125 = 0.96
            "RISK_AMOUNT": "0.8",  # 100 / 125
            "RISK_CATEGORY": "2.8",  # 360 / 125 = 2.88
            "PROVIDER_MULTIPLE": "2.5",  # 2.55
            "EQUITY_RATIO": "0.6",  # 2.55 / 4 = 0.6375
        },
    ),
    # A stock in parts of a share, as IBKR trades it. One share is worth 192 USD and loses 8 USD.
    Example(
        "AAPL/USD", "USD", 1, "192", "184", "0.0001", "10.50009", "15.40039", {"AAPL/USD": "192"},
        {
            "FIXED": "10.5",  # 10.50009
            "PER_BALANCE": "26.2502",  # 10.50009 * 2.5 = 26.250225
            "PERCENT_BALANCE": "26.0416",  # 5,000 / 192 = 26.041666…
            "PERCENT_EQUITY": "31.25",  # 6,000 / 192
            "FIXED_AMOUNT": "15.625",  # 3,000 / 192
            "RISK_PERCENT": "15",  # 120 / 8
            "RISK_AMOUNT": "12.5",  # 100 / 8
            "RISK_CATEGORY": "45",  # 360 / 8
            "PROVIDER_MULTIPLE": "15.4003",  # 15.40039
            "EQUITY_RATIO": "3.85",  # 15.40039 / 4 = 3.8500975
        },
    ),
    # A coin at a spot exchange. One coin is worth 48,000 USDT and loses 1,500 USDT.
    Example(
        "BTC/USDT", "USDT", 1, "48000", "46500", "0.00001", "0.010005", "0.100009",
        {"BTC/USDT": "48000"},
        {
            "FIXED": "0.01",  # 0.010005
            "PER_BALANCE": "0.02501",  # 0.010005 * 2.5 = 0.0250125
            "PERCENT_BALANCE": "0.10416",  # 5,000 / 48,000 = 0.1041666…
            "PERCENT_EQUITY": "0.125",  # 6,000 / 48,000
            "FIXED_AMOUNT": "0.0625",  # 3,000 / 48,000
            "RISK_PERCENT": "0.08",  # 120 / 1,500
            "RISK_AMOUNT": "0.06666",  # 100 / 1,500 = 0.0666…
            "RISK_CATEGORY": "0.24",  # 360 / 1,500
            "PROVIDER_MULTIPLE": "0.1",  # 0.100009
            "EQUITY_RATIO": "0.025",  # 0.100009 / 4 = 0.02500225
        },
    ),
    # A perpetual in contracts of 0.01 ETH, sold. One coin is worth 2,400 USDT and loses 75 USDT.
    Example(
        "ETH/USDT", "USDT", -1, "2400", "2475", "0.01", "0.555", "1.999", {"ETH/USDT": "2400"},
        {
            "FIXED": "0.55",  # 0.555
            "PER_BALANCE": "1.38",  # 0.555 * 2.5 = 1.3875
            "PERCENT_BALANCE": "2.08",  # 5,000 / 2,400 = 2.0833…
            "PERCENT_EQUITY": "2.5",  # 6,000 / 2,400
            "FIXED_AMOUNT": "1.25",  # 3,000 / 2,400
            "RISK_PERCENT": "1.6",  # 120 / 75
            "RISK_AMOUNT": "1.33",  # 100 / 75 = 1.3333…
            "RISK_CATEGORY": "4.8",  # 360 / 75
            "PROVIDER_MULTIPLE": "1.99",  # 1.999
            "EQUITY_RATIO": "0.49",  # 1.999 / 4 = 0.49975
        },
    ),
]  # fmt: skip
MODES: dict[str, dict[str, D]] = {
    "FIXED": {},  # fixed_quantity: the example's `own`
    "PER_BALANCE": {"per_balance": D(4000)},  # 10,000 / 4,000: 2.5 times
    "PERCENT_BALANCE": {"percent_of_balance": D(50)},  # 5,000
    "PERCENT_EQUITY": {"percent_of_equity": D(50)},  # 6,000
    "FIXED_AMOUNT": {"fixed_amount": D(3000)},
    "RISK_PERCENT": {"risk_percent": D(1)},  # 120
    "RISK_AMOUNT": {"risk_amount": D(100)},
    "RISK_CATEGORY": {"risk_percent": D(3)},  # a large one: 360
    "PROVIDER_MULTIPLE": {},
    "EQUITY_RATIO": {},  # the provider has 48,000: a quarter
}
CASES = [(example, mode) for example in EXAMPLES for mode in MODES]


# What a terminal answers about its symbols: sizes in lots, of so many units each.
TERMINAL = [
    symbol("EURUSD", 1.2499, 1.25),
    symbol("USDJPY", 125.0, 125.01, digits=3, point=0.001, trade_tick_size=0.001),
    symbol("EURGBP", 0.7999, 0.8),
    symbol(
        "XAUUSD", 1999.9, 2000.0, digits=2, point=0.01, trade_tick_size=0.01,
        trade_contract_size=100.0,
    ),
    symbol(
        "DAX", 15999.9, 16000.0, digits=1, point=0.1, trade_tick_size=0.1, trade_calc_mode=2,
        trade_contract_size=1.0, volume_min=0.1, volume_step=0.1, currency_base="EUR",
        currency_profit="EUR",
    ),
]  # fmt: skip
COIN = ("BTCUSDT", Market("BTC", "USDT", D("0.00001"), D("0.01"), D(5)))
CONTRACT = ("ETH-USDT-SWAP", Market("ETH", "USDT", D(1), D("0.01"), D(5), D("0.01")))


@cache
def instruments() -> dict[str, Instrument]:
    """Return by pair what the adapters read from the fake brokers' answers."""
    found = [Lots(SimpleNamespace(**row)).instrument() for row in TERMINAL]
    found += [one for one in _of_tws() if one.symbol == "AAPL"]
    for name, is_swap, listed in (("binance", False, COIN), ("okx", True, CONTRACT)):
        account = open_account(name, swap=is_swap, listed=listed)
        try:
            found += account.run(account.adapter.instruments(account.spec))
        finally:
            close(account)
    return {one.pair: one for one in found}


def _of_tws() -> list[Instrument]:
    found: list[Instrument] = []

    @with_environment
    async def read(stage: Environment) -> None:
        spec = replace(stage.spec, settings={**stage.spec.settings, "fractional_shares": True})
        found.extend(await stage.adapter.instruments(spec))

    read()
    return found


@pytest.mark.parametrize(
    ("example", "mode"), CASES, ids=[f"{example.pair} {mode}" for example, mode in CASES]
)
def test_hand_computed_size(example: Example, mode: str) -> None:
    quotes = {pair: Quote(D(price), D(price)) for pair, price in example.quotes.items()}
    rate = conversion(quotes, example.pair.rpartition("/")[2], example.currency)
    assert rate is not None
    entry, listed = D(example.entry), instruments()[example.pair]
    assert listed.quantity_step == listed.quantity_min == D(example.step)
    numbers: dict[str, Any] = {"fixed_quantity": D(example.own), **MODES[mode]}
    found = size(
        sizing=Sizing(mode=mode, multiplier=D(1), **numbers),
        account=ACCOUNT,
        unit_value=entry * rate.rate,
        stop_loss_per_unit=loss_per_unit(entry, D(example.stop), example.sign, rate.rate),
        limits=QuantityLimits(listed.quantity_min, listed.quantity_step, listed.quantity_max),
        provider=ProviderFigures(D(example.theirs), D(48_000)),
    )
    assert isinstance(found, Size)
    assert found.quantity == D(example.expected[mode])


def test_every_example_has_every_mode() -> None:
    assert all(set(example.expected) == set(MODES) for example in EXAMPLES)
