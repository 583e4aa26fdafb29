"""Orders are loaded with what their presets and their subscriptions set."""

from datetime import time
from decimal import Decimal as D
from typing import Any

import pytest

from connections.entry_limits import ENTRY_LIMITS, Tighter
from execution.submission.order_loading import load_orders, with_terms
from execution.submission.rows import OrderRow
from signals.models import Feed
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.django_db

# The column of a limit of which the preset's and the subscription's are both checked.
OWN = {
    "max_slippage_pips": "own_max_slippage",
    "max_spread": "own_max_spread",
    "allowed_symbols": "own_allowed_symbols",
    "trading_sessions": "own_trading_sessions",
}
ITEMS = {"allowed_symbols": "EUR/USD", "trading_sessions": "MON-FRI 08:00-16:00"}
LIMITS = sorted(
    name
    for name, limit in ENTRY_LIMITS.items()
    if limit.type is not str  # a unit is none itself
)


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_that_only_a_subscription_sets_counts(limit: str, feed: Feed) -> None:
    value = [ITEMS[limit]] if limit in ITEMS else ENTRY_LIMITS[limit].type(1)
    account = factories.account(preset_max_open_positions=20)
    subscription = make.subscription(account, feed, **{limit: value})
    factories.signal(feed)
    (row,) = load_orders(factories.pending())
    found = getattr(row.terms, OWN[limit]) if limit in OWN else getattr(row.terms.limits, limit)
    assert found == value
    assert row.limiting_subscription_id == subscription.pk


@pytest.mark.parametrize(
    "limit", [n for n, one in ENTRY_LIMITS.items() if one.is_number and n not in OWN]
)
def test_tighter_of_two_values_counts(limit: str, feed: Feed) -> None:
    loose, tight = (2, 3) if ENTRY_LIMITS[limit].tighter is Tighter.HIGHER else (3, 2)
    presets: list[dict[str, Any]] = [{f"preset_{limit}": loose}, {f"preset_{limit}": tight}]
    account, other = (factories.account(**fields) for fields in presets)
    make.subscription(account, feed, **{limit: tight})
    make.subscription(other, feed, **{limit: loose})
    factories.signal(feed)
    rows = load_orders(factories.pending())
    assert [getattr(row.terms.limits, limit) for row in rows] == [tight, tight]


def test_accounts_of_one_preset_share_its_values(feed: Feed) -> None:
    preset = make.preset(multiplier=D("1.5"), max_quantity=D(70), trading_day_start=time(3))
    for _ in range(2):
        factories.account(feed, preset=preset)
    other = factories.account(feed)
    factories.signal(feed)
    loaded = {row.connection_id: row for row in load_orders(factories.pending())}
    third = loaded.pop(str(other.pk))
    assert (third.terms.multiplier, third.terms.limits.max_quantity) == (D(1), None)
    first, second = loaded.values()
    terms = first.terms
    values = (terms.multiplier, terms.limits.max_quantity, terms.trading_day_start)
    assert values == (D("1.5"), D(70), time(3))
    assert first.limiting_subscription_id is None
    assert first.terms is second.terms


def test_account_without_a_preset_has_none_of_its_values(feed: Feed) -> None:
    account = factories.account(feed)
    factories.signal(feed)
    account.preset = None
    account.save()
    (row,) = load_orders(factories.pending())
    assert not row.terms.has_preset
    assert row.terms._asdict()["sizing_mode"] is None
    assert row.preset_id is None
    assert row.terms.limits.market_hours_only is False


def test_nothing_is_read_for_no_orders(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert with_terms([]) == []


def test_loaded_parts_are_all_of_a_row(feed: Feed) -> None:
    factories.account(feed)
    factories.signal(feed)
    (row,) = load_orders(factories.pending())
    assert row == OrderRow(**row._asdict())
    assert row.pair == "EUR/USD"
    assert row.terms.max_signal_age_seconds == 600
