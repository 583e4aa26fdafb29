"""A broker over HTTP that takes its time: `python -m tests.fakes.slow_http.broker MILLISECONDS`.

It prints its port as JSON, executes each market order once, and answers each request after so
many milliseconds. `/journal` answers at once. It ends with its input.
"""

import asyncio
import json
import sys
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

PRICE = "1.1"


class Books:
    """What the broker has executed, by client order id. received: requests to execute an order.

    open: the orders whose positions are open, by account and number.
    """

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.orders: dict[str, dict[str, Any]] = {}
        self.open: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.received = 0

    async def place(self, request: web.Request) -> web.Response:
        """Execute an order, once: it opens a position, or closes the one that it names."""
        order = await request.json()
        self.received += 1
        if order["id"] not in self.orders:
            self._execute(order)
        await asyncio.sleep(self.delay_seconds)
        return web.json_response(self.orders[order["id"]])

    def _execute(self, order: dict[str, Any]) -> None:
        now, number = datetime.now(UTC).isoformat(), str(len(self.orders) + 1)
        placed = {**order, "number": number, "price": PRICE, "time": now}
        self.orders[order["id"]] = placed
        if order.get("closes"):
            self.open[order["account"]].pop(order["closes"], None)
        else:
            self.open[order["account"]][number] = placed

    async def find(self, request: web.Request) -> web.Response:
        """Answer one order, or null."""
        await asyncio.sleep(self.delay_seconds)
        return web.json_response(self.orders.get(request.query["id"]))

    async def of_account(self, request: web.Request) -> web.Response:
        """Answer the orders of an account whose positions are open."""
        await asyncio.sleep(self.delay_seconds)
        return web.json_response([*self.open[request.query["account"]].values()])

    async def journal(self, request: web.Request) -> web.Response:
        """Answer how many orders were received and executed, and forget them."""
        counts = {"received": self.received, "executed": len(self.orders)}
        self.orders.clear()
        self.open.clear()
        self.received = 0
        return web.json_response(counts)


async def main(delay_ms: float) -> None:
    """Serve until the input ends."""
    books, app = Books(delay_ms / 1000), web.Application()
    app.add_routes([
        web.post("/orders", books.place), web.get("/order", books.find),
        web.get("/orders", books.of_account), web.get("/journal", books.journal),
    ])  # fmt: skip
    await serve(app)


async def serve(app: web.Application) -> None:
    """Print the port as JSON, and serve until the input ends."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        pass
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
