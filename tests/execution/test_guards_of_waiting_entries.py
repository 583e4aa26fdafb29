"""Decisions about an entry that waits write only while it is as they have seen it."""

from collections.abc import Mapping
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import record_arrays, run
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import fan_out_sql
from execution.models import Order
from execution.recovery import isolation, sweeps
from execution.submission import (
    aggregate_rows,
    claim_sql,
    claim_writes,
    conditions,
    deferral_sql,
    halted,
    quarantine,
)
from signals.models import Feed
from tests.execution.guards import (
    EARLIER,
    LATER,
    NOW,
    STATES,
    Guard,
    Ids,
    connection_ids,
    except_for,
    expect_guards,
    order_ids,
    running,
    status,
    with_list,
)
from tests.execution.halfway import sent

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(alice: ExecutionConnection, feed: Feed) -> Ids:
    """An entry of 100 that is being sent by a process without a lease."""
    sent(feed)
    return {"order": Order.objects.get().pk}


def signal_id(ids: Ids) -> Any:
    return Order.objects.get(pk=ids["order"]).signal_id


def decided(name: str) -> Any:
    def write(ids: Ids) -> object:
        record = claim_writes.DecisionRecord(
            id=ids["order"], status=name, reason="", detail="", numbers="{}", symbol="EURUSD",
            limit_price=None, stop_price=None, client_order_id="ABC0", quantity=D(100),
        )  # fmt: skip
        return claim_writes.write_records([record], "process-2", answer_within=10)

    return write


def held(ids: Ids) -> object:
    record = claim_writes.HeldRecord(ids["order"], "STOP", 5.0, is_known=False)
    return run(claim_writes.AWAIT_TRIGGERS, record_arrays(claim_writes.HeldRecord, [record]))


PENDING = status("PENDING", reason="''", due_at=EARLIER)
GROUP = "'00000000-0000-0000-0000-000000000001'"
ROUTED = {"route_state": "'HERE'", "routed_from_id": "connection_id"}

