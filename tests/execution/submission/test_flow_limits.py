"""Limits of what an account sends and holds, on both sides of the edge; and who may loosen them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from brokers.base import Rejected
from common.clocks import MarketClock, market_now, set_market_clock
from common.db.sql import run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection, Subscription
from connections.trading_day import trading_day
from execution.changes.order_changes import change_order
from execution.models import Order
from execution.preview import preview
from execution.services import close_position
from execution.submission.change_terms import WantedTerms
from execution.submission.claim import claim
from execution.submission.flow_limits import LEAST_ENTRIES, usual_quantity
from signals.models import Approval, Feed, Signal
from signals.publishing.preview import visible_to
from signals.services import publish
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.frozen_clock import database_clock_stands
from tests.execution.submission.test_denials import numbers, seen
from tests.execution.submission.test_market_limits import (
    LEAST,
    LIMIT,
    NINES,
    PRESET,
    seen_with_detail,
)

pytestmark = pytest.mark.django_db
# An entry is 100 EUR/USD at an ask of 1.1: a notional of 110 USD, 1.1 % of the equity.
HELD = D("2.2049575")


def enter(feed: Feed, **fields: Any) -> None:
    factories.signal(feed, **fields)
    factories.claim_all()


def gbp(account: ExecutionConnection) -> None:
    factories.instrument("GBP/USD")
    factories.quote(account, "1.29990", "1.30000", pair="GBP/USD")


GBP: dict[str, Any] = {"currency_pair": "GBP/USD", "sl": None}


@pytest.mark.parametrize(("seconds", "denied"), [("60", False), ("59.999999", True)])
def test_entries_of_the_last_minute_count_whatever_became_of_them(
    feed: Feed, broker: FakeBroker, seconds: str, denied: bool
) -> None:
    factories.account(feed, preset_max_orders_per_minute=2)
    position = factories.filled(factories.signal(feed))
    enter(feed)
    assert seen() == ("SUBMITTING", "")
    close_position(position.pk)
    factories.claim_all()  # an exit is neither blocked nor counted
    with database_clock_stands() as now:
        run("UPDATE execution_order SET submitted_at = %s - %s::interval"
            " WHERE position_id IS NULL AND status = 'FILLED'", (now, f"{seconds} s"))  # fmt: skip
        enter(feed)
    if denied:
        assert seen() == ("DENIED", "MAX_ORDERS_PER_MINUTE")
        assert numbers() == {"value": "2", "maximum": "2"}
    else:
        assert seen() == ("SUBMITTING", "")


@pytest.mark.parametrize(("maximum", "denied"), [("330", False), (f"329.{NINES}", True)])
def test_daily_notional_counts_what_is_filled_and_may_be_filled(
    feed: Feed, broker: FakeBroker, maximum: str, denied: bool
) -> None:
    account = factories.account_within_day(feed, preset_max_daily_notional=D(maximum))
    gbp(account)
    factories.signal(feed, **GBP)
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.NO_MONEY))
    assert Order.objects.get().status == "REJECTED"
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    factories.fill_all()  # closed again: it counts for the day
    enter(feed)  # in flight
    enter(feed)
    if denied:
        assert seen_with_detail() == ("DENIED", "DAILY_NOTIONAL", "USD")
        assert numbers() == {"value": "330", "maximum": maximum}
    else:
        assert seen() == ("SUBMITTING", "")


@pytest.mark.parametrize(("maximum", "denied"), [("200", False), (f"199.{NINES}", True)])
def test_daily_volume_is_of_one_symbol(
    feed: Feed, broker: FakeBroker, maximum: str, denied: bool
) -> None:
    account = factories.account_within_day(feed, preset_max_daily_volume=D(maximum))
    gbp(account)
    enter(feed)
    enter(feed, **GBP)
    assert seen() == ("SUBMITTING", "")
    enter(feed)
    if denied:
        assert seen_with_detail() == ("DENIED", "DAILY_VOLUME", "EUR/USD")
        assert numbers() == {"value": "200", "maximum": maximum}
    else:
        assert seen() == ("SUBMITTING", "")


@pytest.mark.parametrize(("seconds", "denied"), [(-0.1, False), (0.1, True)])
def test_sums_of_a_day_begin_with_the_trading_day(
    feed: Feed, broker: FakeBroker, seconds: float, denied: bool
) -> None:
    """The day begins an hour ago, in the zone of the preset. Its start is read by two clocks."""
    hour_ago = market_now() - timedelta(hours=1)
    account = factories.account(
        feed, preset_max_daily_volume=D(100), preset_trading_day_zone="UTC",
        preset_trading_day_start=hour_ago.time().replace(microsecond=0),
    )  # fmt: skip
    start = trading_day(account.preset, market_now()).start
    enter(feed)
    sent = start + timedelta(seconds=seconds)
    run("UPDATE execution_order SET submitted_at = %s", (sent,))
    enter(feed)
    assert seen() == (("DENIED", "DAILY_VOLUME") if denied else ("SUBMITTING", ""))


@pytest.mark.parametrize(
    "limit",
    [{"max_daily_notional": D(220)}, {"max_daily_volume": D(200)}, {"max_orders_per_minute": 2},
     {"max_currency_exposure_percent": D("2.2")}],
)  # fmt: skip
def test_entries_of_the_same_bundle_count(
    feed: Feed, broker: FakeBroker, limit: dict[str, Any]
) -> None:
    limits = {f"preset_{name}": value for name, value in limit.items()}
    factories.account_within_day(feed, **limits)
    for _ in range(3):
        factories.signal(feed)
    factories.claim_all()
    first, second, third = Order.objects.order_by("id").values_list("reason", flat=True)
    assert (first, second, bool(third)) == ("", "", True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_daily_notional": D(110)}, "DAILY_NOTIONAL"),
        ({"max_daily_volume": D(100)}, "DAILY_VOLUME"),
        ({"max_orders_per_minute": 1}, "MAX_ORDERS_PER_MINUTE"),
        ({"max_currency_exposure_percent": D("1.1")}, "CURRENCY_EXPOSURE"),
        ({"same_trade_window_seconds": 60}, "SAME_TRADE"),
    ],
)
def test_two_claims_at_once_do_not_pass_together(
    feed: Feed, broker: FakeBroker, limit: dict[str, Any], code: str
) -> None:
    limits = {f"preset_{name}": value for name, value in limit.items()}
    factories.account_within_day(feed, **limits)
    for _ in range(4):
        factories.signal(feed)

    def run_one(order_id: int) -> None:
        try:
            claim([order_id], worker_id=factories.OWNER)
        finally:
            connection.close()

    claims = [Thread(target=run_one, args=(order_id,)) for order_id in factories.pending()]
    for one in claims:
        one.start()
    for one in claims:
        one.join()
    found = sorted(Order.objects.values_list("status", "reason"))
    assert found == [("DENIED", code)] * 3 + [("SUBMITTING", "")]


def test_currency_exposure_is_net_over_symbols(feed: Feed, broker: FakeBroker) -> None:
    """EUR/GBP buys EUR and sells GBP: 100 at 0.85 GBP of 1.29995 USD is 110.49575 USD."""
    account = factories.account(feed, preset_max_currency_exposure_percent=HELD - LEAST)
    gbp(account)
    factories.instrument("EUR/GBP")
    factories.quote(account, "0.84990", "0.85000", pair="EUR/GBP")
    factories.filled(factories.signal(feed))
    enter(feed, currency_pair="EUR/GBP", sl=None)
    assert seen_with_detail() == ("DENIED", "CURRENCY_EXPOSURE", "EUR")
    assert numbers() == {"value": "2.205", "maximum": f"{HELD - LEAST}"}
    run(f"UPDATE {PRESET} SET max_currency_exposure_percent = {HELD}")
    enter(feed, currency_pair="EUR/GBP", sl=None)
    assert seen() == ("SUBMITTING", "")
    run(f"UPDATE {PRESET} SET max_currency_exposure_percent = 1.2")
    enter(feed, **GBP)  # GBP was -1.105 %, and is 0.195 % with this
    assert seen() == ("SUBMITTING", "")


def test_currency_exposure_denies_only_what_makes_it_larger(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed, preset_max_currency_exposure_percent=D("2.2"))
    gbp(account)
    factories.filled(factories.signal(feed))  # EUR 1.1 %, USD −1.1 %
    enter(feed)  # EUR 2.2 %
    assert seen() == ("SUBMITTING", "")
    enter(feed, **GBP)  # GBP 1.3 %; USD −3.5 % is the account's own
    assert seen() == ("SUBMITTING", "")
    enter(feed)
    assert seen_with_detail() == ("DENIED", "CURRENCY_EXPOSURE", "EUR")
    assert numbers() == {"value": "3.3", "maximum": "2.2"}
    run(f"UPDATE {PRESET} SET max_currency_exposure_percent = 1")
    enter(feed, direction="SELL", sl=None)  # it makes the exposure smaller
    assert seen() == ("SUBMITTING", "")


@pytest.mark.parametrize(("percent", "warned"), [("2.2", False), (f"2.1{NINES[1:]}", True)])
def test_correlated_exposure_warns_and_denies_nothing(
    feed: Feed, broker: FakeBroker, percent: str, warned: bool
) -> None:
    account = factories.account(
        feed, type="paper", preset_correlated_exposure_warning_percent=D(percent)
    )
    enter(feed)
    assert Order.objects.latest("id").detail == "100 at 1.1"
    waiting = Signal.objects.create(
        feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED
    )
    assert (preview(waiting).sent, preview(waiting).correlated) == (1, int(warned))
    publish(waiting.pk, by=None)
    factories.claim_all()
    text = f"; correlated exposure to EUR: 2.2 % of equity, above {percent} %" if warned else ""
    assert seen_with_detail() == ("SUBMITTING", "", f"100 at 1.1{text}")
    factories.signal(feed, direction="SELL", sl=None)  # it makes the exposure smaller
    factories.quote(account)
    factories.claim_all()
    assert "correlated" not in Order.objects.latest("id").detail


def test_preview_of_a_provider_does_not_count_followers_warnings(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, type="paper", preset_correlated_exposure_warning_percent=D(1))
    draft = Signal(feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED)
    found = preview(draft)
    assert found.correlated == 1
    assert visible_to(feed.owner, draft, found).correlated == 0


@pytest.mark.parametrize(("multiple", "denied"), [("3", False), (f"2.{NINES}", True)])
def test_size_far_above_the_median_is_denied(
    feed: Feed, broker: FakeBroker, multiple: str, denied: bool
) -> None:
    factories.account(feed, preset_max_size_multiple=D(multiple))
    for _ in range(LEAST_ENTRIES):
        factories.filled(factories.signal(feed))
    run(f"UPDATE {PRESET} SET fixed_quantity = 300")
    enter(feed)
    if denied:
        assert seen_with_detail() == ("DENIED", "SIZE_UNUSUAL", "300, and the median is 100")
        assert numbers() == {"value": "3", "maximum": multiple}
    else:
        assert seen() == ("SUBMITTING", "")


def test_few_entries_and_other_symbols_have_no_usual_size(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed, preset_max_size_multiple=D(1))
    for _ in range(LEAST_ENTRIES - 1):
        factories.filled(factories.signal(feed))
    run(f"UPDATE {PRESET} SET fixed_quantity = 300")
    gbp(account)
    enter(feed, **GBP)
    assert seen() == ("SUBMITTING", "")
    enter(feed)
    assert seen() == ("SUBMITTING", "")
    assert usual_quantity([D(1), D(2), D(3), D(4), D(9), D(9)]) == D("3.5")


@pytest.mark.parametrize(("age", "denied"), [("599.999999", True), ("600", False)])
def test_same_trade_within_the_window_is_denied(
    feed: Feed, broker: FakeBroker, age: str, denied: bool
) -> None:
    account = factories.account(feed, preset_same_trade_window_seconds=600)
    other = make.feed()
    make.subscription(account, other)
    enter(feed)
    enter(other)
    assert seen() == ("SUBMITTING", "")  # another feed
    enter(feed, direction="SELL", sl=None)
    assert seen() == ("SUBMITTING", "")  # the other side
    with database_clock_stands() as now:
        run("UPDATE execution_order SET submitted_at = %s - %s::interval", (now, f"{age} s"))
        enter(feed)
    if denied:
        assert seen_with_detail() == ("DENIED", "SAME_TRADE", "BUY EUR/USD")
        assert D(numbers()["value"]) < 600
        assert numbers()["minimum"] == "600"
    else:
        assert seen() == ("SUBMITTING", "")


def test_same_trade_of_the_same_bundle_is_denied(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_same_trade_window_seconds=60)
    factories.signal(feed)
    factories.signal(feed, direction="SELL", sl=None)
    factories.signal(feed)
    factories.claim_all()
    found = Order.objects.order_by("id").values_list("reason", flat=True)
    assert list(found) == ["", "", "SAME_TRADE"]
    assert numbers() == {"value": "0", "minimum": "60"}


def test_denied_trade_does_not_prolong_the_window(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_same_trade_window_seconds=60, preset_max_quantity=D(99))
    enter(feed)
    assert seen() == ("DENIED", "MAX_QUANTITY")
    run(f"UPDATE {PRESET} SET max_quantity = NULL")
    enter(feed)
    assert seen() == ("SUBMITTING", "")


@pytest.mark.parametrize(("minutes", "denied"), [(0, False), (1, True)])
def test_entry_outside_of_the_sessions_is_denied(
    feed: Feed, broker: FakeBroker, minutes: int, denied: bool
) -> None:
    now = market_now().replace(second=0)
    begin = now + timedelta(minutes=minutes * 2)
    session = f"{begin:%a %H:%M}-{begin + timedelta(hours=1):%H:%M}".upper()
    factories.account(feed, preset_trading_sessions=[session], preset_trading_day_zone="UTC")
    enter(feed)
    if denied:
        assert seen() == ("DENIED", "OUTSIDE_SESSION")
        assert Order.objects.get().detail.endswith(f" UTC, not in {session}")
    else:
        assert seen() == ("SUBMITTING", "")


@pytest.fixture
def saturday() -> Iterator[None]:
    """It is the next Saturday's noon at the market."""
    now = datetime.now(UTC)
    noon = now.replace(hour=12, minute=0) + timedelta(days=(5 - now.weekday()) % 7 or 7)
    set_market_clock(MarketClock(noon, now, 1.0))
    yield
    set_market_clock(None)


