"""The web server of `sink_callback`: `python -m benchmarks.sink_receiver`.

It prints its address as JSON, answers each POST at once, and GET with how many there were. It runs
until it is killed.
"""

import asyncio
import json
from typing import Any

from aiohttp import web


class Inbox:
    """What has been received: only its number."""

    def __init__(self) -> None:
        self.received = 0

    async def take(self, request: web.Request) -> web.Response:
        """Read one message."""
        message: dict[str, Any] = await request.json()
        self.received += bool(message["id"])
        return web.json_response({})

    async def count(self, _request: web.Request) -> web.Response:
        """Answer the number of messages so far."""
        return web.json_response(self.received)


async def main() -> None:
    """Serve until the process is killed."""
    inbox = Inbox()
    app = web.Application()
    app.add_routes([web.post("/", inbox.take), web.get("/", inbox.count)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
