"""The tests' paper broker server, timed: `python -m benchmarks.paper_broker`.

It prints its port. For each line of its input it prints when each order arrived and how long its
answer took, in seconds of the machine's monotonic clock.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from tests.fakes.paper_server.server import Responder


async def main() -> None:
    """Serve until the input ends."""
    from tests.fakes.paper_server.protocol import SUBMIT
    from tests.fakes.paper_server.server import Responder, Server

    spent: list[tuple[float, float]] = []

    class TimedResponder(Responder):
        """Records how long an order took until its answer."""

        began = 0.0

        def __call__(self, answer: dict[str, Any]) -> None:
            spent.append((self.began, time.perf_counter() - self.began))
            super().__call__(answer)  # last: the client may request the times right after it

    class TimedServer(Server):
        """Records when each order arrives."""

        async def serve(self, message: Mapping[str, Any], respond: "Responder") -> None:
            began = time.perf_counter()
            if message.get("do") == SUBMIT:
                respond = TimedResponder(respond.client, respond.number)
                respond.began = began
            await super().serve(message, respond)

    server = TimedServer()
    await server.open("127.0.0.1", 0)
    print(json.dumps({"port": server.port}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        output = json.dumps(spent)
        spent.clear()
        print(output, flush=True)
    await server.close()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    asyncio.run(main())
