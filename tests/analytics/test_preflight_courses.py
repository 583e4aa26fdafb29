"""What becomes of a replayed trade: result, drawdown, loss limits, missing prices; and the job."""

import cProfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.models import Preflight
from analytics.preflight import jobs
from analytics.preflight.loading import load
from analytics.preflight.replay import Curve, Replay
from analytics.preflight.replay_rows import Terms
from analytics.preflight.services import request_preflight
from analytics.preflight.summary import summary_of
from analytics.records import computation as feed_records
from brokers.types import OrderType
from common.clocks import MarketClock, set_market_clock
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from connections.models import ExecutionConnection, TradingPreset
from execution.models import Order
from prices.models import PriceBar
from signals.models import Approval, Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.loss_limits import limit_of
from users.models import User

pytestmark = pytest.mark.django_db
D = Decimal
MINUTE = timedelta(minutes=1)
T = datetime(2026, 3, 2, 9, 0, 20, tzinfo=UTC)  # a Monday
START = T.replace(second=0)
factories.register()


@pytest.fixture
def feed(db: None) -> Feed:
    factories.instrument()
    return make.feed()


@pytest.fixture
def account(feed: Feed) -> ExecutionConnection:
    at(0)
    subscriber = factories.account(preset_fixed_quantity=D(10_000))
    make.subscription(subscriber, feed)  # others see only what is a day old
    return subscriber


def at(minutes: float) -> None:
    """Set the market clock so many minutes after the first publication; it does not move."""
    set_market_clock(MarketClock(T + timedelta(minutes=minutes), datetime.now(UTC), 1e-9))


def published(feed: Feed, minutes: float = 0, **fields: Any) -> Signal:
    values = {
        "currency_pair": "EUR/USD", "direction": "BUY", "approval": Approval.APPROVED,
        "sl": D("1.0900"), "target_prices": [D("1.1102")], "target_fractions": [D(1)],
    } | fields  # fmt: skip
    return Signal.objects.create(feed=feed, published_at=T + timedelta(minutes=minutes), **values)


def bars(of: ExecutionConnection, *rows: tuple[int, str, str, str, str]) -> None:
    """Minute bars by (minute, first, highest, lowest, last bid), with a spread of 2 pips."""
    for minute, *bids in rows:
        first, high, low, last = map(D, bids)
        moment, spread = START + minute * MINUTE, D("0.0002")
        PriceBar.objects.create(
            data_connection_id=of.data_connection_id or 0, symbol="EUR/USD", minute=moment,
            bid_open=first, bid_high=high, bid_low=low, bid_close=last, ask_open=first + spread,
            ask_high=high + spread, ask_low=low + spread, ask_close=last + spread,
            spread_sum=spread, quote_count=1, first_at=moment, last_at=moment,
        )  # fmt: skip


FLAT = ("1.1000", "1.1000", "1.1000", "1.1000")


def summary(account: ExecutionConnection, feed: Feed, wanted: int = 100) -> dict[str, Any]:
    cases, setting = load(account, feed.pk, Terms(), wanted)
    replay = Replay(cases, setting)
    for _ in replay.run():
        pass
    return summary_of(replay)


def test_trade_ends_at_its_target_by_the_prices_of_then(
    account: ExecutionConnection, feed: Feed
) -> None:
    published(feed)
    bars(account, (-1, *FLAT), (1, *FLAT), (2, "1.1000", "1.1000", "1.0950", "1.0960"),
         (3, "1.0960", "1.1110", "1.0960", "1.1105"))  # fmt: skip
    at(10)
    found = summary(account, feed)
    # 10,000 bought at 1.1002 and sold at 1.1102; the deepest close was 1.0960.
    assert (found["traded"], found["denied"], found["not_replayed"]) == (1, 0, 0)
    assert found["result"] == "100"
    assert found["drawdown"] == "42"
    [row] = found["rows"]
    assert (row["result"], row["state"], row["basis"]) == ("100", "closed", "recorded")
    assert row["sent"] == "10000"
    assert not Order.objects.exists()


def test_deepest_drawdown_is_the_largest_part_of_its_peak() -> None:
    """A smaller fall of a grown account does not hide that half of the first money was lost."""
    curve = Curve()
    for hour, equity in enumerate((1_000, 500, 10_000, 9_000)):
        curve.add(T + timedelta(hours=hour), D(equity), D(0))
    assert (curve.deepest_percent, curve.deepest) == (D(50), D(500))
    assert (curve.deepest_from, curve.deepest_at) == (T, T + timedelta(hours=1))


