"""A world with known counts, for the console's tests and for viewing its pages.

`seed(scale=1)` creates published signals, an unpublished one, connections in every state of health,
positions, drift, logs and leases. The candidates of the first signal have exactly COUNTS.
"""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model

from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    DataConnection,
    ExecutionConnection,
    KillSwitch,
    Subscription,
    TradingPreset,
)
from events.models import Event, EventKind
from execution.models import DriftItem, ExecutionLog, Fill, Order, WorkerLease
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.console.counts import (
    CANARY as CANARY,
)
from tests.console.counts import (
    CIRCUIT as CIRCUIT,
)
from tests.console.counts import (
    COUNTS as COUNTS,
)
from tests.console.counts import (
    DETAILS as DETAILS,
)
from tests.console.counts import (
    KINDS as KINDS,
)
from tests.console.counts import (
    MANY as MANY,
)
from tests.console.counts import (
    OTHERS as OTHERS,
)
from tests.console.counts import (
    OTHERS_MANY as OTHERS_MANY,
)
from tests.console.counts import (
    PAUSED as PAUSED,
)
from tests.console.counts import (
    SENT as SENT,
)
from tests.console.counts import (
    SHARES as SHARES,
)
from tests.console.counts import (
    UNTESTED as UNTESTED,
)
from users.models import User

D = Decimal


def operator(name: str = "risk-officer") -> User:
    """Create a superuser, who may do everything in the console."""
    user: User = get_user_model().objects.create_superuser(name, "", "correct horse battery")
    return user


def tenants(many: int) -> list[User]:
    names = [f"tenant-{number:02d}" for number in range(1, many + 1)]
    User.objects.bulk_create([User(username=name, password="!") for name in names])
    return list(User.objects.filter(username__in=names).order_by("username"))


def connections(owners: list[User], many: int) -> list[ExecutionConnection]:
    """Create accounts of all broker types: of 100, 4 are paused, 2 have an open circuit.

    One was never tested.
    """
    preset = TradingPreset.objects.create(name="1 % at risk", risk_percent=D(1))
    prices = DataConnection.objects.create(name="Recorded quotes", settings={})
    created = ExecutionConnection.objects.bulk_create(
        ExecutionConnection(
            user=owners[number % len(owners)],
            name=f"{KINDS[number % 5].upper()} account {number}",
            type=KINDS[number % 5],
            exchange_name="binance" if KINDS[number % 5] == "crypto" else "",
            account=f"{7000 + number}",
            is_paused=number < many * PAUSED // MANY,
            sealed_credentials=CANARY.encode(),
            preset=preset,
            data_connection=prices,
            created_at=datetime(2014, 4, 1, tzinfo=UTC),
        )
        for number in range(many)
    )
    ConnectionLock.objects.bulk_create(ConnectionLock(connection=c) for c in created)
    ConnectionHealth.objects.bulk_create(
        _health(connection, number, many) for number, connection in enumerate(created)
    )
    AccountSnapshot.objects.bulk_create(_snapshot(c) for c in created)
    return created


def _health(connection: ExecutionConnection, number: int, many: int) -> ConnectionHealth:
    now = datetime.now(UTC)
    offset = number - many * PAUSED // MANY
    circuit = 0 <= offset < many * CIRCUIT // MANY
    tested_from = many * (CIRCUIT + UNTESTED) // MANY
    untested = many * CIRCUIT // MANY <= offset < tested_from
    return ConnectionHealth(
        connection=connection,
        status="UNTESTED" if untested else "ACTIVE",
        last_tested_at=None if untested else now - timedelta(minutes=20),
        last_connected_at=None if untested else now - timedelta(minutes=20),
        last_used_at=None if untested else now - timedelta(seconds=9),
        reconciled_at=None if untested else now - timedelta(minutes=2),
        consecutive_failures=5 if circuit else 0,
        circuit_open_until=now + timedelta(hours=1) if circuit else None,
        last_error="Read timed out after 5 s." if circuit else "",
        last_error_at=now - timedelta(minutes=1) if circuit else None,
        last_test=[] if untested else CHECKS,
    )


CHECKS = [
    {"name": "Host allowed", "result": "ok", "detail": "127.0.0.1 is named.", "hint": ""},
    {"name": "Log in", "result": "ok", "detail": "As 7714, in 61 ms.", "hint": ""},
    {"name": "Clock", "result": "warn", "detail": "The broker's clock is 2.1 s ahead.",
     "hint": "Have this machine's clock set by NTP."},
    {"name": "Trading allowed", "result": "fail", "detail": "The account is read-only.",
     "hint": "Ask the broker to enable trading."},
]  # fmt: skip


