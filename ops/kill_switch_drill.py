"""Drill of the kill switch: how long after a halt is the last queued order stopped?

The drill has its own user, feed and paper accounts, and halts only these. It publishes signals in
one transaction, so that all orders are queued at once, and halts everything of its user right after
the commit. Then it closes what was filled before the halt, by a halt that cancels and flattens, and
removes the accounts.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Max, Min, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from brokers.paper.models import (
    PaperAccount,
    PaperEvent,
    PaperFill,
    PaperOrder,
    PaperPosition,
    PaperQuote,
)
from brokers.paper.seed import list_instruments, open_accounts
from brokers.types import Quote
from common.clocks import market_now
from common.db.direct_sessions import direct_alias
from common.db.sql import rows
from common.reason_codes import Code
from connections import services
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    HaltMode,
    Instrument,
    KillSwitch,
    SizingMode,
    Subscription,
    SubscriptionInterval,
    TradingPreset,
)
from execution import tasks
from execution.models import ExecutionLog, Order, Status, WorkerLease
from positions.models import ExecutionPosition
from prices.services import store_quotes
from signals.models import Approval, Feed, Signal
from signals.services import publish
from users.models import User

NAME = "killswitch-drill"
ACCOUNTS = 250
PAIR, SYMBOL = "EUR/USD", "EURUSD"
BALANCE, QUANTITY = Decimal(1_000_000), Decimal(1000)
SIGNALS_BEFORE_HALT = 100  # whose messages are sent before the halt is set
TIME_LIMIT = 60.0  # seconds
BAR_SECONDS = 1.0


class DrillError(Exception):
    """The drill could not be carried out; the message states why."""


@dataclass(frozen=True, slots=True)
class DrillResult:
    """seconds: from the halt until the last order was stopped or, if sent before, accepted.

    queued: how many orders; stopped: how many were not sent. last_sent_seconds: from the halt to
    the last order that the broker accepted. flatten_seconds: until everything was closed; None: it
    was not within the time limit.
    """

    queued: int
    stopped: int
    seconds: float
    last_sent_seconds: float
    flatten_seconds: float | None

    @property
    def is_within_bar(self) -> bool:
        """Whether the drill passed: the last order stopped in time, and everything was closed.

        If none was left to stop, nothing was measured.
        """
        is_measured = self.stopped > 0 and self.flatten_seconds is not None
        return is_measured and self.seconds <= BAR_SECONDS


# An order that was claimed before the halt is stopped right before its send. It is PENDING then,
# and denied when it is due again: the first of these log lines counts.
STOPPED = (Code.TRADING_HALTED.value, Code.ENTRIES_HALTED.value, Code.KILL_SWITCH.value)


def run_drill(
    orders: int,
    report: Callable[[str], None] = lambda text: None,
    *,
    accounts: int = ACCOUNTS,
) -> DrillResult:
    """Queue orders on paper accounts, halt, and measure. Raises DrillError.

    orders: rounded up to a multiple of the number of accounts. It needs running workers. What an
    earlier drill left whose process was killed is removed first.
    """
    if not _has_worker():
        raise DrillError(
            "No worker runs, so no order would be processed. Start one (`manage.py up` starts all"
            " processes), or see `manage.py doctor`."
        )
    user, _ = User.objects.get_or_create(username=NAME, defaults={"is_active": False})
    with _only_drill():
        _remove_all(user)
        report(f"Opening {accounts:,} paper accounts …")
        feed, connection_ids = _open_accounts(user, accounts)
        count = max(1, -(-orders // accounts))
        is_whole = False
        try:
            report(f"Publishing {count:,} signals to them: {count * accounts:,} orders …")
            signals, switch = _publish(feed, count, lambda: _halt_reported(user, report))
            _await_stop(signals)
            stopped, last_sent, last_stopped = _times(signals, switch)
            report(_described(count * accounts, stopped, last_sent, last_stopped))
            is_whole = True
        finally:
            if not is_whole:
                connection.close()  # an interrupt may have left it in the middle of a statement
            _release_all(user)
            report("Closing what was filled before the halt, and removing the accounts …")
            flatten_seconds = _flatten(user, connection_ids)
            _remove(Feed.objects.filter(pk=feed.pk), connection_ids)
    return DrillResult(
        queued=count * accounts, stopped=stopped, seconds=max(last_sent, last_stopped),
        last_sent_seconds=last_sent, flatten_seconds=flatten_seconds,
    )  # fmt: skip


def _has_worker() -> bool:
    return WorkerLease.objects.filter(lease_until__gt=Now()).exists()


def clean_up() -> bool:
    """Remove what a drill left whose process was killed; return whether there was anything.

    Its halt is released and its accounts are archived. Raises DrillError while a drill runs.
    """
    user = User.objects.filter(username=NAME).first()
    if user is None:
        return False
    with _only_drill():
        return _remove_all(user)


@contextmanager
def _only_drill() -> Iterator[None]:
    """Hold the drill's lock, which ends with the process. Raises DrillError if another has it."""
    own = direct_alias()
    lock = "SELECT pg_try_advisory_lock(hashtext(%s)) AS is_free"
    if not rows(lock, (NAME,), using=own)[0].is_free:
        raise DrillError("Another drill is running.")
    try:
        yield
    finally:
        rows("SELECT pg_advisory_unlock(hashtext(%s))", (NAME,), using=own)


