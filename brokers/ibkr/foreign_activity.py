"""What others do on the account: orders and executions that are not ours."""

from decimal import Decimal
from typing import Any

from brokers.ibkr import parse
from brokers.ibkr.order_records import ENTRY, Record
from brokers.ibkr.order_snapshots import Snapshot
from brokers.ibkr.session import Session
from brokers.types import (
    BrokerOrder,
    CloseCause,
    OrderReport,
    OrderType,
    ReportKind,
    Side,
)


def working_order(session: Session, contract: Any, order: Any, executed: Decimal) -> BrokerOrder:
    """An order that somebody else placed, as a record would tell it."""
    record = Record(session.endpoint.connection_id, "", ENTRY, symbol=session.name_of(contract))
    units = parse.multiplier_of(contract)
    parse.take_order(record, contract, order, units)
    record.filled = executed * units
    if record.order_type is None:
        trails = "STP" in order.orderType or "TRAIL" in order.orderType
        record.order_type = OrderType.STOP if trails else OrderType.LIMIT
    record.client_order_id = order.orderRef
    return record.order()


def is_foreign(session: Session, one: Any) -> bool:
    """Whether (contract, execution) is of an order on this account that is not ours."""
    account = session.endpoint.account
    return parse.parts_of(one[1].orderRef) is None and one[1].acctNumber in ("", account)


def foreign_exits(
    session: Session, snapshot: Snapshot, held: dict[str, Decimal]
) -> list[OrderReport]:
    """Tell executions of others' orders that made a position smaller: it is their exit of it.

    Going back from what is held now shows what was held before each of them.
    """
    reports = []
    account = session.endpoint.account
    mine: dict[str, Any] = {}  # as they came, since times are whole seconds
    for one in snapshot.executions:
        if one[1].acctNumber in ("", account):
            fill = parse.fill_of(one[1], Decimal(1))
            known = mine.get(fill.broker_fill_id)
            if known is None or known[1].execId < one[1].execId:  # a correction takes its place
                mine[fill.broker_fill_id] = one
    for contract, execution in sorted(mine.values(), key=lambda one: one[1].time)[::-1]:
        fill = parse.fill_of(execution, parse.multiplier_of(contract))
        sign = 1 if parse.execution_side(execution.side) is Side.BUY else -1
        number = str(contract.conId)
        before = held.get(number, Decimal(0)) - sign * fill.quantity
        held[number] = before
        if is_foreign(session, (contract, execution)) and before * sign < 0:
            fill.told = True
            record = Record(
                session.endpoint.connection_id, "", ENTRY, con_id=contract.conId,
                perm_id=execution.permId,
            )  # fmt: skip
            reports.append(_external(record, fill))
    return reports[::-1]


def _external(record: Record, fill: Any) -> OrderReport:
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=record.connection_id,
        client_order_id="",
        broker_order_id=str(record.perm_id or ""),
        broker_position_id=str(record.con_id),
        fills=(fill.execution(),),
        close_cause=CloseCause.EXTERNAL,
    )
