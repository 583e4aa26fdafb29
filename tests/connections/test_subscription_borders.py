"""Subscriptions, tests and entered deposits at their borders: an end, a request, an age."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from uuid import UUID, uuid4

import pytest

from brokers.types import BrokerCashFlow
from common.clocks import set_market_clock
from common.errors import InvalidInputError
from connections import services
from connections.accounts.cash_flows import SAME_ENTRY, EnteredFlow, entered_by_hand
from connections.eligibility import reason_for
from connections.models import ConnectionHealth
from tests.analytics.trading_days import INSTANT, stop_clock
from tests.connections import make

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)
NOTHING = timedelta(0)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Market time is noon and stands."""
    stop_clock(NOON)
    yield
    set_market_clock(None)


@pytest.mark.parametrize(
    ("end", "code"), [(NOON - INSTANT, "SUBSCRIPTION_EXPIRED"), (NOON, "SUBSCRIPTION_EXPIRED"),
                      (NOON + INSTANT, None)]
)  # fmt: skip
def test_subscription_takes_signals_until_before_its_end(end: datetime, code: str | None) -> None:
    account, feed = make.connection(), make.feed()
    made = make.subscription(account, feed, expires_at=end)
    assert reason_for(connection_id=account.pk, feed_id=feed.pk, direction="BUY") == code
    if code is None:
        assert services.update_subscription(made.pk, by=None, expires_at=end + INSTANT)
    else:
        with pytest.raises(InvalidInputError):
            services.update_subscription(made.pk, by=None, expires_at=end - INSTANT)


@pytest.mark.parametrize(
    ("end", "is_taken"), [(NOON - INSTANT, False), (NOON, False), (NOON + INSTANT, True)]
)
def test_new_end_is_after_now(end: datetime, is_taken: bool) -> None:
    made = make.subscription(make.connection(), make.feed(), expires_at=NOON + timedelta(days=1))
    if is_taken:
        assert services.update_subscription(made.pk, by=None, expires_at=end)
    else:
        with pytest.raises(InvalidInputError, match="in the past"):
            services.update_subscription(made.pk, by=None, expires_at=end)


@pytest.mark.parametrize(
    ("moved", "code"), [(-INSTANT, "CONNECTION_ERROR"), (NOTHING, "CONNECTION_ERROR"),
                        (INSTANT, "CONNECTION_TEST_PENDING")]
)  # fmt: skip
def test_test_is_pending_if_it_was_requested_after_the_last_one(
    moved: timedelta, code: str
) -> None:
    account = make.connection(health_status="ERROR")
    ConnectionHealth.objects.update(last_tested_at=NOON, test_requested_at=NOON + moved)
    assert reason_for(connection_id=account.pk) == code


@pytest.mark.parametrize(
    ("apart", "is_same"), [(SAME_ENTRY, True), (-SAME_ENTRY, True), (SAME_ENTRY + INSTANT, False)]
)
def test_entry_is_the_reported_deposit_within_two_days(apart: timedelta, is_same: bool) -> None:
    account: UUID = uuid4()
    flow = BrokerCashFlow("D-1", D(100), NOON)
    entry = EnteredFlow(1, account, D(100), NOON + apart)
    found = entered_by_hand([(account, NOON, flow)], [entry])
    assert found == ([(entry, NOON, flow)] if is_same else [])
    assert not entered_by_hand([(uuid4(), NOON, flow)], [entry]), "of another account"
