"""Decisions about an entry that was sent write only while it is as they have seen it."""

from collections.abc import Mapping
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import run
from connections.models import ExecutionConnection
from connections.session_lanes import held_lanes_parameters
from execution import cancels, order_retries
from execution.models import Order
from execution.monitoring import condition_exits, loss_limits, pending_actions
from execution.recovery import stale_orders, sweeps
from execution.reports import sql as reports_sql
from execution.reports import terms
from execution.submission import (
    deferral_sql,
)
from signals.models import Feed
from tests.execution import factories
from tests.execution.guards import (
    EARLIER,
    LATER,
    NONE,
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


PENDING = status("PENDING", reason="''", due_at=EARLIER)


def leased(statement: str, *parameters: Any) -> Any:
    def write(ids: Ids) -> object:
        for name, until in (("process-live", LATER), ("process-ended", EARLIER)):
            factories.live_lease(name)
            run(f"UPDATE execution_workerlease SET lease_until = {until} WHERE id = %s", (name,))
        return with_list(statement, *parameters)(ids)

    return write


UNKNOWN = status("UNKNOWN", lookup_after=EARLIER, lookup_claimed_until=NONE)
LOOK_UPS: dict[str, Guard] = {
    "take-over": Guard(
        leased(sweeps.MARK_ORPHANED_UNKNOWN, "process-2"),
        status("SUBMITTING", answer_by=LATER, worker_id="'process-dead'"),
        except_for("SUBMITTING") | {"its process lives": {"worker_id": "'process-live'"}},
        {
            "its answer is late": {"answer_by": EARLIER, "worker_id": "'process-live'"},
            "its process's lease has ended": {"worker_id": "'process-ended'"},
        }, moves_fence=True),
    "end of a dead process's claim": Guard(
        leased(sweeps.RELEASE_CLAIMS),
        UNKNOWN | {"lookup_claimed_until": LATER, "worker_id": "'process-dead'"},
        {
            "its process lives": {"worker_id": "'process-live'"},
            "its claim has ended": {"lookup_claimed_until": EARLIER},
            "it needs no look-up": {"lookup_after": NONE},
        },
        {"its process's lease has ended": {"worker_id": "'process-ended'"}},
    ),
    "look-up": Guard(
        running(sweeps.CLAIM_LOOKUPS, first=1, longest=1, claim=30, worker_id="",
                **held_lanes_parameters()),
        UNKNOWN,
        {
            "it is not due": {"lookup_after": LATER},
            "it needs none": {"lookup_after": NONE},
            "another process asks": {"lookup_claimed_until": LATER},
        },
        {"another process has asked": {"lookup_claimed_until": EARLIER}},
    ),
    "look-up at once": Guard(
        with_list(deferral_sql.WAKE_LOOK_UPS, connection_ids),
        UNKNOWN | {"lookup_after": LATER},
        {
            "an absence is confirmed": {"absence_confirmations": "1"},
            "it is being sent": {"status": "'SUBMITTING'"},
            "it is due": {"lookup_after": EARLIER},
        },
    ),
    "first absence": Guard(
        running(sweeps.CONFIRM_ABSENCE, ids=order_ids, fences=[7], absence_confirmations=[0],
                sure=[False], gap=60),
        UNKNOWN | {"fence": "7"},
        except_for("UNKNOWN")
        | {
            "another process owns it": {"fence": "8"},
            "it was read before": {"fence": "6"},
            "another one has confirmed": {"absence_confirmations": "1"},
        },
    ),
    "second absence": Guard(
        running(sweeps.CONFIRM_ABSENCE, ids=order_ids, fences=[7], absence_confirmations=[1],
                sure=[False], gap=60),
        UNKNOWN | {"fence": "7", "absence_confirmations": "1"},
        except_for("UNKNOWN")
        | {
            "another process owns it": {"fence": "8"},
            "it was sent again": {"absence_confirmations": "0"},
            "another one has confirmed": {"absence_confirmations": "2"},
        }, moves_fence=True),
    "given up": Guard(
        with_list(sweeps.GIVE_UP, order_ids),
        status("EXPIRED", lookup_after=EARLIER),
        {"it is answered": {"lookup_after": NONE}}
        | {f"it is {name}": STATES[name] for name in ("UNKNOWN", "SUBMITTING", "SUBMITTED")},
    ),
}  # fmt: skip

AT_BROKER = ("SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED")
MAY_BE_STUCK = status(
    "SUBMITTED", reason="''", order_type="'MARKET'", acknowledged_at=EARLIER, submitted_at=EARLIER
)
UNANSWERED = status(
    "SUBMITTED", pending_action="'CANCEL'", pending_action_attempts="4", reason="''"
)


def also(*names: str) -> dict[str, dict[str, str]]:
    return {f"it is {name}": STATES[name] for name in names}


BROKER: dict[str, Guard] = {
    "stuck": Guard(
        running(stale_orders.LOOK_UP_STUCK, stuck=60, answer=10),
        MAY_BE_STUCK,
        except_for("SUBMITTED", "PARTIALLY_FILLED")
        | {
            "it is being cancelled": {"pending_action": "'CANCEL'"},
            "it is known": {"reason": "'STUCK'"},
            "it is escalated": {"reason": "'STUCK_ESCALATED'"},
            "it may rest": {"order_type": "'LIMIT'", "time_in_force": "'GTC'"},
            "it is new": {"acknowledged_at": NOW},
            "its broker made it": {"client_order_id": NONE},
        },
        also("PARTIALLY_FILLED")
        | {"it is IOC": {"order_type": "'LIMIT'", "time_in_force": "'IOC'"}},
    ),
    "stuck for long": Guard(
        running(stale_orders.HANDLE_STUCK),
        MAY_BE_STUCK | {"reason": "'STUCK'", "due_at": EARLIER},
        except_for("SUBMITTED", "PARTIALLY_FILLED")
        | {
            "it is being cancelled": {"pending_action": "'CANCEL'"},
            "it is handled": {"reason": "'STUCK_ESCALATED'"},
            "its look-up may be answered": {"due_at": LATER},
        },
        also("PARTIALLY_FILLED"),
    ),
    "cancel without an answer": Guard(
        running(stale_orders.ALERT_UNANSWERED_CANCELS, tries=4, seconds=60),
        UNANSWERED,
        except_for(*AT_BROKER)
        | {
            "no cancel is requested": {"pending_action": "''"},
            "it is new": {"pending_action_attempts": "3", "pending_action_since": NOW},
        },
        also("PARTIALLY_FILLED", "CANCEL_REQUESTED")
        | {"it is old": {"pending_action_attempts": "1", "pending_action_since": EARLIER}},
    ),
    "end of its signal": Guard(
        lambda ids: sweeps.cancel_expired_working(),
        status("SUBMITTED", own_valid_until=EARLIER),
        except_for("SUBMITTED", "PARTIALLY_FILLED")
        | {
            "it was prolonged": {"own_valid_until": LATER},
            "it has no end": {"own_valid_until": NONE},
            "it is being cancelled": {"pending_action": "'CANCEL'"},
            "its broker ends it": {"own_valid_until": NOW, "expires_at": NOW},
        },
        also("PARTIALLY_FILLED")
        | {
            "its broker has not": {"expires_at": "own_valid_until"},
            "its broker ends it later": {
                "own_valid_until": f"{NOW} - interval '20 s'", "expires_at": LATER,
            },
        },
    ),
    "terms of its broker": Guard(
        with_list(
            terms.WRITE_TERMS,
            lambda ids: [Order.objects.get().client_order_id], connection_ids, [60], [None],
            [None],
        ),
        status("SUBMITTED"),
        except_for(*AT_BROKER),
        also("PARTIALLY_FILLED", "CANCEL_REQUESTED"),
    ),
    "cancel of one that is live again": Guard(
        with_list(reports_sql.NOTIFY_UNEXPECTEDLY_LIVE, order_ids, [True]),
        status("SUBMITTED"),
        {"a close is requested": {"pending_action": "'CLOSE'"}},
        ignored=("event",),
    ),
}  # fmt: skip
A_REQUEST = ("log line", "due_at", "pending_action_attempts")  # what each request writes
WORKS = status("SUBMITTED", pending_action="'CANCEL'", pending_action_attempts="0")
CANCELS: dict[str, Guard] = {
    "cancel of an unsent one": Guard(
        running(cancels.CANCEL_PENDING, ids=order_ids, detail=""),
        PENDING,
        except_for("PENDING"),
        moves_fence=True,
    ),
    "pending action of an unsent one": Guard(
        with_list(pending_actions.CANCEL_UNSENT, order_ids),
        PENDING | {"pending_action": "'CANCEL'"},
        except_for("PENDING"), moves_fence=True),
    "cancel was requested": Guard(
        with_list(pending_actions.CANCEL_REQUESTED, order_ids), WORKS,
        except_for("SUBMITTED", "PARTIALLY_FILLED")
        | {"it was taken back": {"pending_action": "''"}},
        also("PARTIALLY_FILLED"), ignored=(*A_REQUEST, "lookup_after")),
    "look-up after two cancels": Guard(
        with_list(pending_actions.CANCEL_REQUESTED, order_ids),
        WORKS | {"pending_action_attempts": "2"},
        {f"it is {name}": STATES[name] for name in ("FILLED", "CANCELLED", "EXPIRED")}
        | {"there was one": {"pending_action_attempts": "1"},
           "it was taken back": {"pending_action": "''"}},
        ignored=(*A_REQUEST, "status")),
    "cancel was not sent": Guard(
        with_list(pending_actions.CANCEL_NOT_SENT, order_ids),
        WORKS,
        {"no cancel is wanted any more": {"pending_action": "''"}},
    ),
    "cancel was not begun": Guard(
        with_list(pending_actions.CANCEL_NOT_STARTED, order_ids),
        WORKS,
        {"no cancel is wanted any more": {"pending_action": "''"}},
    ),
    "its condition holds": Guard(
        with_list(condition_exits.END_ENTRIES, order_ids, ["after S-1"]),
        status("SUBMITTED"),
        {
            "it is being cancelled": {"pending_action": "'CANCEL'"},
            "its cancel is requested": STATES["CANCEL_REQUESTED"],
            **{f"it is {name}": STATES[name] for name in ("FILLED", "CANCELLED", "FAILED")},
        },
        also("PENDING", "SUBMITTING", "UNKNOWN", "PARTIALLY_FILLED"),
    ),
    "loss limit": Guard(
        running(loss_limits.WITHDRAW, connection_id=lambda ids: connection_ids(ids)[0],
                feed_id=None),
        status("SUBMITTED"),
        except_for("SUBMITTING", "UNKNOWN", *AT_BROKER),
        also("SUBMITTING", "UNKNOWN", "PARTIALLY_FILLED", "CANCEL_REQUESTED")
        | {"it is looked up": status("EXPIRED", lookup_after=EARLIER)},
    ),
    "retry": Guard(
        running(order_retries.RETRY, id=lambda ids: ids["order"], detail="",
                now=lambda _: market_now()),
        status("FAILED", reason="'NEVER_ARRIVED'"),
        except_for("FAILED")
        | {
            "it has no attempt left": {"attempt": "9"},
            "it was restored": {"reason": "'RESTORED_EXIT'"},
            "its route has moved it": {
                "route_state": "'MOVED'", "routed_from_id": "connection_id",
            },
        }, moves_fence=True),
}  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [LOOK_UPS, BROKER, CANCELS],
    ids=["look-ups", "broker", "cancels"],
)
def test_decision_writes_only_sent_entries_as_seen(ids: Ids, table: Mapping[str, Guard]) -> None:
    expect_guards(table, ids)
