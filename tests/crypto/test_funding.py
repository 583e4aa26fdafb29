"""Funding of perpetuals, read by ccxt from each exchange's own list."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import ReadFailed
from brokers.types import BrokerFunding
from common.clocks import machine_time
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, close, open_account
from tests.fakes.exchange.model import Fault
from tests.fakes.exchange.venue import Market

NAMES = ["binance", "bybit", "okx"]
DAY_MS = 86_400_000


@pytest.fixture(params=NAMES)
def perpetuals(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    account = open_account(request.param, swap=True)
    yield account
    close(account)


def fundings(account: ExchangeAccount, days: int = 1) -> list[BrokerFunding]:
    now = datetime.now(UTC)
    found = account.run(account.adapter.funding(account.spec, now - timedelta(days=days), now))
    return sorted(found, key=lambda one: one.time)


def test_funding_is_read_with_its_sign_and_number(perpetuals: ExchangeAccount) -> None:
    perpetuals.submit(perpetuals.order(quantity=D("0.5")))
    perpetuals.venue.charge(perpetuals.exchange_symbol, D("-1.2345"), ago_ms=5000)
    perpetuals.venue.charge(perpetuals.exchange_symbol, D("0.4"))
    paid, received = fundings(perpetuals)
    assert (paid.amount, received.amount) == (D("-1.2345"), D("0.4"))
    assert {one.symbol for one in (paid, received)} == {perpetuals.symbol}
    assert {one.currency for one in (paid, received)} == {"USDT"}
    assert paid.reference != received.reference
    assert paid.quantity in (None, D("0.5"))  # Binance does not state it
    assert fundings(perpetuals) == [paid, received]


def test_contract_that_is_no_longer_listed_does_not_stop_the_others(
    perpetuals: ExchangeAccount,
) -> None:
    perpetuals.venue.charge(perpetuals.exchange_symbol.replace("BTC", "GONE"), D("-2"))
    perpetuals.venue.charge(perpetuals.exchange_symbol, D("-1"))
    [paid] = fundings(perpetuals)
    assert (paid.amount, paid.symbol) == (D("-1"), perpetuals.symbol)
    assert paid.reference.startswith(f"{perpetuals.exchange_symbol}:")


def test_funding_of_a_bybit_contract_in_usdc_is_in_usdc() -> None:
    market = Market("BTC", "USDC", D("0.001"), D("0.1"), D(5), D(1))
    account = open_account("bybit", swap=True, listed=("BTCPERP", market))
    account.venue.charge("BTCPERP", D("-1.5"))
    [paid] = fundings(account)
    assert (paid.symbol, paid.currency, paid.amount) == ("BTC/USDC:USDC", "USDC", D("-1.5"))
    close(account)


def test_each_page_and_week_is_read(perpetuals: ExchangeAccount) -> None:
    """Three weeks, and more within an hour than two pages hold."""
    count = 2100 if perpetuals.spec.exchange_name == "binance" else 210
    for number in range(count):
        perpetuals.venue.charge(perpetuals.exchange_symbol, D("-0.01"), ago_ms=1500 * number)
    for week in range(1, 4):
        perpetuals.venue.charge(perpetuals.exchange_symbol, D("-5"), ago_ms=7 * week * DAY_MS)
    found = fundings(perpetuals, days=25)
    assert len(found) == count + 3
    assert sum(one.amount for one in found) == D("-0.01") * count - 15


def test_more_at_once_than_a_page_holds_is_read(perpetuals: ExchangeAccount) -> None:
    """An exchange charges all positions in the same moment."""
    count = 1100 if perpetuals.spec.exchange_name == "binance" else 110
    at = perpetuals.venue.now() - 5000
    for _ in range(count):
        perpetuals.venue.charge(perpetuals.exchange_symbol, D("-0.01"))
    for one in perpetuals.venue.fundings:
        one.time_ms = at
    assert len(fundings(perpetuals)) == count


def test_half_read_list_fails(perpetuals: ExchangeAccount) -> None:
    perpetuals.venue.charge(perpetuals.exchange_symbol, D("-1"))
    perpetuals.venue.truncates_reads = True
    with pytest.raises(ReadFailed):
        fundings(perpetuals)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("bybit", Fault("status", 200, '{"retCode":10006,"retMsg":"Too many"}', on="read")),
        ("okx", Fault("status", 429, '{"code":"50011","msg":"Too Many","data":[]}', on="read")),
    ],
)
def test_refusal_for_too_many_requests_delays_no_order(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: Fault
) -> None:
    monkeypatch.setattr("brokers.crypto.orders.BACKOFF_SECONDS", 600.0)
    account = open_account(name, swap=True)
    account.load_markets()
    account.venue.faults.append(fault)
    with pytest.raises(ReadFailed) as failed:
        fundings(account)
    assert failed.value.code is Code.RATE_LIMITED
    assert account.submit(account.order(send_by=machine_time() + 300))
    close(account)


@pytest.mark.parametrize("name", NAMES)
def test_spot_has_no_funding(name: str) -> None:
    account = open_account(name)
    assert account.adapter.capabilities(account.spec).funding_horizon is None
    with pytest.raises(ReadFailed) as failed:
        fundings(account)
    assert failed.value.code is Code.NOT_SUPPORTED
    close(account)