def _described(queued: int, stopped: int, last_sent: float, last_stopped: float) -> str:
    text = f"{stopped:,} of {queued:,} orders were stopped, the last {last_stopped:.3f} s after the"
    text += " halt."
    if before := queued - stopped:
        when = f"{last_sent:.3f} s after" if last_sent else "before"
        text += f" {before:,} had been sent already, the last one {when} the halt."
    if before and not PaperQuote.objects.filter(symbol=SYMBOL).exists():
        text += f" The paper broker has no price of {PAIR}, so it has rejected them."
    return text


def _release_all(user: User) -> bool:
    """Release every halt of the drill; return whether there was one."""
    halts = KillSwitch.objects.filter(user=user, released_at=None)
    released = [services.release_kill_switch(halt.pk, by=None) for halt in halts]
    return any(released)


def _remove_all(user: User) -> bool:
    """Release the halts and remove the accounts of all drills; return whether there were any."""
    is_released = _release_all(user)
    left = ExecutionConnection.objects.filter(user=user, archived_at=None)
    connection_ids = list(left.values_list("pk", flat=True))
    if connection_ids:
        _flatten(user, connection_ids)
        _remove(Feed.objects.filter(owner=user, archived_at=None), connection_ids)
    return is_released or bool(connection_ids)


def _publish(
    feed: Feed, count: int, halt: Callable[[], KillSwitch]
) -> tuple[list[int], KillSwitch]:
    """Publish the signals in one transaction, which queues all orders, and halt after its commit.

    The halt is set once the first messages are sent: to send those of a thousand signals takes
    long enough for workers to execute the first orders.
    """
    signals = Signal.objects.bulk_create(
        Signal(feed=feed, currency_pair=PAIR, direction="BUY", approval=Approval.APPROVED)
        for _ in range(count)
    )
    halts: list[KillSwitch] = []
    with transaction.atomic():
        for number, signal in enumerate(signals, 1):
            publish(signal.pk, by=None)
            if number == min(count, SIGNALS_BEFORE_HALT):
                transaction.on_commit(lambda: halts.append(halt()))
    return [signal.pk for signal in signals], halts[0]


def _halt_reported(user: User, report: Callable[[str], None]) -> KillSwitch:
    report("Halting these accounts …")
    return _halt(user, HaltMode.HALTED)


def _halt(user: User, mode: str, **options: bool) -> KillSwitch:
    switch = services.set_kill_switch(
        scope=KillSwitch.Scope.USER, mode=mode, reason="Kill switch drill", by=None,
        user_id=user.pk, **options,
    )  # fmt: skip
    tasks.enqueue_halt_actions_on_commit(switch)
    switch.refresh_from_db()  # its time is the database's
    return switch


def _await_stop(signals: Sequence[int]) -> None:
    """Wait until no order may be sent any more. Raises DrillError."""
    end = time.monotonic() + TIME_LIMIT
    unsent = Order.objects.filter(
        signal_id__in=signals, position=None, status__in=(Status.PENDING, Status.SUBMITTING)
    )
    while running := set(unsent.values_list("pk", flat=True)):
        running -= {
            *ExecutionLog.objects.filter(order_id__in=running, code__in=STOPPED)
            .order_by()
            .values_list("order_id", flat=True)
        }
        if not running:
            return
        if time.monotonic() > end:
            raise DrillError(
                f"{len(running)} orders were not processed within {TIME_LIMIT:g} s. Does a worker "
                "for paper accounts run? See `manage.py doctor`."
            )
        time.sleep(0.05)


def _times(signals: Sequence[int], switch: KillSwitch) -> tuple[int, float, float]:
    """Return how many orders were stopped, and two times in seconds from the halt.

    These are of the last order that the paper broker accepted, and of the last that was stopped; 0:
    none was after the halt.
    """
    orders = dict(
        Order.objects.filter(signal_id__in=signals, position=None).values_list(
            "pk", "client_order_id"
        )
    )
    stops = ExecutionLog.objects.filter(order_id__in=orders, code__in=STOPPED).order_by()
    first = [row["first"] for row in stops.values("order_id").annotate(first=Min("at"))]
    sent = PaperOrder.objects.filter(client_order_id__in=[*filter(None, orders.values())])
    accepted = sent.aggregate(last=Max("accepted_at"))["last"]
    return len(first), _after(switch, accepted), _after(switch, max(first, default=None))


