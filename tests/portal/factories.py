"""Test data of the portal: Alice has five accounts, Bob one, and Nora none yet.

Every figure is known, so tests can expect exact values. `manage.py shell` can build it, too, to
view the pages.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from alerts.models import TelegramBot, TelegramChat
from analytics.models import AnalyticsDaily
from common.clocks import market_now
from common.permissions import Role
from connections.models import (
    AccountSnapshot,
    DataConnection,
    ExecutionConnection,
    LaneLease,
    Subscription,
    TradingPreset,
)
from events.models import EventKind, Notification
from execution.models import DriftItem, Fill, Order, ScopedAction
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.feeds.services import create_feed_token
from signals.models import Feed, SavedDraft, Signal
from tests.connections import make
from tests.loss_limits import limit_of, pause_of
from tests.roles import give
from users.models import User

D = Decimal
NONE = D(0)
PASSWORD = "correct horse battery"
CHECKS = [
    {"name": "Login", "result": "ok", "detail": "accepted", "hint": ""},
    {"name": "Trading allowed", "result": "ok", "detail": "", "hint": ""},
    {"name": "Prices", "result": "warn", "detail": "The last one is 40 s old.", "hint": "Wait."},
]


class World:
    """The users and rows that tests refer to by name."""

    def __init__(self) -> None:
        """Create all rows."""
        self.alice, self.bob, self.nora, self.paula = (
            User.objects.create_user(name, password=PASSWORD)
            for name in ("alice", "bob", "nora", "paula")
        )
        self.olga = User.objects.create_user("olga", password=PASSWORD, is_staff=True)
        give(self.olga, Role.OPERATOR)
        self.breakout = feed(self.paula, "macro-breakout", "Macro Breakout")
        self.carry = feed(self.paula, "kiwi-carry", "Kiwi Carry")
        Feed.objects.filter(pk=self.carry.pk).update(record_is_public=True)
        self.preset = TradingPreset.objects.create(name="1 % at risk", risk_percent=D(1))
        self.own_preset, self.bobs_preset = (
            TradingPreset.objects.create(name="Careful", risk_percent=D(1), user=user)
            for user in (self.alice, self.bob)
        )
        self.prices = DataConnection.objects.create(name="Recorded quotes")
        self._quotes()
        self._accounts()
        self._signals()
        self._notifications()
        self.difference, self.bobs_difference = (
            difference(row, str(number)) for number, row in enumerate((self.mt5, self.bobs))
        )
        self.own, self.bobs_own = (own_feed(user) for user in (self.alice, self.bob))
        self.draft, self.bobs_draft = (
            SavedDraft.objects.create(
                feed=one, action="OPEN", created_by=one.owner,
                body={"symbol": "EUR/USD", "direction": "BUY"},
            )
            for one in (self.own, self.bobs_own)
        )  # fmt: skip
        self.waiting, self.bobs_waiting = (
            Signal.objects.create(
                feed=one, approval="APPROVED", currency_pair="GBP/USD", direction="BUY"
            )
            for one in (self.own, self.bobs_own)
        )
        self.scoped, self.bobs_scoped = (
            ScopedAction.objects.create(
                user=user, cancels_entries=True, closes_positions=True, scope={},
                scope_name="everything",
            )
            for user in (self.alice, self.bob)
        )  # fmt: skip

    def _quotes(self) -> None:
        for symbol, bid, ask in (("EUR/USD", "1.38372", "1.38375"),
                                 ("XAU/USD", "1276.000", "1276.024")):  # fmt: skip
            LatestQuote.objects.create(
                data_connection=self.prices, symbol=symbol, bid=D(bid), ask=D(ask),
                time=market_now(),
            )  # fmt: skip

    def _account(self, owner: User, name: str, kind: str, number: str, equity: str,
                 **fields: Any) -> ExecutionConnection:  # fmt: skip
        shared = {"preset": self.preset, "data_connection": self.prices, "health_last_test": CHECKS}
        now = datetime.now(UTC)
        at = {"health_last_tested_at": now, "health_last_connected_at": now}
        row = make.connection(
            owner, name=name, type=kind, account=number, **{**shared, **at, **fields}
        )
        if equity:
            AccountSnapshot.objects.create(
                connection=row, currency="USD", balance=D(equity), equity=D(equity),
                margin_used=D(0), free_margin=D(equity), leverage=D(30), position_mode="HEDGING",
                read_at=now,
            )  # fmt: skip
        return row

    def _accounts(self) -> None:
        alice = self.alice
        self.mt5 = self._account(alice, "Main MT5", "mt5", "7714", "9877.80")
        self.ibkr = self._account(alice, "IBKR", "ibkr", "DU48213", "52576.68")
        self.twin = self._account(alice, "Paper twin", "paper", "P-1", "10035.80")
        self.mt4 = self._account(alice, "Old MT4", "mt4", "20931", "4120.75", is_paused=True)
        self.crypto = self._account(
            alice, "Binance spot", "crypto", "spot-1", "", exchange_name="binance",
            sealed_credentials=None, health_status="UNTESTED", health_reconciled_at=None,
            health_last_test=[], health_last_tested_at=None, health_last_connected_at=None,
        )  # fmt: skip
        self.bobs = self._account(self.bob, "Bob's MT5", "mt5", "8000", "100.00")
        self.subscriptions = [
            make.subscription(row, self.breakout)
            for row in (self.mt5, self.ibkr, self.twin, self.mt4, self.crypto)
        ]
        ended = {"ended_at": market_now(), "until": None}
        self.pause, self.bobs_pause = (pause_of(row, **ended) for row in (self.mt5, self.bobs))
        self.bobs_subscription: Subscription = make.subscription(self.bobs, self.carry)
        self.limit, self.bobs_limit = (
            limit_of(None, subscription=row, maximum=D(60))
            for row in (self.subscriptions[0], self.bobs_subscription)
        )

    def start_workers(self) -> None:
        """Start a worker for each account that needs one."""
        now = datetime.now(UTC)
        lanes = ExecutionConnection.objects.exclude(lane="").values_list("lane", flat=True)
        LaneLease.objects.bulk_create(
            LaneLease(lane=lane, owner="worker-1", acquired_at=now, until=now + timedelta(hours=1))
            for lane in lanes.order_by("lane").distinct()
        )

    def _signals(self) -> None:
        now = market_now()
        self.gold = signal(
            self.breakout, now - timedelta(minutes=20), currency_pair="XAU/USD", direction="SELL",
            open_price=D("1286.029"), sl=D("1289.999"), target_prices=[D("1278.500")],
            target_fractions=[D(1)],
        )  # fmt: skip
        self.euro = signal(
            self.breakout, now - timedelta(seconds=4), currency_pair="EUR/USD", direction="SELL",
            order_type="STOP", stop_price=D("1.38564"), sl=D("1.38814"), max_slippage_pips=D(3),
            valid_until=now + timedelta(minutes=15),
        )  # fmt: skip
        self.addresses = {
            owner.username: create_feed_token(
                feed(owner, f"{owner.username}-alerts-feed", f"{owner.username.title()} alerts")
            )[0]
            for owner in (self.alice, self.bob)
        }
        self.telegram_chats = {
            name: TelegramChat.objects.create(
                bot=TelegramBot.objects.create(
                    feed=address.feed, bot_id=10_000_000 + address.pk, token_sealed=b"box"
                ),
                chat_id=-1001000000 - address.pk, kind="channel", title=f"{name} signals",
            )
            for name, address in self.addresses.items()
        }  # fmt: skip
        Feed.objects.filter(slug__endswith="-alerts-feed").update(is_public=False)
        self.bobs_signal = signal(self.carry, now, currency_pair="NZD/USD", direction="BUY")
        self._gold(now)
        self._euro()
        bought = order(self.bobs, self.bobs_signal, "FILLED", D(1000), D("0.86"))
        self.bobs_order, self.bobs_position = bought, position(bought, self.prices)
        for back, pnl in enumerate((6, -211, 120, 340, -90, 180, 60, -30, 250)):
            AnalyticsDaily.objects.create(
                connection=self.mt5, day=now.date() - timedelta(days=25 - 2 * back), trades=2,
                total_pnl=D(pnl),
            )  # fmt: skip

    def _gold(self, now: datetime) -> None:
        sold = order(self.ibkr, self.gold, "FILLED", D(30), D("1286.029"), slippage=D("0"))
        self.gold_position = position(
            sold, self.prices, quantity=D(15), sl=D("1286.029"), broker_sl=D("1286.029"),
            opened_at=now - timedelta(minutes=20), realized_pnl=D("120.16"), commission=D("4.00"),
        )  # fmt: skip
        out = order(self.mt5, self.gold, "FILLED", D(10), D("1286.029"), slippage=D("-1.2"))
        self.closed = position(
            out, self.prices, quantity=D(0), close_reason="sl", closed_at=now,
            realized_pnl=D("-209.10"), commission=D("2.40"), sl=D("1289.999"),
        )  # fmt: skip
        order(self.mt4, self.gold, "SKIPPED", reason="CONNECTION_PAUSED")

    def _euro(self) -> None:
        main = order(self.mt5, self.euro, "FILLED", D(40_000), D("1.38254"), slippage=D("31.0"))
        self.unprotected = position(main, self.prices, sl=D("1.38814"), broker_sl=None)
        self.euro_order = main
        twin = order(self.twin, self.euro, "FILLED", D(40_000), D("1.38254"), slippage=D("31.0"))
        position(twin, self.prices, sl=D("1.38814"), broker_sl=D("1.38814"))
        self.working = order(self.ibkr, self.euro, "SUBMITTED", D(84_000), quantity=D(84_000))
        order(self.mt4, self.euro, "SKIPPED", reason="CONNECTION_PAUSED")
        order(self.crypto, self.euro, "DENIED", reason="SYMBOL_NOT_AT_BROKER",
              detail="EUR/USDT exists there, but we don’t guess.")  # fmt: skip

    def _notifications(self) -> None:
        for number, (user, title) in enumerate((
            (self.alice, "Sell 40,000 EUR/USD filled at 1.38254"),
            (self.alice, "Position without its stop: EUR/USD"),
            (self.bob, "Buy 1,000 NZD/USD filled at 0.86"),
        )):  # fmt: skip
            notification = Notification.objects.create(
                user=user, event_id=number, kind=EventKind.ORDER_FILLED, title=title,
                body="31.0 pips worse than requested.\nMain MT5 · 7714, S-2.",
            )  # fmt: skip
            if user == self.bob:
                self.bobs_notification = notification
            else:
                self.notification = notification


def difference(of: ExecutionConnection, key: str, **fields: Any) -> DriftItem:
    """Create a drift item: a position that the account's owner opened at the broker."""
    theirs = {
        "side": "BUY", "quantity": "5000", "entry_price": "1.3821", "stop_loss": "1.3805",
        "take_profit": None,
    }  # fmt: skip
    evidence = {
        "symbol": "EURUSD", "ours": None, "theirs": theirs, "broker_position_id": f"77{key}",
        "client_order_id": "", "differs": "", "opened_at": market_now().isoformat(),
    }  # fmt: skip
    values: dict[str, Any] = {"kind": "UNKNOWN_POSITION", "key": f"77{key}", "evidence": evidence}
    return DriftItem.objects.create(connection=of, **{**values, **fields})


