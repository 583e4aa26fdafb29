"""The paper broker's server on a thread of its own, which can be stopped and come again."""

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
        """Come up, if it is down."""
        if self._server is None:
            server = Server(faults=True)
            self._do(server.open("127.0.0.1", self.port))
            self._server, self.port = server, server.port

    def close(self) -> None:
        """Go down: everybody is hung up on and nobody let in."""
        if self._server is not None:
            self._do(self._server.close(0.1))
            self._server = None

    def fault(self, name: str, *numbers: Any) -> None:
        """Make trouble of the server's own kinds."""
        assert self._server is not None
        assert self._server.faults is not None
        self._do(self._server.faults.make(name, *numbers))

    @property
    def last_half(self) -> bytes:
        """What left of the last answer that was cut in half."""
        assert self._server is not None
        assert self._server.faults is not None
        return self._server.faults.last_half

    @property
    def callers(self) -> int:
        """How many connections are open to it."""
        assert self._server is not None
        return len(self._server.clients)

    def stop(self) -> None:
        """Go down for good, with the answers that somebody still waited for."""
        self.close()
        self._do(_let_go())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


async def _let_go() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