@pytest.mark.usefixtures("saturday")
def test_entry_while_the_market_is_closed_is_denied(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed, preset_market_hours_only=True)
    factories.instrument("BTC/USD")
    factories.quote(account, "60000", "60001", pair="BTC/USD")
    enter(feed, currency_pair="BTC/USD", sl=None)
    assert seen()[1] != "OUTSIDE_MARKET_HOURS"
    enter(feed)
    assert seen_with_detail() == ("DENIED", "OUTSIDE_MARKET_HOURS", "EUR/USD")
    run(f"UPDATE {PRESET} SET market_hours_only = false")
    enter(feed)
    assert seen() == ("SUBMITTING", "")


# ---- the subscription's own limits ----
TIGHTER = [
    ("max_quantity", D(100) - LEAST, 100, "MAX_QUANTITY"),
    ("max_leverage", D("0.011") - LEAST, D("0.011"), "MAX_LEVERAGE"),
    ("max_portfolio_risk_percent", D("0.01") - LEAST, D("0.01"), "PORTFOLIO_RISK"),
    ("max_trade_risk_percent", D("0.01") - LEAST, D("0.01"), "TRADE_RISK"),
    ("max_symbol_exposure_percent", D("1.1") - LEAST, D("1.1"), "SYMBOL_EXPOSURE"),
    ("max_currency_exposure_percent", D("1.1") - LEAST, D("1.1"), "CURRENCY_EXPOSURE"),
    ("max_daily_notional", D(110) - LEAST, D(110), "DAILY_NOTIONAL"),
    ("max_daily_volume", D(100) - LEAST, 100, "DAILY_VOLUME"),
    ("max_spread", D(1) - LEAST, D(1), "SPREAD_LIMIT"),
    ("allowed_symbols", ["GBP/*"], ["EUR/*"], "SYMBOL_NOT_ALLOWED"),
]


