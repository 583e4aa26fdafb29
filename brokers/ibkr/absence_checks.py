"""When it proves anything that an order stands in no list."""

from collections.abc import Iterable

from brokers.base import ReadFailed
from brokers.ibkr.order_records import Record
from brokers.ibkr.session import Session
from common.reason_codes import Code


def require_absence(session: Session, asked_at: float, written: Iterable[Record] = ()) -> None:
    """Raise ReadFailed unless what stands in no list now was surely never there today.

    asked_at: the loop's time before the lists were asked for; written: what this process has sent
    of it. TWS lists what it has taken over from its socket, and what IBKR's servers have told it
    since it reached them: some seconds pass after a write, and after a new line, a restart of the
    gateway or 1101/1102. What another process wrote, it wrote before this line was open: there is
    one for each clientId. And where TWS's day began at another time than we believe, what is in
    none of today's lists may have ended before.
    """
    if session.wrong_zone:
        raise ReadFailed(Code.FIELD_INVALID, session.wrong_zone)
    since = max([session.steady_since, *(record.written_at for record in written)])
    if asked_at < since + session.timing.settle:
        raise ReadFailed(
            Code.BROKER_UNREACHABLE, "in no list; TWS may not have been told of it yet"
        )
