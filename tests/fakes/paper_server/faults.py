"""Faults on request that affect all clients; an account's own faults are in its terms."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from brokers.base import ReadFailed
from brokers.paper.db_sessions import sessions
from brokers.paper.notifications import notify
from common.reason_codes import Code

if TYPE_CHECKING:
    from tests.fakes.paper_server.server import Server

REPLAY = (
    "UPDATE paper_event SET acknowledged_at = NULL WHERE id IN"
    " (SELECT id FROM paper_event WHERE acknowledged_at IS NOT NULL ORDER BY id DESC LIMIT %s)"
)


class Faults:
    """One method for each kind of fault, called by its name."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._halves, self.last_half = 0, b""
        self._replayed_on_connect = 0

    async def make(self, name: str, *numbers: Any) -> None:
        """Cause a fault. Raises ReadFailed for an unknown kind."""
        kinds: dict[str, Callable[..., Awaitable[None]]] = {
            "refuse": self._refuse,
            "reset": self._reset,
            "half_answers": self._half_answers,
            "stand_still": self._stand_still,
            "replay": self._replay,
            "replay_on_connect": self._replay_on_connect,
        }
        if name not in kinds:
            raise ReadFailed(Code.FIELD_INVALID, f"no fault {name}")
        await kinds[name](*numbers)

    def halve(self, frame: bytes) -> bytes:
        """Return half of the answer that is about to leave; b"": it leaves whole."""
        if not self._halves:
            return b""
        self._halves -= 1
        self.last_half = frame[: len(frame) // 2]
        return self.last_half

    def on_connect(self) -> None:
        """React to a new client."""
        if self._replayed_on_connect:
            self._server.spawn(self._replay(self._replayed_on_connect))

    async def _refuse(self, seconds: float) -> None:
        """Refuse new connections, and reset those there are."""
        self._server.spawn(self._server.shut(float(seconds)))
        await self._reset()

    async def _reset(self) -> None:
        """Reset all connections, after the caller of this fault has its answer."""
        asyncio.get_running_loop().call_later(0.01, self._reset_all)

    def _reset_all(self) -> None:
        for client in list(self._server.clients):
            client.reset()

    async def _half_answers(self, times: int) -> None:
        """Answer half a frame and reset, so many times; not to the caller of this fault."""
        asyncio.get_running_loop().call_soon(setattr, self, "_halves", int(times))

    async def _stand_still(self, seconds: float) -> None:
        """Do nothing at all for a while: no answer, no heartbeat; the kernel still accepts."""
        asyncio.get_running_loop().call_later(0.01, time.sleep, float(seconds))

    async def _replay(self, events: int) -> None:
        """Send the last events again, as if they had not been acknowledged."""
        await self._server.threads.run(_mark_unacknowledged, int(events))

    async def _replay_on_connect(self, events: int) -> None:
        """Do that for each new client; 0: no more."""
        self._replayed_on_connect = int(events)


def _mark_unacknowledged(events: int) -> None:
    with sessions.transaction() as session:
        session.execute(REPLAY, (events,))
        notify(session)