def feed(owner: User, slug: str, name: str) -> Feed:
    return Feed.objects.create(
        slug=slug, name=name, owner=owner, is_approved=True,
        description="About two signals a day around economic releases.",
    )  # fmt: skip


def own_feed(owner: User) -> Feed:
    """Create a tenant's private feed, which only its owner has approved."""
    name = owner.username.capitalize()
    return Feed.objects.create(
        slug=f"{owner.username}-own", name=f"{name}'s own", owner=owner, is_public=False,
        is_approved=True, approved_by_owner=True,
    )  # fmt: skip


def signal(of: Feed, at: datetime, **fields: Any) -> Signal:
    """Create a published signal, shortly before its orders."""
    values: dict[str, Any] = {"published_at": at, "approval": "APPROVED", "candidate_count": 5}
    return Signal.objects.create(feed=of, **{**values, **fields})


def order(on: ExecutionConnection, of: Signal, status: str, filled: Decimal = NONE,
          price: Decimal | None = None, *, slippage: Decimal | None = None,
          **fields: Any) -> Order:  # fmt: skip
    """Create an entry with the times of its steps, and its fill if it is filled."""
    at = datetime.now(UTC) - timedelta(seconds=4)
    sent = status in {"FILLED", "SUBMITTED"}
    steps: dict[str, Any] = {
        "validated_at": at + timedelta(milliseconds=12),
        "submitted_at": at + timedelta(milliseconds=15),
        "acknowledged_at": at + timedelta(milliseconds=77),
        "client_order_id": f"dev{of.pk:05d}{on.account}"[:18],
        "broker_order_id": f"501{of.pk}{on.account}",
    }
    pip = D("0.01") if of.currency_pair == "XAU/USD" else D("0.0001")
    values: dict[str, Any] = {
        "connection": on, "signal": of, "leg": "entry", "pair": of.currency_pair,
        "symbol": of.currency_pair.replace("/", ""), "side": of.direction,
        "order_type": of.order_type, "time_in_force": "GTC", "status": status, "pip": pip,
        "quantity": filled or None, "stop_price": of.stop_price, "stop_loss": of.sl,
        "expected_price": of.entry_price, "conversion_rate": D(1), "created_at": at,
        "avg_fill_price": price, "slippage_pips": slippage, "risk": D("100.00") if sent else None,
        "done_at": None if status == "SUBMITTED" else at + timedelta(milliseconds=90),
        "filled_quantity": filled if status == "FILLED" else D(0), **(steps if sent else {}),
    }  # fmt: skip
    entry = Order.objects.create(**{**values, **fields})
    if status == "FILLED":
        Fill.objects.create(
            connection=on, broker_fill_id=f"F{entry.pk}", order=entry, side=of.direction,
            quantity=filled, price=price or D(1), commission=D("1.40"), commission_currency="USD",
            time=at, recorded_at=at + timedelta(milliseconds=90),
        )  # fmt: skip
    return entry


def position(of: Order, prices: DataConnection, **fields: Any) -> ExecutionPosition:
    """Create the position that the order's fill opened."""
    values: dict[str, Any] = {
        "connection": of.connection, "signal": of.signal, "pair": of.pair, "symbol": of.symbol,
        "side": of.side, "quantity": of.filled_quantity, "opened_quantity": of.filled_quantity,
        "entry_price": of.avg_fill_price, "sl_guardian": "BROKER", "pip": of.pip,
        "conversion_rate": D(1), "opened_at": market_now(), "price_source": prices,
    }  # fmt: skip
    return ExecutionPosition.objects.create(**{**values, **fields})
