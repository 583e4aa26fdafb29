"""The paper broker's server (`tests/fakes/paper_server`), which notes how long each order took:
`python -m benchmarks.paper_broker`.

It prints its port. For each line on its input it prints when each order arrived and how long its
answer took, by the machine's monotonic clock.
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
    from tests.fakes.paper_server.protocol import SUBMIT
    from tests.fakes.paper_server.server import Responder, Server

    spent: list[tuple[float, float]] = []

    class Noted(Responder):
        """Notes when it begins to answer."""

        began = 0.0

        def __call__(self, words: dict[str, Any]) -> None:
            spent.append((self.began, time.perf_counter() - self.began))
            super().__call__(words)  # after it the other process may be quicker than we are

    class Timed(Server):
        async def serve(self, message: Mapping[str, Any], say: "Responder") -> None:
            began = time.perf_counter()
            if message.get("do") == SUBMIT:
                say = Noted(say.client, say.number)
                say.began = began
            await super().serve(message, say)

    server = Timed()
    await server.open("127.0.0.1", 0)
    print(json.dumps({"port": server.port}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        told = json.dumps(spent)
        spent.clear()
        print(told, flush=True)
    await server.close()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    asyncio.run(main())
