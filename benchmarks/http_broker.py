"""A broker over HTTP that takes its time: `python -m benchmarks.http_broker MILLISECONDS`.

It prints its address as JSON, executes each market order once, and answers each request after so
many milliseconds. `/journal` answers at once. It ends with its input.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

PRICE = "1.1"


class Books:
    """What the broker has executed, by client order id. received: requests to execute an order."""

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.orders: dict[str, dict[str, Any]] = {}
        self.received = 0

    async def place(self, request: web.Request) -> web.Response:
        """Execute an order, once."""
        order = await request.json()
        self.received += 1
        number = str(len(self.orders) + 1)
        placed = self.orders.setdefault(
            order["id"],
            {**order, "number": number, "price": PRICE, "time": datetime.now(UTC).isoformat()},
        )
        await asyncio.sleep(self.delay_seconds)
        return web.json_response(placed)

    async def find(self, request: web.Request) -> web.Response:
        """Answer one order, or null."""
        await asyncio.sleep(self.delay_seconds)
        return web.json_response(self.orders.get(request.query["id"]))

    async def of_account(self, request: web.Request) -> web.Response:
        """Answer all orders of an account; each opened a position."""
        await asyncio.sleep(self.delay_seconds)
        account = request.query["account"]
        found = [order for order in self.orders.values() if order["account"] == account]
        return web.json_response(found)

    async def journal(self, request: web.Request) -> web.Response:
        """Answer how many orders were received and executed, and forget them."""
        counts = {"received": self.received, "executed": len(self.orders)}
        self.orders.clear()
        self.received = 0
        return web.json_response(counts)


async def main(delay_ms: float) -> None:
    """Serve until the input ends."""
    books = Books(delay_ms / 1000)
    app = web.Application()
    app.add_routes(
        [
            web.post("/orders", books.place),
            web.get("/order", books.find),
            web.get("/orders", books.of_account),
            web.get("/journal", books.journal),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        pass
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
