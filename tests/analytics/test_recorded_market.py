"""Records and results on the recorded market, against computations that share nothing with ours."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import pytest

from analytics.models import FeedRecord, FeedTrade
from analytics.records import computation as feed_records
from analytics.records.figures import Figures, from_json
from analytics.results import closed_trades as results
from analytics.results.reports import books, report, report_accounts
from brokers.types import Quote
from common.clocks import MarketClock, set_market_clock
from connections.models import AccountHistory, CashFlow, DataConnection, ExecutionConnection
from positions.models import ExecutionPosition
from prices.services import store_quotes
from signals.models import Approval, Feed, Signal
from tests.analytics import factories, recorded_market, results_oracle
from tests.analytics.record_oracle import RawSignal, oracle
from tests.analytics.recorded_market import END, NOON, PAIRS, market, minute_bars
from users.models import User

pytestmark = pytest.mark.django_db
GOLDEN = json.loads(
    (Path(__file__).parent / "data/quantstats-0.0.86-recorded.json").read_text()
)["series"]  # fmt: skip
STEPS = {"EUR/USD": D("0.0001"), "NZD/USD": D("0.0001"), "XAU/USD": D("0.2")}
KINDS = ("MARKET", "LIMIT", "STOP", "IF_TOUCHED")
SIGNALS, EVERY = 90, timedelta(seconds=71)
CLOSE = F(1, 10**8)


@pytest.fixture
def source(source: DataConnection) -> DataConnection:
    """A price source that has stored the whole recording."""
    quotes = [Quote(one.pair, one.bid, one.ask, one.at) for one in recorded_market.lines()]
    for start in range(0, len(quotes), 500):
        store_quotes(source.pk, quotes[start : start + 500])
    return source


def publish(feed: Feed, source: DataConnection, pair: str, at: datetime, **fields: Any) -> Signal:
    """A signal as it is stored at its publication, with the market of that moment."""
    now = market(pair, at)
    return Signal.objects.create(
        feed=feed, currency_pair=pair, published_at=at, approval=Approval.APPROVED,
        market_bid=now.bid, market_ask=now.ask, market_at=now.at, market_source=source.pk, **fields,
    )  # fmt: skip


def publish_trade(feed: Feed, source: DataConnection, number: int) -> None:
    """Publish a trade at its turn: every kind of entry, two targets, some changes and closes."""
    at = NOON + timedelta(seconds=9) + number * EVERY
    pair, kind = PAIRS[number % 3], KINDS[number % 4]
    sign, step = 1 if number // 2 % 2 else -1, STEPS[pair] * (2 + number % 5)
    now = market(pair, at)
    away = {"MARKET": 0, "LIMIT": -1, "IF_TOUCHED": -1, "STOP": 1}[kind]
    entry = (now.ask if sign > 0 else now.bid) + sign * away * step
    opened = publish(
        feed, source, pair, at, direction="BUY" if sign > 0 else "SELL", order_type=kind,
        open_price=entry if kind == "LIMIT" else None,
        stop_price=entry if kind in ("STOP", "IF_TOUCHED") else None,
        sl=entry - sign * 3 * step,
        target_prices=[entry + sign * 2 * step, entry + sign * 5 * step],
        target_fractions=[D("0.6"), D("0.4")],
        valid_until=at + timedelta(minutes=4) if number % 7 == 0 else None,
    )  # fmt: skip
    again = {"direction": opened.direction, "refers_to": opened}
    if number % 5 == 0:
        publish(feed, source, pair, at + timedelta(seconds=187), action="MODIFY",
                sl=entry - sign * step, **again)  # fmt: skip
    if number % 6 == 0:
        publish(feed, source, pair, at + timedelta(seconds=433), action="CLOSE",
                close_fraction=D("0.5") if number % 4 else D(1), **again)  # fmt: skip


def compute_at(feed: Feed, at: datetime) -> FeedRecord:
    set_market_clock(MarketClock(at, datetime.now(UTC), 1e-9))
    return feed_records.compute_feed(feed)


def expected_of(signal: Signal) -> tuple[str, F | None, F | None]:
    """Return state, percent and R by the oracle, from the lines of the recording."""

    def raw(row: Signal) -> RawSignal:
        def exact(value: D | None) -> F | None:
            return None if value is None else F(value)

        assert row.published_at is not None
        wanted = row.open_price if row.order_type == "LIMIT" else row.stop_price
        targets = zip(row.target_prices, row.target_fractions, strict=True)
        return RawSignal(
            row.action, row.published_at, row.direction, row.order_type, exact(wanted),
            exact(row.sl), tuple((F(price), F(part)) for price, part in targets),
            F(row.close_fraction), row.valid_until, exact(row.market_bid), exact(row.market_ask),
        )  # fmt: skip

    later = Signal.objects.filter(refers_to=signal).order_by("published_at")
    bars = minute_bars(signal.currency_pair)
    return oracle(raw(signal), [raw(one) for one in later], bars, END + timedelta(minutes=5))


def test_record_is_that_of_the_oracle(feed: Feed, source: DataConnection) -> None:
    for number in range(SIGNALS):
        publish_trade(feed, source, number)
    for minutes in (20, 31.5, 75, 126.4):
        record = compute_at(feed, NOON + timedelta(minutes=minutes))
    found: dict[str, list[tuple[FeedTrade, F, F | None]]] = defaultdict(list)
    for trade in FeedTrade.objects.select_related("signal").order_by("ended_at", "signal_id"):
        state, percent, r = expected_of(trade.signal)
        assert trade.state == state, trade.signal_id
        for ours, theirs in ((trade.percent, percent), (trade.r, r)):
            assert (ours is None) == (theirs is None), trade.signal_id
            assert ours is None or theirs is None or abs(F(ours) - theirs) < CLOSE, trade.signal_id
        found[state].append((trade, percent or F(0), r))
    assert sum(map(len, found.values())) == SIGNALS
    assert len(found["CLOSED"]) > 40
    assert found["NOT_ENTERED"]
    compare(from_json(record.figures), found["CLOSED"])


def compare(figures: Figures, closed: list[tuple[FeedTrade, F, F | None]]) -> None:
    """Compare each figure with the oracle's results, added up as docs/records.md says."""
    percents = [percent for _, percent, _ in closed]
    risks = [r for _, _, r in closed if r is not None]
    gained, lost = (sum(max(sign * one, F(0)) for one in percents) for sign in (1, -1))

    def same(ours: D | None, theirs: F) -> None:
        assert ours is not None
        assert abs(F(ours) - theirs) < CLOSE * SIGNALS

    assert (figures.closed, figures.wins, figures.losses) == (
        len(closed), len([one for one in percents if one > 0]),
        len([one for one in percents if one < 0]),
    )  # fmt: skip
    same(figures.percent, sum(percents, F(0)))
    same(figures.r, sum(risks, F(0)))
    same(figures.win_rate, F(figures.wins, len(closed)))
    same(figures.profit_factor, F(gained) / F(lost))
    same(figures.expectancy_r, sum(risks, F(0)) / len(risks))
    same(figures.drawdown_percent, deepest(percents))
    same(figures.drawdown_r, deepest([r or F(0) for _, _, r in closed]))
    keys: dict[str, Callable[[FeedTrade], str]] = {
        "months": lambda one: f"{one.ended_at:%Y-%m}",
        "pairs": lambda one: one.pair,
        "hours": lambda one: f"{one.published_at:%H}",
    }
    for table, key in keys.items():
        sums: dict[str, F] = defaultdict(F)
        for trade, percent, _ in closed:
            sums[key(trade)] += percent
        lines = {line.name: line.percent for line in getattr(figures, table)}
        assert set(lines) == set(sums), table
        for name, total in sums.items():
            same(lines[name], total)


