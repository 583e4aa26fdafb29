"""Factories: accounts at the fake broker that may trade, signals, and time that passes."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

from django.db import connection, transaction
from django.test import TestCase

from brokers.registry import BUILT_IN, adapter_for, broker_types
from brokers.types import Execution, HeldLevels, OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import kept_plans, rows, run
from connections import eligibility
from connections.models import AccountSnapshot, ExecutionConnection, Instrument
from execution.dispatch.order_dispatcher import reports_from_outcome
from execution.dispatch.report_writer import apply_with_bisection
from execution.models import DriftItem, DroppedMessageCount, Order
from execution.submission.claim import claim
from execution.submission.outgoing import Outgoing
from positions.models import ExecutionPosition
from signals.models import Approval, Feed, Origin, Signal
from signals.services import publish
from signals.signals import signal_published
from tests.connections import make
from tests.execution.fake_broker import BOOK, KIND, FakeBroker

BID, ASK = D("1.09990"), D("1.10000")
OWNER = "process-1"
# By the ORM this takes five statements and 20 times as long, and most tests store a quote.
_STORE_QUOTE = """
INSERT INTO prices_latestquote (data_connection_id, symbol, bid, ask, time, received_at)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (data_connection_id, symbol)
DO UPDATE SET bid = excluded.bid, ask = excluded.ask, time = excluded.time,
  received_at = excluded.received_at"""


def register() -> None:
    """Register the fake broker as a broker type of this process."""
    BUILT_IN[KIND] = "tests.execution.fake_broker:create"
    broker_types.cache_clear()
    eligibility.needs_credentials.cache_clear()


def fake_broker() -> FakeBroker:
    adapter = adapter_for(KIND)
    assert isinstance(adapter, FakeBroker)
    return adapter


def instrument(pair: str = "EUR/USD", **fields: Any) -> Instrument:
    usual = {
        "book": BOOK,
        "symbol": pair.replace("/", ""),
        "digits": 5,
        "pip": D("0.0001"),
        "quantity_min": D(10),
        "quantity_step": D(10),
        "quantity_max": D(1_000_000),
        "contract_size": D(100_000),
        "read_at": market_now(),
    }
    return Instrument.objects.create(pair=pair, **{**usual, **fields})


def account(feed: Feed | None = None, **fields: Any) -> ExecutionConnection:
    """Return a connection that may trade: quoted, synced, reconciled; its fixed size is 100.

    Fields of its preset begin with `preset_`, of its snapshot with `snapshot_`.
    """
    groups = {name: _popped(fields, f"{name}_") for name in ("preset", "snapshot")}
    sized = {"sizing_mode": "FIXED", "fixed_quantity": D(100), "max_signal_age_seconds": 600}
    row = make.connection(
        **{
            "type": KIND,
            "sealed_credentials": None,
            "instrument_book": BOOK,
            "created_at": market_now() - timedelta(days=1),
            "preset": make.preset(**{**sized, **groups["preset"]}),
            **fields,
        }
    )
    read = {
        "currency": "USD",
        "balance": D(10_000),
        "equity": D(10_000),
        "margin_used": D(0),
        "free_margin": D(10_000),
        "leverage": D(30),
        "position_mode": "HEDGING",
        "read_at": market_now(),
    }
    AccountSnapshot.objects.create(connection=row, **{**read, **groups["snapshot"]})
    quote(row)
    if feed is not None:
        make.subscription(row, feed)
    return row


def account_within_day(feed: Feed | None = None, **fields: Any) -> ExecutionConnection:
    """Return one whose trading day does not end during the test."""
    day = {f"preset_{name}": value for name, value in make.day_around_now().items()}
    return account(feed, **day, **fields)


def _popped(fields: dict[str, Any], prefix: str) -> dict[str, Any]:
    names = [name for name in fields if name.startswith(prefix)]
    return {name.removeprefix(prefix): fields.pop(name) for name in names}


def quote(
    of: ExecutionConnection, bid: D | str = BID, ask: D | str = "", pair: str = "EUR/USD"
) -> None:
    """Store a quote of its price source; the default ask is 1 pip above the bid."""
    bid, now = D(bid), market_now()
    ask = D(ask) if ask else bid + D("0.00010")
    run(_STORE_QUOTE, (of.data_connection_id, pair, bid, ask, now, now))


def mark_monitored(of: ExecutionConnection) -> None:
    """Mark its price source as evaluated just now, as the prices process does each second."""
    run(
        "INSERT INTO execution_levelmonitorheartbeat VALUES (%s, clock_timestamp())"
        " ON CONFLICT (source_id) DO UPDATE SET last_evaluated_at = EXCLUDED.last_evaluated_at",
        (of.data_connection_id,),
    )


def signal(feed: Feed, targets: Sequence[tuple[str, str]] = (), **fields: Any) -> Signal:
    """Write a published buy at market with a stop, and the orders of its accounts.

    What a publication checks and records besides is half of its cost: `published` does all of it.
    """
    defaults = {
        "currency_pair": "EUR/USD",
        "direction": "BUY",
        "sl": D("1.09000"),
        "target_prices": [D(price) for price, _ in targets],
        "target_fractions": [D(fraction) for _, fraction in targets],
        "approval": Approval.APPROVED,
        "published_at": market_now(),
    }
    row = Signal.objects.create(feed=feed, **{**defaults, **fields})
    row = Signal.objects.get(pk=row.pk)  # with the audience, which the database decides
    with transaction.atomic(), kept_plans():
        signal_published.send(sender=Signal, signal=row)
    row._state.fields_cache.clear()
    return row


def published(row: Signal) -> Signal:
    """Publish a stored signal as the product does: with every check, record and message."""
    assert publish(row.pk, by=None)
    return Signal.objects.get(pk=row.pk)


def feed_signal(feed: Feed, **fields: Any) -> Signal:
    """Publish it as a program does: its entries have no precedence over those of other feeds."""
    return signal(feed, **{"origin": Origin.API, **fields})


def close_signal(of: Signal, fraction: str = "1", *, is_reversal: bool = False) -> Signal:
    return signal(
        of.feed, action="CLOSE", refers_to=of, direction=of.direction, sl=None,
        currency_pair=of.currency_pair, close_fraction=D(fraction), is_reversal=is_reversal,
    )  # fmt: skip


# ---- the core, step by step --------------------------------------------------------------------
def pending() -> list[int]:
    return list(Order.objects.filter(status="PENDING").order_by("id").values_list("id", flat=True))


def claim_all(owner: str = OWNER) -> list[Outgoing]:
    """Claim everything that is due."""
    return claim(pending(), worker_id=owner).outgoing


def drift_items() -> list[tuple[str, str]]:
    """Return kind and state of every drift item, oldest first."""
    return list(DriftItem.objects.order_by("id").values_list("kind", "state"))


def apply(*reports: OrderReport) -> list[OrderReport]:
    """Apply reports as the report writer does; return the deferred ones."""
    return apply_with_bisection(list(reports)).reports


def apply_then_commit(*reports: OrderReport) -> list[OrderReport]:
    """The same within a transaction that will be rolled back: with what follows a commit."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        return apply(*reports)


