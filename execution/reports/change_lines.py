"""The lines "order filled" and "order failed" in the log of the process that applies reports."""

from typing import Any

from common.money import plain, plain_or_none
from execution.base.order_lines import FAILED, FILLED, write_lines_on_commit
from execution.models import Status
from execution.reports.order_changes import OrderChange

EVENTS = {Status.FILLED: FILLED, Status.REJECTED: FAILED, Status.FAILED: FAILED}


def write_change_lines(changes: list[OrderChange]) -> None:
    """Write them for orders that have filled or failed, once this transaction has committed."""
    ended = [c for c in changes if c.state.status in EVENTS and c.state.status != c.row.status]
    for event in (FILLED, FAILED):
        mine = [change for change in ended if EVENTS[change.state.status] == event]
        write_lines_on_commit(event, mine, _fields)


def _fields(change: OrderChange) -> dict[str, Any]:
    row, transition = change.row, change.transition
    return {
        "order_id": row.id, "client_order_id": row.client_order_id,
        "connection": row.connection_id, "symbol": row.pair, "side": row.side,
        "status": change.state.status.value,
        "code": transition.code.value if transition and transition.code else "",
        "quantity": plain_or_none(row.quantity), "filled": plain(change.state.filled),
        "price": plain(change.average),
    }  # fmt: skip
