"""When the absence of an order from all lists proves that IBKR does not have it."""

from collections.abc import Iterable

from brokers.base import ReadFailed
from brokers.ibkr.order_records import ENTRY, STOP, TARGET, Record
from brokers.ibkr.order_snapshots import Snapshot
from brokers.ibkr.session import Session
from common.reason_codes import Code


def require_absence(session: Session, requested_at: float, written: Iterable[Record] = ()) -> None:
    """Raise ReadFailed unless IBKR certainly does not have an order that is in no list now.

    requested_at: the loop's time before the lists were requested; written: the records of the order
    that this process sent.

    TWS lists an order only some seconds after the write, and after a new connection, a restart of
    the gateway or 1101/1102. Another process can only have sent it before this connection opened,
    since TWS allows one for each clientId. If `timezone` is wrong, an order that is in none of
    today's lists may have ended earlier.
    """
    if session.wrong_zone:
        raise ReadFailed(Code.FIELD_INVALID, session.wrong_zone)
    if not lists_all(session, requested_at, written):
        raise ReadFailed(Code.BROKER_UNREACHABLE, "in no list; TWS may not list it yet")


def lists_all(session: Session, requested_at: float, written: Iterable[Record] = ()) -> bool:
    """Return whether lists have every order that works. See `require_absence`."""
    since = max([session.stable_since, *(record.written_at for record in written)])
    return requested_at >= since + session.timing.settle


def remove_absent(
    session: Session, client_order_id: str, snapshot: Snapshot, requested_at: float
) -> bool:
    """Remove an order that is in no list, with its levels that are in none; return whether it was.

    This process then knows as much of it as a new one: an order that never arrived may be sent
    again, one that had been accepted is missing at the broker, and what arrives of either later is
    reported. An order that was executed today is kept, since IBKR still has that of it. Raises
    ReadFailed as `require_absence` does.
    """
    records = [
        record
        for leg in (ENTRY, STOP, TARGET)
        if (record := session.order_cache.get(session.endpoint.connection_id, client_order_id, leg))
    ]
    absent = [record for record in records if not _is_listed(record, snapshot)]
    require_absence(session, requested_at, absent)
    if not any(record.leg == ENTRY for record in absent):
        return False
    for record in absent:
        session.order_cache.remove(record)
    return True


def _is_listed(record: Record, snapshot: Snapshot) -> bool:
    """Whether an order works, or was executed today. All lists were read if one of ours is gone."""
    was_executed = bool(record.executed) and record.order_ref in snapshot.executed_refs
    return was_executed or record.order_ref in snapshot.open_refs
