"""The market when an entry was decided: stored, calculated, or why it is not known."""

from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest

from analytics.what_if.market_analysis import MarketAnalysis, market_analysis
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import EntryDecision, Order
from prices.models import PriceBar
from signals.models import Feed
from tests.decisions import answered, provider_of
from tests.execution import factories
from tests.execution.submission.test_slices import store_bar

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def entry(feed: Feed, alice: ExecutionConnection) -> Order:
    factories.signal(feed)
    factories.fill_all()
    return Order.objects.get(leg="entry")


def analysis(order: Order) -> MarketAnalysis:
    found = market_analysis(order, EntryDecision.objects.filter(order=order.pk).first())
    assert found is not None
    return found


def bars(account: ExecutionConnection, until: datetime, minutes: int) -> None:
    """Store a bar of each of these minutes before; prices rise by a pip a minute."""
    for number in range(minutes):
        store_bar(account, until - number * MINUTE, str(D("1.2") - D("0.0001") * number))
    PriceBar.objects.update(spread_sum=D("0.0002"))


def test_entry_without_a_provider_has_the_market_of_its_decision(entry: Order) -> None:
    decided = market_now() - timedelta(days=2)
    Order.objects.update(validated_at=decided)
    bars(entry.connection, decided - MINUTE, 16 * 15)
    store_bar(entry.connection, decided, "1.9")  # its minute had not ended
    bars(entry.connection, market_now(), 1)  # what came later does not count
    entry.refresh_from_db()
    found = analysis(entry)
    assert (found.as_of, found.is_stored, found.missing) == (decided, False, ())
    assert found.values["bid"] == found.values["ask"] == "1.2"
    assert found.values["spread"] == "0.0002"
    assert found.values["spread_percentile"] == "100"
    # A candle rises 14 pips within itself, and 15 from the close before.
    assert (found.values["atr"], found.values["trend"]) == ("0.0015", "14")
    assert "from the minute prices" in found.origin


def test_low_priced_symbol_keeps_its_digits(entry: Order) -> None:
    bars(entry.connection, market_now(), 20)
    PriceBar.objects.update(spread_sum=D("0.0000000123456789"))
    assert analysis(entry).values["spread"] == "0.0000000123457"


def test_with_few_prices_it_says_what_is_missing(entry: Order) -> None:
    bars(entry.connection, market_now(), 20)
    found = analysis(entry)
    assert found.values["spread"] == "0.0002"
    assert (found.values["atr"], found.values["spread_percentile"]) == (None, None)
    assert len(found.missing) == 2
    assert found.missing[0].startswith("ATR and trend need 15 candles of 15 minutes; there w")
    assert "60 minutes" in found.missing[1]


@pytest.mark.parametrize("why", ["no price source", "no price", "too old"])
def test_without_prices_it_says_why(entry: Order, why: str) -> None:
    if why == "no price source":
        ExecutionConnection.objects.update(data_connection=None)
    if why == "too old":
        Order.objects.update(validated_at=market_now() - timedelta(days=8))
    found = analysis(Order.objects.get(pk=entry.pk))
    assert found.values == {}
    [text] = found.missing
    expected = {
        "no price source": "The account has no price source.",
        "no price": "had no price of EUR/USD then",
        "too old": "Minute prices are kept for 7 days",
    }
    assert expected[why] in text


def test_what_the_provider_got_counts(entry: Order) -> None:
    bars(entry.connection, market_now(), 20)
    market = {"spread": "0.0007", "atr": None, "spread_percentile": "62.5", "candle_minutes": 5}
    answered(entry, provider_of(name="My model"), "1", reason="", market=market)
    found = analysis(entry)
    assert (found.is_stored, found.values["spread"]) == (True, "0.0007")
    assert found.missing == ("ATR and trend need 15 candles of 5 minutes; there were fewer.",)


def test_exit_has_none(entry: Order) -> None:
    assert market_analysis(Order(leg="sl"), None) is None
