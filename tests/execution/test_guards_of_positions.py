"""Decisions about a position and its exits write only while both are as they have seen them."""

from collections.abc import Mapping
from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import database_now, rows, run
from connections.models import ExecutionConnection
from connections.session_lanes import held_lanes_parameters
from execution.disaster_recovery import sql as restore_sql
from execution.exits import orders as exits
from execution.exits.orders import ExitRequest, open_exits
from execution.models import Order
from execution.monitoring import broker_positions, level_sync
from execution.submission import deferral_sql
from positions import broker_levels, broker_reads, condition_exits, protection, time_exits
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution.guards import (
    EARLIER,
    LATER,
    NONE,
    NOW,
    Guard,
    Ids,
    connection_ids,
    except_for,
    expect_guards,
    order_ids,
    position_ids,
    running,
    status,
    with_list,
)
from tests.execution.halfway import exit_waiting

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(alice: ExecutionConnection, feed: Feed) -> Ids:
    """A position of 100 at 1.2 with a stop at 1.09, and an exit of 50 that waits."""
    exit_waiting(feed)
    run("UPDATE positions_executionposition SET broker_position_id = 'T1'")
    return {
        "order": Order.objects.get(leg="close-1").pk,
        "position": ExecutionPosition.objects.get().pk,
    }


def of(**columns: str) -> dict[str, str]:
    return {f"position.{name}": value for name, value in columns.items()}


def opens_exit(leg: str) -> Any:
    return lambda ids: open_exits([ExitRequest(ids["position"], leg)])


CLOSED = {"it is closed": of(quantity="0", reserved="0")}
TAKEN = {"exits take all of it": of(reserved="quantity")}
PENDING = status("PENDING", due_at=EARLIER)
READ = of(broker_checked_at=EARLIER, last_activity_at=EARLIER)


def reserves(quantity: int) -> Any:
    """Return a write that reserves this much, as was free when it was decided."""

    def write(ids: Ids) -> list[Any]:
        values = (ids["position"], D(quantity), "{close-2}", f"{{{quantity}}}", "CLOSE", "", None)
        return rows(exits.WRITE, [[value] for value in values])

    return write


EXITS: dict[str, Guard] = {
    "reservation": Guard(
        reserves(40), {},
        CLOSED | {"another exit has reserved too much": of(reserved="61")},
        {"another exit leaves as much": of(reserved="60")},
    ),
    "exit of what is free": Guard(opens_exit("close"), {}, CLOSED | TAKEN),
    "next target": Guard(
        opens_exit("tp-2"),
        of(tp_number="2"),
        CLOSED | TAKEN | {
            "it is the target after": of(tp_number="3"),
            "it has a live exit": {"leg": "'tp-2'"},
            "the one that failed is repeated": {"leg": "'tp-2.2'"},
        },
        {"its exit has ended": status("REJECTED", leg="'tp-2'")},
    ),
    "exit may be sent after its read": Guard(
        with_list(broker_positions.UNBLOCKED, position_ids),
        PENDING | {"due_at": LATER},
        except_for("PENDING") | {"its broker was not reached": {"send_retries": "1"}},
    ),
    "release of a restored exit": Guard(
        running(restore_sql.RELEASE_EXIT, id=lambda ids: ids["order"]),
        status("FAILED", reason="'RESTORED_EXIT'") | of(reserved="50"),
        except_for("FAILED")
        | CLOSED
        | {
            "it failed otherwise": {"reason": "'NEVER_ARRIVED'"},
            "another exit takes too much": of(reserved="51"),
        }, moves_fence=True),
    "what an exit needs": Guard(
        with_list(deferral_sql.REQUEST_PREREQUISITES, order_ids, [True]),
        of(protection_suspended="false", broker_check_due_at=NONE),
        {},
    ),
    "levels are placed again": Guard(
        with_list(deferral_sql.RESTORE_LEVELS, order_ids),
        of(protection_suspended="true"),
        {"they are": of(protection_suspended="false")},
    ),
    "closing time": Guard(
        lambda ids: rows(f"SELECT id FROM ({time_exits.due_sql('')}) due", {"now": database_now()}),
        of(close_at=EARLIER),
        CLOSED | TAKEN | {
            "it has not come": of(close_at=LATER),
            "it has none": of(close_at=NONE),
        },
    ),
    "condition can no longer hold": Guard(
        with_list(condition_exits.MARK_OVER_SQL, position_ids),
        of(close_when_signal_id="signal_id", close_when_state="'FILLED'", close_when_over="false"),
        CLOSED | {
            "it is stated": of(close_when_over="true"),
            "a MODIFY has removed it": of(close_when_signal_id=NONE, close_when_state="''"),
        },
    ),
}  # fmt: skip


def stored_read(ids: Ids) -> None:
    [row] = rows("SELECT clock_timestamp() - interval '10 s' AS began")
    read = broker_reads.BrokerRead(ids["position"], row.began, D(30), "", is_shared=False)
    broker_reads.store_reads([read])


def missed() -> Any:
    return with_list(
        broker_reads.missed_levels_sql(take_over_seconds=60, valid_seconds=100, unread_seconds=1000)
    )


def ago(seconds: int) -> str:
    return f"{NOW} - interval '{seconds} s'"


