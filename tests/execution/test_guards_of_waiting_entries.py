"""Decisions about an entry that waits write only while it is as they have seen it."""

from collections.abc import Mapping
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from common.reason_codes import Code
from common.sql import record_arrays, run
from connections.models import ExecutionConnection
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
    Guard,
    Ids,
    connection_ids,
    except_for,
    expect_guards,
    order_ids,
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


@pytest.mark.parametrize(
    "table",
    [CLAIM, QUEUE],
    ids=["claim", "queue"],
)
def test_decision_writes_only_waiting_entries_as_seen(ids: Ids, table: Mapping[str, Guard]) -> None:
    expect_guards(table, ids)
