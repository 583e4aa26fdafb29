"""Two tenants who each have a row in every table that belongs to tenants."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from analytics.models import AnalyticsDaily
from connections.models import (
    AccountSnapshot,
    DataConnection,
    ExecutionConnection,
    KillSwitch,
    SourceHealth,
    Subscription,
)
from events.models import Channel, Delivery, Event, Notification
from execution.models import AccountSyncState, DriftItem, ExecutionLog, Fill, Order
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.models import Feed, FeedToken, ReceivedAlert, Signal
from tests.connections import make
from users.models import ApiKey, User

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)  # past, so that no test is about it by chance
ONE = Decimal(1)


@dataclass(frozen=True)
class Tenant:
    user: User
    connection: ExecutionConnection
    feed: Feed
    signal: Signal
    order: Order
    subscription: Subscription


def tenant(name: str) -> Tenant:
    """A tenant with a private feed that their own account takes, and all that comes of it."""
    user = make.user(name)
    source = DataConnection.objects.create(name=name, user=user)
    LatestQuote.objects.create(data_connection=source, symbol="EUR/USD", bid=1, ask=1, time=NOW)
    SourceHealth.objects.create(source=source)
    connection = make.connection(user, preset=make.preset(user), data_connection=source)
    feed = make.feed(user, is_public=False, approved_by_owner=True)
    signal = make.signal(feed, published_at=NOW)
    order = _trade(connection, signal)
    subscription = make.subscription(connection, feed)
    _notify(user, name)
    FeedToken.objects.create(feed=feed, prefix=name, secret_hash="h")
    ReceivedAlert.objects.create(feed=feed, key="k", change="flat", summary="s")
    ends = timezone.now() + timedelta(days=90)
    ApiKey.objects.create(user=user, name="key", prefix=name, secret_hash="h", expires_at=ends)
    KillSwitch.objects.create(
        scope="CONNECTION", mode="HALTED", connection=connection, reason="r", set_by=user
    )
    return Tenant(user, connection, feed, signal, order, subscription)


def _trade(connection: ExecutionConnection, signal: Signal) -> Order:
    money = dict.fromkeys(("balance", "equity", "margin_used", "free_margin", "leverage"), ONE)
    AccountSnapshot.objects.create(
        connection=connection, currency="USD", position_mode="HEDGING", read_at=NOW, **money
    )
    order = Order.objects.create(
        signal=signal, connection=connection, leg="entry", pair="EUR/USD", side="BUY",
        order_type="MARKET", time_in_force="GTC",
    )  # fmt: skip
    Fill.objects.create(
        connection=connection, broker_fill_id="1", order=order, side="BUY", quantity=ONE,
        price=ONE, time=NOW,
    )  # fmt: skip
    ExecutionLog.objects.create(order_id=order.pk, connection_id=connection.pk, code="CREATED")
    DriftItem.objects.create(connection=connection, kind="UNKNOWN_ORDER", key="k")
    AccountSyncState.objects.get(connection=connection)
    ExecutionPosition.objects.create(
        connection=connection, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
        quantity=ONE, opened_quantity=ONE, entry_price=ONE, pip=ONE, conversion_rate=ONE,
        opened_at=NOW,
    )  # fmt: skip
    AnalyticsDaily.objects.create(connection=connection, day=NOW.date())
    return order


def _notify(user: User, name: str) -> None:
    event = Event.objects.create(kind="order.filled", user_id=user.pk)
    Notification.objects.create(user=user, event_id=event.pk, kind=event.kind, title=name)
    channel = Channel.objects.create(user=user, name=name, url_sealed=b"x", url_display="x")
    Delivery.objects.create(event_id=event.pk, channel=channel)
