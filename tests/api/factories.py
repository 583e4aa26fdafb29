"""Test data of the API's tests: Alice owns one object of each kind; other tenants may not reach it.

Bob is another tenant, Paula is a provider with her own feeds, and Olga is an operator.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from alerts.models import TelegramBot, TelegramChat
from analytics.models import Preflight
from common.clocks import market_now
from common.models import SettingsVersion
from common.permissions import Role
from connections import services as connection_services
from connections.models import (
    AccountSnapshot,
    CashFlow,
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    DecisionProvider,
    ExecutionConnection,
    HealthStatus,
    KillSwitch,
    LossLimit,
    NewsCalendar,
    Subscription,
    SubscriptionInterval,
    SubscriptionTwin,
    TradingPause,
    TradingPreset,
)
from events.models import Channel, EventKind, Notification, WebhookMessage
from execution.models import DriftItem, ExecutionLog, Order, Status
from execution.sample_orders import place_sample
from positions.models import ExecutionPosition
from signals.feeds.services import create_feed, create_feed_token
from signals.models import Approval, Feed, FeedToken, SavedDraft, Signal
from tests.connections import make
from tests.decisions import calendar_of, provider_of
from tests.execution import factories
from tests.loss_limits import cash_flow_of, limit_of, pause_of
from tests.roles import give
from users.models import ApiKey, User
from users.services import create_api_key

CANARY = "canary-s3cret-of-the-broker"


@dataclass
class World:
    """The users and rows that tests refer to by name."""

    alice: User
    bob: User
    paula: User
    olga: User
    version: SettingsVersion
    keys: dict[str, str]
    feed: Feed  # Alice's private one
    public: Feed  # Paula's, approved
    token: FeedToken
    draft: SavedDraft  # of that feed, with faults
    chat: TelegramChat  # of that feed's bot, not allowed
    signal: Signal  # not published, in Alice's feed
    published: Signal
    preset: TradingPreset
    prices: DataConnection
    connection: ExecutionConnection
    subscription: Subscription
    twinned: Subscription  # has a paper twin
    limit: LossLimit
    provider: DecisionProvider
    calendar: NewsCalendar
    pause: TradingPause
    cash_flow: CashFlow
    preflight: Preflight
    position: ExecutionPosition
    pending: Order
    failed: Order
    filled: Order
    log: ExecutionLog
    drift: DriftItem
    halt: KillSwitch
    notification: Notification
    channel: Channel
    webhook_message: WebhookMessage
    key: ApiKey

    def client(self, name: str) -> APIClient:
        """Return an API client with the key of a user; `anonymous` has none."""
        client = APIClient()
        if name != "anonymous":
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.keys[name]}")
        return client


def build() -> World:
    """Create the users and one object of each kind for Alice."""
    objects: dict[str, Any] = {}
    keys = {}
    for name in ("alice", "bob", "paula", "olga"):
        objects[name] = User.objects.create_user(name, is_staff=name == "olga")
        if name == "olga":
            give(objects[name], Role.ADMINISTRATOR)
        key, keys[name] = create_api_key(objects[name], "test")
        if name == "alice":
            objects["key"] = key
    ApiKey.objects.update(last_used_at=timezone.now())  # a request stores it once a minute
    alice = objects["alice"]
    objects["feed"] = create_feed(owner=alice, name="By hand", is_public=False, is_approved=True)
    objects["public"] = create_feed(owner=objects["paula"], name="Majors", is_approved=True)
    objects["token"], _ = create_feed_token(objects["feed"])
    objects["draft"] = SavedDraft.objects.create(
        feed=objects["feed"], action="OPEN", created_by=alice
    )
    bot = TelegramBot.objects.create(feed=objects["feed"], bot_id=123456, token_sealed=b"box")
    objects["chat"] = TelegramChat.objects.create(
        bot=bot, chat_id=-1001234, kind="channel", title="Alice signals"
    )
    objects |= _signals(objects["feed"], alice)
    objects |= _account(alice, objects["public"])
    objects |= {
        "version": SettingsVersion.objects.create(
            id=1, document={}, origin="console", username="olga", why="The first."
        ),
        "provider": provider_of(alice),
        "calendar": calendar_of(alice),
        "limit": limit_of(objects["preset"]),
        "pause": pause_of(objects["connection"]),
        "cash_flow": cash_flow_of(objects["connection"]),
        "preflight": Preflight.objects.create(
            connection=objects["connection"],
            feed=objects["public"],
            signals_wanted=20,
            directions="BOTH",
            state=Preflight.State.READY,
            result={},
        ),
    }
    objects |= _trades(objects["connection"], objects["published"], objects["prices"])
    objects |= _messages(alice)
    return World(keys=keys, **objects)


def _signals(feed: Feed, alice: User) -> dict[str, Any]:
    fields: dict[str, Any] = {"feed": feed, "currency_pair": "EUR/USD", "direction": "BUY"}
    fields["created_by"] = alice
    return {
        "signal": Signal.objects.create(**fields),
        "published": Signal.objects.create(
            **fields,
            approval=Approval.APPROVED,
            published_at=market_now(),
            target_prices=[Decimal("1.40000")],
            target_fractions=[Decimal(1)],
            candidate_count=1,
        ),
    }


def _account(alice: User, public: Feed) -> dict[str, Any]:
    preset = TradingPreset.objects.create(user=alice, name="one", risk_percent=Decimal(1))
    prices = DataConnection.objects.create(user=alice, name="prices")
    connection = ExecutionConnection.objects.create(
        user=alice, name="demo", type="paper", account="1", preset=preset, data_connection=prices
    )
    ConnectionHealth.objects.create(connection=connection, status=HealthStatus.ACTIVE)
    ConnectionLock.objects.create(connection=connection)
    AccountSnapshot.objects.create(
        connection=connection, currency="USD", balance=Decimal("1000.50"), equity=Decimal(1000),
        margin_used=Decimal(0), free_margin=Decimal(1000), leverage=Decimal(30),
        position_mode="HEDGING", read_at=market_now(),
    )  # fmt: skip
    subscription = Subscription.objects.create(connection=connection, feed=public)
    SubscriptionInterval.objects.create(subscription=subscription, started_at=market_now())
    return {
        "preset": preset,
        "prices": prices,
        "connection": connection,
        "subscription": subscription,
        "twinned": _twinned(alice, public),
        "halt": KillSwitch.objects.create(
            scope="CONNECTION", mode="REDUCING", connection=connection, reason="r", set_by=alice
        ),
    }


def _twinned(alice: User, public: Feed) -> Subscription:
    """A subscription with a twin. Both accounts are archived: lists of those in use lack them."""
    now = market_now()
    made = []
    for number in ("20", "paper-twin-1"):
        row = ExecutionConnection.objects.create(
            user=alice, name=number, type="paper", account=number, archived_at=now, is_active=False
        )
        ConnectionHealth.objects.create(connection=row)
        ConnectionLock.objects.create(connection=row)
        made.append(Subscription.objects.create(connection=row, feed=public, archived_at=now))
    live, twin = made
    SubscriptionTwin.objects.create(
        subscription=live, twin=twin, connection=twin.connection, currency="USD",
        opening_balance=Decimal(1000), started_at=now,
    )  # fmt: skip
    return live


def order(connection: ExecutionConnection, signal: Signal, leg: str, **fields: Any) -> Order:
    """Create one entry leg; its quantity is 1000 by default."""
    defaults: dict[str, Any] = {
        "pair": "EUR/USD", "symbol": "EURUSD", "side": "BUY", "order_type": "MARKET",
        "time_in_force": "GTC", "quantity": Decimal(1000),
    }  # fmt: skip
    return Order.objects.create(connection=connection, signal=signal, leg=leg, **defaults | fields)


def _trades(
    connection: ExecutionConnection, signal: Signal, prices: DataConnection
) -> dict[str, Any]:
    now = market_now()
    filled = order(
        connection, signal, "entry", status=Status.FILLED, filled_quantity=Decimal(1000),
        avg_fill_price=Decimal("1.38600"), done_at=now, filled_at=now,
        client_order_id="tstabcdefghijklm0",
    )  # fmt: skip
    position = ExecutionPosition.objects.create(
        connection=connection, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
        quantity=Decimal(1000), opened_quantity=Decimal(1000), entry_price=Decimal("1.386"),
        sl=Decimal("1.38"), sl_guardian="ENGINE", price_source=prices, pip=Decimal("0.0001"),
        conversion_rate=Decimal(1), opened_at=now,
    )  # fmt: skip
    return {
        "filled": filled,
        "position": position,
        "pending": order(connection, signal, "entry-2"),
        "failed": order(
            connection, signal, "entry-3", status=Status.FAILED, reason="NEVER_ARRIVED", done_at=now
        ),
        "log": ExecutionLog.objects.create(
            order_id=filled.pk, signal_id=signal.pk, connection_id=connection.pk, code="FILL"
        ),
        "drift": DriftItem.objects.create(
            kind="POSITION_MISSING", connection=connection, key="k", position_id=position.pk
        ),
    }


def _messages(alice: User) -> dict[str, Any]:
    channel = Channel.objects.create(
        user=alice,
        name="mail",
        url_sealed=CANARY.encode(),
        url_display="mailto:…",
        confirmed_at=timezone.now(),
    )
    message = WebhookMessage.objects.create(channel=channel, uid="msg_1", events=1)
    return {
        "notification": Notification.objects.create(
            user=alice, event_id=1, kind=EventKind.ORDER_FILLED, title="t"
        ),
        "channel": channel,
        "webhook_message": message,
    }


def routed_subscription(world: World) -> Subscription:
    """Return a subscription of Alice's with a route of two accounts, the second of which is
    paused."""
    factories.instrument()
    accounts = [factories.account(None, type="paper") for _ in range(2)]
    ExecutionConnection.objects.filter(pk__in=[one.pk for one in accounts]).update(user=world.alice)
    taken = make.subscription(ExecutionConnection.objects.get(pk=accounts[0].pk), world.public)
    connection_services.set_route(
        taken.pk, by=world.alice, policy="HEALTH",
        accounts=[connection_services.RouteAccount(one.pk, 0, {}) for one in accounts],
    )  # fmt: skip
    ExecutionConnection.objects.filter(pk=accounts[1].pk).update(is_paused=True)
    return taken


def demo_account(world: World) -> ExecutionConnection:
    """Return an account of Alice's that may place a sample order: it trades bitcoin."""
    factories.instrument("BTC/USD", quantity_min=Decimal("0.002"), quantity_step=Decimal("0.001"))
    account = factories.account(type="paper", owner=world.alice, account="sample")
    factories.quote(account, "60000", "60001", "BTC/USD")
    return account


def sample_order(world: World) -> ExecutionConnection:
    """Return such an account with an open sample order."""
    account = demo_account(world)
    place_sample(account.pk, by=world.alice)
    return account
