"""Decisions about triggers, pairs, routes and parts write only what is as they have seen it."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import database_now, rows, run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.changes import order_changes
from execution.exits import partial_closes
from execution.models import Order
from execution.monitoring import trigger_monitor, trigger_upkeep
from execution.submission import route_writes
from signals.models import Feed
from tests.execution import factories
from tests.execution.guards import (
    EARLIER,
    LATER,
    NONE,
    NOW,
    Columns,
    Guard,
    Ids,
    except_for,
    expect_guards,
    order_ids,
    running,
    status,
    with_list,
)
from tests.execution.halfway import filled_in_part

pytestmark = pytest.mark.django_db


# ---- triggers ------------------------------------------------------------------------------------
@pytest.fixture
def held(alice: ExecutionConnection, feed: Feed) -> Ids:
    """An entry that waits for its trigger at 1.105, which is armed since an hour."""
    group = "00000000-0000-0000-0000-000000000001"
    legs = [
        factories.signal(feed, order_type="STOP", stop_price=D("1.105"), sl=D("1.09")),
        factories.signal(feed, order_type="STOP", stop_price=D("1.106"), sl=D("1.09")),
    ]
    first, second = (Order.objects.get(signal=leg).pk for leg in legs)
    run("UPDATE execution_order SET oco_group = %s, quantity = 100", (group,))
    assert factories.claim_all() == []
    run("UPDATE execution_ordertrigger SET active_since = clock_timestamp() - interval '1 hour'")
    return {"order": first, "trigger": first, "group": group, "other": second}


def fired(seconds_ago: int) -> Any:
    """Return a write that fires the trigger by a price from so many seconds ago."""

    def write(ids: Ids) -> list[int]:
        began = database_now() - timedelta(seconds=seconds_ago)
        hit = trigger_monitor.TriggerHit(
            ids["order"], D("1.105"), "BUY", "EUR/USD", began, None, None, None
        )
        return sorted(trigger_monitor._fired([hit]))

    return write


def of_other(**columns: str) -> dict[str, str]:
    return {f"other.{name}": value for name, value in columns.items()}


ALONE = {"oco_group": NONE}
_UNSENT = except_for(
    "PENDING", "SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED",
    "FILLED", "REJECTED",
)  # fmt: skip
_NOT_FIRED = {
    "it is to be cancelled": {"pending_action": "'CANCEL'"},
    "it has fired": {"trigger.is_armed": "false"},
    "its level was moved since": {"trigger.active_since": NOW},
}
LEVEL_AT_PRICE = {"trigger.active_since": f"{NOW} - interval '61 s'"}
TRIGGERS: dict[str, Guard] = {
    "trigger of one alone": Guard(
        fired(60), ALONE, except_for("PENDING") | _NOT_FIRED,
        {"its level was moved before": LEVEL_AT_PRICE},
    ),
    "trigger of a leg": Guard(
        fired(60), {}, _UNSENT | _NOT_FIRED | {"the other leg has fired": {
            "other.oco_fired": "true", "other.status": "'SUBMITTING'"}},
        {"its level was moved before": LEVEL_AT_PRICE},
    ),
    "end of an armed trigger": Guard(
        with_list(trigger_monitor.DISARM_ENDED, order_ids),
        status("CANCELLED"),
        {"it still waits": status("PENDING"), "it is disarmed": {"trigger.is_armed": "false"}},
    ),
    "upkeep of an ended one": Guard(
        with_list(trigger_upkeep.DISARM_ENDED, *()),
        status("CANCELLED"),
        {"it still waits": status("PENDING"), "it is disarmed": {"trigger.is_armed": "false"}},
    ),
    "hit that is kept": Guard(
        with_list(
            trigger_monitor.STILL_ARMED, order_ids,
            lambda _: [database_now() - timedelta(seconds=60)],
        ),
        {},
        {"it is disarmed": {"trigger.is_armed": "false"},
         "its level was moved since": {"trigger.active_since": NOW}},
        {"its level was moved before": LEVEL_AT_PRICE},
    ),
    "activation": Guard(
        with_list(
            trigger_monitor.ACTIVATE, order_ids, lambda _: [database_now()], [D("1.1")],
        ),
        {"trigger.kind": "'TRAILING'", "trigger.distance": "1", "trigger.activation_price": "1.1",
         "trigger.active_since": NONE},
        {"it is active": {"trigger.level": "1.1", "trigger.active_since": EARLIER},
         "it is disarmed": {"trigger.is_armed": "false"}},
    ),
    "person's level": Guard(
        running(order_changes.MOVE_TRIGGER, level=D("1.2"), id=lambda ids: ids["order"]),
        {},
        {"it is disarmed": {"trigger.is_armed": "false"},
         "it trails": {"trigger.kind": "'TRAILING'", "trigger.distance": "1"}},
    ),
    "person's change of what waits": Guard(
        running(
            order_changes.CHANGE_UNSENT, limit=None, stop=D("1.2"), quantity=None, held=None,
            stop_loss=None, take_profit=None, valid_until=None, seconds=5, detail="",
            id=lambda ids: ids["order"],
        ),
        ALONE,
        except_for("PENDING"),
    ),
}  # fmt: skip


def test_decision_fires_only_triggers_as_seen(held: Ids) -> None:
    expect_guards(TRIGGERS, held)


# ---- routes --------------------------------------------------------------------------------------
@pytest.fixture
def routed(alice: ExecutionConnection, feed: Feed) -> Ids:
    """An entry of a route, and another account that may take it."""
    other = factories.account(owner=alice.user)
    factories.signal(feed)
    return {"order": Order.objects.get().pk, "target": other.pk}


def moved(ids: Ids) -> list[int]:
    routed = route_writes.Routed()
    route_writes._move([(ids["order"], str(ids["target"]), "EUR/USD", "", "{}")], routed)
    return routed.new_order_ids


def route(state: str, name: str, reason: str = "", **columns: str) -> Columns:
    return status(
        name, route_state=f"'{state}'", routed_from_id="connection_id", reason=f"'{reason}'",
        filled_quantity="0", quantity="100", **columns,
    )  # fmt: skip


NEVER = Code.NEVER_ARRIVED.value
FAILED = route("HERE", "FAILED", NEVER)
NOT_MOVED = {
    "it is to be cancelled": {"pending_action": "'CANCEL'"},
    "it is the last account": {"route_state": "'LAST'"},
    "it has filled in part": {"filled_quantity": "1"},
}
SENT = {
    f"it is {name}": status(name)
    for name in ("SUBMITTING", "UNKNOWN", "SUBMITTED", "REJECTED", "CANCELLED", "DENIED", "EXPIRED")
}
ROUTES: dict[str, Guard] = {
    "first account of a route": Guard(
        moved, route("OPEN", "PENDING"),
        NOT_MOVED | SENT | {"it has failed meanwhile": status("FAILED")},
        {"it waits for its account": route("HERE", "PENDING", "NOT_CONNECTED")}, moves_fence=True),
    "next account of one that waits": Guard(
        moved, route("HERE", "PENDING", "NOT_CONNECTED"),
        NOT_MOVED | SENT | {"it waits for something else": {"reason": "'MARKET_CLOSED'"}},
        moves_fence=True,
    ),
    "next account of one that failed": Guard(
        moved, FAILED,
        NOT_MOVED | SENT | {
            "it may have been executed": {"reason": "'ORDER_PROCESSING_FAILED'"},
            "an operator retries it": route("HERE", "PENDING", "OPERATOR_RETRY"),
        }, moves_fence=True),
    "stay": Guard(
        with_list(route_writes.STAY, order_ids, ["EUR/USD"], [""], ["{}"]),
        route("OPEN", "PENDING"),
        {"another claim has chosen": {"route_state": "'HERE'"},
         "it has ended": status("CANCELLED")},
    ),
    "look for failed ones": Guard(
        with_list(route_writes.FAILED), FAILED,
        {"it is the last account": {"route_state": "'LAST'"},
         "it is retried": status("PENDING")},
    ),
    "still wanted": Guard(
        running(route_writes.STILL_WANTED, ids=order_ids, proven_unsent=[NEVER],
                now=lambda _: market_now()),
        FAILED,
        {"it may have been executed": {"reason": "'ORDER_PROCESSING_FAILED'"},
         "its time is over": {"own_valid_until": EARLIER}},
        {"its time is not over": {"own_valid_until": LATER}},
    ),
    "end of a route": Guard(
        lambda ids: route_writes.end_routes([ids["order"]], detail=""), FAILED,
        SENT | {"it is the last account": {"route_state": "'LAST'"}},
    ),
}  # fmt: skip


def test_routed_entry_is_moved_only_as_it_was_chosen(routed: Ids) -> None:
    expect_guards(ROUTES, routed)


# ---- remembered parts ----------------------------------------------------------------------------
@pytest.fixture
def part(alice: ExecutionConnection, feed: Feed) -> Ids:
    """An entry that has filled 40 of 100, of which half is to be closed once it has ended."""
    filled_in_part(feed)
    position = rows("SELECT id FROM positions_executionposition")[0].id
    return {"order": Order.objects.get().pk, "position": position}


HALF = status("CANCELLED", filled_quantity="40", close_fraction="0.5", close_offset="0")
PARTS: dict[str, Guard] = {
    "part that is due": Guard(
        with_list(partial_closes.LOCK_DUE), HALF,
        {"it still works": status("PARTIALLY_FILLED"),
         "it is written": {"close_offset": "20"},
         "none is remembered": {"close_fraction": NONE, "close_offset": NONE}},
        {"it is full": status("FILLED")},
    ),
    "exit of a part": Guard(
        with_list(partial_closes.DUE_PARTS, order_ids), HALF,
        {"it is written": {"close_offset": "20"},
         "its position is closed": {"position.quantity": "0", "position.reserved": "0"}},
    ),
    "part of what fills later": Guard(
        running(partial_closes.REMEMBER, refers_to=lambda ids: Order.objects.get().signal_id,
                fraction=D("0.5"), signal_id=lambda ids: Order.objects.get().signal_id, detail=""),
        status("PARTIALLY_FILLED"),
        {"it is full": status("FILLED"), "it was skipped": status("SKIPPED"),
         "it was denied": status("DENIED"),
         "it is a planned slice": status("PENDING", leg="'entry-2'")},
        {"it waits": status("PENDING"), "it may fill late": status("CANCELLED"),
         "its earlier part is not written": status(
             "FILLED", close_fraction="0.5", close_offset="0")},
    ),
}  # fmt: skip


def test_remembered_part_is_closed_once(part: Ids) -> None:
    expect_guards(PARTS, part)


@pytest.mark.parametrize(
    ("quantity", "reserved", "due"),
    [(40, 0, "20"), (40, 20, "10"), (30, 0, "15"), (40, 39, "0.5"), (10, 0, "5")],
)
def test_part_is_one_of_what_is_open_and_free(
    part: Ids, quantity: int, reserved: int, due: str
) -> None:
    factories.force(
        "UPDATE execution_order SET status = 'CANCELLED', done_at = clock_timestamp(),"
        " close_fraction = 0.5, close_offset = 0"
    )
    run("UPDATE positions_executionposition SET quantity = %s, reserved = %s",
        (quantity, reserved))  # fmt: skip
    [row] = rows(partial_closes.DUE_PARTS, ([part["order"]],))
    assert (row.position_id, row.quantity) == (part["position"], D(due))
