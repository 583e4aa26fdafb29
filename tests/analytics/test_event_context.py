"""Messages name the account, the trade and the result."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from events import services
from events.models import Event, EventKind, Notification
from events.routing import route_events
from execution.models import Order, Status
from tests.analytics import factories
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return factories.user()


@pytest.fixture
def account(alice: User) -> ExecutionConnection:
    made = factories.connection(alice)
    factories.snapshot(made, "EUR")
    made.name, made.account = "MT5", "7714"
    made.save()
    return made


def rendered_notification() -> tuple[str, str]:
    route_events(10)
    (notification,) = Notification.objects.all()
    return notification.title, notification.body


def test_fill_event_names_trade_and_account(alice: User, account: ExecutionConnection) -> None:
    (signal,) = factories.signals(alice, 1)
    order = Order.objects.create(
        signal=signal,
        connection=account,
        leg="entry",
        pair="EUR/USD",
        side="SELL",
        order_type="MARKET",
        time_in_force="GTC",
        status=Status.FILLED,
        quantity=D(10_000),
        filled_quantity=D(10_000),
        avg_fill_price=D("1.38600"),
    )
    services.emit(
        EventKind.ORDER_FILLED,
        user_id=alice.pk,
        connection_id=account.pk,
        signal_id=signal.pk,
        order_id=order.pk,
    )
    title, body = rendered_notification()
    assert title == "Filled: Sell 10,000 EUR/USD at 1.386"
    assert body == f"MT5\u00a0·\u00a07714, S-{signal.pk}."


def test_closed_position_event_has_result_in_account_currency(
    alice: User, account: ExecutionConnection
) -> None:
    (signal,) = factories.signals(alice, 1)
    position = factories.trade(
        account, signal, closed_at=datetime(2026, 3, 6, tzinfo=UTC), pnl=D("152.58")
    )
    position.save()
    services.emit(
        EventKind.POSITION_CLOSED,
        user_id=alice.pk,
        connection_id=account.pk,
        payload={"position": position.pk, "reason": "tp", "pnl": "152.58", "commission": "2.5"},
    )
    title, body = rendered_notification()
    assert title == "Closed with +150.08 EUR: Buy 1,000 EUR/USD"
    assert body.startswith("The take profit was hit.")


def test_event_of_deleted_rows_still_has_message(alice: User) -> None:
    Event.objects.create(
        kind=EventKind.ORDER_DENIED, user_id=alice.pk, signal_id=10**9, order_id=10**9
    )
    title, _ = rendered_notification()
    assert title == "Denied by us: order 1000000000"
