"""People, accounts and closed trades for tests of results."""

from datetime import datetime, time, timedelta
from decimal import Decimal
from uuid import uuid4

from common.permissions import Role
from connections.models import AccountSnapshot, ExecutionConnection, TradingPreset
from positions.models import ExecutionPosition, Side
from signals.models import Approval, Direction, Feed, Signal
from tests.roles import give
from users.models import User


def user(name: str = "alice", *, is_staff: bool = False) -> User:
    made = User.objects.create(username=name, is_staff=is_staff, email=f"{name}@example.com")
    if is_staff:
        give(made, Role.OPERATOR)
    return made


def connection(
    owner: User, *, zone: str = "", day_start: time = time(17), kind: str = "paper"
) -> ExecutionConnection:
    """An account; with a zone it has a preset whose trading day starts there."""
    preset = None
    if zone:
        preset = TradingPreset.objects.create(
            name=zone,
            risk_percent=Decimal(1),
            trading_day_zone=zone,
            trading_day_start=day_start,
        )
    return ExecutionConnection.objects.create(
        user=owner, name="account", type=kind, account=uuid4().hex, preset=preset
    )


def snapshot(of: ExecutionConnection, currency: str) -> None:
    thousand = Decimal(1000)
    AccountSnapshot.objects.create(
        connection=of,
        currency=currency,
        balance=thousand,
        equity=thousand,
        margin_used=Decimal(0),
        free_margin=thousand,
        leverage=Decimal(30),
        position_mode="HEDGING",
        read_at=datetime.fromisoformat("2026-01-05T12:00:00Z"),
    )


def signals(owner: User, count: int) -> list[Signal]:
    feed, _ = Feed.objects.get_or_create(
        slug="feed", defaults={"name": "Feed", "owner": owner, "is_approved": True}
    )
    return Signal.objects.bulk_create(
        Signal(
            feed=feed,
            currency_pair="EUR/USD",
            direction=Direction.BUY,
            approval=Approval.APPROVED,
        )
        for _ in range(count)
    )


def trade(
    of: ExecutionConnection,
    signal: Signal,
    *,
    closed_at: datetime,
    pnl: Decimal,
    commission: Decimal = Decimal(0),
    swap: Decimal = Decimal(0),
    lasted: timedelta = timedelta(minutes=5),
) -> ExecutionPosition:
    """A closed position, not saved."""
    return ExecutionPosition(
        connection=of,
        signal=signal,
        pair="EUR/USD",
        symbol="EURUSD",
        side=Side.BUY,
        quantity=Decimal(0),
        opened_quantity=Decimal(1000),
        entry_price=Decimal("1.1"),
        pip=Decimal("0.0001"),
        conversion_rate=Decimal(1),
        realized_pnl=pnl,
        commission=commission,
        swap=swap,
        opened_at=closed_at - lasted,
        closed_at=closed_at,
    )
