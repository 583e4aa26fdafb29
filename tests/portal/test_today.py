"""Today is the trading day of each account's own preset, on both sides of its borders."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal as D

import pytest
from django.http import QueryDict

from common.clocks import set_market_clock
from portal.selectors.accounts import accounts_of
from portal.selectors.result_choice import result_choice
from portal.selectors.results import currency_summaries
from positions.models import ExecutionPosition
from tests.analytics import factories
from tests.analytics.trading_days import EACH_DAY, Day, stop_clock
from users.models import User

pytestmark = pytest.mark.django_db
NOON = datetime.fromisoformat("2026-03-31T12:00:00Z")  # in Tokyo (17:00) it is April already


@pytest.fixture(autouse=True)
def real_clock_after() -> Iterator[None]:
    yield
    set_market_clock(None)


@EACH_DAY
def test_closed_today_is_of_the_accounts_own_trading_day(day: Day) -> None:
    owner = factories.user()
    account = factories.connection(owner, zone=day.zone, day_start=day.starts_at)
    factories.snapshot(account, "USD")
    moments = day.moments()
    signals = factories.signals(owner, len(moments))
    ExecutionPosition.objects.bulk_create(
        factories.trade(account, signal, closed_at=at, pnl=D(2**n))
        for n, (signal, (at, _)) in enumerate(zip(signals, moments, strict=True))
    )
    for at, expected in ((day.start, 6), (day.end - timedelta(minutes=1), 6), (day.end, 8)):
        stop_clock(at)
        (summary,) = currency_summaries(accounts_of(owner), [])
        assert summary.closed == expected, f"at {at:%d %b %H:%M} UTC"


def two_accounts() -> tuple[User, str, str]:
    owner = factories.user()
    new_york, tokyo = (
        factories.connection(owner, zone=zone, day_start=time(17)) for zone in ("", "Asia/Tokyo")
    )
    for account in (new_york, tokyo):
        factories.snapshot(account, "USD")
    return owner, str(new_york.pk), str(tokyo.pk)


@pytest.mark.parametrize(
    ("chosen", "today", "month"),
    [
        ("new_york", date(2026, 3, 31), "March 2026"),
        ("tokyo", date(2026, 4, 1), "April 2026"),
        ("", date(2026, 4, 1), "April 2026"),  # both: the day that has begun for one of them
    ],
)
def test_results_begin_with_the_day_of_the_chosen_accounts(
    chosen: str, today: date, month: str
) -> None:
    owner, new_york, tokyo = two_accounts()
    stop_clock(NOON)
    account = {"new_york": new_york, "tokyo": tokyo, "": ""}[chosen]
    found = result_choice(owner, QueryDict(f"account={account}"))
    assert (found.today, found.period.label) == (today, month)
    of_day = result_choice(owner, QueryDict(f"account={account}&period=day"))
    assert of_day.period.start == of_day.period.end == today
    to_now = result_choice(owner, QueryDict(f"account={account}&period=custom&from=2026-03-01"))
    assert to_now.period.end == today


def test_all_time_ends_with_the_latest_day_of_any_preset() -> None:
    owner, *_ = two_accounts()
    stop_clock(datetime.fromisoformat("2026-03-30T22:00:00Z"))  # noon of the 31st in Kiritimati
    assert result_choice(owner, QueryDict("period=all")).period.end == date(2026, 4, 1)
