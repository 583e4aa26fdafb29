"""The bell: rings when something new waits in the event stream.

Whoever writes an event notifies in the same transaction, so that the bell rings when it can be
read. A listener needs a session of its own: between it and the server no pool may stand that lends
a session by the transaction. Whoever hears nothing still reads the events now and then.
"""

from collections.abc import AsyncIterator

import psycopg

from brokers.base import ReadFailed
from brokers.paper.db_sessions import Session, connection_arguments
from common.reason_codes import Code

CHANNEL = "paper_event"
KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def notify(session: Session) -> None:
    """Ring for every listener when this transaction is committed, once however often it is asked.

    Costs a lock that all notifying transactions take to commit, one after the other: it is for
    those that tell events, which are one for each batch of prices, and never for orders.
    """
    session.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


async def notifications() -> AsyncIterator[None]:
    """Yield once at the beginning and whenever something new waits. Raises ReadFailed."""
    try:
        async with await psycopg.AsyncConnection.connect(
            **{**KEEPALIVE, **connection_arguments()}, autocommit=True
        ) as line:
            await line.execute(f"LISTEN {CHANNEL}")
            yield
            async for _ in line.notifies():
                yield
    except psycopg.Error as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__) from error