def claimed_call(of: Order) -> Any:
    """Return the claimed call of an order, as far as an answer needs it."""
    fields = {"client_order_id": of.client_order_id, "fence": of.fence, "order_id": of.pk}
    return SimpleNamespace(request=SimpleNamespace(connection_id=str(of.connection_id), **fields))


def answer(outgoing: Outgoing, what: Any) -> list[OrderReport]:
    """Apply the outcome of a call: reports or an exception."""
    reports = reports_from_outcome(outgoing.request, what)
    apply(*reports)
    return reports


def fill_all(owner: str = OWNER) -> None:
    """Claim everything that is due and fill it at the fake broker."""
    for outgoing in claim_all(owner):
        answer(outgoing, fake_broker().fill_at_once(outgoing.request))


def filled(of: Signal) -> ExecutionPosition:
    """Fill a published signal's only entry and return its position."""
    fill_all()
    return ExecutionPosition.objects.get(signal=of)


def order(**fields: Any) -> Order:
    return Order.objects.get(**fields)


def fill_report(
    of: Order, quantity: D | int | str, fill_id: str, *, price: D | str = "1.10000", **fields: Any
) -> OrderReport:
    """Return a made-up report of one execution."""
    execution = Execution(
        fill_id, D(quantity), D(price), fields.pop("time", None) or market_now(),
        inferred=fields.pop("inferred", False),
    )  # fmt: skip
    return replace(report(of, ReportKind.FILLED, **fields), fills=(execution,))


