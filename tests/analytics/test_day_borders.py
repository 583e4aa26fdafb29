"""Results by trading days: both sides of each border, and where stored days meet those of now."""

from datetime import date, datetime, timedelta
from decimal import Decimal as D

import pytest

from analytics import selectors, services
from analytics.models import AnalyticsDaily
from analytics.results.closed_trades import ALL, Scope, closed_between, trade_results, trades_after
from analytics.results.reports import BookKey, report
from common.db.sql import database_now
from connections.loss_limits.rules import window_end, window_start
from connections.models import ExecutionConnection
from connections.trading_day import DayRule, rule_of
from positions.models import ExecutionPosition
from tests.analytics import factories
from tests.analytics.trading_days import EACH_DAY, INSTANT, Day, stop_clock

pytestmark = pytest.mark.django_db
WEDNESDAY = datetime.fromisoformat("2026-03-11T16:00:00Z")  # live days: 9, 10 and 11 March
FIRST_LIVE = datetime.fromisoformat("2026-03-08T21:00:00Z")  # of the default trading day
MARCH = date(2026, 3, 1), date(2026, 3, 31)


def trades(account: ExecutionConnection, *closes: tuple[datetime, int]) -> list[ExecutionPosition]:
    """Closed trades by time and result."""
    assert account.user is not None
    signals = factories.signals(account.user, len(closes))
    return ExecutionPosition.objects.bulk_create(
        factories.trade(account, signal, closed_at=at, pnl=D(made))
        for signal, (at, made) in zip(signals, closes, strict=True)
    )


def account_of(day: Day) -> ExecutionConnection:
    return factories.connection(factories.user(), zone=day.zone, day_start=day.starts_at)


def on_the_borders(day: Day) -> ExecutionConnection:
    """An account with a trade at each border: those that belong to the day made 2 and 4."""
    account = account_of(day)
    trades(account, *((at, 2**n) for n, (at, _) in enumerate(day.moments())))
    return account


@EACH_DAY
def test_stored_day_has_its_first_moment_and_not_the_next_ones(day: Day) -> None:
    account = on_the_borders(day)
    services.compute_day(day.date)
    found = list(AnalyticsDaily.objects.values_list("connection", "day", "trades", "total_pnl"))
    assert found == [(account.pk, day.date, 2, D(6))]


@EACH_DAY
def test_live_day_has_its_first_moment_and_not_the_next_ones(day: Day) -> None:
    account = on_the_borders(day)
    stop_clock(day.end - timedelta(hours=1))
    found = selectors.totals([account.pk], day.date, day.date)
    assert (found[account.pk].trades, found[account.pk].total) == (2, D(6))
    (points,) = selectors.equity_curve(None, day.date, day.date).values()
    assert [(point.day, point.pnl) for point in points] == [(day.date, D(6))]


@EACH_DAY
def test_report_of_a_day_has_its_first_moment_and_not_the_next_ones(day: Day) -> None:
    account = on_the_borders(day)
    found = trade_results(Scope([account.pk], day.date, day.date, "UTC"))
    assert [(row.day, row.trades, row.net) for row in found.days] == [(day.date, 2, D(6))]
    around = Scope([account.pk], day.date - timedelta(1), day.date + timedelta(1), "UTC")
    assert [row.net for row in trade_results(around).days] == [D(1), D(6), D(8)]


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", ["15", "16"]), ("Asia/Kolkata", ["21"]), ("America/New_York", ["11", "12"])],
)
def test_hours_of_a_report_are_the_readers_and_its_days_the_accounts(
    zone: str, hours: list[str]
) -> None:
    account = factories.connection(factories.user(), zone="Asia/Tokyo")
    trades(account, (WEDNESDAY - INSTANT, 1), (WEDNESDAY, 2))
    found = trade_results(Scope([account.pk], *MARCH, zone))
    assert [row.key for row in found.breakdowns["hour"]] == hours
    assert [(row.day, row.net) for row in found.days] == [(date(2026, 3, 12), D(3))]


@EACH_DAY
def test_loss_limit_of_a_day_begins_and_ends_with_it(day: Day) -> None:
    rule = DayRule(day.zone or DayRule().zone, day.starts_at)
    for at, is_inside in day.moments():
        window = window_start("DATE", at, rule), window_end("DATE", at, rule)
        assert (window == (day.start, day.end)) is is_inside, at
    assert rule_of(account_of(day).preset) == rule


