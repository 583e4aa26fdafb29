"""Executions of orders that the cache has evicted, from the broker's own list of today."""

from collections.abc import Iterator
from typing import Any

from brokers.ibkr import parse
from brokers.ibkr.order_records import Fill, Record
from brokers.ibkr.order_snapshots import Snapshot
from brokers.ibkr.session import Session


def evicted_records(session: Session, snapshot: Snapshot) -> list[Record]:
    """Return our executed orders of a snapshot that are not in the cache."""
    records: dict[tuple[str, str, str], Record] = {}
    for ref, contract, execution in _own_executions(session, snapshot):
        key = session.endpoint.connection_id, *ref
        if session.order_cache.get(*key) is None:
            record = records.setdefault(key, Record(*key))
            _add(record, contract, execution, snapshot)
    return list(records.values())


def _own_executions(
    session: Session, snapshot: Snapshot
) -> Iterator[tuple[tuple[str, str], Any, Any]]:
    for contract, execution in snapshot.executions:
        ref = parse.parse_order_ref(execution.orderRef)
        if ref is not None and execution.acctNumber in ("", session.endpoint.account):
            yield ref, contract, execution


def _add(record: Record, contract: Any, execution: Any, snapshot: Snapshot) -> None:
    """Add an execution to the record, unless the record has the same or a newer revision."""
    fill: Fill = parse.fill_of(execution, parse.multiplier_of(contract))
    known = record.fills.get(fill.broker_fill_id)
    if known is not None and known.correction >= fill.correction:
        return
    snapshot.add_commission(fill, execution.execId)
    fill.reported = True
    record.fills[fill.broker_fill_id] = fill
    record.perm_id, record.con_id = execution.permId, contract.conId