def _snapshot(connection: ExecutionConnection) -> AccountSnapshot:
    return AccountSnapshot(
        connection=connection,
        currency="USD",
        balance=D("10108.70"),
        equity=D("10075.50"),
        margin_used=D("1382.54"),
        free_margin=D("8692.96"),
        leverage=D(30),
        position_mode="HEDGING",
        read_at=datetime.now(UTC) - timedelta(seconds=20),
    )


def signal(feed: Feed, by: User | None = None, **fields: Any) -> Signal:
    """Create a signal, published a minute ago if it has candidates."""
    values: dict[str, Any] = {
        "feed": feed, "currency_pair": "EUR/USD", "direction": "SELL", "approval": "APPROVED",
        "sl": D("1.38814"), "target_prices": [D("1.38064")], "target_fractions": [D(1)],
        "max_slippage_pips": D(3),
    } | fields  # fmt: skip
    if values.get("candidate_count") is not None:
        values |= {"published_at": datetime.now(UTC) - timedelta(minutes=1), "published_by": by}
    return Signal.objects.create(**values)


def orders(
    of: Signal, on: list[ExecutionConnection], counts: dict[tuple[str, str], int]
) -> list[Order]:
    """Create one entry for each connection, in the given states."""
    states = [state for state, count in counts.items() for _ in range(count)]
    dice = random.Random(of.pk)  # for realistic latencies
    now = datetime.now(UTC) - timedelta(seconds=50)
    return Order.objects.bulk_create(
        _order(of, connection, status, reason, now, dice)
        for connection, (status, reason) in zip(on, states, strict=False)
    )


def scaled(counts: dict[tuple[str, str], int], scale: int) -> dict[tuple[str, str], int]:
    return {state: many * scale for state, many in counts.items()}


def _order(
    of: Signal, on: ExecutionConnection, status: str, reason: str, at: datetime, dice: random.Random
) -> Order:
    sent, filled = status in SENT, status in {"FILLED", "PARTIALLY_FILLED"}
    validated = at + timedelta(milliseconds=dice.lognormvariate(3.6, 0.5))
    acknowledged = validated + timedelta(milliseconds=dice.lognormvariate(4.1, 0.8))
    answered = sent and status != "UNKNOWN"
    tag = f"dev{of.pk:05d}{on.account}e0" if sent else None
    return Order(
        signal=of, connection=on, leg="entry", pair=of.currency_pair, symbol="EURUSD",
        side=of.direction, order_type=of.order_type, time_in_force=of.time_in_force,
        status=status, reason=reason, detail=DETAILS.get(reason, ""),
        client_order_id=tag, broker_order_id=f"5018{on.account}" if answered else "",
        quantity=D(40_000) if sent or status == "FAILED" else None,
        stop_price=of.stop_price, stop_loss=of.sl, take_profit=of.tp, pip=D("0.0001"),
        expected_price=of.entry_price, filled_quantity=_filled(status),
        avg_fill_price=D("1.38254") if filled else None,
        slippage_pips=D("31.0") if filled else None, commission=D("1.40") if filled else D(0),
        created_at=at, due_at=at,
        validated_at=validated if sent else None,
        submitted_at=validated + timedelta(milliseconds=2) if sent else None,
        acknowledged_at=acknowledged if answered else None,
        filled_at=acknowledged + timedelta(milliseconds=7) if status == "FILLED" else None,
        done_at=acknowledged if status not in {"PENDING", "SUBMITTED"} else None,
        answer_by=at + timedelta(seconds=10) if sent else None,
    )  # fmt: skip


def _filled(status: str) -> Decimal:
    return {"FILLED": D(40_000), "PARTIALLY_FILLED": D(24_000)}.get(status, D(0))


def position(order: Order, **fields: Any) -> ExecutionPosition:
    """Create the position that the order's fill opened, with its stop at the broker."""
    assert order.signal is not None
    values: dict[str, Any] = {
        "connection": order.connection, "signal": order.signal, "pair": order.pair,
        "symbol": order.symbol, "side": order.side, "quantity": D(40_000),
        "opened_quantity": D(40_000), "entry_price": D("1.38254"), "sl": order.stop_loss,
        "tp": order.take_profit, "sl_guardian": "BROKER", "tp_guardian": "BROKER",
        "broker_sl": order.stop_loss, "broker_tp": order.take_profit, "pip": D("0.0001"),
        "conversion_rate": D(1), "opened_at": datetime.now(UTC), "commission": D("1.40"),
    } | fields  # fmt: skip
    return ExecutionPosition.objects.create(**values)