@pytest.mark.parametrize(("name", "tight", "loose", "code"), TIGHTER)
def test_tighter_limit_of_a_subscription_applies(
    feed: Feed, broker: FakeBroker, name: str, tight: Any, loose: Any, code: str
) -> None:
    factories.account_within_day(feed)
    Subscription.objects.update(**{name: loose})
    enter(feed)
    assert seen() == ("SUBMITTING", "")
    factories.force("DELETE FROM execution_order")
    Subscription.objects.update(**{name: tight})
    enter(feed)
    assert seen() == ("DENIED", code)


@pytest.mark.parametrize(("name", "tight", "loose", "code"), TIGHTER)
def test_looser_limit_of_a_subscription_has_no_effect(
    feed: Feed, broker: FakeBroker, name: str, tight: Any, loose: Any, code: str
) -> None:
    """As when the preset is tightened after the subscription."""
    factories.account(feed, **{f"preset_{name}": tight})
    Subscription.objects.update(**{name: loose})
    enter(feed)
    assert seen() == ("DENIED", code)


def test_counting_limits_of_a_subscription_count_the_account(
    feed: Feed, broker: FakeBroker
) -> None:
    account = factories.account(feed)
    other = make.feed()
    make.subscription(account, other)
    limits = {"max_open_orders": 1, "max_orders_per_minute": 1, "max_open_positions": 1}
    for name, value in limits.items():
        Subscription.objects.filter(feed=other).update(**{name: value})
        enter(feed, **LIMIT, open_price=D("1.09"))
        enter(other)
        assert seen()[0] == "DENIED", name
        Subscription.objects.filter(feed=other).update(**{name: None})


