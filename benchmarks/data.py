"""Users, accounts and subscriptions for benchmarks: paper accounts that are all eligible."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from django.db import models
from django.utils import timezone

from benchmarks.environment import BenchEnvironment
from brokers.paper.models import PaperInstrument
from brokers.paper.seed import list_instruments, open_accounts
from common.clocks import market_now
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    Instrument,
    Subscription,
    SubscriptionInterval,
    TradingPreset,
)
from signals.models import Approval, Feed, Signal
from users.models import User

BATCH = 2_000
CONNECTIONS_PER_USER, PRESETS = 5, 10
BALANCE = Decimal(100_000)
PAIR, SL, TP = "EUR/USD", Decimal("1.095"), Decimal("1.11")  # the static source quotes 1.10
BOOK = "paper"
NO_TIME = timedelta(0)
Row = TypeVar("Row", bound=models.Model)


def _write(rows: Iterable[Row]) -> list[Row]:
    """Write rows of one model in batches; no signals are sent."""
    found = list(rows)
    return type(found[0])._default_manager.bulk_create(found, BATCH) if found else []


class BenchData:
    """Test data that grows on demand: `feed(10)` has ten subscribers, all of them eligible."""

    def __init__(self, environment: BenchEnvironment) -> None:
        self.environment = environment
        self.operator = User.objects.create(username="operator", is_staff=True, is_superuser=True)
        self.source = DataConnection.objects.create(name="static", kind="static")
        self._presets = [
            TradingPreset.objects.create(
                name=f"preset {number}", risk_percent=Decimal("0.1") + Decimal(number) / 100
            )
            for number in range(PRESETS)
        ]
        self.connection_ids: list[UUID] = []
        self._feeds: dict[int, Feed] = {}
        list_instruments()
        of_paper = ("symbol", "pair", "digits", "pip", "quantity_min", "quantity_step",
                    "quantity_max", "contract_size", "stops_level", "margin_rate")  # fmt: skip
        _write(
            Instrument(book=BOOK, read_at=timezone.now(), **paper)
            for paper in PaperInstrument.objects.values(*of_paper)
        )

    def feed(self, subscribers: int) -> Feed:
        """Return the feed with this number of subscribers; the first call creates it."""
        if subscribers not in self._feeds:
            feed = self.new_feed(f"bench-{subscribers}")
            self.subscribe(feed, self.connections(subscribers))
            self._feeds[subscribers] = feed
            self.environment.sql("VACUUM ANALYZE")
        self.refresh()
        return self._feeds[subscribers]

    def new_feed(self, slug: str) -> Feed:
        return Feed.objects.create(slug=slug, name=slug, owner=self.operator, is_approved=True)

    def shared_feeds(self, prefix: str, parts: Sequence[Sequence[UUID]]) -> list[Feed]:
        """Return a new feed for each of these groups of connections, which follow it."""
        first, feeds = Feed.objects.count(), list[Feed]()
        for number, part in enumerate(parts):
            feeds.append(self.new_feed(f"{prefix}-{first}-{number}"))
            self.subscribe(feeds[-1], part)
        self.environment.sql("VACUUM ANALYZE")
        self.refresh()
        return feeds

    def connections(self, count: int) -> list[UUID]:
        """Return the ids of `count` connections; missing ones are created."""
        if (missing := count - len(self.connection_ids)) > 0:
            self._connect(len(self.connection_ids), missing)
        return self.connection_ids[:count]

    def signal(self, feed: Feed) -> Signal:
        """Return a new signal that is ready to be published."""
        return Signal.objects.create(
            feed=feed, currency_pair=PAIR, direction="BUY", sl=SL, target_prices=[TP],
            target_fractions=[Decimal(1)], approval=Approval.APPROVED,
        )  # fmt: skip

    def close(self, signal: Signal) -> Signal:
        """Return a new CLOSE of all that `signal` has opened, ready to be published."""
        return Signal.objects.create(
            feed=signal.feed, action="CLOSE", refers_to=signal, currency_pair=signal.currency_pair,
            direction=signal.direction, close_fraction=Decimal(1), approval=Approval.APPROVED,
        )  # fmt: skip

    def published_signals(
        self, feed: Feed, count: int, *, strategy: str, pair: str = PAIR,
        targets: Sequence[Decimal] = (TP,), apart: timedelta = NO_TIME,
    ) -> list[int]:  # fmt: skip
        """Write signals as if they had been published, without orders; return their ids.

        apart: the time between two, the newest first.
        """
        now, fractions = timezone.now(), [Decimal(1)] * len(targets)
        return [signal.pk for signal in _write(
            Signal(
                feed=feed, currency_pair=pair, direction="BUY", target_prices=[*targets],
                target_fractions=fractions, strategy_id=strategy, approval=Approval.APPROVED,
                published_at=now - number * apart,
            )
            for number in range(1, count + 1)
        )]  # fmt: skip

    @contextmanager
    def presets_with(self, **fields: Any) -> Iterator[None]:
        """Within: all presets have these fields; afterwards their usual values."""
        TradingPreset.objects.update(**fields)
        try:
            yield
        finally:
            usual = TradingPreset()
            TradingPreset.objects.update(**{name: getattr(usual, name) for name in fields})

    def refresh(self) -> None:
        """Mark all accounts as just synced, as the stack does every few minutes."""
        AccountSnapshot.objects.update(read_at=timezone.now())

    def _connect(self, existing: int, missing: int) -> None:
        first = User.objects.count()
        users = _write(
            User(username=f"tenant-{first + number}")
            for number in range(missing // CONNECTIONS_PER_USER + 1)
        )
        numbers = [f"{existing + number:07d}" for number in range(missing)]
        open_accounts(numbers, balance=BALANCE)
        ids = [connection.pk for connection in _write(
            ExecutionConnection(
                type="paper", data_connection=self.source, instrument_book=BOOK, account=number,
                name=f"account {number}", user=users[place // CONNECTIONS_PER_USER],
                preset=self._presets[place % PRESETS],
            )
            for place, number in enumerate(numbers)
        )]  # fmt: skip
        self.complete(ids, status="ACTIVE", reconciled_at=timezone.now())
        self.connection_ids += ids

    def complete(self, ids: Sequence[UUID], position_mode: str = "HEDGING", **health: Any) -> None:
        """Write what belongs to each of these connections: health, lock and snapshot."""
        _write(ConnectionHealth(connection_id=pk, **health) for pk in ids)
        _write(ConnectionLock(connection_id=pk) for pk in ids)
        _write(
            AccountSnapshot(
                connection_id=pk, currency="USD", balance=BALANCE, equity=BALANCE,
                margin_used=Decimal(0), free_margin=BALANCE, leverage=Decimal(30),
                position_mode=position_mode, read_at=timezone.now(),
            )
            for pk in ids
        )  # fmt: skip

    def subscribe(self, feed: Feed, connection_ids: Sequence[UUID]) -> None:
        new = _write(Subscription(feed=feed, connection_id=pk) for pk in connection_ids)
        now = market_now()
        _write(SubscriptionInterval(subscription=one, started_at=now) for one in new)
