"""Claims, leases, pauses and halts: who is late changes nothing of what another one has now."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import run
from common.errors import ConflictError
from connections import leases
from connections.kill_switch import release_kill_switch, set_kill_switch
from connections.loss_limits.pauses import end_due_pauses, resume_after_limit
from connections.models import ExecutionConnection, TradingPause
from execution.models import DriftItem, Order
from execution.monitoring.halt_actions import carry_out_halts
from execution.reconciliation import auto_correction, effects
from execution.runtime import stream_claims, stream_lease
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND
from tests.execution.guards import (
    EARLIER,
    LATER,
    NONE,
    NOW,
    Guard,
    Ids,
    expect_guards,
    running,
    status,
)
from tests.execution.halfway import accepted, exit_waiting

pytestmark = pytest.mark.django_db
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


# ---- leases --------------------------------------------------------------------------------------
@pytest.fixture
def claimed(alice: ExecutionConnection, feed: Feed) -> Ids:
    """A lane, an account's stream and a shared stream that process `one` holds; an open order."""
    accepted(feed)
    assert leases.take_leases(["lane"], owner="one", seconds=60) == {"lane": 1}
    run("INSERT INTO execution_accountsyncstate (connection_id, stream_holder)"
        " VALUES (%s, 'one') ON CONFLICT (connection_id) DO UPDATE"
        " SET stream_holder = 'one'", (alice.pk,))  # fmt: skip
    run("INSERT INTO execution_streamlease (broker_type, holder, lease_until, began_at)"
        " VALUES ('x', 'one', clock_timestamp(), clock_timestamp())")  # fmt: skip
    return {
        "order": Order.objects.get().pk, "lane": "lane", "account": alice.pk, "stream": "x",
    }  # fmt: skip


def of(kind: str, **columns: str) -> dict[str, str]:
    return {f"{kind}.{name}": value for name, value in columns.items()}


def listened(ids: Ids) -> list[Any]:
    factories.live_lease("process-live")
    run(f"UPDATE execution_workerlease SET lease_until = {LATER}")
    return stream_claims.claim("two", [KIND], 10)


ANOTHER = {"another process has taken it": of("lane", owner="'two'", fence="2")}
TAKEN_AGAIN = {"it was lost and taken again": of("lane", fence="2")}
STREAM_TAKEN = {"another process has taken it": of("stream", holder="'two'")}
LISTENED = {
    "another process listens": of("account", stream_holder="'two'"),
    "it is free": of("account", stream_holder="''"),
}
NAMED = {"broker_type": "x", "holder": "one"}
LEASES: dict[str, Guard] = {
    "lane of a dead process": Guard(
        lambda ids: leases.take_leases(["lane"], owner="two", seconds=60),
        of("lane", until=EARLIER), {"it is held": of("lane", until=LATER)},
    ),
    "search for free lanes": Guard(
        lambda ids: leases.free_lanes(["lane"]),
        of("lane", until=EARLIER), {"it is held": of("lane", until=LATER)},
    ),
    "renewal of a lane": Guard(
        lambda ids: leases.renew_leases([("lane", 1)], owner="one", seconds=60), {},
        ANOTHER | TAKEN_AGAIN | {"another one has its number": of("lane", owner="'two'")},
        {"it has ended, and no other took it": of("lane", until=EARLIER)},
    ),
    "release of a lane": Guard(
        lambda ids: leases.release_leases([("lane", 1)], owner="one"), {},
        ANOTHER | TAKEN_AGAIN | {"another one has its number": of("lane", owner="'two'")},
    ),
    "free account": Guard(
        listened, of("account", stream_holder="'process-dead'"),
        {"a living process listens": of("account", stream_holder="'process-live'"),
         "it has nothing open": status("CANCELLED")},
        {"no process listens": of("account", stream_holder="''")},
    ),
    "state of an order stream": Guard(
        lambda ids: stream_claims.store(
            "one", {ids["account"]: stream_claims.StreamState(SINCE, "")}
        ),
        {}, LISTENED,
    ),
    "end of listening": Guard(
        lambda ids: stream_claims.release("one", [ids["account"]]), {}, LISTENED
    ),
    "shared stream": Guard(
        running(stream_lease.TAKE, broker_type="x", holder="two"),
        of("stream", lease_until=EARLIER), {"it is held": of("stream", lease_until=LATER)},
    ),
    "renewal of a shared stream": Guard(running(stream_lease.RENEW, **NAMED), {}, STREAM_TAKEN),
    "end of a shared stream": Guard(
        running(stream_lease.END, **NAMED, is_drained=True), {}, STREAM_TAKEN
    ),
}  # fmt: skip


def test_lease_is_changed_only_by_who_holds_it(claimed: Ids) -> None:
    expect_guards(LEASES, claimed)


