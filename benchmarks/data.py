"""Users, accounts and subscriptions for benchmarks: paper accounts that are all eligible."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from benchmarks.bulk_rows import write_rows
from benchmarks.environment import BenchEnvironment
from brokers.paper.models import PaperAccount, PaperInstrument
from brokers.paper.seed import list_instruments
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
WRITE_SIGNALS = """
INSERT INTO signals_signal (feed_id, action, currency_pair, direction, order_type, target_prices,
  target_fractions, close_fraction, time_in_force, strategy_id, trade_plan_id, risk_category,
  content_hash, origin, note, approval, published_at, valid_until)
SELECT %(feed)s, 'OPEN', %(pair)s::text, 'BUY', 'MARKET', %(targets)s::numeric[],
  array_fill(1::numeric, ARRAY[cardinality(%(targets)s::numeric[])]), 1, 'GTC', %(strategy)s::text,
  '', 'normal', '', 'HAND', '', 'APPROVED',
  now() - %(age)s::interval - %(apart)s::interval * g, now() - %(ended)s::interval
FROM generate_series(1, %(count)s::int) g RETURNING id
"""
NO_TIME = timedelta(0)
OF_CONNECTIONS = "unnest(%(ids)s::uuid[]) AS c (id)"


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
        Instrument.objects.bulk_create(
            Instrument(
                book=BOOK, symbol=paper.symbol, pair=paper.pair, digits=paper.digits, pip=paper.pip,
                quantity_min=paper.quantity_min, quantity_step=paper.quantity_step,
                quantity_max=paper.quantity_max, contract_size=paper.contract_size,
                stops_level=paper.stops_level, margin_rate=paper.margin_rate,
                read_at=timezone.now(),
            )
            for paper in PaperInstrument.objects.all()
        )  # fmt: skip

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
        """Return a new feed without subscribers."""
        return Feed.objects.create(slug=slug, name=slug, owner=self.operator, is_approved=True)

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
        targets: tuple[Decimal, ...] = (TP,), age: timedelta = NO_TIME, apart: timedelta = NO_TIME,
        ended: timedelta | None = None,
    ) -> list[int]:  # fmt: skip
        """Write signals as if they had been published, without orders; return their ids.

        age: of the newest. apart: the time between two. ended: how long ago their validity ended;
        None: they have no end.
        """
        found = self.environment.sql(WRITE_SIGNALS, {
            "feed": feed.pk, "count": count, "strategy": strategy, "pair": pair,
            "targets": list(targets), "age": age, "apart": apart, "ended": ended,
        })  # fmt: skip
        return [pk for (pk,) in found]

    def ensure_signals(self, subscribers: int, strategy: str, count: int, **how: Any) -> None:
        """Make sure that so many published signals of a strategy exist. how: as above."""
        existing = Signal.objects.filter(strategy_id=strategy).count()
        missing = max(count - existing, 0)
        self.published_signals(self.feed(subscribers), missing, strategy=strategy, **how)

    def refresh(self) -> None:
        """Mark all accounts as just synced, as the stack does every few minutes."""
        AccountSnapshot.objects.update(read_at=timezone.now())

    def _connect(self, existing: int, missing: int) -> None:
        first_user = User.objects.count()
        users = User.objects.bulk_create(
            (
                User(username=f"tenant-{first_user + number}")
                for number in range(missing // CONNECTIONS_PER_USER + 1)
            ),
            BATCH,
        )
        numbers = [f"{existing + number:07d}" for number in range(missing)]
        write_rows(
            PaperAccount(balance=BALANCE), "unnest(%(numbers)s::text[]) AS a (number)",
            {"number": "a.number"}, {"numbers": numbers},
        )  # fmt: skip
        ids = [uuid4() for _ in numbers]
        write_rows(
            ExecutionConnection(
                type="paper", data_connection=self.source, instrument_book=BOOK,
            ),
            "unnest(%(ids)s::uuid[], %(numbers)s::text[], %(users)s::bigint[],"
            " %(presets)s::bigint[]) AS c (id, number, tenant, preset)",
            {
                "id": "c.id", "user_id": "c.tenant", "name": "'account ' || c.number",
                "account": "c.number", "preset_id": "c.preset",
            },
            {
                "ids": ids, "numbers": numbers,
                "users": [users[n // CONNECTIONS_PER_USER].pk for n in range(missing)],
                "presets": [self._presets[n % PRESETS].pk for n in range(missing)],
            },
        )  # fmt: skip
        self.complete(ids, ConnectionHealth(status="ACTIVE", reconciled_at=timezone.now()))
        self.connection_ids += ids

    def complete(
        self, ids: list[UUID], health: ConnectionHealth, position_mode: str = "HEDGING"
    ) -> None:
        """Write what belongs to each of these connections: health, lock and snapshot."""
        snapshot = AccountSnapshot(
            currency="USD", balance=BALANCE, equity=BALANCE, margin_used=Decimal(0),
            free_margin=BALANCE, leverage=Decimal(30), position_mode=position_mode,
            read_at=timezone.now(),
        )  # fmt: skip
        for row in (health, ConnectionLock(), snapshot):
            write_rows(row, OF_CONNECTIONS, {"connection_id": "c.id"}, {"ids": ids})

    def subscribe(self, feed: Feed, connection_ids: list[UUID]) -> None:
        """Let these connections follow a feed."""
        ids = {"ids": connection_ids}
        write_rows(Subscription(feed=feed), OF_CONNECTIONS, {"connection_id": "c.id"}, ids)
        write_rows(
            SubscriptionInterval(started_at=market_now()),
            f"connections_subscription s JOIN {OF_CONNECTIONS} ON s.connection_id = c.id"
            " AND s.feed_id = %(feed)s",
            {"subscription_id": "s.id"},
            {**ids, "feed": feed.pk},
        )