def report(of: Order, kind: ReportKind, **fields: Any) -> OrderReport:
    ids = {"broker_order_id": f"b{of.pk}", "client_order_id": of.client_order_id or ""}
    if of.is_entry:
        ids["broker_position_id"] = f"t{of.pk}"
    if of.is_entry and kind in (ReportKind.FILLED, ReportKind.LEVELS):
        current_levels = {
            "stop_loss": of.stop_loss,
            "take_profit": of.take_profit,
            "protected": None,
        }
        if kind is ReportKind.LEVELS:
            current_levels = dict.fromkeys(current_levels)
        levels = {name: fields.pop(name, level) for name, level in current_levels.items()}
        fields.setdefault("levels", HeldLevels(**levels))
    return OrderReport(kind=kind, connection_id=str(of.connection_id), **{**ids, **fields})


def dropped_counts() -> dict[str, tuple[int, str]]:
    """Return the dropped messages as the console shows them: count and last sample."""
    shown: Any = DroppedMessageCount.objects.summed()
    return {row.name: (row.total, row.sample) for row in shown}


# ---- time ------------------------------------------------------------------------------------
MACHINE_TIMES = {
    "execution_order": ("due_at", "answer_by", "lookup_after", "submitted_at", "enqueued_at",
                        "created_at", "done_at", "acknowledged_at", "retried_at",
                        "pending_action_since", "lookup_claimed_until", "own_valid_until"),
    "execution_accountsyncstate": ("reconcile_requested_at", "compared_at", "fills_failing_since"),
    "execution_workerlease": ("lease_until",),
    "positions_executionposition": ("missing_since", "last_activity_at", "level_sync_due_at",
    "broker_checked_at",
                                     "broker_check_due_at", "breached_since", "unprotected_since",
                                     "levels_reported_at"),
    "execution_entrychange": ("requested_at", "due_at", "answer_by", "done_at"),
    "execution_sliceplan": ("starts_at", "ends_at"),
    "positions_stoprule": ("water_mark_at", "due_at", "moved_at"),
    "signals_signal": ("published_at", "valid_until"),
}  # fmt: skip


def pass_time(seconds: float) -> None:
    """Let time pass without waiting, and a millisecond more, as a clock that runs would."""
    move_back(seconds + 0.001)


def move_back(seconds: float) -> None:
    """Move every stored time into the past."""
    by = f"make_interval(secs => {float(seconds)!r})"
    moved = (
        f"UPDATE {table} SET {', '.join(f'{name} = {name} - {by}' for name in names)}"
        for table, names in MACHINE_TIMES.items()
    )
    run("; ".join(moved))


@contextmanager
def without_triggers() -> Iterator[None]:
    """Write rows that the product cannot write, such as a forbidden status transition."""
    run("SET session_replication_role = replica")
    try:
        yield
    finally:
        run("SET session_replication_role = origin")


def force(statement: str, parameters: Any = ()) -> None:
    """Run a statement that the triggers would refuse."""
    with without_triggers():
        run(statement, parameters)


def live_lease(owner: str = OWNER) -> None:
    run(
        "INSERT INTO execution_workerlease (id, role, host, pid, lease_until)"
        " VALUES (%s, 'test', 'here', 1, clock_timestamp() + interval '10 seconds')"
        " ON CONFLICT (id) DO UPDATE SET lease_until = EXCLUDED.lease_until",
        (owner,),
    )


def log_codes(order_id: int) -> list[tuple[str, str]]:
    """(code, status) of an order's log lines, in order."""
    found = rows(
        "SELECT code, status FROM execution_executionlog WHERE order_id = %s ORDER BY id",
        (order_id,),
    )
    return [(row.code, row.status) for row in found]


def log_texts(order_id: int, code: str) -> list[str]:
    """Details of an order's log lines with this code, in order."""
    found = rows(
        "SELECT detail FROM execution_executionlog WHERE order_id = %s AND code = %s ORDER BY id",
        (order_id, code),
    )
    return [row.detail for row in found]


def events(kind: str) -> list[dict[str, Any]]:
    found = rows("SELECT payload FROM events_event WHERE kind = %s ORDER BY id", (kind,))
    return [row.payload for row in found]


HOUR = timedelta(hours=1)
ZERO = Decimal(0)


@contextmanager
def locked_elsewhere(statement: str) -> Iterator[None]:
    """Hold the rows that a statement locks, in another session, until the block ends."""
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            run(statement)
            locked.set()
            done.wait(60)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(60)
        yield
    finally:
        done.set()
        holder.join()
