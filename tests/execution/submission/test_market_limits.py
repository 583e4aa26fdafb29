"""Limits of symbols, spread, price, exposure and open orders, on both sides of the edge."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import run
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Approval, Feed, Signal
from signals.publishing.preview import require_possible
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_denials import numbers, seen

pytestmark = pytest.mark.django_db
PRESET = "connections_tradingpreset"
LEAST, NINES = D("1e-18"), "9" * 18  # the least that can be stored


def seen_with_detail() -> tuple[str, str, str]:
    return (*seen(), Order.objects.latest("id").detail)


@pytest.mark.parametrize(("ask", "denied"), [("1.1002", False), ("1.100200000000000001", True)])
@pytest.mark.parametrize("limited", ["preset", "signal"])
def test_entry_at_a_wider_spread_is_denied(
    feed: Feed, broker: FakeBroker, ask: str, denied: bool, limited: str
) -> None:
    account = factories.account(feed, preset_max_spread=D(3) if limited == "preset" else None)
    factories.quote(account, "1.09990", ask)
    factories.signal(feed, max_spread=D(3) if limited == "signal" else None)
    factories.claim_all()
    if not denied:
        assert seen() == ("SUBMITTING", "")
        return
    assert seen_with_detail() == ("DENIED", "SPREAD_LIMIT", "pips")
    assert numbers() == {"value": "3.00000000000001", "maximum": "3"}


@pytest.mark.parametrize(
    ("of_signal", "of_preset", "ask", "current"),
    [
        ((D(2), "BPS"), (D(9), ""), "1.100230024002400240", ""),
        ((D(2), "BPS"), (D(9), ""), "1.100230024002400241", "2.00000000000001"),
        ((D(9), ""), (D(2), "BPS"), "1.10024", "2.090672"),
        ((D(1), "PERCENT"), (D(31), "TICKS"), "1.10021", ""),
        ((D(1), "PERCENT"), (D(31), "TICKS"), "1.100210000000000001", "31.0000000000001"),
        ((D(0), ""), (None, ""), "1.09990", ""),
        ((D(0), ""), (None, ""), "1.099900000000000001", "0.00000000000001"),
    ],
)
def test_tighter_of_two_spread_limits_applies_in_its_unit(
    feed: Feed, broker: FakeBroker, of_signal: Any, of_preset: Any, ask: str, current: str
) -> None:
    preset = {"preset_max_spread": of_preset[0], "preset_max_spread_unit": of_preset[1]}
    account = factories.account(feed, **preset)
    bid = "1.10001" if "BPS" in (of_signal[1], of_preset[1]) else "1.09990"
    factories.quote(account, bid, ask)
    factories.signal(feed, max_spread=of_signal[0], max_spread_unit=of_signal[1])
    factories.claim_all()
    if not current:
        assert seen() == ("SUBMITTING", "")
        return
    assert seen() == ("DENIED", "SPREAD_LIMIT")
    limits = (D(limit) for limit, unit in (of_signal, of_preset) if limit and unit != "PERCENT")
    assert numbers() == {"value": current, "maximum": str(min(limits, default=0))}


@pytest.mark.parametrize(
    ("patterns", "denied"),
    [([], False), (["EUR/USD"], False), (["GBP/USD", "EUR/*"], False), (["GBP/*"], True)],
)
def test_symbol_that_the_preset_does_not_allow_is_denied(
    feed: Feed, broker: FakeBroker, patterns: list[str], denied: bool
) -> None:
    factories.account(feed, preset_allowed_symbols=patterns)
    factories.signal(feed)
    factories.claim_all()
    if denied:
        assert seen_with_detail() == ("DENIED", "SYMBOL_NOT_ALLOWED", "EUR/USD")
    else:
        assert seen() == ("SUBMITTING", "")


def test_price_that_was_changed_is_compared_not_the_signals(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_price_deviation_percent=D(5))
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09"), sl=None)
    Order.objects.update(limit_price=D("1.2"))
    factories.claim_all()
    expected = "open_price 1.2, and the market is at 1.1"
    assert seen_with_detail() == ("DENIED", "PRICE_UNREASONABLE", expected)


def compare_nothing(feed: Feed) -> None:
    Feed.objects.filter(pk=feed.pk).update(
        max_price_deviation_percent=None, max_level_deviation_percent=None
    )


def levels(*targets: str) -> dict[str, Any]:
    """Return the fields of targets that each close a quarter."""
    return {
        "target_prices": [D(price) for price in targets],
        "target_fractions": [D("0.25")] * len(targets),
    }


LIMIT: dict[str, Any] = {"order_type": "LIMIT", "sl": None}
STOP: dict[str, Any] = {"order_type": "STOP", "sl": None}


@pytest.mark.parametrize(
    ("fields", "maximum", "detail"),
    [
        (LIMIT | {"open_price": D("1.089")}, 1, ""),  # 0.011 below 1.1: 1 %
        (LIMIT | {"open_price": D("1.089") - LEAST}, 1, f"open_price 1.088{NINES[3:]}"),
        (STOP | {"stop_price": D("1.155")}, 5, ""),  # 0.055 above: 5 %
        (STOP | {"stop_price": D("1.155") + LEAST}, 5, "stop_price 1.155000000000000001"),
        ({"open_price": D(11)}, 10, "open_price 11"),  # the decimal point is wrong
        ({"open_price": D("0.11"), "sl": None}, 10, "open_price 0.11"),
        ({"open_price": D("1.1")}, 10, ""),
        ({}, 10, ""),
    ],
)
def test_price_too_far_from_the_market_is_denied(
    feed: Feed, broker: FakeBroker, fields: dict[str, Any], maximum: int, detail: str
) -> None:
    factories.account(feed, preset_max_price_deviation_percent=D(maximum))
    compare_nothing(feed)  # the feed's own guard would refuse it before the account does
    factories.signal(feed, **fields)
    factories.claim_all()
    if not detail:
        assert seen() == ("SUBMITTING", "")
        return
    expected = f"{detail}, and the market is at 1.1"
    assert seen_with_detail() == ("DENIED", "PRICE_UNREASONABLE", expected)
    assert D(numbers()["value"]) > D(numbers()["maximum"]) == maximum


TRAILING: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "direction": "SELL", "trail_pips": D(20), "sl": None,
}  # fmt: skip
TWAP: dict[str, Any] = {
    "execution_style": "TWAP", "duration_seconds": 600, "slice_count": 2, "sl": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "maximum", "detail"),
    [
        ({"sl": D("0.22")}, None, ""),  # a fifth of 1.1: 400 %
        ({"sl": D("0.21999")}, None, "sl 0.21999"),
        ({"sl": D("0.109")}, None, "sl 0.109"),
        (levels("5.5"), None, ""),
        (levels("1.2", "5.50001"), None, "targets 5.50001"),
        (levels("12"), D(900), "targets 12"),
        (levels("11"), D(900), ""),  # ten times: 900 %
        (TWAP | {"price_limit": D("11.05")}, None, "price_limit 11.05"),
        (TWAP | {"price_limit": D("5.5")}, None, ""),
        (TRAILING | {"activation_price": D("10.9")}, None, "activation_price 10.9"),
        ({"sl": D("0.9")}, D(10), "sl 0.9"),
    ],
)
def test_level_with_a_wrong_digit_is_denied(
    feed: Feed, broker: FakeBroker, fields: dict[str, Any], maximum: D | None, detail: str
) -> None:
    own = {} if maximum is None else {"preset_max_level_deviation_percent": maximum}
    factories.account(feed, **own)
    compare_nothing(feed)  # the feed's own guard would refuse it before the account does
    factories.signal(feed, **fields)
    factories.claim_all()
    if not detail:
        assert not Order.objects.filter(reason="PRICE_UNREASONABLE").exists()
        assert Order.objects.filter(status="SUBMITTING").exists()
        return
    market = "1.0999" if fields.get("direction") == "SELL" else "1.1"
    expected = f"{detail}, and the market is at {market}"
    assert seen_with_detail() == ("DENIED", "PRICE_UNREASONABLE", expected)
    assert D(numbers()["value"]) > D(numbers()["maximum"]) == (maximum or 400)


def test_subscription_tightens_the_deviation_of_levels(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed)
    account.subscriptions.update(max_level_deviation_percent=D(20))
    factories.signal(feed, sl=D("0.9"))
    factories.claim_all()
    assert seen() == ("DENIED", "PRICE_UNREASONABLE")
    assert numbers()["maximum"] == "20"


def test_mistyped_level_is_refused_by_its_field_when_it_is_written(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed)
    compare_nothing(feed)
    feed.refresh_from_db()
    signal = Signal(
        feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED,
        target_prices=[D(12)], target_fractions=[D(1)],
    )  # fmt: skip
    with pytest.raises(InvalidInputError) as raised:
        require_possible(signal)
    assert (raised.value.code, raised.value.field) == (Code.PRICE_UNREASONABLE, "targets")


# ---- exposure to a symbol, and open orders ----
@pytest.mark.parametrize(("percent", "denied"), [("3.3", False), (f"3.2{NINES[1:]}", True)])
def test_symbol_exposure_counts_positions_orders_and_the_bundle(
    feed: Feed, broker: FakeBroker, percent: str, denied: bool
) -> None:
    account = factories.account(feed, preset_max_symbol_exposure_percent=D(percent))
    factories.instrument("GBP/USD")
    factories.quote(account, "1.29990", "1.30000", pair="GBP/USD")
    factories.filled(factories.signal(feed))  # 100 at 1.1 is 110: 1.1 % of 10,000
    factories.signal(feed)
    factories.claim_all()  # in flight: 2.2 %
    factories.signal(feed, currency_pair="GBP/USD", sl=None)  # counts for its own symbol
    factories.signal(feed)
    factories.claim_all()
    found = Order.objects.order_by("id").values_list("pair", "status", "reason")
    assert list(found)[2] == ("GBP/USD", "SUBMITTING", "")
    if not denied:
        assert seen() == ("SUBMITTING", "")
        return
    assert seen_with_detail() == ("DENIED", "SYMBOL_EXPOSURE", "EUR/USD")
    assert numbers() == {"value": "3.3", "maximum": percent}


def test_symbol_exposure_includes_entries_of_the_same_bundle(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, preset_max_symbol_exposure_percent=D("2.2"))
    for _ in range(3):
        factories.signal(feed)
    factories.claim_all()
    found = Order.objects.order_by("id").values_list("reason", flat=True)
    assert list(found) == ["", "", "SYMBOL_EXPOSURE"]


def test_open_orders_count_until_they_are_filled(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, preset_max_open_orders=2)
    for _ in range(2):
        factories.signal(feed, **LIMIT, open_price=D("1.09"))
    factories.claim_all()
    factories.signal(feed)
    factories.claim_all()
    assert seen() == ("DENIED", "MAX_OPEN_ORDERS")
    assert numbers() == {"value": "2", "maximum": "2"}
    factories.apply(factories.fill_report(Order.objects.order_by("id")[0], 100, "f1"))
    factories.signal(feed)
    factories.claim_all()
    assert seen() == ("SUBMITTING", "")


def test_exit_is_never_blocked_by_these_limits(alice: ExecutionConnection, feed: Feed) -> None:
    signal = factories.signal(feed)
    factories.filled(signal)
    run(
        f"UPDATE {PRESET} SET max_spread = 0, max_price_deviation_percent = 0.000001,"
        " allowed_symbols = '{GBP/USD}', max_symbol_exposure_percent = 0.000001,"
        " max_open_orders = 1"
    )
    factories.quote(alice, "1.05", "1.15")
    factories.close_signal(signal)
    (outgoing,) = factories.claim_all()
    assert outgoing.request.quantity == 100


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (LIMIT | {"open_price": D("0.11")}, "open_price"),
        (STOP | {"stop_price": D(11)}, "stop_price"),
    ],
)
def test_mistyped_price_is_refused_when_it_is_written(
    feed: Feed, broker: FakeBroker, fields: dict[str, Any], field: str
) -> None:
    factories.account(feed, preset_max_price_deviation_percent=D(10))
    signal = Signal(
        feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED, **fields
    )
    with pytest.raises(InvalidInputError) as raised:
        require_possible(signal)
    assert (raised.value.code, raised.value.field) == (Code.PRICE_UNREASONABLE, field)
    assert "and the market is at 1.1." in raised.value.detail
    assert " 10" not in raised.value.detail  # the preset is the follower's own


def test_mistyped_price_is_stored_if_one_account_would_take_it(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, preset_max_price_deviation_percent=D(10))
    factories.account(feed)
    require_possible(
        Signal(feed=feed, currency_pair="EUR/USD", direction="BUY", approval=Approval.APPROVED,
               **LIMIT, open_price=D("0.9"))
    )  # fmt: skip
