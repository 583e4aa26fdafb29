"""Decisions about changes of orders and moves of stops write only what is as they have seen it."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import record_arrays, rows, run
from connections.models import ExecutionConnection
from connections.session_lanes import held_lanes_parameters
from execution.changes import order_ends, signal_changes, waiting_stops
from execution.models import EntryChange, Order
from execution.monitoring import change_statements, freeze
from execution.reconciliation import late_changes
from positions import stop_rule_rows
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.guards import (
    EARLIER,
    LATER,
    NONE,
    NOW,
    Guard,
    Ids,
    except_for,
    expect_guards,
    order_ids,
    running,
    status,
    with_list,
)
from tests.execution.halfway import accepted, filled

pytestmark = pytest.mark.django_db


@pytest.fixture
def changed(alice: ExecutionConnection, feed: Feed) -> Ids:
    """A change of an order from 100 to 60 that was sent, by the second call about it."""
    accepted(feed)
    order = Order.objects.get()
    change = EntryChange.objects.create(
        order=order, connection_id=order.connection_id, quantity=60, old_quantity=100, margin=1,
        old_margin=2, risk=3, old_risk=4, state="SENT", calls=2, sends=1,
    )  # fmt: skip
    run("UPDATE execution_order SET margin = 2, risk = 4")
    return {"order": order.pk, "change": change.pk}


def of(**columns: str) -> dict[str, str]:
    return {f"change.{name}": value for name, value in columns.items()}


def states(*but: str) -> dict[str, dict[str, str]]:
    """Return every state of a change but these, as cells."""
    return {
        f"it is {name}": of(state=f"'{name}'", done_at=NOW if name in ("DONE", "REFUSED") else NONE)
        for name in ("WAITING", "REQUESTED", "SENT", "UNKNOWN", "DONE", "REFUSED")
        if name not in but
    }


def settled(state: str) -> Any:
    def write(ids: Ids) -> Any:
        record = change_statements.SettledRecord(
            ids["change"], 2, state, "", "", 5.0, 0, look_up=False, unsent=False
        )
        records = record_arrays(change_statements.SettledRecord, [record])
        return rows(change_statements.SETTLE, records)

    return write


NOT_LATEST = {"another call was made": of(calls="3"), "it is of a later call": of(calls="1")}
OPEN = ("REQUESTED", "SENT", "UNKNOWN")
AT_BROKER = ("SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED")
CHANGES: dict[str, Guard] = {
    "result of a call": Guard(
        settled("DONE"), {}, NOT_LATEST | states(*OPEN),
        {"it is read": of(state="'UNKNOWN'"), "it waits": of(state="'REQUESTED'")},
    ),
    "refusal": Guard(settled("REFUSED"), {}, NOT_LATEST | states(*OPEN)),
    "claim": Guard(
        running(change_statements.CLAIM, longest=30, **held_lanes_parameters()),
        of(due_at=EARLIER),
        states(*OPEN)
        | except_for(*AT_BROKER)
        | {"another process calls": of(due_at=LATER)},
        {f"its order is {name}": status(name) for name in AT_BROKER},
    ),
    "end of its order": Guard(
        with_list(change_statements.END),
        status("CANCELLED"),
        states(*OPEN) | {f"its order is {name}": status(name) for name in AT_BROKER},
        {"it is read": of(state="'UNKNOWN'"), "it waits": of(state="'REQUESTED'")},
    ),
    "wait for the market": Guard(
        with_list(freeze.HOLD_CHANGES, order_ids, [""]),
        of(state="'REQUESTED'"), states("REQUESTED"),
    ),
    "change that was made late": Guard(
        with_list(late_changes.DONE_AFTER_ALL, lambda ids: [ids["change"]]),
        of(state="'REFUSED'", done_at=NOW), states("REFUSED"),
    ),
    "search for those that wait for the market": Guard(
        with_list(freeze.DUE_CHANGES), of(state="'REQUESTED'", due_at=EARLIER),
        states("REQUESTED") | {"another process calls": of(due_at=LATER)},
    ),
    "search for those of signals": Guard(
        with_list(signal_changes.DUE), of(state="'WAITING'", due_at=EARLIER),
        states("WAITING") | {"it is not due": of(due_at=LATER)},
    ),
    "stop that a MODIFY replaces": Guard(
        running(
            waiting_stops.DROP, name="S-2", refers_to=lambda _: Order.objects.get().signal_id
        ),
        of(state="'WAITING'", stop_loss="1.05"),
        states("WAITING") | {"it has no stop": of(stop_loss=NONE)},
    ),
    "end that a MODIFY moves": Guard(
        running(
            order_ends.MOVE_ENDS, valid_until=lambda _: market_now(), close_at=None, seconds=5,
            refers_to=lambda _: Order.objects.get().signal_id,
            signal_id=lambda _: Order.objects.get().signal_id, name="S-2",
        ),
        status("SUBMITTED"),
        {f"it is {name}": status(name) for name in ("FILLED", "CANCELLED", "REJECTED", "FAILED")},
        {f"it is {name}": status(name) for name in ("PENDING", "SUBMITTING", "UNKNOWN")},
    ),
    "end that its broker cannot move": Guard(
        with_list(order_ends.REFUSE_PROLONGED, order_ids),
        status("SUBMITTED", own_valid_until=LATER, expires_at=EARLIER),
        except_for(*AT_BROKER)
        | {"a person has shortened it": {"own_valid_until": EARLIER, "expires_at": LATER},
           "it has no end of its own": {"own_valid_until": NONE}},
        {f"it is {name}": status(name) for name in AT_BROKER},
    ),
}  # fmt: skip


def test_only_the_last_call_of_a_change_counts(changed: Ids) -> None:
    expect_guards(CHANGES, changed)


@pytest.mark.parametrize(
    ("state", "margin", "risk", "quantity"),
    [("DONE", 1, 3, 100), ("REFUSED", 2, 4, 100), ("UNKNOWN", 2, 4, 100)],
)
def test_order_counts_as_its_change_has_ended(
    changed: Ids, state: str, margin: int, risk: int, quantity: int
) -> None:
    settled(state)(changed)
    order = Order.objects.get()
    assert (order.margin, order.risk, order.quantity) == (margin, risk, quantity)


@pytest.mark.parametrize(
    ("filled_quantity", "wanted", "sends", "state", "quantity"),
    [
        (70, 120, 1, "REFUSED", 120),  # it may have been made: a late fill may need the larger one
        (70, 120, 0, "REFUSED", 100),
        (100, 120, 1, "REFUSED", 120),
        (110, 120, 1, "DONE", 120),
        (40, 60, 0, "REFUSED", 100),
    ],
)
def test_ended_order_keeps_what_its_change_may_have_made(
    changed: Ids, filled_quantity: int, wanted: int, sends: int, state: str, quantity: int
) -> None:
    run("UPDATE execution_entrychange SET quantity = %s, sends = %s", (wanted, sends))
    factories.force(
        "UPDATE execution_order SET status = 'CANCELLED', done_at = clock_timestamp(),"
        " quantity = greatest(quantity, %s), filled_quantity = %s",
        (wanted, filled_quantity),
    )
    run(change_statements.END)
    order, change = Order.objects.get(), EntryChange.objects.get()
    assert (change.state, order.quantity) == (state, quantity)
    assert order.margin == {"DONE": 1, "REFUSED": 2}[state]


# ---- rules of stops ------------------------------------------------------------------------------
@pytest.fixture
def ruled(alice: ExecutionConnection, feed: Feed) -> Ids:
    """A position of 100 with a stop at 1.09, which a rule moves."""
    filled(feed)
    position = ExecutionPosition.objects.get()
    run("INSERT INTO positions_stoprule (position_id, trailing_distance, min_seconds, due_at)"
        " VALUES (%s, 0.01, 0, clock_timestamp())", (position.pk,))  # fmt: skip
    return {"position": position.pk, "rule": position.pk}


def judged(stop: str, expected: str | None) -> Any:
    def write(ids: Ids) -> Any:
        values = (
            ids["position"], D(stop), expected and D(expected), "TRAILING", False, None, None, None,
            5.0, "{}",
        )  # fmt: skip
        return rows(
            f"{stop_rule_rows.JUDGED_SQL} SELECT id FROM moved", [[value] for value in values]
        )

    return write


def position(**columns: str) -> dict[str, str]:
    return {f"position.{name}": value for name, value in columns.items()}


def raised(ids: Ids) -> Any:
    """Store what was judged by the stop that it has now, so that only the side decides."""
    sl = ExecutionPosition.objects.get().sl
    return judged("1.10", str(sl))(ids)


RULES: dict[str, Guard] = {
    "stop that only rises": Guard(
        raised, {},
        {"it is as high": position(sl="1.10"), "it is higher": position(sl="1.11")},
        ignored=("rule",),
    ),
    "higher stop of a long position": Guard(
        judged("1.10", "1.09"), {},
        {"a person has moved it": position(sl="1.095"),
         "a person has removed it": position(sl=NONE),
         "it is there": position(sl="1.10"),
         "it is closed": position(quantity="0")},
        ignored=("rule",),
    ),
    "first stop": Guard(
        judged("1.10", None), position(sl=NONE),
        {"a person has set one": position(sl="1.09")}, ignored=("rule",),
    ),
    "lower stop of a short position": Guard(
        judged("1.08", "1.09"), position(side="'SELL'"), {"it is long": position(side="'BUY'")},
        ignored=("rule",),
    ),
    "rule that is due": Guard(
        with_list(stop_rule_rows.DUE_RULES), {"rule.due_at": EARLIER},
        {"it is not due": {"rule.due_at": LATER}, "it waits for prices": {"rule.due_at": NONE}},
    ),
    "reached price": Guard(
        with_list(
            stop_rule_rows.REACHED_RULES,
            lambda _: [ExecutionPosition.objects.get().price_source_id], ["EUR/USD"], [D("1.21")],
            [D("1.22")],
        ),
        position(stop_moves_at="1.21"),
        {"it is not reached": position(stop_moves_at="1.2100001"),
         "it has none": position(stop_moves_at=NONE),
         "it is closed": position(quantity="0"),
         "exits take all of it": position(reserved="quantity"),
         "it is short": position(side="'SELL'")},
        {"exits take a part": position(reserved="50"),
         "it is short, and reached": position(side="'SELL'", stop_moves_at="1.22")},
    ),
    "range of a rule": Guard(
        with_list(stop_rule_rows.STORE_ATR, lambda ids: [ids["position"]], [D(1)]),
        {"rule.atr": NONE}, {"it is fixed": {"rule.atr": "2"}},
    ),
}  # fmt: skip


def test_rule_moves_a_stop_only_as_seen(ruled: Ids) -> None:
    expect_guards(RULES, ruled)