def deepest(values: list[F]) -> F:
    """Return the largest fall of the running sum from any earlier one; it begins at 0."""
    sums = [sum(values[:n], F(0)) for n in range(len(values) + 1)]
    return max(high - low for n, high in enumerate(sums) for low in sums[n:])


def test_results_of_trades_at_recorded_prices_are_those_of_the_oracle(feed: Feed) -> None:
    """One account takes a trade of each pair every minute and ends it some minutes later."""
    account = factories.connection(User.objects.create_user("tenant"))
    stored = []
    for number in range(3 * 100):
        pair, opened_at = PAIRS[number % 3], NOON + timedelta(seconds=20 + 20 * number)
        closed_at = opened_at + timedelta(seconds=60 + 37 * (number % 11))
        sign, (entry, end) = 1 if number % 4 < 2 else -1, (market(pair, opened_at),
                                                          market(pair, closed_at))  # fmt: skip
        moved = end.bid - entry.ask if sign > 0 else entry.bid - end.ask
        signal = Signal.objects.create(feed=feed, currency_pair=pair, direction="BUY")
        one = factories.trade(
            account, signal, closed_at=closed_at, pnl=moved * 1000, commission=D("0.07"),
            lasted=closed_at - opened_at,
        )  # fmt: skip
        one.pair, one.entry_price = pair, entry.ask if sign > 0 else entry.bid
        stored.append(one)
    ExecutionPosition.objects.bulk_create(stored)
    found = results.trade_results(results.Scope([account.pk], NOON.date(), NOON.date()))
    for kind in ("pair", "hour", "total"):
        rows = found.breakdowns[kind] if kind != "total" else [found.total]
        assert {
            row.key: (row.trades, row.wins, row.losses, row.gross_profit, row.gross_loss)
            for row in rows
        } == {
            key: (s.trades, s.wins, s.losses, s.profit, s.loss)
            for key, s in results_oracle.sums_by(stored, kind).items()
        }
    assert (found.run.wins, found.run.losses, found.run.current) == results_oracle.streaks(stored)
    nets = [F(one.realized_pnl - one.commission) for one in sorted(stored, key=_end)]
    assert F(found.run.drawdown) == deepest(nets)


