"""A restored exit is released, and a difference linked, only while all is as it was seen."""

from datetime import timedelta
from typing import Any

import pytest

from common.db.sql import database_now, rows, run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.disaster_recovery import sql as restore_sql
from execution.models import DriftItem, Order
from execution.reconciliation import decisions
from positions.models import ExecutionPosition
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
    except_for,
    expect_guards,
    status,
)
from tests.execution.halfway import exit_waiting

pytestmark = pytest.mark.django_db
POSITION = "(SELECT id FROM positions_executionposition)"
OTHER = "(SELECT id FROM connections_executionconnection WHERE name = 'other')"


@pytest.fixture
def ids(alice: ExecutionConnection, feed: Feed) -> Ids:
    """A position of 100, its exit of 50 and its entry; 50 that only the broker holds."""
    exit_waiting(feed)
    factories.account(name="other")
    run("UPDATE positions_executionposition SET broker_position_id = 'T1'")
    position = ExecutionPosition.objects.get()
    theirs = {"side": "BUY", "quantity": "50", "entry_price": "1.1"}
    item = DriftItem.objects.create(
        connection=alice, kind=Code.UNKNOWN_POSITION, key="T2",
        evidence={"theirs": theirs, "symbol": position.symbol, "broker_position_id": "T2"},
    )  # fmt: skip
    return {
        "order": Order.objects.get(leg="close-1").pk, "entry": Order.objects.get(leg="entry").pk,
        "position": position.pk, "health": alice.pk, "snapshot": alice.pk, "difference": item.pk,
    }  # fmt: skip


def of(table: str, /, **columns: str) -> dict[str, str]:
    return {f"{table}.{name}": value for name, value in columns.items()}


# ---- exits that a restore holds ------------------------------------------------------------------
def releasable(ids: Ids) -> list[Any]:
    now = database_now()
    times = {"answer_by": now, "opened_at": now + timedelta(hours=1)}
    return rows(restore_sql.RELEASABLE_EXITS, {"ids": [ids["order"]], "unsent": [], **times})


HELD = (
    status("FAILED", reason="'RESTORED_EXIT'")
    | of("position", reserved="0")
    | of("health", reconciled_at=LATER)
    | of("snapshot", position_mode="'HEDGING'")
    | of("difference", state="'RESOLVED'", position_id=NONE)
)
OPEN = of("difference", state="'OPEN'")
RELEASES: dict[str, Guard] = {
    "release of a restored exit": Guard(
        releasable, HELD,
        except_for("FAILED")
        | {
            "it failed otherwise": {"reason": "'NEVER_ARRIVED'"},
            "its account was not compared since": of("health", reconciled_at=EARLIER),
            "its account was never compared": of("health", reconciled_at=NONE),
            "its broker lacks the position": of("position", missing_since=EARLIER),
            "its broker's position is not known": of("position", broker_position_id="''"),
            "another exit takes too much": of("position", reserved="51"),
            "a part was closed": of("position", quantity="49"),
            "its entry is looked up": of("entry", **status("UNKNOWN"), position_id=POSITION,
                leg="'close-9'"),
            "another exit is being sent": of("entry", **status("SUBMITTING"), position_id=POSITION,
                leg="'close-9'"),
            "its position differs": OPEN | of("difference", kind="'QUANTITY_DIFFERS'",
                position_id=POSITION),
            "an unknown order works there": OPEN | of("difference", kind="'UNKNOWN_ORDER'"),
            "its account nets, and nothing proves it": of("snapshot", position_mode="'NETTING'"),
        },
        {
            "another exit leaves as much": of("position", reserved="50"),
            "another position differs": OPEN,
            "its account's mode is not known": of("snapshot", position_mode="''"),
        },
    ),
}  # fmt: skip


# ---- differences that a person links -------------------------------------------------------------
def linked(**target: str) -> Any:
    def write(ids: Ids) -> None:
        try:
            decisions.relink(
                ids["difference"], by=None, **{name: ids[kind] for name, kind in target.items()}
            )
        except ConflictError as error:
            if error.code != Code.DRIFT_TARGET_NOT_APPLICABLE:
                raise

    return write


UNLINKED = of("difference", state="'OPEN'", kind="'UNKNOWN_POSITION'")
ENTRY = UNLINKED | {
    f"entry.{name}": value
    for name, value in status("FAILED", filled_quantity="0", client_order_id="'AB0'").items()
}
LINKS: dict[str, Guard] = {
    "link of an entry": Guard(
        linked(order_id="entry"), ENTRY,
        {f"it is {name}": of("entry", **STATES[name])
         for name in ("PENDING", "SKIPPED", "DENIED", "FILLED", "PARTIALLY_FILLED")}
        | {
            "it is of another account": of("entry", connection_id=OTHER),
            "it is of another symbol": of("entry", symbol="'OTHER'"),
            "it is of the other side": of("entry", side="'SELL'"),
            "it is smaller": of("entry", quantity="49"),
            "it was sent with others": of("entry", aggregate_id="id"),
            "it is an exit": of("entry", position_id=POSITION, leg="'close-9'"),
        },
        {f"it is {name}": of("entry", **STATES[name])
         for name in ("UNKNOWN", "SUBMITTED", "REJECTED", "CANCELLED", "EXPIRED")}
        | {"it is as large": of("entry", quantity="50")},
    ),
    "link of a position": Guard(
        linked(position_id="position"), UNLINKED | of("position", missing_since=NOW),
        {
            "it is of another account": of("position", connection_id=OTHER),
            "it is of another symbol": of("position", symbol="'OTHER'"),
            "it is of the other side": of("position", side="'SELL'"),
            "it is closed": of("position", quantity="0", reserved="0"),
            "its broker still has it": of("position", missing_since=NONE),
        },
        {"its broker's id is not known": of("position", missing_since=NONE,
                                            broker_position_id="''")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("table", [RELEASES, LINKS], ids=["releases", "links"])
def test_decision_counts_only_of_rows_as_seen(ids: Ids, table: dict[str, Guard]) -> None:
    expect_guards(table, ids)