def _after(switch: KillSwitch, at: datetime | None) -> float:
    """Return the seconds from the halt to a moment; 0 for none and for an earlier one."""
    return max((at - switch.set_at).total_seconds(), 0.0) if at else 0.0


def _flatten(user: User, connection_ids: Sequence[UUID]) -> float | None:
    """Cancel and close what was sent before the halt; return how long it took, None: too long."""
    switch = _halt(user, HaltMode.REDUCING, cancel_entries=True, flatten=True)
    began = time.monotonic()
    live = Order.objects.filter(connection_id__in=connection_ids, done_at=None)
    held = ExecutionPosition.objects.open().filter(connection_id__in=connection_ids)
    try:
        while live.exists() or held.exists():
            if time.monotonic() - began > TIME_LIMIT or not _has_worker():
                return None
            time.sleep(0.05)
        return time.monotonic() - began
    finally:
        services.release_kill_switch(switch.pk, by=None)


# ---- accounts ---------------------------------------------------------------------------------
def _open_accounts(user: User, accounts: int) -> tuple[Feed, list[UUID]]:
    """Return a new feed and the ids of new paper accounts that follow it and may trade at once."""
    tag = uuid4().hex[:8]
    feed = Feed.objects.create(
        slug=f"{NAME}-{tag}", name=f"Kill switch drill {tag}", owner=user, is_approved=True
    )
    numbers = [f"{NAME}-{tag}-{number}" for number in range(accounts)]
    list_instruments()
    open_accounts(numbers, balance=BALANCE)
    source, preset = _price_source(user), _preset(user)
    connections = ExecutionConnection.objects.bulk_create(
        ExecutionConnection(
            id=uuid4(), user=user, name=number, type="paper", account=number, preset=preset,
            data_connection=source, instrument_book=NAME,
        )
        for number in numbers
    )  # fmt: skip
    now = timezone.now()
    ConnectionHealth.objects.bulk_create(
        ConnectionHealth(connection=row, status="ACTIVE", reconciled_at=now) for row in connections
    )
    ConnectionLock.objects.bulk_create(ConnectionLock(connection=row) for row in connections)
    AccountSnapshot.objects.bulk_create(
        AccountSnapshot(
            connection=row, currency="USD", balance=BALANCE, equity=BALANCE,
            margin_used=Decimal(0), free_margin=BALANCE, leverage=Decimal(30),
            position_mode="HEDGING", read_at=now,
        )
        for row in connections
    )  # fmt: skip
    subscriptions = Subscription.objects.bulk_create(
        Subscription(connection=row, feed=feed) for row in connections
    )
    SubscriptionInterval.objects.bulk_create(
        SubscriptionInterval(subscription=row, started_at=market_now()) for row in subscriptions
    )
    return feed, [row.pk for row in connections]


def _preset(user: User) -> TradingPreset:
    preset, _ = TradingPreset.objects.update_or_create(
        user=user, name=NAME,
        defaults={
            "sizing_mode": SizingMode.FIXED, "fixed_quantity": QUANTITY,
            "max_open_positions": 1_000_000, "max_portfolio_risk_percent": Decimal(100),
        },
    )  # fmt: skip
    return preset


def _price_source(user: User) -> DataConnection:
    """Return a source without a stream, with the paper broker's present price of the pair."""
    source, _ = DataConnection.objects.get_or_create(
        user=user, name=NAME, defaults={"kind": DataConnection.Kind.STATIC, "is_active": False}
    )
    quoted = PaperQuote.objects.filter(symbol=SYMBOL).first()
    bid, ask = (quoted.bid, quoted.ask) if quoted else (Decimal("1.1"), Decimal("1.1001"))
    store_quotes(source.pk, [Quote(symbol=PAIR, bid=bid, ask=ask, time=market_now())])
    Instrument.objects.update_or_create(
        book=NAME, symbol=SYMBOL,
        defaults={
            "pair": PAIR, "digits": 5, "pip": Decimal("0.0001"), "quantity_min": QUANTITY,
            "quantity_step": QUANTITY, "quantity_max": Decimal(50_000_000),
            "contract_size": Decimal(100_000), "read_at": timezone.now(),
        },
    )  # fmt: skip
    return source


def _remove(feeds: QuerySet[Feed], connection_ids: Sequence[UUID]) -> None:
    """Archive the connections and the feeds; delete the accounts at the paper broker."""
    numbers = list(
        ExecutionConnection.objects.filter(pk__in=connection_ids).values_list("account", flat=True)
    )
    for connection_id in connection_ids:
        services.archive_connection(connection_id, by=None, although_open=True)
    feeds.update(archived_at=timezone.now())
    with transaction.atomic():
        for model in (PaperEvent, PaperFill, PaperPosition, PaperOrder):
            model.objects.filter(account__number__in=numbers).delete()
        PaperAccount.objects.filter(number__in=numbers).delete()
