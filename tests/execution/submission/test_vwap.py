"""A VWAP at the fake broker: its slices follow the recorded volume, or are equal and say so."""

from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.orders.slices import slice_result
from api.trading.order_serializers import SlicePlanSerializer
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import ExecutionLog, Order, SlicePlan
from prices.models import PriceBar
from prices.selectors import average_prices, quotes_by_day
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_slices import next_slice, statuses

pytestmark = pytest.mark.usefixtures("inline_commits")
VWAP: dict[str, Any] = {"execution_style": "VWAP", "duration_seconds": 1200, "slice_count": 2}


@pytest.fixture
def account(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """It enters 100 EUR/USD."""
    return factories.account(feed, snapshot_position_mode="NETTING")


def record(of: ExecutionConnection, start: datetime, quotes: list[int], mid: str = "1.1") -> None:
    """Store a bar for each minute from a time on, with so many quotes."""
    prices = {f"{side}_{name}": D(mid) for side in ("bid", "ask")
              for name in ("open", "high", "low", "close")}  # fmt: skip
    first = start.replace(second=0, microsecond=0)
    PriceBar.objects.bulk_create(
        PriceBar(
            data_connection=of.data_connection,
            symbol="EUR/USD",
            spread_sum=0,
            quote_count=count,
            minute=first + timedelta(minutes=minute),
            first_at=first,
            last_at=first,
            **prices,
        )
        for minute, count in enumerate(quotes)
        if count
    )


def record_days(of: ExecutionConnection, days: dict[int, list[int]]) -> None:
    """Store the bars of the next 22 minutes' time, so many days ago."""
    for ago, quotes in days.items():
        record(of, market_now() - timedelta(days=ago), quotes)


HALVES = [300] * 11 + [100] * 11


def started(feed: Feed) -> tuple[SlicePlan, str]:
    """Return the plan of a VWAP that begins, and the log line of its intent."""
    factories.signal(feed, **VWAP)
    factories.fill_all()
    line = ExecutionLog.objects.get(code="INTENT")
    return SlicePlan.objects.get(), line.detail


def test_slices_follow_the_volume_of_earlier_days(feed: Feed, account: ExecutionConnection) -> None:
    """About 75 % in the first half; the minute in which it begins moves it a little."""
    record_days(account, {1: HALVES, 3: HALVES, 7: HALVES})
    plan, detail = started(feed)
    assert (plan.style, plan.profile_days) == ("VWAP", 3)
    assert [int(quantity) for quantity in plan.quantities] in ([70, 30], [80, 20])
    assert plan.offsets == [0, 600]
    assert detail.endswith(" of 100 in 2 slices, at 1.1; by the volume of 3 days")
    factories.pass_time(580)
    next_slice()
    assert statuses() == ["FILLED", "FILLED"]


@pytest.mark.parametrize("days", [{}, {1: HALVES}, {1: HALVES, 2: [5] * 9}, {1: HALVES, 8: HALVES}])
def test_without_volume_its_slices_are_equal_and_it_says_so(
    feed: Feed, account: ExecutionConnection, days: dict[int, list[int]]
) -> None:
    record_days(account, days)
    plan, detail = started(feed)
    assert (plan.style, plan.profile_days, plan.quantities) == ("VWAP", 0, [D(50), D(50)])
    assert detail == "50 of 100 in 2 slices, at 1.1; no volume known, so in equal parts as TWAP"


def test_volume_of_other_sources_and_symbols_does_not_count(
    feed: Feed, account: ExecutionConnection
) -> None:
    other = factories.account()
    record_days(other, {1: HALVES, 2: HALVES})
    record_days(account, {1: HALVES, 2: HALVES})
    PriceBar.objects.filter(data_connection=account.data_connection).update(symbol="GBP/USD")
    plan, _ = started(feed)
    assert plan.profile_days == 0


def test_twap_reads_no_volume_and_has_no_profile(feed: Feed, account: ExecutionConnection) -> None:
    record_days(account, {1: HALVES, 2: HALVES})
    factories.signal(feed, **{**VWAP, "execution_style": "TWAP"})
    with CaptureQueriesContext(connection) as queries:
        factories.fill_all()
    assert not any("quote_count" in query["sql"] for query in queries)
    plan = SlicePlan.objects.get()
    assert (plan.profile_days, plan.quantities) == (None, [D(50), D(50)])


def test_quotes_are_of_the_time_of_the_entry(account: ExecutionConnection) -> None:
    now = market_now().replace(second=30, microsecond=0)
    record(account, now - timedelta(days=1, minutes=1), [9, 1, 2, 3])
    source = account.data_connection_id
    assert source is not None
    assert quotes_by_day({(source, "EUR/USD", 90)}, now=now) == {
        (source, "EUR/USD", 90): [{0: 1, 1: 2}]
    }
    assert quotes_by_day({(source, "EUR/USD", 91)}, now=now) == {
        (source, "EUR/USD", 91): [{0: 1, 1: 2, 2: 3}]
    }


def test_result_has_both_averages_of_the_market(feed: Feed, account: ExecutionConnection) -> None:
    start = market_now()
    plan, _ = started(feed)
    record(account, start, [30], mid="1.1")
    record(account, start + timedelta(minutes=1), [10], mid="1.102")
    source = account.data_connection_id
    assert source is not None
    end = start + timedelta(minutes=1)
    assert average_prices(source, "EUR/USD", start, end) == (D("1.101"), D("1.1005"), 2)
    result = slice_result(plan.order)
    assert result is not None
    shown = SlicePlanSerializer(result).data
    assert (shown["execution_style"], shown["profile_days"]) == ("VWAP", 0)
    assert Order.objects.count() == 2