BREACHED = of(
    breached_since=ago(600), breached_level="'sl'", broker_quantity="100", broker_checked_at=ago(5)
)
READS: dict[str, Guard] = {
    "read of its broker": Guard(
        stored_read,
        of(broker_checked_at=ago(20)),
        {
            "a later read was stored": of(broker_checked_at=LATER),
        },
        {"it was not read before": of(broker_checked_at=NONE)},
    ),
    "claim of a read": Guard(
        running(
            broker_reads.CLAIM_READS_SQL + " SELECT id FROM claimed", longest=30, reading=[],
            **held_lanes_parameters(),
        ),
        of(broker_check_due_at=EARLIER),
        {"it is not due": of(broker_check_due_at=LATER), "none is": of(broker_check_due_at=NONE)},
        {"it is closed": of(quantity="0", reserved="0")},
    ),
    "read that failed": Guard(
        with_list(broker_reads.RETRY_READS, position_ids),
        of(broker_check_due_at=LATER),
        {"another read was stored": of(broker_check_due_at=NONE)},
    ),
    "broker's id": Guard(
        lambda ids: broker_reads.set_broker_position_ids({
            (str(p.connection_id), p.signal_id, p.entry_leg, "T2")
            for p in ExecutionPosition.objects.all()
        }),
        of(broker_position_id="''"),
        {"it has one": of(broker_position_id="'T1'")},
    ),
    "read of a breached level": Guard(
        lambda ids: run(broker_reads.read_breached_sql(take_over_seconds=60, valid_seconds=100)),
        BREACHED | of(broker_checked_at=ago(200), broker_check_due_at=NONE),
        TAKEN | {
            "the breach is new": of(breached_since=ago(1)),
            "it is over": of(breached_since=NONE),
            "a read is due": of(broker_check_due_at=LATER),
            "it was read just now": of(broker_checked_at=ago(5)),
        },
        {"it was not read": of(broker_checked_at=NONE)},
    ),
    "missed level": Guard(
        missed(),
        BREACHED,
        TAKEN | {
            "the breach is new": of(breached_since=ago(1)),
            "its broker has executed it": of(broker_quantity="0"),
            "it was read too early": of(broker_checked_at=ago(101)),
            "it was read before": of(broker_checked_at=ago(601)),
        },
        {"its broker cannot be read": of(breached_since=ago(1100), broker_checked_at=NONE),
         "nor since": of(breached_since=ago(1100), broker_checked_at=ago(1200))},
    ),
    "mark as missing": Guard(
        lambda ids: broker_reads.mark_missing([ids["position"]], database_now()),
        of(missing_since=NONE),
        CLOSED | {
            "it was missing before": of(missing_since=ago(5), last_activity_at=ago(9)),
        },
        {"it was active since": of(missing_since=ago(9), last_activity_at=ago(5))},
    ),
    "mark of a found one": Guard(
        with_list(broker_reads.UNMARK_MISSING, connection_ids, []),
        of(missing_since=EARLIER),
        CLOSED | {"it has none": of(missing_since=NONE)},
    ),
}  # fmt: skip
HELD = of(sl_guardian="'BROKER'", broker_sl="1.08", levels_reported_at=EARLIER,
          broker_sl_quantity=NONE, level_sync_due_at=NONE, last_activity_at=EARLIER)  # fmt: skip
SAME = {"its broker has it": of(broker_sl="sl")}
LEVELS: dict[str, Guard] = {
    "claim of a level": Guard(
        running(
            broker_levels.CLAIM_LEVELS_SQL + " SELECT id FROM p", longest=30,
            **held_lanes_parameters(),
        ),
        HELD,
        CLOSED | SAME | {
            "another process moves it": of(level_sync_due_at=LATER),
            "we guard it": of(sl_guardian="'ENGINE'"),
            "it is given up": of(levels_given_up="true"),
            "it is new": of(levels_reported_at=NONE, last_activity_at=LATER),
        },
        {
            "the claim has ended": of(level_sync_due_at=EARLIER),
            "it covers a part": of(broker_sl="sl", broker_sl_quantity="50"),
            "it is removed for an exit": of(broker_sl="sl", protection_suspended="true"),
        },
    ),
    "level that its broker dropped": Guard(
        with_list(level_sync.GIVE_UP, position_ids),
        HELD | of(broker_sl=NONE),
        CLOSED | SAME | {
            "its levels are removed": of(protection_suspended="true"),
            "its answer is awaited": of(levels_reported_at=NONE),
        },
    ),
    "level that its broker refuses": Guard(
        with_list(level_sync.TAKE_OVER_LEVELS, position_ids),
        HELD,
        CLOSED | {
            "its levels are removed": of(protection_suspended="true"),
            "we guard them": of(sl_guardian="'ENGINE'", tp_guardian="''"),
        },
    ),
    "next read of an exit": Guard(
        with_list(broker_levels.REQUEST_NEXT_READ, position_ids),
        of(protection_suspended="true"),
        CLOSED | {"its levels are placed again": of(protection_suspended="false")},
    ),
    "levels that are settled": Guard(
        lambda ids: broker_levels.settle_levels(
            ids["position"], "1.07", None, take_sl=True, take_tp=False
        ),
        HELD,
        CLOSED,
    ),
    "beginning of an unprotected time": Guard(
        lambda ids: protection.begin_unprotected([
            protection.UnprotectedPosition(ids["position"], database_now(), "STOP_DROPPED")
        ]),
        of(unprotected_since=NONE),
        CLOSED | {"it has begun": of(unprotected_since=EARLIER)},
    ),
    "alert of an unprotected time": Guard(
        lambda ids: rows(protection.mark_alerted_sql(60, 10)),
        of(unprotected_since=ago(61), unprotected_alerted="false"),
        {
            "it is too short": of(unprotected_since=ago(1)),
            "it was alerted": of(unprotected_alerted="true"),
            "it is over": of(unprotected_since=NONE),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("table", [EXITS, READS, LEVELS], ids=["exits", "reads", "levels"])
def test_decision_writes_only_positions_as_seen(ids: Ids, table: Mapping[str, Guard]) -> None:
    expect_guards(table, ids)
