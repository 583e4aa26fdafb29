"""Two orders with one reference that IBKR works, as it states by its own number (`permId`).

A change that TWS sends while it has lost IBKR may place a second order with the reference and the
number of the first one, which stays. One record stands for both, with the executions of both, and
ends when none of them works any more. A cancel reaches one of them.
"""

from collections.abc import Iterable
from typing import Any

from brokers.ibkr import parse
from brokers.ibkr.order_cache import OrderCache, state_of
from brokers.ibkr.order_records import Record
from common.clocks import market_now

ENDS = parse.CANCELLED | {"Filled"}


def ends_one_of_two(record: Record, status: str, perm_id: int) -> bool:
    """Note that one of two orders has ended; return whether another may work: the lists show it."""
    if not record.live or status not in ENDS or not (record.twins or record.ended_twins):
        return False
    is_repeated = perm_id in record.ended_twins
    record.twins.discard(perm_id)
    record.ended_twins.add(perm_id)
    if record.twins and not is_repeated:
        record.twin_ended = status
    return is_repeated or bool(record.twins)


def settle(order_cache: OrderCache, connection_id: str, opened: Iterable[Any]) -> None:
    """Keep of two orders those that TWS lists as open. opened: what it has just listed."""
    if not (records := [one for one in order_cache.of(connection_id) if one.twins]):
        return
    listed: dict[str, list[Any]] = {}
    for item in opened:
        if len(item) == 3 and item[2].status not in ENDS:
            listed.setdefault(item[1].orderRef, []).append(item[1])
    for record in records:
        orders = listed.get(record.order_ref, [])
        before, ended = state_of(record), record.twin_ended
        record.twins = {order.permId for order in orders} if len(orders) > 1 else set()
        record.twin_ended = ""
        if orders and record.perm_id not in {order.permId for order in orders}:
            record.perm_id = orders[0].permId
            order_cache.set_numbers(record, orders[0].clientId, orders[0].orderId)
        if ended and not orders:
            parse.update_from_status(record, ended, market_now())
        order_cache.report_changes(record, before)
        order_cache.wake(record)
