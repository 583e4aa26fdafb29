"""Executions of orders that had to leave the ledger: told from the broker's own list of today."""

from collections.abc import Iterator
from typing import Any

from brokers.ibkr import parse
from brokers.ibkr.order_records import Fill, Record
from brokers.ibkr.order_snapshots import Snapshot
from brokers.ibkr.session import Session


def evicted_records(session: Session, snapshot: Snapshot) -> list[Record]:
    """Return our executed orders of a reading that the ledger does not hold."""
    records: dict[tuple[str, str, str], Record] = {}
    for parts, contract, execution in _own_executions(session, snapshot):
        of = session.endpoint.connection_id, *parts
        if session.ledger.get(*of) is None:
            record = records.setdefault(of, Record(*of))
            _add(record, contract, execution, snapshot)
    return list(records.values())


def _own_executions(
    session: Session, snapshot: Snapshot
) -> Iterator[tuple[tuple[str, str], Any, Any]]:
    for contract, execution in snapshot.executions:
        parts = parse.parts_of(execution.orderRef)
        if parts is not None and execution.acctNumber in ("", session.endpoint.account):
            yield parts, contract, execution


def _add(record: Record, contract: Any, execution: Any, snapshot: Snapshot) -> None:
    """Write an execution into the record, unless it is an older telling of one that is there."""
    fill: Fill = parse.fill_of(execution, parse.multiplier_of(contract))
    known = record.fills.get(fill.broker_fill_id)
    if known is not None and known.correction >= fill.correction:
        return
    amount, fill.currency = snapshot.costs.get(execution.execId, (None, ""))
    fill.commission, fill.told = parse.exact(amount), True
    record.fills[fill.broker_fill_id] = fill
    record.perm_id, record.con_id = execution.permId, contract.conId
