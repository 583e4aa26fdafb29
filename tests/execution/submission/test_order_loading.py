"""Orders are loaded with what their presets and their subscriptions set."""

from datetime import time
from decimal import Decimal as D
from typing import Any

import pytest

from connections.models.entry_limits import EntryLimits
from execution.submission.order_loading import load_orders, with_terms
from execution.submission.rows import OrderRow
from signals.models import Feed
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.django_db

# What a subscription may set, the column that this shows in, and its value.
OWN: dict[str, tuple[str, Any]] = {
    "max_slippage_pips": ("own_max_slippage", D(1)),
    "max_spread": ("own_max_spread", D(1)),
    "allowed_symbols": ("own_allowed_symbols", ["EUR/USD"]),
    "trading_sessions": ("own_trading_sessions", ["MON-FRI 08:00-16:00"]),
    "market_hours_only": ("market_hours_only", True),
    **{
        name: (name, 1)
        for name in ("max_open_positions", "max_open_orders", "max_orders_per_minute",
                     "same_trade_window_seconds")
    },
}  # fmt: skip
UNITS = {"slippage_unit", "max_spread_unit"}  # of a limit, and nothing without it
LIMITS = sorted(
    {field.name for field in EntryLimits._meta.get_fields()}.difference(UNITS)
    | {"max_open_positions", "max_leverage", "max_portfolio_risk_percent"}
)


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_that_only_a_subscription_sets_counts(limit: str, feed: Feed) -> None:
    column, value = OWN.get(limit, (limit, D(1)))
    account = factories.account(preset_max_open_positions=20)
    subscription = make.subscription(account, feed, **{limit: value})
    factories.signal(feed)
    (row,) = load_orders(factories.pending())
    assert getattr(row, column) == value
    assert row.limiting_subscription_id == subscription.pk


def test_accounts_of_one_preset_share_its_values(feed: Feed) -> None:
    preset = make.preset(multiplier=D("1.5"), max_quantity=D(70), trading_day_start=time(3))
    for _ in range(2):
        factories.account(feed, preset=preset)
    other = factories.account(feed)
    factories.signal(feed)
    loaded = {row.connection_id: row for row in load_orders(factories.pending())}
    assert (loaded[str(other.pk)].multiplier, loaded[str(other.pk)].max_quantity) == (D(1), None)
    del loaded[str(other.pk)]
    first, second = loaded.values()
    assert (first.multiplier, first.max_quantity, first.trading_day_start) == (
        D("1.5"), D(70), time(3),
    )  # fmt: skip
    assert first.limiting_subscription_id is None
    assert all(
        getattr(first, name) is getattr(second, name) for name in ("multiplier", "max_quantity")
    )


def test_account_without_a_preset_has_none_of_its_values(feed: Feed) -> None:
    account = factories.account(feed)
    factories.signal(feed)
    account.preset = None
    account.save()
    (row,) = load_orders(factories.pending())
    assert not row.has_preset
    assert row._asdict()["sizing_mode"] is None
    assert row.preset_id is None
    assert row.market_hours_only is False


def test_nothing_is_read_for_no_orders(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert with_terms([]) == []


def test_loaded_parts_are_all_of_a_row(feed: Feed) -> None:
    factories.account(feed)
    factories.signal(feed)
    (row,) = load_orders(factories.pending())
    assert row == OrderRow(**row._asdict())
    assert row.pair == "EUR/USD"
    assert row.max_signal_age_seconds == 600
