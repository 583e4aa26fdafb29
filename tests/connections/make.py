"""Factories of tenants, feeds and connections; a connection may trade by default."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from common.clocks import market_now
from common.permissions import Role
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    HealthStatus,
    Instrument,
    KillSwitch,
    Subscription,
    SubscriptionInterval,
    TradingPreset,
)
from signals.models import Approval, Feed, Signal
from tests.roles import give
from users.models import User

_number = count(1)
APART = 1_000_000


def continue_numbers() -> None:
    """Number what is made from here beyond what other processes have made in this database."""
    global _number
    _number = count(1 + APART * User.objects.count())


def user(name: str = "", **fields: Any) -> User:
    """A tenant; with `is_staff` an administrator (tests/roles.py: other roles)."""
    made = User.objects.create(username=name or f"user-{next(_number)}", **fields)
    if made.is_staff:
        give(made, Role.ADMINISTRATOR)
    return made


def feed(owner: User | None = None, **fields: Any) -> Feed:
    number = next(_number)
    named = {"slug": f"feed-{number}", "name": f"Feed {number}", "is_approved": True}
    return Feed.objects.create(owner=owner or user(), **{**named, **fields})


def preset(owner: User | None = None, **fields: Any) -> TradingPreset:
    sized = {"name": "one percent", "risk_percent": Decimal(1)}
    return TradingPreset.objects.create(user=owner, **{**sized, **fields})


def day_around_now() -> dict[str, Any]:
    """Return fields of a preset whose trading day began, and will end, twelve hours from now."""
    start = (market_now() + timedelta(hours=12)).time().replace(microsecond=0)
    return {"trading_day_zone": "UTC", "trading_day_start": start}


def connection(owner: User | None = None, **fields: Any) -> ExecutionConnection:
    """A healthy one. fields of the health row begin with `health_`."""
    health = {name[7:]: fields.pop(name) for name in list(fields) if name.startswith("health_")}
    if "admin" not in fields:
        fields["user"] = owner or user()
    number = next(_number)
    row = ExecutionConnection.objects.create(
        **{
            "name": f"account {number}",
            "type": "paper",
            "account": str(number),
            "sealed_credentials": b"sealed",
            "preset": fields.get("preset") or preset(),
            "data_connection": fields.get("data_connection")
            or DataConnection.objects.create(name=f"prices {number}"),
            **fields,
        }
    )
    now = market_now()
    ConnectionHealth.objects.create(
        connection=row, **{"status": HealthStatus.ACTIVE, "reconciled_at": now, **health}
    )
    ConnectionLock.objects.create(connection=row)
    return row


def ready(row: ExecutionConnection, *pairs: str) -> ExecutionConnection:
    """Give an account what it lacks to subscribe: its balance and its symbols."""
    AccountSnapshot.objects.get_or_create(
        connection=row,
        defaults={
            "currency": "USD", "balance": Decimal(1000), "equity": Decimal(1000),
            "margin_used": Decimal(0), "free_margin": Decimal(1000), "leverage": Decimal(30),
            "position_mode": "HEDGING", "read_at": market_now(),
        },
    )  # fmt: skip
    if not row.instrument_book:
        row.instrument_book = f"book-{row.pk}"
        ExecutionConnection.objects.filter(pk=row.pk).update(instrument_book=row.instrument_book)
    for pair in pairs or ("EUR/USD",):
        instrument(pair.replace("/", ""), pair, book=row.instrument_book)
    return row


def subscription(row: ExecutionConnection, to: Feed, **fields: Any) -> Subscription:
    made = Subscription.objects.create(connection=row, feed=to, **fields)
    SubscriptionInterval.objects.create(
        subscription=made, started_at=market_now() - timedelta(days=1)
    )
    return made


def kill_switch(mode: str, **fields: Any) -> KillSwitch:
    return KillSwitch.objects.create(mode=mode, reason="test", **fields)


def signal(of: Feed, **fields: Any) -> Signal:
    defaults = {"currency_pair": "EUR/USD", "direction": "BUY", "approval": Approval.APPROVED}
    return Signal.objects.create(feed=of, **{**defaults, **fields})


def instrument(symbol: str, pair: str, **fields: Any) -> Instrument:
    """A listed symbol of the book `b`."""
    usual = {
        "book": "b", "digits": 2, "pip": Decimal("0.01"), "quantity_min": 1, "quantity_step": 1,
        "quantity_max": 1000, "contract_size": 1, "read_at": market_now(),
    }  # fmt: skip
    return Instrument.objects.create(symbol=symbol, pair=pair, **{**usual, **fields})
