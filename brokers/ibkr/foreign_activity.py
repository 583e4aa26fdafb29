"""Orders and executions on the account that are not ours."""

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
    """Return a working order that is not ours. executed: in units of the contract."""
    record = Record(session.endpoint.connection_id, "", ENTRY, symbol=session.name_of(contract))
    units = parse.multiplier_of(contract)
    parse.update_from_order(record, contract, order, units)
    record.filled = executed * units
    follows_by_percent = record.order_type is OrderType.TRAILING_STOP and not record.trail_distance
    if record.order_type is None or follows_by_percent:
        is_stop = "STP" in order.orderType or "TRAIL" in order.orderType
        record.order_type = OrderType.STOP if is_stop else OrderType.LIMIT
    record.client_order_id = order.orderRef
    return record.order()


def is_foreign(session: Session, execution: Any) -> bool:
    """Whether an execution is of an order on this account that is not ours."""
    is_ours = parse.parse_order_ref(execution.orderRef) is not None
    return not is_ours and execution.acctNumber in ("", session.endpoint.account)


def foreign_exits(
    session: Session, snapshot: Snapshot, quantities: dict[str, Decimal]
) -> list[OrderReport]:
    """Return executions of others' orders that reduced a position, as external exits.

    quantities: the signed ones now, by position id; changed here. Going back from them shows what
    was open before each execution.
    """
    reports = []
    account = session.endpoint.account
    latest: dict[str, Any] = {}  # in order of arrival, since times are whole seconds
    for item in snapshot.executions:
        if item[1].acctNumber in ("", account):
            fill = parse.fill_of(item[1], Decimal(1))
            known = latest.get(fill.broker_fill_id)
            if known is None or known[1].execId < item[1].execId:  # a correction replaces it
                latest[fill.broker_fill_id] = item
    for contract, execution in sorted(latest.values(), key=lambda item: item[1].time)[::-1]:
        fill = parse.fill_of(execution, parse.multiplier_of(contract))
        sign = 1 if parse.execution_side(execution.side) is Side.BUY else -1
        number = str(contract.conId)
        before = quantities.get(number, Decimal(0)) - sign * fill.quantity
        quantities[number] = before
        if is_foreign(session, execution) and before * sign < 0:
            snapshot.add_commission(fill, execution.execId)
            record = Record(
                session.endpoint.connection_id, "", ENTRY, con_id=contract.conId,
                perm_id=execution.permId,
            )  # fmt: skip
            cause = CloseCause.STOP_OUT if execution.liquidation else CloseCause.EXTERNAL
            reports.append(_external(record, fill, cause))
    return reports[::-1]


def _external(record: Record, fill: Any, cause: CloseCause) -> OrderReport:
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=record.connection_id,
        client_order_id="",
        broker_order_id=str(record.perm_id or ""),
        broker_position_id=str(record.con_id),
        fills=fill.executions(),
        close_cause=cause,
    )
