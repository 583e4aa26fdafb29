"""Limits of subscriptions: they may only tighten those of the preset."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from common.db.sql import run
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections import services
from connections.entry_limits import ENTRY_LIMITS, Tighter
from connections.models import Subscription
from signals.reading.errors import field_errors
from tests.connections import make

pytestmark = pytest.mark.django_db


def subscription(**of_preset: Any) -> Subscription:
    return make.subscription(make.connection(preset=make.preset(**of_preset)), make.feed())


def change(row: Subscription, **changes: Any) -> Subscription:
    services.update_subscription(row.pk, by=None, **changes)
    return Subscription.objects.get(pk=row.pk)


def refused(row: Subscription, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as raised, transaction.atomic():
        services.update_subscription(row.pk, by=None, **changes)
    return {error.field: error.detail for error in field_errors(raised.value)}


TIGHTER_ONLY = "The preset's limit is {}: a subscription's may only be tighter."


@pytest.mark.parametrize(
    "name",
    [n for n, limit in ENTRY_LIMITS.items() if limit.is_number and limit.tighter is Tighter.LOWER],
)
def test_number_may_equal_the_presets_and_not_exceed_it(name: str) -> None:
    row = subscription(**{name: 7})
    assert getattr(change(row, **{name: 7}), name) == 7
    assert refused(row, **{name: 8}) == {name: TIGHTER_ONLY.format(7)}
    assert getattr(change(row, **{name: None}), name) is None


def test_same_trade_window_may_only_be_longer() -> None:
    row = subscription(same_trade_window_seconds=60)
    assert change(row, same_trade_window_seconds=60).limits.same_trade_window_seconds == 60
    expected = {"same_trade_window_seconds": TIGHTER_ONLY.format(60)}
    assert refused(row, same_trade_window_seconds=59) == expected


@pytest.mark.parametrize(
    ("name", "unit", "public"),
    [("max_spread", "max_spread_unit", "max_spread"),
     ("max_slippage_pips", "slippage_unit", "max_slippage")],
)  # fmt: skip
def test_limit_with_a_unit_needs_the_presets_unit(name: str, unit: str, public: str) -> None:
    row = subscription(**{name: D(3), unit: "PIPS"})
    detail = "The preset's limit is 3, unit PIPS: use the same unit."
    assert refused(row, **{name: D(2)}) == {unit: detail}
    assert getattr(change(row, **{name: D(3), unit: "PIPS"}), name) == 3
    assert refused(row, **{name: D("3.1")}) == {public: TIGHTER_ONLY.format(3)}
    assert refused(row, **{unit: "BPS"}) == {unit: detail}
    assert refused(row, **{unit: "MILES"}) == {unit: "One of PIPS, TICKS, BPS, PERCENT."}
    assert getattr(change(row, **{public: D(1)}), name) == 1


def test_lists_may_only_be_parts_of_the_presets() -> None:
    row = subscription(
        allowed_symbols=["EUR/*", "XAU/USD"], trading_sessions=["MON-FRI 08:00-16:30"]
    )
    tightened = change(row, allowed_symbols=["eurusd"], trading_sessions=["mon 9:00-10:00"])
    assert tightened.limits.allowed_symbols == ["EUR/USD"]
    assert tightened.limits.trading_sessions == ["MON 09:00-10:00"]
    found = refused(row, allowed_symbols=["XAU/*"], trading_sessions=["MON 08:00-16:31"])
    assert found == {
        "allowed_symbols": f"{TIGHTER_ONLY.format('EUR/*, XAU/USD')} XAU/* is beyond it.",
        "trading_sessions": (
            f"{TIGHTER_ONLY.format('MON-FRI 08:00-16:30')} MON 08:00-16:31 is beyond it."
        ),
    }


def test_all_errors_are_reported_at_once() -> None:
    found = refused(
        subscription(), max_quantity=D(0), max_size_multiple=D("0.5"), allowed_symbols=["*/*"],
        trading_sessions=["never"], max_spread=D(-1),
    )  # fmt: skip
    assert sorted(found) == [
        "allowed_symbols", "max_quantity", "max_size_multiple", "max_spread", "trading_sessions",
    ]  # fmt: skip


def test_preset_that_is_tightened_later_leaves_other_changes_possible() -> None:
    row = subscription(max_quantity=D(100))
    change(row, max_quantity=D(100))
    run("UPDATE connections_tradingpreset SET max_quantity = 50")
    assert change(row, multiplier=D(2)).limits.max_quantity == 100
    assert refused(row, max_quantity=D(80)) == {"max_quantity": TIGHTER_ONLY.format(50)}


def test_without_a_preset_any_valid_limit_is_stored() -> None:
    row = make.subscription(make.connection(preset=None), make.feed())
    assert change(row, max_leverage=D(500)).limits.max_leverage == 500


def test_limits_can_be_set_at_once_and_end_with_the_subscription() -> None:
    row, feed = make.connection(), make.feed()
    first = services.subscribe(
        connection_id=row.pk, feed_id=feed.pk, by=None, max_open_orders=3, market_hours_only=True
    )
    assert (first.limits.max_open_orders, first.limits.market_hours_only) == (3, True)
    services.unsubscribe(first.pk, by=None)
    again = services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)
    assert again.pk == first.pk
    assert (again.limits.max_open_orders, again.limits.market_hours_only) == (None, False)
    with pytest.raises(InvalidInputError) as raised:
        services.subscribe(connection_id=row.pk, feed_id=make.feed().pk, by=None, fee=1)
    assert raised.value.code == Code.FIELD_UNKNOWN


@pytest.mark.parametrize(
    ("table", "change_"),
    [
        *((table, f"{name} = 0") for table in ("subscription", "tradingpreset") for name in (
            "max_daily_notional", "max_daily_volume", "max_currency_exposure_percent",
            "max_orders_per_minute", "same_trade_window_seconds", "max_open_orders",
        )),
        ("subscription", "max_leverage = 0"),
        ("subscription", "max_spread = -1"),
        ("subscription", "max_size_multiple = 0.99"),
        ("subscription", "correlated_exposure_warning_percent = 0"),
        ("tradingpreset", "correlated_exposure_warning_percent = 0"),
        ("tradingpreset", "max_size_multiple = 0.99"),
    ],
)  # fmt: skip
def test_database_refuses_limits_out_of_range(table: str, change_: str) -> None:
    subscription()
    with pytest.raises(IntegrityError), transaction.atomic():
        run(f"UPDATE connections_{table} SET {change_}")
