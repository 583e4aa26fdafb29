"""Results of a period against a slow computation from the rows, and the rules that they keep."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from analytics.models import TradeCost
from analytics.results.closed_trades import BREAKDOWNS, Scope, trade_results, trades_after
from analytics.results.reports import BookKey, Report, books, report, report_accounts
from connections.models import AccountHistory, CashFlow, ExecutionConnection
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.analytics import factories, results_oracle
from tests.examples import examples
from users.models import User

START, END = date(2026, 3, 2), date(2026, 3, 13)  # New York's clocks change on 8 March
BEGIN = datetime(2026, 3, 1, 22, tzinfo=UTC)  # 17:00 in New York


def scope(*accounts: ExecutionConnection, **more: Any) -> Scope:
    return Scope([account.pk for account in accounts], START, END, **more)


def report_of(*accounts: ExecutionConnection, **more: Any) -> Report:
    rows = report_accounts(ExecutionConnection.objects.filter(pk__in=[a.pk for a in accounts]))
    key = next(iter(books(rows)))
    return report(key, rows, scope(*accounts, **more))


def reading(of: ExecutionConnection, at: datetime, equity: D, balance: D | None = None) -> None:
    balance = equity if balance is None else balance
    AccountHistory.objects.create(
        connection=of, period_start=at, currency="USD", read_at=at, balance=balance, equity=equity,
        peak_balance=balance, peak_balance_at=at, peak_equity=equity, peak_equity_at=at,
    )  # fmt: skip


def flow(of: ExecutionConnection, at: datetime, amount: D) -> None:
    CashFlow.objects.create(connection=of, at=at, amount=amount, origin="OWNER")


def latest(of: ExecutionConnection, at: datetime, equity: D, currency: str = "USD") -> None:
    factories.snapshot(of, currency)
    of.snapshot.__class__.objects.filter(pk=of.pk).update(read_at=at, equity=equity, balance=equity)


trades = st.lists(
    st.tuples(
        st.integers(-86_400, 13 * 86_400),
        st.decimals("-900", "900", places=5) | st.just(D(0)),
        st.decimals("0", "9", places=4),
        st.decimals("-40", "40", places=2) | st.just(D(0)),  # swap
        st.integers(0, 1),  # account
        st.integers(0, 1),  # feed
        st.sampled_from(["EUR/USD", "XAU/USD"]),
    ),
    min_size=1,
    max_size=16,
)


def two_feeds(owner: User, number: int) -> list[list[Signal]]:
    feeds = [
        Feed.objects.create(slug=f"f{n}", name=f"Feed {n}", owner=owner, is_approved=True)
        for n in range(2)
    ]
    return [
        Signal.objects.bulk_create(
            Signal(feed=feed, currency_pair="EUR/USD", direction="BUY", approval="APPROVED")
            for _ in range(number)
        )
        for feed in feeds
    ]


class AgainstTheOracle(TestCase):
    """hypothesis rolls each example back."""

    @settings(max_examples=examples(8))
    @given(trades)
    def test_sums_and_streaks_equal_a_slow_computation(self, made: Any) -> None:
        owner = factories.user()
        accounts = [factories.connection(owner) for _ in range(2)]
        signals = two_feeds(owner, len(made))
        stored = []
        for n, (offset, pnl, commission, swap, account, feed, pair) in enumerate(made):
            one = factories.trade(
                accounts[account], signals[feed][n], closed_at=BEGIN + timedelta(seconds=offset),
                pnl=pnl, commission=commission, swap=swap,
            )  # fmt: skip
            one.pair = pair
            stored.append(one)
        ExecutionPosition.objects.bulk_create(stored)
        inside = [p for p in stored if p.closed_at and results_oracle.day_of(p.closed_at) >= START]
        inside = [p for p in inside if p.closed_at and results_oracle.day_of(p.closed_at) <= END]

        found = trade_results(scope(*accounts))

        for kind in (*BREAKDOWNS, "total"):
            rows = found.breakdowns[kind] if kind in BREAKDOWNS else [found.total]
            expected = results_oracle.sums_by(inside, kind) or {"": results_oracle.Sums()}
            if kind != "total" and not inside:
                expected = {}
            assert {
                row.key: (row.trades, row.wins, row.losses, row.gross_profit, row.gross_loss,
                          row.commission, row.swap, row.with_swap)
                for row in rows
            } == {
                key: (s.trades, s.wins, s.losses, s.profit, s.loss, s.commission, s.swap,
                      s.with_swap)
                for key, s in expected.items()
            }  # fmt: skip
            # to the last digit, not only to the cent
            assert sum((row.sums.total for row in rows), D(0)) == found.sums.total
        assert (found.run.wins, found.run.losses, found.run.current) == (
            results_oracle.streaks(inside)
        )
        listed = trades_after(scope(*accounts), BEGIN - timedelta(days=9), 0, limit=99)
        assert sum((row.net for row in listed), D(0)) == found.sums.total

    @settings(max_examples=examples(8))
    @given(
        st.lists(st.decimals("-0.09", "0.09", places=4), min_size=5, max_size=5),
        st.lists(
            st.tuples(st.integers(0, 4), st.decimals("-400", "9000", places=2).filter(bool)),
            max_size=4, unique_by=lambda one: one[0],
        ),
    )  # fmt: skip
    def test_deposits_do_not_change_the_return(self, moves: list[D], flows: Any) -> None:
        owner = factories.user()
        plain, paid = (factories.connection(owner) for _ in range(2))
        amounts = dict(flows)
        equities = {plain: D(1000), paid: D(1000)}
        for n, move in enumerate(moves):
            at = BEGIN + timedelta(days=n)
            for account, equity in equities.items():
                reading(account, at, equity)
                equity *= 1 + move / 2
                if account is paid and n in amounts:
                    # On the day of a loss, too: what comes in does not hide it.
                    equity += amounts[n]
                    flow(account, at + timedelta(hours=9), amounts[n])
                    reading(account, at + timedelta(hours=9), equity)
                equities[account] = (equity * (1 + move / 2)).quantize(D("1e-15"))
        for account, equity in equities.items():
            latest(account, BEGIN + timedelta(days=len(moves)), equity)

        first, second = (report_of(account) for account in (plain, paid))

        assert first.book
        assert second.book
        assert first.book.statistics.total.value is not None
        assert second.book.statistics.total.value is not None
        difference = first.book.statistics.total.value - second.book.statistics.total.value
        assert abs(difference) < D("1e-14")
        book = second.book
        assert book.opening + book.deposits - book.withdrawals + book.result == book.closing
        assert book.deposits == sum((a for a in amounts.values() if a > 0), D(0))
        oracle = results_oracle.daily_returns(paid, START, END)
        days = {d.day: d.value for d in book.days if d.value is not None}
        assert set(days) == set(oracle)
        assert all(abs(float(days[day] or 0) - float(oracle[day])) < 1e-14 for day in oracle)


pytestmark = pytest.mark.django_db


def test_missing_readings_are_a_gap_and_not_interpolated() -> None:
    account = factories.connection(factories.user())
    for n, equity in ((0, 1000), (1, 1010), (4, 1111), (5, 1100)):
        reading(account, BEGIN + timedelta(days=n, hours=1), D(equity))
    latest(account, BEGIN + timedelta(days=5, hours=3), D(1105))
    book = report_of(account).book
    assert book
    # From the reading on 3 March to the next one, on 6 March.
    assert [(gap.first.day, gap.last.day) for gap in book.gaps] == [(3, 5)]
    assert [(day.day.day, day.equity) for day in book.days] == [
        (2, D(1010)), (3, None), (4, None), (5, D(1111)), (6, D(1100)), (7, D(1105)),
    ]  # fmt: skip
    # The gap counts in the total, not among the days whose deviation is measured; the day that
    # goes on is no full one either.
    assert round(book.statistics.total.value or 0, 15) == D("0.105")
    assert book.statistics.days == 2


def test_account_that_was_added_counts_from_its_first_reading() -> None:
    owner = factories.user()
    old, new = (factories.connection(owner) for _ in range(2))
    for n, equity in enumerate((1000, 1100, 1210, 1210)):
        reading(old, BEGIN + timedelta(days=n, hours=1), D(equity))
    for n, equity in ((2, 5000), (3, 5000)):
        reading(new, BEGIN + timedelta(days=n, hours=2), D(equity))
    latest(old, BEGIN + timedelta(days=3, hours=3), D(1210))
    latest(new, BEGIN + timedelta(days=3, hours=3), D(5000))
    book = report_of(old, new).book
    assert book
    sums = (book.opening, book.added, book.result, book.closing)
    assert sums == (D(1000), D(5000), D(210), D(6210))
    assert [(day.day.day, day.equity, day.added) for day in book.days] == [
        (2, D(1100), D(0)), (3, D(1210), D(0)), (4, D(6210), D(5000)), (5, D(6210), D(0)),
    ]  # fmt: skip
    assert round(book.statistics.total.value or 0, 15) == D("0.21")  # not 521 %


def test_balance_that_nothing_explains_is_stated() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    (signal,) = factories.signals(owner, 1)
    reading(account, BEGIN + timedelta(hours=1), D(1000))
    one = factories.trade(account, signal, closed_at=BEGIN + timedelta(hours=5), pnl=D(50))
    ExecutionPosition.objects.bulk_create([one])
    flow(account, BEGIN + timedelta(hours=6), D(200))
    latest(account, BEGIN + timedelta(hours=7), D("1247.30"))
    made = report_of(account)
    assert made.book
    assert (made.book.deposits, made.book.result) == (D(200), D("47.30"))
    assert made.other == D("-2.70")
    ExecutionPosition.objects.update(swap=D("-2.70"))  # what the broker booked with its close
    explained = report_of(account)
    assert (explained.trades.sums.total, explained.other) == (D("47.30"), D(0))


def test_filters_leave_out_trades_and_so_the_equity() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    latest(account, BEGIN, D(1000))
    signals = two_feeds(owner, 1)
    ExecutionPosition.objects.bulk_create(
        factories.trade(account, signals[n][0], closed_at=BEGIN + timedelta(hours=n), pnl=D(n + 1))
        for n in range(2)
    )
    made = report_of(account, feed_id=signals[1][0].feed_id)
    assert (made.trades.total.trades, made.trades.sums.total, made.book) == (1, D(2), None)
    assert report_of(account, pair="XAU/USD").trades.total.trades == 0
    for chosen in ({"pair": "XAU/USD"}, {"feed_id": signals[1][0].feed_id}, {}):
        assert sorted(report_of(account, **chosen).feed_choices.values()) == ["Feed 0", "Feed 1"]
    assert report_of(account).trades.total.trades == 2


def test_hours_are_of_the_readers_zone_also_when_its_clocks_change() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    signals = factories.signals(owner, 3)
    closes = ("2026-03-06T14:30:00Z", "2026-03-09T13:30:00Z", "2026-03-09T14:30:00Z")
    ExecutionPosition.objects.bulk_create(
        factories.trade(account, signal, closed_at=datetime.fromisoformat(at), pnl=D(1))
        for signal, at in zip(signals, closes, strict=True)
    )
    hours = trade_results(scope(account, zone="America/New_York")).breakdowns["hour"]
    assert [(row.key, row.trades) for row in hours] == [("9", 2), ("10", 1)]
    utc = trade_results(scope(account)).breakdowns["hour"]
    assert [(row.key, row.trades) for row in utc] == [("13", 1), ("14", 2)]


def test_late_correction_is_stated_with_its_time() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    signals = factories.signals(owner, 2)
    first, second = (
        factories.trade(account, signal, closed_at=BEGIN + timedelta(hours=1), pnl=D(5))
        for signal in signals
    )
    first.last_activity_at = second.last_activity_at = BEGIN + timedelta(hours=1, seconds=2)
    ExecutionPosition.objects.bulk_create([first, second])
    assert trade_results(scope(account)).total.corrected == 0
    corrected_at = BEGIN + timedelta(days=3)  # its broker has voided a fill
    ExecutionPosition.objects.filter(pk=second.pk).update(
        realized_pnl=D(-3), last_activity_at=corrected_at
    )
    total = trade_results(scope(account)).total
    assert (total.corrected, total.corrected_at, total.sums.total) == (1, corrected_at, D(2))


def test_costs_are_counted_with_how_many_trades_they_are_known_of() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    signals = factories.signals(owner, 3)
    stored = ExecutionPosition.objects.bulk_create(
        factories.trade(account, signal, closed_at=BEGIN + timedelta(hours=1), pnl=D(5),
                        commission=D("0.5"))
        for signal in signals
    )  # fmt: skip
    for position, entry, leave, slippage in zip(
        stored, (D(1), D(2)), (D(3), None), (None, D("-0.25")), strict=False
    ):
        TradeCost.objects.create(
            position=position, connection=account, entry_spread=entry, exit_spread=leave,
            slippage=slippage,
        )  # fmt: skip
    ExecutionPosition.objects.filter(pk=stored[2].pk).update(unconverted_fees={"BNB": "0.0007"})
    found = trade_results(scope(account))
    total = found.total
    assert (total.commission, total.spread, total.with_spread) == (D("1.5"), D(4), 1)
    assert (total.slippage, total.with_slippage) == (D("-0.25"), 1)
    assert found.fees == {"BNB": D("0.0007")}


def test_currencies_and_paper_are_books_of_their_own() -> None:
    owner = factories.user()
    accounts = [factories.connection(owner, kind=kind) for kind in ("paper", "mt5", "mt5", "mt4")]
    for account, currency in zip(accounts, ("USD", "JPY", "USD", ""), strict=True):
        if currency:
            latest(account, BEGIN, D(1000), currency)
    found = books(report_accounts(ExecutionConnection.objects.filter(user=owner)))
    assert list(found) == [
        BookKey("JPY", False), BookKey("USD", False), BookKey("", False), BookKey("USD", True),
    ]  # fmt: skip
    assert [key.slug for key in found] == ["JPY", "USD", "unknown", "USD-paper"]


def test_nothing_is_a_report_without_figures() -> None:
    account = factories.connection(factories.user())
    made = report_of(account)
    assert not made.has_anything
    assert made.trades.sums.win_rate.why == "no trade was closed"
    assert made.book
    assert made.book.statistics.sharpe.value is None
    assert (made.months, made.days, made.other) == ([], [], None)
