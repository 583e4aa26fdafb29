"""What is concluded from an order that is half-way: may it grow, is it settled, may it be changed.

The states are those of `halfway.py`, and the conclusions are written by hand.
"""

from decimal import Decimal as D
from typing import NamedTuple

import pytest

from analytics.orders.explanations import slippage_cost
from analytics.orders.rounding_debt import rounding_debts
from common.db.sql import rows, run
from connections.models import ExecutionConnection
from execution import signal_outcomes
from execution.changes.changeable_orders import may_be_cancelled, obstacle
from execution.entry_quality import filled_entries_sql, slippage_cost_sql
from execution.models import Order
from execution.reconciliation.open_orders import WORKING
from execution.reports.broker_exits_sql import may_grow_sql
from execution.runtime import stream_claims
from execution.submission.conditions import of_account_sql
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import KIND
from tests.execution.halfway import HALFWAY, entry

pytestmark = pytest.mark.django_db
GROWS = f"""SELECT {may_grow_sql("p")} AS grows FROM positions_executionposition p
  WHERE p.id = %s"""
CONDITION = f"""SELECT a.* FROM execution_order o
  CROSS JOIN LATERAL {of_account_sql("o.signal_id")} a WHERE o.id = %s"""
IN_FLIGHT, CANCELLING, ENDED = "ORDER_IN_FLIGHT", "ORDER_BEING_CANCELLED", "ORDER_ENDED"


class Judged(NamedTuple):
    """settled: of another signal that waits for this one: may fill (L), has filled (F), is open
    (O). outcome: in the counts of which operators
    are notified. obstacle: of a change. compared: orders with the
    broker's. debt: rounding counts it. grows: its position may, now and an hour later."""

    settled: str = ""
    outcome: str = ""
    obstacle: str = ENDED
    cancellable: bool = False
    compared: int = 0
    listened: bool = False
    debt: bool = False
    grows: tuple[bool, bool] = (False, False)


WAITS = Judged("L", "unsettled", "", cancellable=True)
FLIES = Judged("L", "unsettled", IN_FLIGHT, debt=True)
WORKS = Judged("LFO", "", "", True, 1, listened=True, debt=True, grows=(True, True))
HOLDS = Judged("FO", listened=True, debt=True)
EXPECTED = {
    "PENDING": WAITS,
    "PENDING again": WAITS,
    "SUBMITTING": FLIES._replace(listened=True),
    "UNKNOWN": FLIES,
    "UNKNOWN, 40 filled": FLIES._replace(settled="LFO", listened=True, grows=(True, True)),
    "SUBMITTED": WORKS._replace(settled="L", grows=(False, False)),
    "PARTIALLY_FILLED": WORKS,
    "CANCEL_REQUESTED": WORKS._replace(
        settled="L", obstacle=CANCELLING, cancellable=False, grows=(False, False)
    ),
    "CANCEL_REQUESTED, 40 filled": WORKS._replace(obstacle=CANCELLING, cancellable=False),
    "PARTIALLY_FILLED, cancel refused": WORKS._replace(obstacle=CANCELLING, cancellable=False),
    "CANCELLED, 40 filled": HOLDS._replace(grows=(True, False)),
    "EXPIRED, 40 filled, looked up": HOLDS._replace(
        settled="LFO", outcome="EXPIRED", grows=(True, True)
    ),
    "REJECTED": Judged(outcome="REJECTED"),
    "FILLED": HOLDS,
    "FILLED, exit PENDING": HOLDS,
    "FILLED, exit SUBMITTING": HOLDS,
    "FILLED, exit of all SUBMITTING": HOLDS,
    "FILLED, exit filled 20 of 50": HOLDS._replace(compared=1),
    "FILLED, exit ended with 20 of 50": HOLDS,
    "FILLED, half closed": HOLDS,
    "PARTIALLY_FILLED, exit SUBMITTING": WORKS,
    "FILLED, closed": HOLDS._replace(settled="F", listened=False),
}


def grows() -> bool:
    position = ExecutionPosition.objects.first()
    return position is not None and rows(GROWS, (position.pk,))[0].grows


def settled(of: Order) -> str:
    [row] = rows(CONDITION, (of.pk,))
    holds = {"L": row.is_live, "F": row.is_filled, "O": row.is_open}
    return "".join(name for name, is_so in holds.items() if is_so)


def outcome(of: Order) -> str:
    found = rows(signal_outcomes.COUNT, ([of.signal_id],))
    return " ".join(row.status or "unsettled" for row in found)


def judged(account: ExecutionConnection, of: Order) -> Judged:
    error = obstacle(of)
    now = grows()
    found = Judged(
        settled(of), outcome(of), str(error.code) if error else "", may_be_cancelled(of),
        len(rows(WORKING, ([account.pk],))), bool(stream_claims.claim("one", [KIND], 10)),
        bool(rounding_debts(account.pk)),
    )  # fmt: skip
    run("UPDATE execution_order SET done_at = done_at - interval '1 hour'")
    return found._replace(grows=(now, grows()))


@pytest.mark.parametrize("state", HALFWAY)
def test_order_is_judged_by_what_it_may_become(
    alice: ExecutionConnection, feed: Feed, state: str
) -> None:
    HALFWAY[state](feed)
    factories.force(
        "UPDATE execution_order SET unrounded_quantity = 103, order_type = 'LIMIT'"
        " WHERE leg = 'entry'"
    )
    found, expected = judged(alice, entry()), EXPECTED[state]
    for name, was, wanted in zip(Judged._fields, found, expected, strict=True):
        assert was == wanted, f"{state}: {name} is {was}, expected {wanted}"


OF_EXITS = {
    "FILLED, exit filled 20 of 50": D("-2.002"),
    "FILLED, exit ended with 20 of 50": D("-2.002"),
    "FILLED, half closed": D("-5.005"),
    "FILLED, closed": D("-10.01"),
}
"""What exits have cost: they sell above what was expected."""
QUALITY = f"""SELECT e.quantity, e.cost, e.bps, p.cost AS of_position
  FROM ({filled_entries_sql("true")}) e
  LEFT JOIN LATERAL (SELECT {slippage_cost_sql("p")} AS cost FROM positions_executionposition p
    WHERE p.signal_id = e.signal_id) p ON true"""


@pytest.mark.parametrize("name", HALFWAY)
def test_slippage_costs_what_has_filled(alice: ExecutionConnection, feed: Feed, name: str) -> None:
    """Each unit has filled at 1.2, and was expected at 1.1; of exits at 1.0999."""
    HALFWAY[name](feed)
    filled = int(entry().filled_quantity)
    cost = {0: None, 40: 4, 100: 10}[filled]
    assert slippage_cost(entry()) == cost
    found = [(one.quantity, one.cost, round(one.bps), one.of_position) for one in rows(QUALITY)]
    of_position = D(cost or 0) + OF_EXITS.get(name, D(0))
    assert found == ([(filled, cost, 909, of_position)] if filled else [])
