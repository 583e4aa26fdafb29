"""What open positions are worth, as the database calculates it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from brokers.types import Side
from connections.models import DataConnection, ExecutionConnection
from positions.figures import PositionFigures
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from prices.models import LatestQuote
from signals.models import Signal
from tests.analytics import factories
from tests.examples import examples

NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)
prices = st.decimals("0.00001", "9999", places=5)


def quote(
    source: DataConnection, bid: str, ask: str, *, symbol: str = "EUR/USD", age: int = 0
) -> None:
    LatestQuote.objects.create(
        data_connection=source,
        symbol=symbol,
        bid=D(bid),
        ask=D(ask),
        time=NOW - timedelta(seconds=age),
    )


def position(
    of: ExecutionConnection,
    signal: Signal,
    source: DataConnection | None,
    *,
    side: str = "BUY",
    pair: str = "EUR/USD",
    entry: str = "1.1",
    quantity: str = "1000",
    rate: str = "0.5",
) -> ExecutionPosition:
    made = factories.trade(of, signal, closed_at=NOW, pnl=D(0))
    made.side, made.pair, made.price_source = side, pair, source
    made.entry_price, made.quantity, made.conversion_rate = D(entry), D(quantity), D(rate)
    made.closed_at = None
    made.save()
    return made


@pytest.fixture
def source(db: None) -> DataConnection:
    return DataConnection.objects.create(name="quotes")


def test_buy_is_valued_at_bid_and_sell_at_ask(source: DataConnection) -> None:
    owner = factories.user()
    account = factories.connection(owner)
    quote(source, "1.2", "1.3")
    for signal, side in zip(factories.signals(owner, 2), ("BUY", "SELL"), strict=True):
        position(account, signal, source, side=side)
    with CaptureQueriesContext(
        database,
    ) as queries:
        buy, sell = with_prices(ExecutionPosition.objects.order_by("side"))
    assert (buy.current_price, buy.unrealized_pnl, buy.price_time) == (D("1.2"), D(50), NOW)  # type: ignore[attr-defined]
    assert (sell.current_price, sell.unrealized_pnl) == (D("1.3"), D(-100))  # type: ignore[attr-defined]
    assert len(queries) == 1


def test_position_has_no_price_without_quote_of_its_source(source: DataConnection) -> None:
    owner = factories.user()
    account = factories.connection(owner)
    other = DataConnection.objects.create(name="other")
    quote(other, "1.2", "1.3")
    quote(source, "1.2", "1.3", symbol="GBP/USD")
    for signal, where in zip(factories.signals(owner, 2), (source, None), strict=True):
        position(account, signal, where)
    for found in with_prices(ExecutionPosition.objects.all()):
        assert found.current_price is None  # type: ignore[attr-defined]
        assert found.unrealized_pnl is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("currency", "side", "profit", "at_stop", "at_target"),
    [
        ("EUR", "BUY", "120", "-100", "312.5"),  # 150, -100 and 500 USD, each at its own price
        ("EUR", "SELL", "-120", "100", "-312.5"),
        ("GBP", "BUY", "75", "-50", "250"),  # no price of EUR/USD converts it: the entry's rate
        ("", "BUY", "75", "-50", "250"),
    ],
)
def test_an_account_in_the_base_currency_is_paid_at_the_price_itself(
    source: DataConnection, currency: str, side: str, profit: str, at_stop: str, at_target: str
) -> None:
    owner = factories.user()
    account = factories.connection(owner)
    if currency:
        factories.snapshot(account, currency)
    quote(source, "1.25", "1.25")
    (signal,) = factories.signals(owner, 1)
    position(account, signal, source, side=side)
    found = with_prices(ExecutionPosition.objects.all()).get()
    assert found.unrealized_pnl == D(profit)  # type: ignore[attr-defined]
    figures = PositionFigures(found, None, None, found.connection.account_currency)
    results = [figures.level(D(at), is_stop=True).result for at in ("1", "1.6")]
    assert results == [D(at_stop), D(at_target)]


def gain(side: Side, entry: D, bid: D, ask: D) -> Fraction:
    """What one unit gains: a BUY is closed at the bid, a SELL at the ask."""
    return Fraction(bid - entry) if side is Side.BUY else Fraction(entry - ask)


class AgainstExactArithmetic(TestCase):
    @settings(max_examples=examples(20))
    @given(
        side=st.sampled_from(list(Side)),
        entry=prices,
        bid=prices,
        spread=prices,
        quantity=st.decimals("0.00000001", "9999999", places=8),
        rate=st.decimals("0.000001", "200", places=18),
    )
    def test_unrealized_profit_is_exact(
        self, side: Side, entry: D, bid: D, spread: D, quantity: D, rate: D
    ) -> None:
        owner = factories.user()
        account = factories.connection(owner)
        source = DataConnection.objects.create(name="quotes")
        quote(source, str(bid), str(bid + spread))
        (signal,) = factories.signals(owner, 1)
        values = {"entry": str(entry), "quantity": str(quantity), "rate": str(rate)}
        position(account, signal, source, side=side.value, **values)
        expected = gain(side, entry, bid, bid + spread) * Fraction(quantity) * Fraction(rate)
        (found,) = with_prices(ExecutionPosition.objects.all())
        shown = Fraction(found.unrealized_pnl)  # type: ignore[attr-defined]
        assert abs(shown - expected) <= Fraction(1, 10**18)
