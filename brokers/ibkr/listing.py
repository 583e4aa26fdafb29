"""The account's orders as TWS lists them, each by IBKR's own number (`permId`).

The order cache has one record for each client order id. So only this list shows two orders with the
same one.
"""

from datetime import datetime, timedelta

from brokers.base import ReadFailed
from brokers.ibkr import parse
from brokers.ibkr.order_records import ENTRY, Fill
from brokers.ibkr.order_snapshots import Depth
from brokers.ibkr.reads import NOT_TRANSMITTED, NOT_WORKING
from brokers.ibkr.session import Session
from brokers.order_listing import ZERO, ListedOrder
from common.reason_codes import Code

Key = tuple[str, str]


async def listed_orders(session: Session, since: datetime) -> list[ListedOrder]:
    """List orders that work now or were executed today since a time. Raises ReadFailed."""
    await session.ready()
    snapshot = await session.snapshot(Depth.EXECUTED)
    fills: dict[Key, dict[str, Fill]] = {}
    own_accounts = ("", session.endpoint.account)
    since -= timedelta(seconds=1)  # IBKR states whole seconds
    try:
        for contract, execution in snapshot.executions:
            ref = parse.parse_order_ref(execution.orderRef)
            if ref is None or ref[1] != ENTRY or execution.acctNumber not in own_accounts:
                continue
            fill = parse.fill_of(execution, parse.multiplier_of(contract))
            if fill.time < since:
                continue
            order_fills = fills.setdefault((ref[0], str(execution.permId)), {})
            known = order_fills.get(fill.broker_fill_id)
            if known is None or known.correction < fill.correction:
                order_fills[fill.broker_fill_id] = fill
    except (ValueError, ArithmeticError) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"executions: {error!r}") from error
    found = {key: _executed(key, order_fills) for key, order_fills in fills.items()}
    for _, order, state in (item for item in snapshot.open if len(item) == 3):
        ref = parse.parse_order_ref(order.orderRef)
        is_working = state.status not in NOT_TRANSMITTED | NOT_WORKING
        if ref is not None and ref[1] == ENTRY and order.account in own_accounts and is_working:
            key = ref[0], str(order.permId)
            found.setdefault(key, ListedOrder(*key))
    return list(found.values())


def _executed(key: Key, fills: dict[str, Fill]) -> ListedOrder:
    quantity = sum((fill.quantity for fill in fills.values()), ZERO)
    return ListedOrder(*key, quantity, min(fill.time for fill in fills.values()))
