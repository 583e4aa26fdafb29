"""PostgreSQL notifications of new events in the event stream.

The writer of an event notifies in the same transaction, so listeners are notified when they can
read it. A listener needs a database session of its own, so it goes past a transaction pooler. One
that gets no notification still polls the events.
"""

from collections.abc import AsyncIterator

import psycopg

from brokers.base import ReadFailed
from brokers.paper.db_sessions import Session, connection_arguments
from common.db.direct_sessions import direct_alias
from common.reason_codes import Code

CHANNEL = "paper_event"
KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def notify(session: Session) -> None:
    """Notify all listeners, once, when this transaction is committed.

    All notifying transactions take one lock to commit, one after the other. So use it only to
    report events, which is once for each batch of prices, never for orders.
    """
    session.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


async def notifications() -> AsyncIterator[None]:
    """Yield once at the beginning and at each notification. Raises ReadFailed."""
    try:
        async with await psycopg.AsyncConnection.connect(
            **{**KEEPALIVE, **connection_arguments(direct_alias())}, autocommit=True
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield
            async for _ in connection.notifies():
                yield
    except psycopg.Error as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__) from error
