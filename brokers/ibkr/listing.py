"""The account's orders as TWS lists them, each by IBKR's own number (`permId`).

The ledger keeps one record for a client order id, so two orders with the same one are seen here
only.
"""

from datetime import datetime, timedelta

from brokers.base import ReadFailed
from brokers.ibkr import parse
from brokers.ibkr.order_records import ENTRY, Fill
from brokers.ibkr.reads import NOT_TRANSMITTED, NOT_WORKING
from brokers.ibkr.session import Session
from brokers.order_listing import ZERO, ListedOrder
from common.reason_codes import Code

Key = tuple[str, str]


async def listed_orders(session: Session, since: datetime) -> list[ListedOrder]:
    """Read what rests and what was executed today since a time. Raises ReadFailed."""
    await session.ready()
    snapshot = await session.snapshot()
    fills: dict[Key, dict[str, Fill]] = {}
    own = ("", session.endpoint.account)
    since -= timedelta(seconds=1)  # IBKR states whole seconds
    try:
        for contract, execution in snapshot.executions:
            parts = parse.parts_of(execution.orderRef)
            if parts is None or parts[1] != ENTRY or execution.acctNumber not in own:
                continue
            fill = parse.fill_of(execution, parse.multiplier_of(contract))
            if fill.time < since:
                continue
            of = fills.setdefault((parts[0], str(execution.permId)), {})
            known = of.get(fill.broker_fill_id)
            if known is None or known.correction < fill.correction:
                of[fill.broker_fill_id] = fill
    except (ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"executions: {error!r}") from error
    found = {key: _executed(key, of) for key, of in fills.items()}
    for _, order, state in (one for one in snapshot.open if len(one) == 3):
        parts = parse.parts_of(order.orderRef)
        is_working = state.status not in NOT_TRANSMITTED | NOT_WORKING
        if parts is not None and parts[1] == ENTRY and order.account in own and is_working:
            key = parts[0], str(order.permId)
            found.setdefault(key, ListedOrder(*key))
    return list(found.values())


def _executed(key: Key, fills: dict[str, Fill]) -> ListedOrder:
    quantity = sum((fill.quantity for fill in fills.values()), ZERO)
    return ListedOrder(*key, quantity, min(fill.time for fill in fills.values()))