def test_close_of_half_and_a_later_stop_are_followed(
    account: ExecutionConnection, feed: Feed
) -> None:
    opened = published(feed)
    half: dict[str, Any] = {
        "refers_to": opened,
        "sl": None,
        "target_prices": [],
        "target_fractions": [],
    }
    published(feed, 2, action="CLOSE", close_fraction=D("0.5"), **half)
    published(feed, 3, action="MODIFY", **{**half, "sl": D("1.1010")})
    bars(account, (-1, *FLAT), (1, "1.1000", "1.1022", "1.1000", "1.1022"),
         (5, "1.1015", "1.1015", "1.1005", "1.1005"))  # fmt: skip
    at(10)
    found = summary(account, feed)
    # 5,000 at 1.1022 by the CLOSE, 5,000 at the stop of 1.1010; bought at 1.1002.
    assert found["result"] == "14"
    assert found["rows"][0]["state"] == "closed"


def test_limit_entry_that_is_never_reached_has_no_result(
    account: ExecutionConnection, feed: Feed
) -> None:
    published(feed, order_type="LIMIT", open_price=D("1.0950"), valid_until=T + 5 * MINUTE)
    bars(account, (-1, *FLAT), (1, *FLAT), (2, *FLAT))
    at(10)
    [row] = summary(account, feed)["rows"]
    assert (row["state"], row["sent"], row["result"]) == ("not_filled", "10000", "")


def test_open_position_counts_against_the_next_signal(
    account: ExecutionConnection, feed: Feed
) -> None:
    TradingPreset.objects.filter(executionconnection=account).update(max_open_positions=1)
    published(feed)
    published(feed, 1)
    published(feed, 6)
    bars(account, (-1, *FLAT), (0, *FLAT), (2, *FLAT), (3, "1.1000", "1.1200", "1.1000", "1.1200"),
         (5, *FLAT))  # fmt: skip
    at(10)
    found = summary(account, feed)
    codes = [row["code"] for row in found["rows"]]
    assert codes == ["", "MAX_OPEN_POSITIONS", ""]  # the first was closed when the newest came
    assert found["reasons"] == [{"code": "MAX_OPEN_POSITIONS", "count": 1}]
    assert found["rows"][1]["detail"] == "Open positions: 1, maximum 1"