def _end(one: ExecutionPosition) -> tuple[Any, int]:
    return one.closed_at, one.pk


@pytest.mark.parametrize("series", GOLDEN, ids=lambda one: one["pair"])
def test_golden_returns_are_those_of_the_recording(series: dict[str, Any]) -> None:
    assert [D(text) for text in series["returns"]] == recorded_market.minute_returns(series["pair"])


@pytest.mark.parametrize("series", GOLDEN, ids=lambda one: one["pair"])
def test_statistics_of_an_account_are_those_of_quantstats(series: dict[str, Any]) -> None:
    """Its equity follows the recording, a minute for each day, through deposits and withdrawals."""
    account = factories.connection(User.objects.create_user("tenant"))
    begin, equity = datetime(2026, 3, 1, 22, tzinfo=UTC), D(10_000)  # 17:00 in New York
    returns = [D(text) for text in series["returns"]]
    for day, value in enumerate([*returns, D(0)]):
        at = begin + timedelta(days=day)
        read(account, at, equity)
        if day % 10 == 3 and day < len(returns):
            amount = D(2_500) if day % 20 == 3 else D(-1_200)
            CashFlow.objects.create(
                connection=account, at=at + timedelta(hours=9), amount=amount, origin="OWNER"
            )
            equity += amount
            read(account, at + timedelta(hours=9), equity)
        equity = (equity * (1 + value)).quantize(D("1e-15"))
    factories.snapshot(account, "USD")
    last = AccountHistory.objects.order_by("-read_at").first()
    assert last is not None
    type(account.snapshot).objects.filter(pk=account.pk).update(
        read_at=last.read_at, equity=last.equity, balance=last.balance
    )
    first = date(2026, 3, 2)
    scope = results.Scope([account.pk], first, first + timedelta(days=len(returns) - 1))
    rows = report_accounts(ExecutionConnection.objects.filter(pk=account.pk))
    book = report(next(iter(books(rows))), rows, scope).book
    assert book is not None
    assert book.statistics.days == len(returns)
    assert book.deposits > 0 < book.withdrawals
    for name in ("total", "max_drawdown", "volatility", "sharpe", "sortino", "annual", "calmar"):
        ours = getattr(book.statistics, name).value
        assert float(ours or 0) == pytest.approx(series[name], rel=1e-7), name


def read(account: ExecutionConnection, at: datetime, equity: D) -> None:
    AccountHistory.objects.create(
        connection=account, period_start=at, currency="USD", read_at=at, balance=equity,
        equity=equity, peak_balance=equity, peak_balance_at=at, peak_equity=equity,
        peak_equity_at=at,
    )  # fmt: skip
