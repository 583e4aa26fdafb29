"""Daily rows in PostgreSQL, compared with the pure fold over the same trades."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from rest_framework.test import APIClient

from analytics import selectors, services
from analytics.models import AnalyticsDaily
from analytics.results.rollup import Rollup, fold, of_trade
from analytics.results.rollup_sql import earliest, latest
from common import clocks
from common.db.sql import rows
from connections.models import ExecutionConnection
from connections.trading_day import DayRule, trading_date
from positions.models import ExecutionPosition
from tests.analytics import factories
from tests.examples import examples

BEGIN = datetime(2026, 3, 6, 12, tzinfo=UTC)  # the Friday before New York's clocks change
DAYS = (date(2026, 3, 1), date(2026, 3, 31))
RULES = [
    DayRule(),
    DayRule("Asia/Tokyo"),
    DayRule("Europe/London", time(0)),
    DayRule("America/New_York", time(9, 30)),
    DayRule("Pacific/Kiritimati", time(12)),
    DayRule("Etc/GMT+12", time(11, 59)),
]
closes = st.lists(
    st.tuples(
        st.integers(0, 6 * 24 * 3600), st.decimals("-900", "900", places=5), st.integers(1, 99999)
    ),
    min_size=1,
    max_size=14,
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def rows_of(connection: ExecutionConnection) -> list[AnalyticsDaily]:
    return list(AnalyticsDaily.objects.filter(connection=connection).order_by("day"))


def results(connection: ExecutionConnection) -> list[tuple[int, D]]:
    return [(row.day.day, row.total_pnl) for row in rows_of(connection)]


def store(*trades: ExecutionPosition) -> list[ExecutionPosition]:
    return ExecutionPosition.objects.bulk_create(trades)


class AgainstTheFold(TestCase):
    """hypothesis rolls each example back."""

    @settings(max_examples=examples(25))
    @given(closes, st.sampled_from(RULES))
    def test_days_and_totals_follow_closing_order(
        self, made: list[tuple[int, D, int]], rule: DayRule
    ) -> None:
        owner = factories.user()
        account = factories.connection(owner, zone=rule.zone, day_start=rule.starts_at)
        stored = store(
            *[
                factories.trade(
                    account,
                    signal,
                    closed_at=BEGIN + timedelta(seconds=offset),
                    pnl=pnl,
                    commission=D("0.7"),
                    lasted=timedelta(milliseconds=lasted),
                )
                for signal, (offset, pnl, lasted) in zip(
                    factories.signals(owner, len(made)), made, strict=True
                )
            ],
        )
        for day in {trading_date(p.closed_at, rule) for p in stored if p.closed_at}:
            services.compute_day(day)

        in_order = sorted(stored, key=lambda p: (p.closed_at, p.pk))
        by_day: dict[date, list[ExecutionPosition]] = {}
        for position in in_order:
            assert position.closed_at
            by_day.setdefault(trading_date(position.closed_at, rule), []).append(position)
        assert {row.day: row.rollup for row in rows_of(account)} == {
            day: fold(map(_rolled, positions)) for day, positions in by_day.items()
        }
        assert selectors.totals([account.pk], *DAYS) == {account.pk: fold(map(_rolled, in_order))}


def _rolled(position: ExecutionPosition) -> Rollup:
    assert position.closed_at
    lasted = (position.closed_at - position.opened_at) / timedelta(microseconds=1)
    return of_trade(
        realized_pnl=position.realized_pnl,
        commission=position.commission,
        duration_seconds=D(int(lasted)) / 1_000_000,
    )


@pytest.mark.django_db
def test_day_follows_time_zone_and_dst_of_preset() -> None:
    owner = factories.user()
    new_york, tokyo = factories.connection(owner), factories.connection(owner, zone="Asia/Tokyo")
    one, two = factories.signals(owner, 2)
    store(
        *[
            factories.trade(new_york, one, closed_at=at("2026-03-06T21:59:59Z"), pnl=D(1)),
            # summer
            factories.trade(new_york, two, closed_at=at("2026-03-09T20:59:59Z"), pnl=D(2)),
            factories.trade(tokyo, one, closed_at=at("2026-03-06T08:00:00Z"), pnl=D(4)),
        ],
    )
    for day in range(5, 11):
        services.compute_day(date(2026, 3, day))
    assert results(new_york) == [(6, D(1)), (9, D(2))]
    assert results(tokyo) == [(7, D(4))]


@pytest.mark.django_db
def test_recomputing_changes_only_computation_time() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    (signal,) = factories.signals(owner, 1)
    store(factories.trade(account, signal, closed_at=BEGIN, pnl=D(5), commission=D(1)))
    assert services.compute_day(BEGIN.date()) == 1
    (first,) = rows_of(account)
    assert services.compute_day(BEGIN.date()) == 1
    (second,) = rows_of(account)
    assert (second.pk, second.rollup) == (first.pk, first.rollup)
    assert second.computed_at > first.computed_at


@pytest.mark.django_db
def test_open_positions_are_not_counted() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    (signal,) = factories.signals(owner, 1)
    position = factories.trade(account, signal, closed_at=BEGIN, pnl=D(5))
    position.quantity, position.closed_at = D(1000), None
    position.save()
    assert services.compute_day(BEGIN.date()) == 0


@pytest.fixture
def monday() -> Iterator[None]:
    """Market time is Monday noon, 9 March 2026."""
    clock = clocks.MarketClock(at("2026-03-09T16:00:00Z"), datetime.now(UTC), 1)
    clocks.set_market_clock(clock)
    yield
    clocks.set_market_clock(None)


@pytest.mark.django_db
@pytest.mark.usefixtures("monday")
def test_late_correction_recomputes_both_days() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    one, two = factories.signals(owner, 2)
    kept, moved = store(
        *[
            factories.trade(account, one, closed_at=at("2026-02-10T12:00:00Z"), pnl=D(5)),
            factories.trade(account, two, closed_at=at("2026-02-12T12:00:00Z"), pnl=D(7)),
        ],
    )
    days = services.compute_changed()
    assert days == [date(2026, 2, 10), date(2026, 2, 12), *(date(2026, 3, n) for n in (7, 8, 9))]
    AnalyticsDaily.objects.update(computed_at=at("2026-03-01T00:00:00Z"))
    long_ago = at("2026-02-20T00:00:00Z")
    ExecutionPosition.objects.update(last_activity_at=long_ago)
    assert services.compute_changed() == [date(2026, 3, n) for n in (7, 8, 9)]

    ExecutionPosition.objects.filter(pk=moved.pk).update(closed_at=at("2026-02-13T12:00:00Z"))
    corrected = services.compute_changed()
    assert corrected[:2] == [date(2026, 2, 12), date(2026, 2, 13)]
    assert results(account) == [(10, D(5)), (13, D(7))]

    AnalyticsDaily.objects.update(computed_at=at("2026-03-01T00:00:00Z"))
    ExecutionPosition.objects.filter(pk=kept.pk).update(
        realized_pnl=D(-3), last_activity_at=at("2026-03-02T00:00:00Z")
    )
    assert services.compute_changed()[0] == date(2026, 2, 10)
    assert results(account) == [(10, D(-3)), (13, D(7))]


@pytest.mark.django_db
def test_curves_are_summed_per_currency_only() -> None:
    owner = factories.user()
    dollars, more_dollars, euros = (factories.connection(owner) for _ in range(3))
    for account, currency in ((dollars, "USD"), (more_dollars, "USD"), (euros, "EUR")):
        factories.snapshot(account, currency)
    monday, tuesday = at("2026-03-09T12:00:00Z"), at("2026-03-10T12:00:00Z")
    one, two = factories.signals(owner, 2)
    store(
        *[
            factories.trade(dollars, one, closed_at=monday, pnl=D(10)),
            factories.trade(more_dollars, one, closed_at=monday, pnl=D(5)),
            factories.trade(dollars, two, closed_at=tuesday, pnl=D(-7)),
            factories.trade(euros, one, closed_at=monday, pnl=D(3)),
        ],
    )
    services.compute_day(monday.date())
    services.compute_day(tuesday.date())

    curves = selectors.equity_curve(None, *DAYS)
    shown = {
        currency: [(p.day.day, p.trades, p.pnl, p.total, p.below_peak) for p in points]
        for currency, points in curves.items()
    }
    assert shown == {
        "USD": [(9, 2, D(15), D(15), D(0)), (10, 1, D(-7), D(8), D(7))],
        "EUR": [(9, 1, D(3), D(3), D(0))],
    }
    only = selectors.equity_curve([more_dollars.pk], *DAYS)
    assert [(p.pnl, p.total) for p in only["USD"]] == [(D(5), D(5))]
    assert selectors.equity_curve([], *DAYS) == {}
    assert set(selectors.totals([dollars.pk, euros.pk], *DAYS)) == {dollars.pk, euros.pk}


@pytest.mark.django_db
def test_curves_of_paper_accounts_are_apart() -> None:
    owner = factories.user()
    real, paper = factories.connection(owner), factories.connection(owner)
    ExecutionConnection.objects.filter(pk=real.pk).update(type="mt5")
    for account in (real, paper):
        factories.snapshot(account, "USD")
    (signal,) = factories.signals(owner, 1)
    closed = at("2026-03-09T12:00:00Z")
    store(
        factories.trade(real, signal, closed_at=closed, pnl=D(10)),
        factories.trade(paper, signal, closed_at=closed, pnl=D(5)),
    )
    services.compute_day(closed.date())

    curves = selectors.equity_curves([real.pk, paper.pk], *DAYS)
    shown = {key: [point.total for point in points] for key, points in curves.items()}
    assert shown == {(False, "USD"): [D(10)], (True, "USD"): [D(5)]}
    assert list(curves) == [(False, "USD"), (True, "USD")]
    together = selectors.equity_curve([real.pk, paper.pk], *DAYS)
    assert [point.total for point in together["USD"]] == [D(15)]


@pytest.mark.django_db
def test_results_include_today_before_daily_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner = factories.user()
    new_york, tokyo = factories.connection(owner), factories.connection(owner, zone="Asia/Tokyo")
    ids = [new_york.pk, tokyo.pk]
    signals = factories.signals(owner, 4)
    now = at("2026-03-12T22:30:00Z")  # the 13th in New York, where the 12th ended at 21:00 UTC
    monkeypatch.setattr(selectors, "market_now", lambda: now)
    closed = ["2026-03-12T20:59:00Z", "2026-03-12T21:01:00Z", "2026-03-12T22:29:00Z"]
    pnl = [D("16.33"), D("310.38"), D("-28.01")]
    trades = [
        factories.trade(new_york, signal, closed_at=at(when), pnl=made)
        for signal, when, made in zip(signals, closed, pnl, strict=False)
    ]
    store(trades[0])
    services.compute_day(date(2026, 3, 12))
    services.compute_day(date(2026, 3, 13))
    store(*trades[1:], factories.trade(tokyo, signals[3], closed_at=at(closed[2]), pnl=D(7)))
    days = date(2026, 3, 1), date(2026, 3, 14)
    found = selectors.totals(ids, *days)
    assert found[new_york.pk].total == sum(pnl)
    assert found[new_york.pk].trades == 3
    assert found[new_york.pk].drawdown == D("28.01")
    assert found[tokyo.pk].total == D(7)
    assert selectors.totals(None, *days) == found
    [points] = selectors.equity_curve([new_york.pk], *days).values()
    assert [(p.day.day, p.trades, p.pnl, p.total) for p in points] == [
        (12, 1, D("16.33"), D("16.33")),
        (13, 2, D("282.37"), D("298.70")),
    ]
    assert selectors.totals(ids, date(2026, 3, 1), date(2026, 3, 12))[new_york.pk].trades == 1
    for day in (12, 13):
        services.compute_day(date(2026, 3, day))
    assert selectors.totals(ids, *days) == found, "the job changes nothing of it"


@pytest.mark.django_db
def test_api_defaults_to_current_trading_day() -> None:
    """In the evening of New York it is the one of tomorrow's date."""
    clocks.set_market_clock(clocks.MarketClock(at("2026-03-12T22:30:00Z"), datetime.now(UTC), 1))
    try:
        owner = factories.user()
        account = factories.connection(owner)
        (signal,) = factories.signals(owner, 1)
        store(factories.trade(account, signal, closed_at=at("2026-03-12T22:29:00Z"), pnl=D(7)))
        client = APIClient()
        client.force_authenticate(owner)
        (row,) = client.get("/api/v1/analytics/").json()
        assert row["total_pnl"] == "7"
    finally:
        clocks.set_market_clock(None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        (
            services.COMPUTE,
            {
                "day": DAYS[0],
                "read_at": BEGIN,
                "earliest": earliest(DAYS[0]),
                "latest": latest(DAYS[0]),
            },
        ),
        (selectors.TOTALS, selectors._parameters(None, *DAYS)),
        (selectors.CURVE, {**selectors._parameters(None, *DAYS), "paper_apart": True}),
    ],
    ids=["compute", "totals", "curve"],
)
def test_fold_does_not_query_trades_per_account(sql: str, parameters: dict[str, object]) -> None:
    """A subquery for each row folded a day of 1,000 accounts five times as slowly."""
    plan = "\n".join(line for (line,) in rows(f"EXPLAIN {sql}", parameters))
    assert "WindowAgg" in plan
    assert "SubPlan" not in plan, plan