@pytest.mark.django_db(transaction=True)
def test_exit_is_never_blocked_by_these_limits(alice: ExecutionConnection, feed: Feed) -> None:
    signal = factories.signal(feed)
    factories.filled(signal)
    run(
        f"UPDATE {PRESET} SET max_daily_notional = 0.01, max_daily_volume = 0.01,"
        " max_currency_exposure_percent = 0.000001, max_orders_per_minute = 1,"
        " max_size_multiple = 1, same_trade_window_seconds = 3600, market_hours_only = true,"
        " trading_sessions = ARRAY[to_char(now() + interval '2 days', 'DY') || ' 00:00-00:01']"
    )
    factories.close_signal(signal)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 100


# ---- larger orders ------------------------------------------------------------------------------
def grow(feed: Feed, quantity: str) -> None:
    """Ask for another quantity of a limit order of 100 at 1.095 that works at the broker."""
    signal = factories.signal(feed, order_type="LIMIT", open_price=D("1.095"))
    [outgoing] = factories.claim_all()
    factories.answer(outgoing, factories.fake_broker().rest(outgoing.request))
    change_order(Order.objects.get(signal=signal).pk, WantedTerms(quantity=D(quantity)))


@pytest.mark.parametrize(("maximum", "denied"), [("164.25", False), (f"164.24{NINES[2:]}", True)])
def test_larger_order_adds_only_what_it_grows_to_the_day(
    feed: Feed, broker: FakeBroker, maximum: str, denied: bool
) -> None:
    factories.account_within_day(feed, preset_max_daily_notional=D(maximum))
    if not denied:
        grow(feed, "150")
        return
    with pytest.raises(ConflictError) as refusal:
        grow(feed, "150")
    assert (refusal.value.code, refusal.value.numbers["value"]) == ("DAILY_NOTIONAL", "164.25")


@pytest.mark.parametrize(("multiple", "denied"), [("1.5", False), (f"1.4{NINES[1:]}", True)])
def test_larger_order_is_compared_with_the_usual_size_as_a_whole(
    feed: Feed, broker: FakeBroker, multiple: str, denied: bool
) -> None:
    factories.account(feed, preset_max_size_multiple=D(multiple))
    for _ in range(LEAST_ENTRIES):
        factories.filled(factories.signal(feed))
    if not denied:
        grow(feed, "150")
        return
    with pytest.raises(ConflictError) as refusal:
        grow(feed, "150")
    assert (refusal.value.code, refusal.value.numbers["maximum"]) == ("SIZE_UNUSUAL", multiple)


def test_larger_order_adds_to_what_is_held_in_a_currency(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_currency_exposure_percent=D("1.6425"))
    grow(feed, "150")
    run(f"UPDATE {PRESET} SET max_currency_exposure_percent = 3.285 - 1e-18")
    with pytest.raises(ConflictError) as refusal:
        grow(feed, "150")
    assert refusal.value.code == "CURRENCY_EXPOSURE"
