"""A trading process reduced to its adapter: only brokers/ and the connection, without Django."""

import sys

from brokers.types import ConnectionSpec
from tests.fakes.paper_server.adapter import RemotePaper


async def submit(port: int, count: int) -> None:
    """Place `count` orders in one call and wait for their answers."""
    from tests.paper.factories import order

    adapter = RemotePaper("127.0.0.1", port)
    spec = ConnectionSpec(connection_id="c-A1", account="A1", settings={"reply_timeout": 60})
    orders = [(spec, order("A1", f"bare{number:03d}")) for number in range(count)]
    assert "django" not in sys.modules
    await adapter.submit_many(orders, lambda _: None, lambda *_: None)