# ---- pauses and halts ----------------------------------------------------------------------------
@pytest.fixture
def stopped(alice: ExecutionConnection, feed: Feed) -> Ids:
    """An entry at its broker, a pause that is over, and a halt that cancels."""
    accepted(feed)
    pause = TradingPause.objects.create(
        connection=alice, code="DAILY_LOSS", name="Daily loss", value=D(2), maximum=D(1),
        unit="MONEY", detail="", action="PAUSE", since=SINCE, until=market_now(),
    )  # fmt: skip
    halt = set_kill_switch(scope="ALL", mode="REDUCING", reason="", by=None, cancel_entries=True)
    return {"order": Order.objects.get().pk, "pause": pause.pk, "halt": halt.pk}


STOPS: dict[str, Guard] = {
    "end of a pause": Guard(
        lambda ids: end_due_pauses(), of("pause", until=EARLIER),
        {"a person has ended it": of("pause", ended_at=NOW),
         "it is not over": of("pause", until=LATER), "it has no end": of("pause", until=NONE)},
    ),
    "a person's end of a pause": Guard(
        lambda ids: resume_after_limit(ids["pause"], by=None), {},
        {"it has ended": of("pause", ended_at=NOW)},
    ),
    "release of a halt": Guard(
        lambda ids: release_kill_switch(ids["halt"], by=None), {},
        {"it is released": of("halt", released_at=NOW)},
    ),
    "cancels of a halt": Guard(
        lambda ids: carry_out_halts(), {},
        {"it is released": of("halt", released_at=NOW),
         "it is carried out": of("halt", carried_out_at=NOW),
         "it only stops": of("halt", cancel_entries="false")},
    ),
    "cancel of a halt for an entry": Guard(
        lambda ids: carry_out_halts(), {},
        {"it is being cancelled": {"pending_action": "'CANCEL'"},
         "it has ended": status("CANCELLED"), "it is full": status("FILLED")},
        {f"it is {name}": status(name) for name in (
            "PENDING", "SUBMITTING", "UNKNOWN", "PARTIALLY_FILLED")},
        ignored=("carried_out_at",),
    ),
}  # fmt: skip


def test_halt_and_pause_touch_only_what_they_still_concern(stopped: Ids) -> None:
    expect_guards(STOPS, stopped)


# ---- decisions about differences -----------------------------------------------------------------
EVIDENCE = {
    "broker_position_id": "T1", "symbol": "EURUSD",
    "ours": {"side": "BUY", "quantity": "100", "entry_price": "1.2"},
    "theirs": {"side": "BUY", "quantity": "70", "entry_price": "1.2", "stop_loss": None,
               "take_profit": None, "broker_position_id": "T1"},
}  # fmt: skip


@pytest.fixture
def differing(alice: ExecutionConnection, feed: Feed) -> Ids:
    """A position of 100 of which its broker has 70, with an exit that has ended."""
    exit_waiting(feed)
    factories.force("UPDATE execution_order SET status = 'CANCELLED', done_at = clock_timestamp()"
                    " WHERE leg = 'close-1'")  # fmt: skip
    run("UPDATE positions_executionposition SET broker_position_id = 'T1', reserved = 0")
    position = ExecutionPosition.objects.get()
    item = DriftItem.objects.create(
        kind="QUANTITY_DIFFERS", connection=alice, key="T1", evidence=EVIDENCE,
        position_id=position.pk, order_id=Order.objects.get(leg="close-1").pk,
    )  # fmt: skip
    return {
        "order": Order.objects.get(leg="close-1").pk, "position": position.pk,
        "difference": item.pk,
    }  # fmt: skip


def decided(effect: Callable[[DriftItem], object]) -> Callable[[Ids], object]:
    def write(ids: Ids) -> object:
        with suppress(ConflictError):
            return effect(DriftItem.objects.get(pk=ids["difference"]))
        return None

    return write


CLOSED = {"it is closed": of("position", quantity="0")}
DIFFERENCES: dict[str, Guard] = {
    "close of what the broker lacks": Guard(
        lambda ids: auto_correction.shrink(
            str(ExecutionPosition.objects.get().connection_id), EVIDENCE
        ),
        {},
        CLOSED | {
            "an exit is under way": of("position", reserved="10"),
            "it has grown": of("position", quantity="110"),
            "a part was closed": of("position", quantity="90"),
            "it is another one's": of("position", broker_position_id="'T2'"),
        },
        ignored=("difference",),
    ),
    "price of its broker": Guard(
        decided(effects.adopt_price), of("position", entry_price="1.1"), CLOSED
    ),
    "close of a missing position": Guard(
        decided(effects.close_here), {},
        CLOSED | {f"an exit is {name}": status(name) for name in (
            "SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED")},
    ),
    "end of a missing order": Guard(
        decided(lambda item: effects.end_order(item, None)),
        status("SUBMITTED", client_order_id="'AB0'"),
        {f"it is {name}": status(name) for name in (
            "FILLED", "CANCELLED", "EXPIRED", "REJECTED", "FAILED", "DENIED", "PENDING")},
        {f"it is {name}": status(name) for name in (
            "SUBMITTING", "UNKNOWN", "CANCEL_REQUESTED")},
    ),
}  # fmt: skip


def test_decision_about_a_difference_changes_only_what_was_compared(differing: Ids) -> None:
    expect_guards(DIFFERENCES, differing)
