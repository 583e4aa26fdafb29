"""When the absence of an order from all lists proves that it never arrived."""

from collections.abc import Iterable

from brokers.base import ReadFailed
from brokers.ibkr.order_records import Record
from brokers.ibkr.session import Session
from common.reason_codes import Code


def require_absence(session: Session, requested_at: float, written: Iterable[Record] = ()) -> None:
    """Raise ReadFailed unless an order that is in no list now certainly never arrived today.

    requested_at: the loop's time before the lists were requested; written: the records of the order
    that this process sent.

    TWS lists an order only some seconds after the write, and after a new connection, a restart of
    the gateway or 1101/1102. Another process can only have sent it before this connection opened,
    since TWS allows one for each clientId. If `timezone` is wrong, an order that is in none of
    today's lists may have ended earlier.
    """
    if session.wrong_zone:
        raise ReadFailed(Code.FIELD_INVALID, session.wrong_zone)
    since = max([session.stable_since, *(record.written_at for record in written)])
    if requested_at < since + session.timing.settle:
        raise ReadFailed(Code.BROKER_UNREACHABLE, "in no list; TWS may not list it yet")