CLAIM = {
    "intent": Guard(decided("SUBMITTING"), PENDING, except_for("PENDING"), moves_fence=True),
    "denial": Guard(decided("DENIED"), PENDING, except_for("PENDING"), moves_fence=True),
    "trigger is awaited": Guard(
        held,
        PENDING | {"order_type": "'STOP'"},
        except_for("PENDING")
        | {
            "its trigger has fired": {"order_type": "'MARKET'"},
            "it is the leg that fired": {"oco_group": GROUP, "oco_fired": "true"},
        },
    ),
    "deferral": Guard(
        with_list(deferral_sql.DEFER, order_ids, ["NOT_CONNECTED"], [""], [5.0]),
        PENDING,
        except_for("PENDING"),
    ),
    "quarantine": Guard(
        lambda ids: quarantine.quarantine_order(ids["order"], ValueError("x")),
        PENDING,
        except_for("PENDING"),
    ),
    "left for later": Guard(
        with_list(isolation.LEAVE, 5, order_ids), PENDING, except_for("PENDING")
    ),
    "condition is met": Guard(
        with_list(conditions.MEET, order_ids, lambda _: [market_now()], ["at its time"]),
        PENDING | {"awaits_condition": "true"},
        except_for("PENDING") | {"another claim has met it": {"awaits_condition": "false"}},
    ),
    "guest of an aggregate": Guard(
        with_list(aggregate_rows.WAITING, connection_ids, []),
        PENDING | {"reason": f"'{Code.AGGREGATION_AWAITED.value}'"},
        except_for("PENDING")
        | {
            "it waits for something else": {"reason": "'NOT_CONNECTED'"},
            "it is to be cancelled": {"pending_action": "'CANCEL'"},
        },
    ),
    "oldest that waits for a command": Guard(
        with_list(claim_sql.OLDEST_WAITING, connection_ids, "X"),
        PENDING | {"reason": "'X'"},
        except_for("PENDING")
        | {
            "it waits for something else": {"reason": "'Y'"},
            "it is to be cancelled": {"pending_action": "'CANCEL'"},
        },
    ),
}
_UNDECIDED_BY_HALTS = except_for("PENDING") | {
    "it is to be cancelled": {"pending_action": "'CANCEL'"},
    "it is not due": {"due_at": LATER},
    "it awaits a condition": {"awaits_condition": "true"},
    "a route chooses its account": ROUTED,
    "its pair is held": {"oco_group": GROUP},
    "it awaits its trigger": {"reason": "'AWAITING_TRIGGER'", "order_type": "'STOP'"},
}
_DENIED_BY_HALTS = {
    "its trigger has fired": {"reason": "'TRIGGERED'"},
    "it is the leg that fired": {"oco_group": GROUP, "oco_fired": "true"},
}
QUEUE = {
    f"halt, {name}": Guard(write, PENDING, _UNDECIDED_BY_HALTS, _DENIED_BY_HALTS)
    for name, write in {
        "of its bundle": with_list(halted.OF_BUNDLE, order_ids),
        "of all": with_list(halted.ALL_DUE),
        "with the lock": with_list(halted.LOCK, order_ids),
    }.items()
} | {
    "due row": Guard(
        lambda ids: sweeps.due(10),
        PENDING | {"enqueued_at": EARLIER},
        except_for("PENDING")
        | {
            "it is not due": {"due_at": LATER},
            "it is to be cancelled": {"pending_action": "'CANCEL'"},
            "its message is on its way": {"enqueued_at": LATER},
        },
    ),
    "still due": Guard(
        with_list(deferral_sql.STILL_DUE, order_ids),
        PENDING,
        except_for("PENDING")
        | {
            "it is not due": {"due_at": LATER},
            "it is to be cancelled": {"pending_action": "'CANCEL'"},
            "it awaits its trigger": {"reason": "'AWAITING_TRIGGER'"},
            "it awaits its condition": {"reason": "'AWAITING_CONDITION'"},
        },
    ),
    "wake": Guard(
        with_list(deferral_sql.WAKE, connection_ids, ["NOT_CONNECTED"]),
        PENDING | {"reason": "'NOT_CONNECTED'", "due_at": LATER},
        except_for("PENDING")
        | {"it waits for something else": {"reason": "'X'"}, "it is due": {"due_at": EARLIER}},
    ),
    "wake of a cancel": Guard(
        with_list(deferral_sql.WAKE_CANCELS, connection_ids, 5),
        status("SUBMITTED", pending_action="'CANCEL'", due_at=LATER),
        {
            "it is not cancelled": {"pending_action": "''"},
            "it is due soon": {"due_at": f"{NOW} + interval '3 s'"},
        },
    ),
}
MAY_FILL = except_for("PENDING", "FILLED", "SKIPPED", "DENIED")  # also late, after its end
FOLLOW_UPS = {
    "own levels give way to those of a MODIFY": Guard(
        running(fan_out_sql.DROP_OWN_LEVELS, refers_to=signal_id, sl=True, targets=True),
        PENDING | {"own_stop_loss": "1.08"},
        {f"it is {name}": STATES[name] for name in ("FILLED", "SKIPPED", "DENIED")}
        | {"it has none": {"own_stop_loss": "NULL"}},
        MAY_FILL | {"it is a target": {"own_stop_loss": "NULL", "own_take_profit": "1.2"}},
    ),
    "entry that may still fill": Guard(
        with_list(fan_out_sql.LOCK_UNFILLED, signal_id),
        PENDING,
        {f"it is {name}": STATES[name] for name in ("FILLED", "SKIPPED", "DENIED")},
        MAY_FILL
        | {"a part of it is still to be closed": status("FILLED", close_fraction="0.5",
                                                        close_offset="0")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [CLAIM, QUEUE, FOLLOW_UPS],
    ids=["claim", "queue", "follow-ups"],
)
def test_decision_writes_only_waiting_entries_as_seen(ids: Ids, table: Mapping[str, Guard]) -> None:
    expect_guards(table, ids)


@pytest.mark.parametrize(("sl", "targets"), [(True, False), (False, True), (True, True)])
def test_modify_drops_only_the_own_levels_that_it_sets(ids: Ids, sl: bool, targets: bool) -> None:
    Order.objects.update(own_stop_loss=D("1.08"), own_take_profit=D("1.2"))
    parameters = {"refers_to": signal_id(ids), "sl": sl, "targets": targets}
    assert run(fan_out_sql.DROP_OWN_LEVELS, parameters) == 1
    order = Order.objects.get()
    assert (order.own_stop_loss is None, order.own_take_profit is None) == (sl, targets)