@pytest.mark.parametrize(
    ("stored_on", "closed_at", "total"),
    [
        (date(2026, 3, 8), FIRST_LIVE, 110),  # a day of its own on each side of the seam
        (date(2026, 3, 9), FIRST_LIVE, 10),  # the stored row is older than what is computed now
        (date(2026, 3, 11), FIRST_LIVE, 10),
        (date(2026, 3, 8), FIRST_LIVE - INSTANT, 100),  # the trade is in the stored day
        (date(2026, 3, 12), WEDNESDAY, 10),  # a day that has not begun
    ],
)
def test_each_day_counts_stored_or_live_and_never_both(
    stored_on: date, closed_at: datetime, total: int
) -> None:
    account = factories.connection(factories.user())
    factories.snapshot(account, "USD")
    (trade,) = trades(account, (closed_at, 10))
    ExecutionPosition.objects.filter(pk=trade.pk).update(unconverted_fees={"BNB": "1"})
    AnalyticsDaily.objects.create(
        connection=account, day=stored_on, trades=1, wins=1, losses=0, gross_profit=100,
        gross_loss=0, commission=0, total_pnl=100, highest_prefix=100, lowest_prefix=0,
        max_drawdown=0, duration_seconds=1, unconverted_fees={"BNB": "10"},
        computed_at=WEDNESDAY,
    )  # fmt: skip
    stop_clock(WEDNESDAY)
    found = selectors.totals([account.pk], *MARCH)[account.pk]
    assert (found.total, found.trades) == (D(total), 2 if total == 110 else 1)
    assert selectors.totals(None, *MARCH) == {account.pk: found}
    (points,) = selectors.equity_curve([account.pk], *MARCH).values()
    assert points[-1].total == D(total)
    assert selectors.unconverted_fees([account.pk], *MARCH) == {account.pk: {"BNB": D(total) / 10}}


def test_drawdown_goes_on_over_the_seam_of_stored_and_live_days() -> None:
    account = factories.connection(factories.user())
    trades(
        account, (FIRST_LIVE - 2 * INSTANT, 50), (FIRST_LIVE - INSTANT, -20), (FIRST_LIVE, -40),
        (FIRST_LIVE + INSTANT, 100),
    )  # fmt: skip
    services.compute_day(date(2026, 3, 8))
    stop_clock(WEDNESDAY)
    found = selectors.totals([account.pk], *MARCH)[account.pk]
    figures = (found.highest, found.lowest, found.drawdown, found.total)
    assert figures == (D(90), D(-10), D(60), D(90))


@pytest.mark.parametrize(
    ("seconds", "is_computed"), [(0, True), (59, True), (60, True), (61, False)]
)
def test_day_is_computed_again_for_what_was_committed_late(seconds: int, is_computed: bool) -> None:
    """The job may have read before a transaction that had begun earlier was committed."""
    account = factories.connection(factories.user())
    trades(account, (datetime.fromisoformat("2026-03-02T12:00:00Z"), 5))
    computed_at = database_now()
    services.compute_day(date(2026, 3, 2))
    AnalyticsDaily.objects.update(computed_at=computed_at)
    ExecutionPosition.objects.update(last_activity_at=computed_at - timedelta(seconds=seconds))
    stop_clock(WEDNESDAY)
    assert (date(2026, 3, 2) in services.compute_changed()) is is_computed


def test_months_of_all_time_are_whole_whatever_the_period_is() -> None:
    account = factories.connection(factories.user(), zone="Asia/Tokyo")
    stop_clock(WEDNESDAY)  # in Tokyo the 12th has begun
    trades(account, (WEDNESDAY - timedelta(days=40), 1), (WEDNESDAY - timedelta(minutes=1), 2))
    for end in (date(2026, 2, 28), date(2026, 3, 11), date(2026, 3, 12), date(2026, 3, 13)):
        found = report(BookKey("USD", True), [], Scope([account.pk], ALL, end, "UTC"))
        months = [(row.year, row.month, row.net) for row in found.months]
        assert months == [(2026, 1, D(1)), (2026, 3, D(2))], end


def test_export_goes_on_behind_trades_that_closed_at_the_same_time() -> None:
    account = factories.connection(factories.user())
    made = trades(account, *((WEDNESDAY, n) for n in range(3)))
    scope = Scope([account.pk], *MARCH, "UTC")
    found, last = [], (datetime.fromisoformat("2000-01-01T00:00:00Z"), 0)
    while page := trades_after(scope, *last, limit=1):
        found += [row.id for row in page]
        last = (page[-1].closed_at, page[-1].id)
    assert found == [trade.pk for trade in made]


@pytest.mark.parametrize(
    ("after", "until", "net"),
    [(-INSTANT, INSTANT, 7), (-INSTANT, timedelta(0), 7), (timedelta(0), INSTANT, 0)],
)
def test_result_between_two_readings_has_what_closed_with_the_second(
    after: timedelta, until: timedelta, net: int
) -> None:
    account = factories.connection(factories.user())
    trades(account, (WEDNESDAY, 7))
    found = closed_between([(account.pk, WEDNESDAY + after, WEDNESDAY + until)])
    assert found.get(account.pk, D(0)) == net
