"""What is read of an account late, and decided late about its entries, overwrites nothing newer."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import AccountState, PositionMode
from common.db.sql import database_now, rows, run
from connections.accounts.snapshots import store_account_state
from connections.health.reconciliation import mark_reconciled
from connections.health.status_updates import mark_errors
from connections.models import ExecutionConnection
from execution.changes import passed_entries
from execution.decision_step import asking
from execution.disaster_recovery import sql as restore_sql
from execution.models import Order
from execution.submission.claim_sql import LOCK_ORDERS
from signals.models import Feed
from tests.execution import factories
from tests.execution.guards import (
    EARLIER,
    LATER,
    NONE,
    STATES,
    Guard,
    Ids,
    except_for,
    expect_guards,
    order_ids,
    running,
    status,
)
from tests.execution.halfway import accepted

pytestmark = pytest.mark.django_db
AT_BROKER = ("SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED")


@pytest.fixture
def ids(alice: ExecutionConnection, feed: Feed) -> Ids:
    """An entry at its broker, and its account."""
    accepted(feed)
    assert rows(LOCK_ORDERS, ([Order.objects.get().pk],))
    run("INSERT INTO connections_lanelease (lane, owner, fence, acquired_at, until)"
        " VALUES ('lane', 'one', 1, clock_timestamp(), clock_timestamp())")  # fmt: skip
    return {
        "order": Order.objects.get().pk, "health": alice.pk, "snapshot": alice.pk,
        "connection": alice.pk, "lane": "lane",
    }  # fmt: skip


def of(kind: str, **columns: str) -> dict[str, str]:
    return {f"{kind}.{name}": value for name, value in columns.items()}


def half_an_hour_ago() -> datetime:
    return database_now() - timedelta(minutes=30)


def read_before(ids: Ids) -> None:
    at = half_an_hour_ago()
    state = AccountState("1", "USD", D(1), D(1), D(0), D(1), D(30), PositionMode.HEDGING, at)
    store_account_state(ids["snapshot"], state, read_at=at)


def failed_before(ids: Ids) -> None:
    account = ids["health"]
    mark_errors([(account, "refused")], began={account: half_an_hour_ago()})


OLD = dict.fromkeys(("errored_at", "last_tested_at", "monitored_since"), EARLIER)
ACCOUNTS: dict[str, Guard] = {
    "state of an account": Guard(
        read_before, of("snapshot", read_at=EARLIER),
        {"a later one is stored": of("snapshot", read_at=LATER)},
    ),
    "error of an account": Guard(
        failed_before, of("health", last_tested_at=EARLIER, test_requested_at=NONE),
        {"it was tested since": of("health", last_tested_at=LATER),
         "a test is requested since": of("health", test_requested_at=LATER)},
        {"it was never tested": of("health", last_tested_at=NONE)},
    ),
    "comparison": Guard(
        lambda ids: mark_reconciled([ids["health"]], half_an_hour_ago()),
        of("health", reconciled_at=NONE, **OLD) | of("lane", acquired_at=EARLIER),
        {"it was in error since": of("health", errored_at=LATER),
         "it was tested since": of("health", last_tested_at=LATER),
         "it was switched on since": of("health", monitored_since=LATER),
         "another process has its lane since": (
             of("lane", acquired_at=LATER) | of("connection", lane="'lane'")),
         "it is compared": of("health", reconciled_at=EARLIER)},
        {"its lane is as old": of("connection", lane="'lane'")},
    ),
}  # fmt: skip


def answered(ids: Ids) -> Any:
    values = (
        ids["order"], ids["connection"], None, "provider", D(1), "", "", "", 5,
        half_an_hour_ago(), 0, "{}",
    )  # fmt: skip
    return rows(asking.STORE, [[value] for value in values])


def passed(ids: Ids) -> Any:
    return run(passed_entries._CANCEL, {"ids": order_ids(ids), "details": [""], "figures": ["{}"]})


AWAITED = status("PENDING", reason="'DECISION_AWAITED'", due_at=LATER)
NO_ID = {"client_order_id": NONE}
_RESTORED = {"ids": order_ids, "detail": "restored"}
ENTRIES: dict[str, Guard] = {
    "answer of a decision provider": Guard(
        answered, AWAITED,
        except_for("PENDING") | {"it waits for something else": {"reason": "'NOT_CONNECTED'"}},
    ),
    "level that has passed its price": Guard(
        passed, status("SUBMITTED"),
        {f"it is {name}": STATES[name] for name in STATES
         if name not in ("PENDING", "SUBMITTING", "UNKNOWN", *AT_BROKER)},
        {f"it is {name}": STATES[name] for name in ("PENDING", "SUBMITTING", "UNKNOWN")},
    ),
    "restored entry without an id": Guard(
        running(restore_sql.END_ENTRIES, **_RESTORED), status("PENDING", **NO_ID),
        except_for("PENDING") | {"it may have been sent": {"client_order_id": "'AB0'"}},
        moves_fence=True,
    ),
    "restored order": Guard(
        running(restore_sql.LOOK_UP_ORDERS, **_RESTORED, answer_by=lambda _: database_now()),
        status("SUBMITTED", client_order_id="'AB0'"),
        {"it has no id": status("PENDING", **NO_ID)}
        | {f"it is {name}": STATES[name] for name in ("FILLED", "CANCELLED", "FAILED", "DENIED")},
        {f"it is {name}": STATES[name] for name in (
            "PENDING", "SUBMITTING", "UNKNOWN", "PARTIALLY_FILLED", "CANCEL_REQUESTED")},
        moves_fence=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("table", [ACCOUNTS, ENTRIES], ids=["accounts", "entries"])
def test_late_word_about_an_account_overwrites_nothing_newer(
    ids: Ids, table: Mapping[str, Guard]
) -> None:
    expect_guards(table, ids)


def test_later_answer_to_an_earlier_question_does_not_count(ids: Ids) -> None:
    factories.force(
        "UPDATE execution_order SET status = 'PENDING', reason = 'DECISION_AWAITED', done_at = NULL"
    )
    assert answered(ids)
    run("UPDATE execution_entrydecision SET asked_at = clock_timestamp(), factor = 0.5")
    assert answered(ids) == []
    assert rows("SELECT factor FROM execution_entrydecision")[0].factor == D("0.5")
