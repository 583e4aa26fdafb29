"""What an exit may close beside another exit of its position that is half-way: computed by hand.

The position was 100. The other exit is for 50; where it has filled 20, 80 are open.
"""

from decimal import Decimal as D
from typing import NamedTuple

import pytest

from common.db.sql import rows, run
from connections.models import ExecutionConnection
from execution.exits import reservations
from execution.exits.orders import ExitRequest, exit_quantity, exitable
from execution.models import Order
from execution.submission import claim_sql
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.guards import STATES
from tests.execution.halfway import exit_waiting

pytestmark = pytest.mark.django_db


class Beside(NamedTuple):
    """is_older: the other exit was written first. closable: by the one that is judged. has_ahead:
    it has to wait. reserved: in all, with its own 50. free: for a third one."""

    status: str
    filled: int
    is_older: bool
    closable: int
    has_ahead: bool
    reserved: int
    free: int


CASES = [
    Beside("PENDING", 0, True, 50, True, 100, 0),
    Beside("PENDING", 0, False, 100, False, 100, 0),
    Beside("SUBMITTING", 0, True, 50, True, 100, 0),
    Beside("SUBMITTING", 0, False, 50, True, 100, 0),
    Beside("UNKNOWN", 0, False, 50, True, 100, 0),
    Beside("UNKNOWN", 20, False, 50, True, 80, 0),
    Beside("SUBMITTED", 0, False, 50, True, 100, 0),
    Beside("PARTIALLY_FILLED", 20, True, 50, True, 80, 0),
    Beside("PARTIALLY_FILLED", 20, False, 50, True, 80, 0),
    Beside("CANCEL_REQUESTED", 20, False, 50, True, 80, 0),
    Beside("CANCELLED", 20, True, 80, False, 50, 30),
    Beside("EXPIRED", 0, True, 100, False, 50, 50),
    Beside("REJECTED", 0, False, 100, False, 50, 50),
    Beside("REJECTED", 20, False, 80, False, 50, 30),
    Beside("FAILED", 0, True, 100, False, 50, 50),
    Beside("DENIED", 0, True, 100, False, 50, 50),
    Beside("FILLED", 50, True, 50, False, 50, 0),
]


def with_two_exits(feed: Feed, case: Beside) -> tuple[int, int]:
    """Store a position with two exits of 50; return the ids of it and of the exit to judge."""
    exit_waiting(feed)
    first = Order.objects.get(leg="close-1")
    run("UPDATE execution_order SET leg = 'close-2', id = id + 1000 WHERE id = %s", (first.pk,))
    run("INSERT INTO execution_order (signal_id, connection_id, position_id, leg, pair, symbol,"
        " side, order_type, time_in_force, quantity, due_at) SELECT signal_id, connection_id,"
        " position_id, 'close-1', pair, symbol, side, order_type, time_in_force, quantity, due_at"
        " FROM execution_order WHERE leg = 'close-2'")  # fmt: skip
    other, judged = ("close-1", "close-2") if case.is_older else ("close-2", "close-1")
    columns = {**STATES[case.status], "filled_quantity": str(case.filled)}
    stated = ", ".join(f"{column} = {value}" for column, value in columns.items())
    factories.force(f"UPDATE execution_order SET {stated} WHERE leg = %s", (other,))
    run("UPDATE positions_executionposition SET quantity = 100 - %s, reserved = 0", (case.filled,))
    return ExecutionPosition.objects.get().pk, Order.objects.get(leg=judged).pk


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.status} {case.filled} {'<>'[case.is_older]}"
)
def test_exit_closes_what_another_one_leaves(
    alice: ExecutionConnection, feed: Feed, case: Beside
) -> None:
    position_id, judged = with_two_exits(feed, case)
    [row] = rows(claim_sql.EXITS, ([judged],))
    assert (row.closable, row.has_exit_ahead) == (D(case.closable), case.has_ahead)
    reservations.recompute_reserved([judged])
    position = ExecutionPosition.objects.get()
    assert position.reserved == case.reserved
    found = exitable(position_id)
    assert exit_quantity(found, ExitRequest(position_id, "close")) == case.free
