"""The paper broker's server on its own thread, which can be stopped and started again."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from tests.fakes.paper_server.server import Server


class Host:
    """Listens on a port that stays the same."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        """Start serving, unless it serves."""
        if self._server is None:
            server = Server(faults=True)
            self._do(server.open("127.0.0.1", self.port))
            self._server, self.port = server, server.port

    def close(self) -> None:
        """Stop serving and close all connections."""
        if self._server is not None:
            self._do(self._server.close(0.1))
            self._server = None

    def fault(self, name: str, *numbers: Any) -> None:
        """Inject a fault into the server."""
        assert self._server is not None
        assert self._server.faults is not None
        self._do(self._server.faults.make(name, *numbers))

    @property
    def last_partial_answer(self) -> bytes:
        """What was sent of the last truncated answer."""
        assert self._server is not None
        assert self._server.faults is not None
        return self._server.faults.last_half

    @property
    def connection_count(self) -> int:
        """How many connections are open to it."""
        assert self._server is not None
        return len(self._server.clients)

    def stop(self) -> None:
        """Stop serving and end the thread; pending answers are dropped."""
        self.close()
        self._do(_cancel_pending())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


async def _cancel_pending() -> None:
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
