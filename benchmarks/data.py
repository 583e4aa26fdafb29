"""People, accounts and subscriptions to measure with: paper accounts that may all trade."""

from decimal import Decimal
from uuid import UUID, uuid4

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
CONNECTIONS_A_USER, PRESETS = 5, 10
BALANCE = Decimal(100_000)
PAIR, SL, TP = "EUR/USD", Decimal("1.095"), Decimal("1.11")  # the static source quotes 1.10
BOOK = "paper"


class BenchData:
    """Grows on demand: `feed(n)` has n subscribers, all of them fit to trade."""

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
                book=BOOK, symbol=one.symbol, pair=one.pair, digits=one.digits, pip=one.pip,
                quantity_min=one.quantity_min, quantity_step=one.quantity_step,
                quantity_max=one.quantity_max, contract_size=one.contract_size,
                stops_level=one.stops_level, margin_rate=one.margin_rate, read_at=timezone.now(),
            )
            for one in PaperInstrument.objects.all()
        )  # fmt: skip

    def feed(self, subscribers: int) -> Feed:
        """Return the feed with so many subscribers, made at the first call."""
        if subscribers not in self._feeds:
            feed = Feed.objects.create(
                slug=f"bench-{subscribers}", name=f"{subscribers} subscribers",
                owner=self.operator, is_approved=True,
            )  # fmt: skip
            self._subscribe(feed, self.connections(subscribers))
            self._feeds[subscribers] = feed
            self.environment.sql("VACUUM ANALYZE")
        self.refresh()
        return self._feeds[subscribers]

    def connections(self, wanted: int) -> list[UUID]:
        """Return so many connections, made as far as they are missing."""
        if (missing := wanted - len(self.connection_ids)) > 0:
            self._connect(len(self.connection_ids), missing)
        return self.connection_ids[:wanted]

    def signal(self, feed: Feed) -> Signal:
        """Return a signal that is ready to be published."""
        return Signal.objects.create(
            feed=feed, currency_pair=PAIR, direction="BUY", sl=SL, target_prices=[TP],
            target_fractions=[Decimal(1)], approval=Approval.APPROVED,
        )  # fmt: skip

    def refresh(self) -> None:
        """Accounts were read just now, as the stack does every few minutes."""
        AccountSnapshot.objects.update(read_at=timezone.now())

    def _connect(self, have: int, missing: int) -> None:
        first_user = User.objects.count()
        users = User.objects.bulk_create(
            User(username=f"tenant-{first_user + number}")
            for number in range(missing // CONNECTIONS_A_USER + 1)
        )
        numbers = [f"{have + number:07d}" for number in range(missing)]
        open_accounts(numbers, balance=BALANCE)
        made = [
            ExecutionConnection(
                id=uuid4(), user=users[index // CONNECTIONS_A_USER], name=f"account {number}",
                type="paper", account=number, preset=self._presets[index % PRESETS],
                data_connection=self.source, instrument_book=BOOK,
            )
            for index, number in enumerate(numbers)
        ]  # fmt: skip
        now = timezone.now()
        ExecutionConnection.objects.bulk_create(made, BATCH)
        ConnectionHealth.objects.bulk_create(
            (ConnectionHealth(connection=c, status="ACTIVE", reconciled_at=now) for c in made),
            BATCH,
        )
        ConnectionLock.objects.bulk_create((ConnectionLock(connection=c) for c in made), BATCH)
        AccountSnapshot.objects.bulk_create(
            (
                AccountSnapshot(
                    connection=c, currency="USD", balance=BALANCE, equity=BALANCE,
                    margin_used=Decimal(0), free_margin=BALANCE, leverage=Decimal(30),
                    position_mode="HEDGING", read_at=now,
                )
                for c in made
            ),
            BATCH,
        )  # fmt: skip
        self.connection_ids += [c.pk for c in made]

    def _subscribe(self, feed: Feed, connection_ids: list[UUID]) -> None:
        made = Subscription.objects.bulk_create(
            (Subscription(connection_id=one, feed=feed) for one in connection_ids), BATCH
        )
        now = market_now()
        SubscriptionInterval.objects.bulk_create(
            (SubscriptionInterval(subscription=one, started_at=now) for one in made), BATCH
        )