def test_loss_limit_that_the_replay_reaches_denies_the_rest_of_the_day(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit_of(account.preset, maximum=D(100), unit="AMOUNT")
    published(feed)
    published(feed, 5)
    bars(account, (-1, *FLAT), (1, "1.1000", "1.1000", "1.0880", "1.0880"), (4, *FLAT))
    at(10)
    found = summary(account, feed)
    assert [row["code"] for row in found["rows"]] == ["LOSS_LIMIT", ""]
    assert found["result"] == "-102"


def priced_elsewhere(feed: Feed) -> ExecutionConnection:
    """Publish a signal whose price of then is of another account's source; return that account."""
    other = factories.account()
    published(
        feed, market_bid=D("1.1000"), market_ask=D("1.1002"), market_at=T,
        market_source=other.data_connection_id,
    )  # fmt: skip
    return other


def test_older_trade_is_followed_by_the_record_of_its_feed(
    account: ExecutionConnection, feed: Feed
) -> None:
    """The account's source has no prices of then: the feed's record kept what was needed."""
    other = priced_elsewhere(feed)
    bars(other, (1, *FLAT), (2, "1.1000", "1.1110", "1.1000", "1.1105"))
    at(10)
    feed_records.compute_feed(feed)
    PriceBar.objects.all().delete()
    at(60 * 24 * 30)
    found = summary(account, feed)
    [row] = found["rows"]
    assert (row["basis"], row["result_basis"], row["result"]) == ("feed", "feed", "100")
    assert found["bases"] == {"feed": 1}


@pytest.mark.parametrize("is_recorded", [False, True], ids=["own prices", "the feed's record"])
@pytest.mark.parametrize("change", [
    {"action": "CLOSE"}, {"action": "CLOSE", "close_fraction": D("0.5")},
    {"action": "MODIFY", "sl": D("1.0990")}, {"cancelled_at": T + 1500 * MINUTE},
], ids=["close", "half", "stop", "cancel"])  # fmt: skip
def test_what_changed_a_trade_in_the_last_day_is_withheld_from_others(
    account: ExecutionConnection, feed: Feed, change: dict[str, Any], is_recorded: bool
) -> None:
    """Else a preflight every minute would show each CLOSE to those who do not take the feed."""
    outsider, other = (factories.account(preset_fixed_quantity=D(10_000)) for _ in "12")
    market: dict[str, Any] = {
        "market_bid": D("1.1000"), "market_ask": D("1.1002"),
        "market_source": other.data_connection_id,
    }  # fmt: skip
    is_cancel = "cancelled_at" in change
    entry: dict[str, Any] = {"order_type": "LIMIT", "open_price": D("1.0950")} if is_cancel else {}
    opened = published(feed, market_at=T, **market, **entry)
    fallen = (1503, "1.1000", "1.1000", "1.0980", "1.0980")
    for one in (other,) if is_recorded else (other, account, outsider):
        bars(one, *((minute, *FLAT) for minute in (-1, 1, 1499, 1501, 1505)), fallen)
    at(1490)
    feed_records.compute_feed(feed)

    def rows(minutes: float) -> list[Any]:
        at(minutes)
        feed_records.compute_feed(feed)
        return [summary(of, feed)["rows"] for of in (account, outsider)]

    before = rows(1498)
    if is_cancel:
        Signal.objects.filter(pk=opened.pk).update(**change)
    else:
        published(feed, 1500, **{
            "refers_to": opened, "sl": None, "target_prices": [], "target_fractions": [],
            "market_at": T + 1500 * MINUTE, **market, **change,
        })  # fmt: skip
    seen, withheld = rows(1530)
    assert seen != before[0]
    assert withheld == before[1]
    shown, at_last = rows(1530 + 24 * 60)
    assert at_last == shown


def test_signals_own_price_replaces_a_missing_one_and_has_no_result(
    account: ExecutionConnection, feed: Feed
) -> None:
    published(feed, order_type="LIMIT", open_price=D("1.0950"))
    at(10)
    [row] = summary(account, feed)["rows"]
    assert (row["basis"], row["state"], row["result"]) == ("signal", "unknown", "")
    assert "not known" in row["note"]


def unfollowed(feed: Feed, minutes: float = 0, **fields: Any) -> Signal:
    """A market entry with a rule that minute bars cannot follow, and the quote of its moment."""
    moment = T + timedelta(minutes=minutes)
    quoted = {"market_bid": D("1.1000"), "market_ask": D("1.1002"), "market_at": moment}
    rule = {"trailing_distance": D(20), "stop_rule_unit": "PIPS"}
    return published(feed, minutes, **quoted, **rule, **fields)


def test_result_says_of_how_many_trades_it_is_known(
    account: ExecutionConnection, feed: Feed
) -> None:
    published(feed)
    unfollowed(feed, 5)
    bars(account, (-1, *FLAT), (1, *FLAT), (2, "1.1000", "1.1110", "1.1000", "1.1105"), (4, *FLAT))
    at(10)
    found = summary(account, feed)
    assert (found["traded"], found["results_known"], found["result"]) == (2, 1, "100")
    assert [row["state"] for row in found["rows"]] == ["unknown", "closed"]


def test_figures_are_unknown_if_no_result_is_known(
    account: ExecutionConnection, feed: Feed
) -> None:
    unfollowed(feed)
    at(10)
    found = summary(account, feed)
    assert (found["traded"], found["results_known"]) == (1, 0)
    names = ("result", "result_percent", "equity", "closed", "open", "drawdown", "drawdown_percent",
             "most_risk_percent")  # fmt: skip
    assert {found[name] for name in names} == {None}


def test_open_trade_without_a_price_of_now_has_no_known_result(
    account: ExecutionConnection, feed: Feed
) -> None:
    """It is entered by the feed's record; the account's source has no price that it is worth."""
    other = priced_elsewhere(feed)
    bars(other, (1, *FLAT), (2, *FLAT))
    at(5)
    feed_records.compute_feed(feed)
    found = summary(account, feed)
    assert [row["state"] for row in found["rows"]] == ["open"]
    assert (found["traded"], found["results_known"], found["open"]) == (1, 0, None)


@pytest.mark.parametrize("is_held", [False, True])
def test_order_that_never_fills_is_placed_and_not_traded(
    account: ExecutionConnection, feed: Feed, is_held: bool
) -> None:
    """The counts are the same on a broker that takes stop entries and on one that does not."""
    broker = factories.fake_broker()
    broker.reset()
    if is_held:
        broker.order_types = frozenset({OrderType.MARKET, OrderType.LIMIT})
    stop: dict[str, Any] = {"order_type": "STOP", "sl": D("1.0900")}
    published(feed, **stop, stop_price=D("1.1300"), target_prices=[D("1.1400")])  # never reached
    published(feed, **stop, stop_price=D("1.1050"))  # reached, and its target
    unfollowed(feed, 20, **stop, stop_price=D("1.1300"), target_prices=[D("1.1400")])
    bars(account, (-1, *FLAT), (1, *FLAT), (2, "1.1000", "1.1060", "1.1000", "1.1060"),
         (4, "1.1060", "1.1110", "1.1060", "1.1105"), (19, *FLAT))  # fmt: skip
    at(30)
    found = summary(account, feed)
    names = ("traded", "not_filled", "fill_unknown", "denied", "not_replayed", "results_known")
    assert [found[name] for name in names] == [1, 1, 1, 0, 0, 1]
    assert [row["fate"] for row in found["rows"]] == ["fill_unknown", "traded", "not_filled"]
    assert found["rows"][2]["state"] == "waiting"
    broker.reset()


def test_distance_to_the_stop_has_the_unit_of_its_symbol(feed: Feed) -> None:
    factories.instrument("BTC/USDT", pip=D("0.01"), quantity_step=D("0.001"),
                         quantity_min=D("0.001"))  # fmt: skip
    at(0)
    account = factories.account(preset_fixed_quantity=D("0.031"), snapshot_currency="USDT")
    make.subscription(account, feed)
    published(
        feed, currency_pair="BTC/USDT", sl=D("99_000"), target_prices=[D("120_000")],
        market_bid=D("99_999"), market_ask=D("100_000"), market_at=T,
    )  # fmt: skip
    at(1)
    [row] = summary(account, feed)["rows"]
    assert (row["stop"], row["stop_unit"]) == ("100", "BPS")  # 1 % of 100,000


def test_rounding_debt_is_what_steps_and_minimum_leave_out(feed: Feed) -> None:
    at(0)
    account = factories.account(preset_fixed_quantity=D(17))
    make.subscription(account, feed)
    published(feed)
    bars(account, (-1, *FLAT), (0, *FLAT))
    at(1)
    found = summary(account, feed)
    assert found["debts"] == [{"pair": "EUR/USD", "quantity": "7", "entries": 1}]
    assert found["rounding_percent"] == "41.2"
    assert (found["rows"][0]["wanted"], found["rows"][0]["sent"]) == ("17", "10")


def test_an_entry_in_slices_loses_what_the_steps_take_off_all_of_it(feed: Feed) -> None:
    at(0)
    account = factories.account(preset_fixed_quantity=D(95))
    make.subscription(account, feed)
    published(feed, execution_style="TWAP", duration_seconds=600, slice_count=3)
    bars(account, (-1, *FLAT), (0, *FLAT))
    at(1)
    [row] = summary(account, feed)["rows"]
    assert (row["wanted"], row["sent"], row["loss"]) == ("95", "90", "5.3")


# ---- the job -----------------------------------------------------------------------------------
def asked(account: ExecutionConnection, feed: Feed, **choices: Any) -> Preflight:
    owner = account.user or account.admin
    assert owner is not None
    Feed.objects.filter(pk=feed.pk).update(is_public=True)
    return request_preflight(connection_id=account.pk, feed_id=feed.pk, by=owner, **choices)


def test_job_runs_once_and_stores_its_result(account: ExecutionConnection, feed: Feed) -> None:
    published(feed)
    bars(account, (-1, *FLAT), (0, *FLAT))
    at(1)
    job = asked(account, feed)
    assert asked(account, feed).pk == job.pk  # two clicks ask for one
    assert jobs.run_next()
    assert not jobs.run_next()
    job.refresh_from_db()
    assert (job.state, job.signals_done, job.signals_total) == ("ready", 1, 1)
    assert (job.result or {})["traded"] == 1
    again = asked(account, feed, multiplier=D(2))
    assert (again.pk, again.state, again.result) == (job.pk, "waiting", None)


def test_job_of_a_worker_that_died_is_begun_again(account: ExecutionConnection, feed: Feed) -> None:
    published(feed)
    bars(account, (-1, *FLAT), (0, *FLAT))
    at(1)
    job = asked(account, feed)
    dead = jobs._claim()
    assert dead is not None
    assert dead.tries == 1
    assert not jobs.run_next()  # while its claim lasts
    Preflight.objects.update(claimed_until=datetime.now(UTC) - timedelta(seconds=1))
    assert jobs.run_next()
    job.refresh_from_db()
    assert (job.state, job.tries) == ("ready", 2)
    with pytest.raises(jobs.TakenOverError):  # it was only slow
        jobs._report(dead, signals_done=1)
    job.refresh_from_db()
    assert job.signals_done == job.signals_total == 1


def test_job_whose_workers_die_each_time_fails(account: ExecutionConnection, feed: Feed) -> None:
    job = asked(account, feed)
    for _ in range(jobs.MAX_TRIES):
        assert jobs._claim() is not None
        Preflight.objects.update(claimed_until=datetime.now(UTC) - timedelta(seconds=1))
    assert not jobs.run_next()
    job.refresh_from_db()
    assert job.state == "failed"
    assert asked(account, feed).state == "waiting"  # it may be asked for again


def test_preflight_is_deleted_after_a_day(account: ExecutionConnection, feed: Feed) -> None:
    asked(account, feed)
    jobs.run_next()
    Preflight.objects.update(requested_at=datetime.now(UTC) - timedelta(hours=25))
    jobs.run_next()
    assert not Preflight.objects.exists()


def test_request_is_checked(account: ExecutionConnection, feed: Feed) -> None:
    with pytest.raises(InvalidInputError):
        asked(account, feed, signals=501)
    with pytest.raises(InvalidInputError):
        asked(account, feed, multiplier=D(0))
    asked(account, feed)
    with pytest.raises(ConflictError):
        asked(account, feed, multiplier=D(2))
    stranger = User.objects.create_user("stranger")
    with pytest.raises(NotAllowedError):
        request_preflight(connection_id=account.pk, feed_id=feed.pk, by=stranger)


def test_five_hundred_signals_cost_few_calls_and_statements(
    account: ExecutionConnection, feed: Feed
) -> None:
    """The most that can be asked for, over three days of minute prices of the account's source."""
    Signal.objects.bulk_create(
        Signal(
            feed=feed, published_at=T + timedelta(minutes=8 * n), currency_pair="EUR/USD",
            direction="BUY", approval=Approval.APPROVED, sl=D("1.0900"),
            target_prices=[D("1.1020")], target_fractions=[D(1)],
        )
        for n in range(500)
    )  # fmt: skip
    wave = [D(1 + n % 40) / 10_000 for n in range(4_100)]  # each trade meets its target in time
    PriceBar.objects.bulk_create(
        PriceBar(
            data_connection_id=account.data_connection_id or 0, symbol="EUR/USD",
            minute=START + (n - 1) * MINUTE, spread_sum=D("0.0002"), quote_count=1,
            first_at=START, last_at=START,
            **{f"bid_{part}": D("1.1") + up for part in ("open", "high", "low", "close")},
            **{f"ask_{part}": D("1.1002") + up for part in ("open", "high", "low", "close")},
        )
        for n, up in enumerate(wave)
    )  # fmt: skip
    at(4_050)
    counts, called = [], []
    for wanted in (50, 500):
        job = asked(account, feed, signals=wanted)
        with CaptureQueriesContext(connection) as statements, cProfile.Profile() as profile:
            assert jobs.run_next()
        called.append(sum(one.callcount for one in profile.getstats()))
        job.refresh_from_db()
        assert (job.state, job.signals_done) == ("ready", wanted)
        reports = sum("analytics_preflight" in one["sql"] for one in statements)
        counts.append(len(statements) - reports)  # its progress is stored every quarter second
    print(f"50 and 500 signals: {called} calls, {counts} statements")
    assert called[1] < 4_000_000  # of functions: a second or two, whatever the machine
    assert counts[0] == counts[1] <= 30
