"""Compare one account's working orders with the broker's. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from brokers.types import BrokerOrder
from common.money import plain, plain_or_none
from common.reason_codes import Code
from execution.base.drift_items import DriftRecord
from execution.ids import base_of
from execution.runtime.broker_queries import OurOrder


@dataclass(slots=True)
class OrderDifferences:
    """What a comparison of orders found: drift records, and orders to look up at the broker.

    missing: our working orders that the broker does not list. ended: orders working at the broker
    that have ended here. levels: stops and targets that have outlived their positions.
    """

    records: list[DriftRecord] = field(default_factory=list)
    missing: list[OurOrder] = field(default_factory=list)
    ended: list[tuple[OurOrder, BrokerOrder]] = field(default_factory=list)
    levels: list[BrokerOrder] = field(default_factory=list)


def compare_orders(
    connection_id: str,
    working: Sequence[OurOrder],
    known: Mapping[str, OurOrder],
    theirs: Sequence[BrokerOrder],
    tag: str,
) -> OrderDifferences:
    """Compare an account's working orders; return the differences.

    working: our orders that were working before the read and still are. known: our rows of the
    broker's client order ids, by base id. tag: the prefix of our ids.
    """
    differences = OrderDifferences()
    bases = {base_of(order.client_order_id) for order in theirs if order.client_order_id}
    numbers = {order.broker_order_id for order in theirs}
    differences.missing = [
        row
        for row in working
        if base_of(row.client_order_id) not in bases and row.broker_order_id not in numbers
    ]
    is_working = {row.broker_order_id for row in working}
    for order in theirs:
        row = known.get(base_of(order.client_order_id)) if order.client_order_id else None
        if row is not None:
            if row.has_ended:
                differences.ended.append((row, order))
        elif base_of(order.level_of) in known:
            differences.levels.append(order)
        elif order.broker_order_id in is_working:
            continue
        elif is_ours(order.client_order_id, tag):
            differences.records.append(order_record(Code.UNKNOWN_ORDER, connection_id, None, order))
        else:
            differences.records.append(order_record(Code.FOREIGN_ORDER, connection_id, None, order))
    return differences


def is_ours(client_order_id: str, tag: str) -> bool:
    """Return whether this installation created a client order id. tag: its prefix."""
    return client_order_id.startswith(tag) and len(client_order_id) == len(tag) + 15


def order_record(
    code: Code, connection_id: str, row: OurOrder | None, order: BrokerOrder | None
) -> DriftRecord:
    """Return a difference about an order. row: ours; order: the broker's; one may be None."""
    named = order if order is not None else row
    assert named is not None
    evidence = {
        "symbol": named.symbol,
        "ours": row and {"state": row.status, **_order_facts(row, row.filled_quantity)},
        "theirs": order and {"state": "resting", **_order_facts(order, order.filled)},
        "broker_order_id": named.broker_order_id,
        "client_order_id": named.client_order_id,
        "placed_at": order.placed_at if order else None,
        "differs": "",
    }
    is_note = code is Code.FOREIGN_ORDER
    order_id = row.id if row is not None else None
    key = named.client_order_id or named.broker_order_id
    return DriftRecord(code, connection_id, key, evidence, None, order_id, is_note)


def _order_facts(order: BrokerOrder | OurOrder, filled: Decimal) -> dict[str, str | None]:
    return {
        "side": str(order.side),
        "order_type": str(order.order_type),
        "quantity": plain(order.quantity),
        "filled": plain(filled),
        "limit_price": plain_or_none(order.limit_price),
        "stop_price": plain_or_none(order.stop_price),
        **({"trail_distance": plain(order.trail_distance)} if order.trail_distance else {}),
        "stop_loss": plain_or_none(order.stop_loss),
        "take_profit": plain_or_none(order.take_profit),
    }