def fills(of: Iterable[Order]) -> None:
    """Create one execution for each filled order."""
    Fill.objects.bulk_create(
        Fill(
            connection_id=order.connection_id, broker_fill_id=f"D{order.pk}", order=order,
            side=order.side, quantity=order.filled_quantity, price=D("1.38254"),
            commission=D("1.40"), commission_currency="USD", time=datetime.now(UTC),
            recorded_at=order.filled_at or datetime.now(UTC),
        )
        for order in of
        if order.filled_quantity
    )  # fmt: skip


def logs(of: Iterable[Order]) -> None:
    """Create the log lines of each order."""
    ExecutionLog.objects.bulk_create(
        ExecutionLog(
            order_id=order.pk, signal_id=order.signal_id, connection_id=order.connection_id,
            code=code, status=status, at=at, numbers={"quantity": "40000"},
        )
        for order in of
        for code, status, at in (
            ("CREATED", "PENDING", order.created_at),
            ("INTENT", "SUBMITTING", order.validated_at),
            ("ACCEPTED", "SUBMITTED", order.acknowledged_at),
            ("FILL", "FILLED", order.filled_at),
        )
        if at is not None
    )  # fmt: skip


def seed(*, scale: int = 1) -> dict[str, Any]:
    """Create the whole world and return its rows by name. scale: multiplies COUNTS."""
    provider = User.objects.create_user("provider-1")
    rows: dict[str, Any] = {"operator": operator(), "provider": provider}
    breakout = Feed.objects.create(
        slug="macro-breakout", name="Macro Breakout", owner=provider, is_approved=True
    )
    accounts = connections(tenants(9), MANY * scale)
    Subscription.objects.bulk_create(
        Subscription(connection=connection, feed=breakout) for connection in accounts
    )
    kiwi = Feed.objects.create(slug="kiwi-carry", name="Kiwi Carry", owner=provider)
    no_target: dict[str, Any] = {"target_prices": [], "target_fractions": []}
    for fields, counts in OTHERS:
        feed = kiwi if fields["currency_pair"] == "NZD/USD" else breakout
        many = sum(counts.values()) * scale
        approved = {"approved_by": rows["operator"]}  # by signal: Kiwi Carry is not approved
        other = signal(feed, candidate_count=many, **approved, **no_target, **fields)
        orders(other, accounts, scaled(counts, scale))
    main = signal(
        breakout,
        provider,
        order_type="STOP",
        stop_price=D("1.38564"),
        candidate_count=MANY * scale,
    )
    entries = orders(main, accounts, scaled(COUNTS, scale))
    fills(entries)
    logs(entries[:50])
    rows |= {"feed": breakout, "kiwi": kiwi, "connections": accounts}
    rows |= {"signal": main, "orders": entries}
    rows["waiting"] = signal(breakout, direction="BUY", sl=D("1.37"), target_prices=[D("1.40")])
    rows["position"] = position(entries[0])
    position(entries[1], sl_guardian="", broker_sl=None)
    _add_other_rows(rows)
    return rows


def _add_other_rows(rows: dict[str, Any]) -> None:
    accounts, now = rows["connections"], datetime.now(UTC)
    side = {"side": "BUY", "quantity": "60000", "entry_price": "1.386", "stop_loss": "1.38",
            "take_profit": None}  # fmt: skip
    sides: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
        "UNKNOWN_POSITION": (None, side),
        "POSITION_MISSING": (side, None),
        "LEVELS_DIFFER": (side, {**side, "stop_loss": "1.376"}),
        "QUANTITY_DIFFERS": (side, {**side, "quantity": "50000"}),
    }
    for number, (kind, (ours, theirs)) in enumerate(sides.items()):
        rows["drift"] = DriftItem.objects.create(
            kind=kind, connection=accounts[50 + number], key=f"T-{number}",
            position_id=rows["position"].pk if ours else None,
            evidence={"symbol": "EURUSD", "ours": ours, "theirs": theirs, "differs": "",
                      "broker_position_id": f"T-{number}", "client_order_id": ""},
            found_at=now - timedelta(minutes=4),
        )  # fmt: skip
    rows["switch"] = KillSwitch.objects.create(
        scope="FEED", mode="REDUCING", feed=rows["kiwi"], set_by=rows["operator"],
        reason="spread 40 pips on NZD/USD",
    )  # fmt: skip
    for number, role in enumerate(("worker execution", "worker exits", "maintenance", "prices")):
        WorkerLease.objects.create(
            id=f"{role.replace(' ', '-')}-{number}", role=role, host="fc-1", pid=400 + number,
            lease_until=now + timedelta(minutes=10 if number else -1),
        )  # fmt: skip
    Event.objects.create(kind=EventKind.SIGNAL_PUBLISHED, signal_id=rows["signal"].pk)
