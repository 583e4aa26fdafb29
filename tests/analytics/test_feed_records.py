"""The record of a feed, computed by the job from the database's rows."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from analytics.models import FeedRecord, FeedTrade
from analytics.records import computation as feed_records
from analytics.records import selectors as record_selectors
from analytics.records.figures import Figures, RecordTrade, figures_of, from_json, to_json
from common.clocks import MarketClock, set_market_clock
from connections.models import DataConnection, ExecutionConnection
from execution.models import Order
from positions.models import ExecutionPosition
from prices.models import PriceBar
from signals.models import Approval, Feed, Signal
from signals.records.selectors import record_feed
from tests.analytics.record_oracle import RawSignal, oracle
from tests.connections import make
from users.models import User

pytestmark = pytest.mark.django_db
D, F = Decimal, Fraction
MINUTE = timedelta(minutes=1)
T = datetime(2026, 3, 2, 9, 0, 20, tzinfo=UTC)  # a Monday
START = T.replace(second=0)


def at(minutes: float) -> None:
    """Set the market clock so many minutes after the first publication; it does not move."""
    set_market_clock(MarketClock(T + timedelta(minutes=minutes), datetime.now(UTC), 1e-9))


def published(
    feed: Feed, source: DataConnection | None, minutes: float = 0, **fields: Any
) -> Signal:
    """A published signal, and the market of that moment: 1.1000 / 1.1002 unless given."""
    now = T + timedelta(minutes=minutes)
    bid = fields.pop("bid", D("1.1000"))
    market = {
        "market_bid": bid, "market_ask": bid + D("0.0002"), "market_at": now,
        "market_source": source.pk,
    } if source else {}  # fmt: skip
    values = {"currency_pair": "EUR/USD", "direction": "BUY", "approval": Approval.APPROVED}
    return Signal.objects.create(feed=feed, published_at=now, **{**values, **market, **fields})


def bars(source: DataConnection, *rows: tuple[int, str, str, str, str]) -> None:
    """Minute bars by (minute, first, highest, lowest, last bid)."""
    for minute, *bids in rows:
        first, high, low, last = map(D, bids)
        moment = START + minute * MINUTE
        PriceBar.objects.create(
            data_connection=source, symbol="EUR/USD", minute=moment, bid_open=first, bid_high=high,
            bid_low=low, bid_close=last, ask_open=first + D("0.0002"),
            ask_high=high + D("0.0002"), ask_low=low + D("0.0002"), ask_close=last + D("0.0002"),
            spread_sum=D("0.0002"), quote_count=1, first_at=moment, last_at=moment,
        )  # fmt: skip


def test_trade_is_followed_from_run_to_run(feed: Feed, source: DataConnection) -> None:
    opened = published(feed, source, sl=D("1.0952"), target_prices=[D("1.1052"), D("1.1102")],
                       target_fractions=[D("0.5"), D("0.5")])  # fmt: skip
    bars(source, (1, "1.1", "1.106", "1.0990", "1.1055"), (2, "1.1055", "1.106", "1.104", "1.105"))
    at(3)  # the second minute is over for a minute only: more of it may still be committed
    feed_records.compute_feed(feed)
    trade = FeedTrade.objects.get(signal=opened)
    assert (trade.state, trade.entry_price) == ("OPEN", D("1.1002"))
    assert trade.followed_until == START + 2 * MINUTE
    published(feed, source, 4, action="MODIFY", refers_to=opened, sl=D("1.1002"))
    bars(source, (5, "1.102", "1.102", "1.1", "1.1"))
    at(10)
    record = feed_records.compute_feed(feed)
    trade.refresh_from_db()
    # half at 1.1052 (+0.5 R), half at the moved stop (0 R)
    assert (trade.state, trade.r, trade.basis) == ("CLOSED", D("0.5"), "PRICES")
    assert trade.percent == (D("0.0025") / D("1.1002") * 100).quantize(D("1e-10"))
    figures = from_json(record.figures)
    assert (figures.closed, figures.wins, figures.r) == (1, 1, D("0.5"))
    assert [line.name for line in figures.months] == ["2026-03"]
    assert [line.name for line in figures.hours] == ["09"]
    feed_records.compute_feed(feed)  # again: the same
    again = FeedTrade.objects.get(signal=opened)
    assert (again.percent, again.r, again.ended_at) == (trade.percent, trade.r, trade.ended_at)


def test_trailing_rule_after_the_end_erases_no_lost_trade(
    feed: Feed, source: DataConnection
) -> None:
    opened = published(feed, source, sl=D("1.0952"))
    bars(source, (1, "1.1", "1.1", "1.0940", "1.0945"))
    published(feed, source, 3, action="MODIFY", refers_to=opened, trailing_distance=D("20"),
              stop_rule_unit="PIPS")  # fmt: skip
    at(10)
    feed_records.compute_feed(feed)
    trade = FeedTrade.objects.get(signal=opened)
    assert (trade.state, trade.r) == ("CLOSED", D(-1))


def test_close_that_commits_after_a_run_is_not_missed(feed: Feed, source: DataConnection) -> None:
    opened = published(feed, source)
    at(5)  # 20 seconds into a minute
    feed_records.compute_feed(feed)
    published(feed, source, 4.6, action="CLOSE", refers_to=opened, bid=D("1.1010"))
    at(10)
    feed_records.compute_feed(feed)
    trade = FeedTrade.objects.get(signal=opened)
    assert (trade.state, trade.exit_price) == ("CLOSED", D("1.1010"))


def test_records_are_those_of_the_oracle(feed: Feed, source: DataConnection) -> None:
    """Many signals over one hour of prices, computed in four runs."""
    paths = [(n * 37 % 23 - 11) for n in range(60)]
    price, rows = D("1.1"), []
    for minute, step in enumerate(paths, 1):
        last = price + D(step) / 10_000
        high, low = max(price, last) + D("0.0003"), min(price, last) - D("0.0003")
        rows.append((minute, str(price), str(high), str(low), str(last)))
        price = last
    bars(source, *rows)
    for n in range(24):
        bid, sign = D(rows[n * 2][1]), 1 if n % 2 else -1
        kind = ("MARKET", "LIMIT", "STOP")[n % 3]
        wanted = bid + D(sign * (6 if kind == "STOP" else -6)) / 10_000
        opened = published(
            feed, source, n * 2 + 0.5, bid=bid, direction="BUY" if sign > 0 else "SELL",
            order_type=kind, open_price=wanted if kind == "LIMIT" else None,
            stop_price=wanted if kind == "STOP" else None, sl=wanted - D(sign * 15) / 10_000,
            target_prices=[wanted + D(sign * 10) / 10_000, wanted + D(sign * 20) / 10_000],
            target_fractions=[D("0.5"), D("0.5")],
        )  # fmt: skip
        if n % 4 == 0:
            published(feed, source, n * 2 + 7.2, bid=D(rows[n * 2 + 7][1]), action="CLOSE",
                      direction=opened.direction, refers_to=opened,
                      close_fraction=D("0.5") if n % 8 else D(1))  # fmt: skip
        if n % 5 == 0:
            published(feed, source, n * 2 + 5.1, action="MODIFY", direction=opened.direction,
                      refers_to=opened, sl=wanted - D(sign * 5) / 10_000)  # fmt: skip
    for minutes in (13, 14, 40, 62):
        at(minutes)
        feed_records.compute_feed(feed)
    kinds = set()
    for trade in FeedTrade.objects.filter(feed=feed).select_related("signal"):
        name, percent, r = _oracle(trade.signal, source, START + 61 * MINUTE)
        kinds.add(name)
        assert (trade.state, trade.percent is None) == (name, percent is None), trade.signal_id
        for found, expected in ((trade.percent, percent), (trade.r, r)):
            if expected is not None and found is not None:
                assert abs(F(found) - expected) < F(1, 10**8), trade.signal_id
    assert kinds >= {"CLOSED", "OPEN"}
    _compare_figures(FeedRecord.objects.get(feed=feed))


def _oracle(signal: Signal, source: DataConnection, until: datetime) -> Any:
    stored = {
        row.minute: {
            side[0] + name[0]: F(getattr(row, f"{side}_{name}"))
            for side in ("bid", "ask") for name in ("open", "high", "low", "close")
        }
        for row in PriceBar.objects.filter(data_connection=source)
    }  # fmt: skip
    later = Signal.objects.filter(refers_to=signal).order_by("published_at")
    return oracle(_raw(signal), [_raw(one) for one in later], stored, until)


def _raw(row: Signal) -> RawSignal:
    def exact(value: Decimal | None) -> Fraction | None:
        return None if value is None else F(value)

    assert row.published_at is not None
    wanted = row.open_price if row.order_type == "LIMIT" else row.stop_price
    targets = zip(row.target_prices, row.target_fractions, strict=True)
    return RawSignal(
        row.action, row.published_at, row.direction, row.order_type, exact(wanted), exact(row.sl),
        tuple((F(price), F(part)) for price, part in targets), F(row.close_fraction),
        None, exact(row.market_bid), exact(row.market_ask),
    )  # fmt: skip


def _compare_figures(record: FeedRecord) -> None:
    """Compare the stored figures with sums written out plainly."""
    figures = from_json(record.figures)
    closed = sorted(
        FeedTrade.objects.filter(feed=record.feed, state="CLOSED"),
        key=lambda one: (one.ended_at, one.signal_id),
    )
    values = [F(one.percent or 0) for one in closed]
    assert figures.closed == len(values) > 3
    assert F(figures.percent) == sum(values)
    assert figures.wins == len([value for value in values if value > 0])
    falls = [
        max([F(0), *(sum(values[:i]) for i in range(j + 1))]) - sum(values[: j + 1])
        for j in range(len(values))
    ]
    assert F(figures.drawdown_percent) == max([F(0), *falls])
    assert sum(line.trades for line in figures.hours) == len(values)


def subscriber(feed: Feed, number: int, kind: str = "mt5") -> ExecutionConnection:
    row = make.connection(
        User.objects.create_user(f"{kind}{number}"), type=kind, account=f"{number}"
    )
    make.subscription(row, feed)
    return row


def filled(account: ExecutionConnection, signal: Signal, pnl: int, slip: str = "0.0001") -> None:
    """A closed position of 1,000 units from 1.1; its result and slippage."""
    Order.objects.create(
        signal=signal, connection=account, leg="entry", pair="EUR/USD", side="BUY",
        order_type="MARKET", time_in_force="GTC", status="FILLED", quantity=D(1000),
        filled_quantity=D(1000), expected_price=D("1.1") - D(slip), avg_fill_price=D("1.1"),
        slippage_pips=D(1), slippage_unit="PIPS", client_order_id=f"c{account.account}{signal.pk}",
        due_at=T,
    )  # fmt: skip
    ExecutionPosition.objects.create(
        connection=account, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
        quantity=D(0), opened_quantity=D(1000), entry_price=D("1.1"), pip=D("0.0001"),
        conversion_rate=D(1), realized_pnl=D(pnl), opened_at=T, closed_at=T + MINUTE,
    )  # fmt: skip


def test_real_fills_are_the_median_of_persons_without_paper_and_owner(
    feed: Feed, source: DataConnection
) -> None:
    opened = published(feed, source, sl=D("1.09"))
    for number, pnl in enumerate((11, 22, 33, 44, 550)):
        filled(subscriber(feed, number), opened, pnl)
    filled(subscriber(feed, 8, "paper"), opened, -990)
    own = make.connection(feed.owner, type="mt5", account="own")
    filled(own, opened, 990)
    bars(source, (1, "1.1", "1.1", "1.08", "1.08"))
    at(5)
    figures = from_json(feed_records.compute_feed(feed).figures)
    trade = FeedTrade.objects.get()
    assert (trade.subscribers, trade.real_low, trade.real_median, trade.real_high) == (
        5, D(2), D(3), D(4),
    )  # fmt: skip
    assert (figures.real_trades, figures.real_median) == (1, D(3))
    assert figures.real_compared == trade.percent != D(3)
    assert figures.slippage == D("0.9091735612")
    assert record_selectors.record_of(feed, with_new=True).followers == 5


def test_figures_about_few_persons_are_hidden(feed: Feed, source: DataConnection) -> None:
    opened = published(feed, source, sl=D("1.09"))
    for number in range(4):
        filled(subscriber(feed, number), opened, 11)
    at(5)
    figures = from_json(feed_records.compute_feed(feed).figures)
    trade = FeedTrade.objects.get()
    assert (trade.subscribers, trade.real_median, trade.slippage) == (0, None, None)
    assert (figures.real_trades, figures.slippage) == (0, None)
    assert record_selectors.record_of(feed, with_new=True).followers is None


def test_median_fill_counts_where_no_price_is_known(feed: Feed) -> None:
    opened = published(feed, None, sl=D("1.09"))
    unknown = published(feed, None, 1)
    for number, pnl in enumerate((11, 22, 33, 44, 55)):
        filled(subscriber(feed, number), opened, pnl)
    at(5)
    figures = from_json(feed_records.compute_feed(feed).figures)
    trade = FeedTrade.objects.get(signal=opened)
    assert (trade.basis, trade.percent, trade.entry_price) == ("FILLS", D(3), D("1.1"))
    assert trade.r == (D(3) / (D("0.01") / D("1.1") * 100)).quantize(D("1e-10"))
    assert FeedTrade.objects.get(signal=unknown).state == "UNKNOWN"
    assert (figures.closed, figures.unknown) == (1, 1)


def test_real_result_counts_from_the_price_of_all_entries(feed: Feed) -> None:
    """A position that was closed in part and then grew has the price of the lots that remained."""
    opened = published(feed, None, sl=D("1.09"))
    for number, pnl in enumerate((11, 22, 33, 44, 55)):
        filled(subscriber(feed, number), opened, pnl)
    ExecutionPosition.objects.update(entry_price=D("1.2"))
    at(5)
    feed_records.compute_feed(feed)
    trade = FeedTrade.objects.get(signal=opened)
    assert (trade.percent, trade.entry_price) == (D(3), D("1.1"))


def test_trade_without_prices_ends_once_when_enough_have_closed_it(feed: Feed) -> None:
    opened = published(feed, None, sl=D("1.09"))
    for number in range(5):
        filled(subscriber(feed, number), opened, 33)
    ends = []
    for minutes in (5, 65, 27 * 24 * 60, 29 * 24 * 60):
        at(minutes)
        feed_records.compute_feed(feed)
        trade = FeedTrade.objects.get(signal=opened)
        ends.append((trade.ended_at, trade.is_final))
    first = T + timedelta(minutes=5)
    assert ends == [(first, False), (first, False), (first, False), (first, True)]


def test_marks_of_any_signal_of_a_trade_mark_it(feed: Feed, source: DataConnection) -> None:
    opened = published(feed, source, sl=D("1.09"))
    published(feed, source, 2, action="CLOSE", refers_to=opened, marks=["WRITTEN_EARLIER"])
    at(5)
    figures = from_json(feed_records.compute_feed(feed).figures)
    assert (figures.marked, figures.closed, figures.unmarked_percent) == (1, 1, D(0))
    assert figures.percent < 0


def test_new_trades_are_for_subscribers(feed: Feed, source: DataConnection) -> None:
    published(feed, source)
    at(5)
    feed_records.compute_feed(feed)
    assert record_selectors.trades_of(feed, before=None, limit=5, with_new=False) == []
    (trade,) = record_selectors.trades_of(feed, before=None, limit=5, with_new=True)
    at(25 * 60)
    feed_records.compute_feed(feed)
    assert record_selectors.trades_of(feed, before=None, limit=5, with_new=False) == [trade]


def test_visitor_sees_only_what_the_provider_shows(feed: Feed) -> None:
    assert record_feed("majors", None) is None
    Feed.objects.filter(pk=feed.pk).update(record_is_public=True)
    assert record_feed("majors", None) == feed
    Feed.objects.filter(pk=feed.pk).update(is_public=False)
    assert record_feed("majors", None) is None


@pytest.mark.parametrize(("count", "expected"), [
    (1, (1, 1, 1)), (2, (1, 1, 2)), (4, (1, 2, 4)), (5, (2, 3, 4)), (9, (3, 5, 7)),
])  # fmt: skip
def test_slippage_is_the_median_and_the_middle_half(
    count: int, expected: tuple[int, int, int]
) -> None:
    trade = RecordTrade(
        1, "EUR/USD", T, T + MINUTE, "CLOSED", D(1), D(1), [], None, None, None, None
    )
    found = figures_of(
        trade._replace(slippage=D(number) if number else None) for number in range(count, -1, -1)
    )
    assert (found.slippage_low, found.slippage, found.slippage_high) == tuple(map(D, expected))


def test_figures_survive_their_storage() -> None:
    trade = RecordTrade(
        1, "EUR/USD", T, T + MINUTE, "CLOSED", D("1.5"), D("0.5"), [], D(1), D(2), D(3), D("0.1")
    )
    figures = figures_of([trade, trade._replace(percent=D("-2"), r=None)])
    assert from_json(to_json(figures)) == figures
    assert (figures.drawdown_percent, figures.win_rate) == (D(2), D("0.5"))
    assert from_json(to_json(Figures())) == Figures()
