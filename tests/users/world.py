"""Two tenants who each have a row in every table that belongs to tenants."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.utils import timezone

from alerts.models import IncomingAlert, TelegramBot, TelegramChat, TelegramMessage
from analytics.models import AnalyticsDaily, Preflight, SignalQuality, TradeCost
from common.models import KeptAnswer
from connections.models import (
    AccountHistory,
    AccountSnapshot,
    CashFlowRead,
    DataConnection,
    ExecutionConnection,
    FundingPayment,
    KillSwitch,
    SourceHealth,
    Subscription,
    SubscriptionRoute,
    SubscriptionTwin,
    TradingPreset,
)
from events.models import (
    Channel,
    Delivery,
    Event,
    Notification,
    WebhookAttempt,
    WebhookMessage,
)
from execution.models import (
    AccountSyncState,
    ArchivedOrder,
    DriftItem,
    EntryChange,
    ExecutionLog,
    Fill,
    Order,
    OrderTrigger,
    ScopedAction,
    SlicePlan,
)
from positions.models import ExecutionPosition, StopRule
from prices.models import (
    FallbackUse,
    LatestQuote,
    PriceBar,
    PushedQuote,
    PushedSymbol,
    PushRefusal,
)
from signals.models import (
    ApprovalRequest,
    Feed,
    FeedTerms,
    FeedToken,
    ReceivedAlert,
    SavedDraft,
    Signal,
)
from tests.connections import make
from tests.decisions import answered, calendar_of, provider_of
from tests.loss_limits import cash_flow_of, limit_of, pause_of
from users.models import ApiKey, ApiKeyNetwork, DataExport, DataExportPart, User

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)  # past, so that no test is about it by chance
ONE = Decimal(1)
PRICES_OF_BAR = ("open", "high", "low", "close")


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
    of_pair = {"data_connection": source, "symbol": "EUR/USD"}
    FallbackUse.objects.create(**of_pair, fallback=source, bid_offset=0, ask_offset=0, own_at=NOW)
    PushedQuote.objects.create(**of_pair, bid=1, ask=1, time=NOW)
    PushedSymbol.objects.create(**of_pair, bid=1, ask=1, time=NOW)
    PushRefusal.objects.create(data_connection=source, code="QUOTE_CROSSED")
    bar = dict.fromkeys((f"{side}_{at}" for side in ("bid", "ask") for at in PRICES_OF_BAR), ONE)
    PriceBar.objects.create(
        data_connection=source, symbol="EUR/USD", minute=NOW, spread_sum=0, quote_count=1,
        first_at=NOW, last_at=NOW, **bar,
    )  # fmt: skip
    SourceHealth.objects.create(source=source)
    connection = make.connection(user, preset=make.preset(user), data_connection=source)
    feed = make.feed(user, is_public=False, approved_by_owner=True)
    signal = make.signal(feed, published_at=NOW)
    order = _trade(connection, signal)
    subscription = make.subscription(connection, feed)
    SubscriptionRoute.objects.create(
        subscription=subscription, feed=feed, connection=connection, rank=0
    )
    another = make.feed(user, is_public=False, approved_by_owner=True)
    paper = make.subscription(connection, another)
    SubscriptionTwin.objects.create(
        subscription=subscription, twin=paper, connection=paper.connection, opening_balance=ONE,
        currency="USD", started_at=NOW,
    )  # fmt: skip
    _notify(user, name)
    FeedToken.objects.create(feed=feed, prefix=name, secret_hash="h")
    Preflight.objects.create(connection=connection, feed=feed, signals_wanted=1, directions="BOTH")
    ReceivedAlert.objects.create(feed=feed, key="k", change="flat", summary="s")
    IncomingAlert.objects.create(feed=feed, body=b"buy", expires_at=NOW)
    bot = TelegramBot.objects.create(feed=feed, bot_id=user.pk, token_sealed=b"box")
    TelegramChat.objects.create(bot=bot, chat_id=user.pk, kind="channel", title="channel")
    TelegramMessage.objects.create(feed=feed, key="1:1", body=b"buy", signal_ids=[])
    ApprovalRequest.objects.create(feed=feed, requested_by=user)
    FeedTerms.objects.create(feed=feed, text="terms", changed_by=user)
    SavedDraft.objects.create(feed=feed, action="OPEN", created_by=user)
    ends = timezone.now() + timedelta(days=90)
    key = ApiKey.objects.create(
        user=user, name="key", prefix=name, secret_hash="h", expires_at=ends
    )
    ApiKeyNetwork.objects.create(key=key, network="203.0.113.0/24")
    KeptAnswer.objects.create(
        user=user, operation="POST /api/v1/feeds/", key="k", fingerprint="f", status=201
    )
    export = DataExport.objects.create(user=user)
    DataExportPart.objects.create(export=export, number=1, content=b"x")
    KillSwitch.objects.create(
        scope="CONNECTION", mode="HALTED", connection=connection, reason="r", set_by=user
    )
    limit_of(TradingPreset.objects.get(user=user))
    answered(order, provider_of(user))
    calendar_of(user)
    pause_of(connection, ended_at=NOW)
    cash_flow_of(connection)
    CashFlowRead.objects.create(connection=connection)
    FundingPayment.objects.create(
        connection=connection, reference="1", symbol="BTC/USDT:USDT", amount=Decimal(-1),
        currency="USDT", at=NOW,
    )  # fmt: skip
    AccountHistory.objects.create(
        connection=connection, period_start=NOW, currency="USD", read_at=NOW, balance=ONE,
        equity=ONE, peak_balance=ONE, peak_balance_at=NOW, peak_equity=ONE, peak_equity_at=NOW,
    )  # fmt: skip
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
    SlicePlan.objects.create(
        order=order, connection=connection, style="TWAP", seed=order.pk, quantity=ONE,
        quantity_step=ONE, quantity_min=ONE, offsets=[0], quantities=[ONE], catch_up="SKIP",
        at_end="LEAVE", arrival_price=ONE, starts_at=NOW, ends_at=NOW,
    )  # fmt: skip
    OrderTrigger.objects.create(
        order=order,
        connection=connection,
        kind="STOP",
        sent_as="MARKET",
        pair="EUR/USD",
        side="BUY",
        level=ONE,
        active_since=NOW,
        is_armed=False,
    )
    ScopedAction.objects.create(
        user=signal.feed.owner, cancels_entries=True, closes_positions=False, scope={},
        scope_name="everything",
    )  # fmt: skip
    EntryChange.objects.create(
        order=order, connection=connection, quantity=ONE, state="DONE", done_at=NOW
    )
    Fill.objects.create(
        connection=connection, broker_fill_id="1", order=order, side="BUY", quantity=ONE,
        price=ONE, time=NOW,
    )  # fmt: skip
    ExecutionLog.objects.create(order_id=order.pk, connection_id=connection.pk, code="CREATED")
    DriftItem.objects.create(connection=connection, kind="UNKNOWN_ORDER", key="k")
    AccountSyncState.objects.get(connection=connection)
    position = ExecutionPosition.objects.create(
        connection=connection, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY",
        quantity=ONE, opened_quantity=ONE, entry_price=ONE, pip=ONE, conversion_rate=ONE,
        opened_at=NOW,
    )  # fmt: skip
    StopRule.objects.create(position=position, trailing_distance=ONE)
    _archived(connection, signal)
    AnalyticsDaily.objects.create(connection=connection, day=NOW.date())
    TradeCost.objects.create(position=position, connection=connection)
    SignalQuality.objects.create(signal=signal, persons=6)
    return order


def _archived(connection: ExecutionConnection, signal: Signal) -> None:
    """An entry that is in the archive."""
    ArchivedOrder.objects.create(
        id=10**9 + signal.pk, signal=signal, connection=connection, status="DENIED",
        pair="EUR/USD", side="BUY", order_type="MARKET", created_at=NOW, done_at=NOW,
    )  # fmt: skip


def _notify(user: User, name: str) -> None:
    event = Event.objects.create(kind="order.filled", user_id=user.pk)
    Notification.objects.create(user=user, event_id=event.pk, kind=event.kind, title=name)
    channel = Channel.objects.create(user=user, name=name, url_sealed=b"x", url_display="x")
    Delivery.objects.create(event_id=event.pk, channel=channel)
    message = WebhookMessage.objects.create(channel=channel, uid=f"msg_{name}", events=1)
    WebhookAttempt.objects.create(channel=channel, message=message, duration_ms=1)
