"""How a test in another process controls the broker: JSON lines at the fake TWS's port.

A line is {"do": name, "args": […]}: a method of the venue or of `Control`.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from tests.fakes.tws.faults import Fault
from tests.fakes.tws.journal import RECORDED_CALLS

if TYPE_CHECKING:
    from tests.fakes.tws.server import FakeTws

GREETING = b"CTL\n"
SWITCHES = ("commissions", "read_only")
VENUE_SWITCHES = ("drops_levels", "takes_fractions")


class Control:
    """One control connection."""

    def __init__(self, tws: "FakeTws") -> None:
        self._tws, self._venue = tws, tws.venue

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Execute the requests, line by line."""
        while line := await reader.readline():
            request = orjson.loads(line)
            target = self._venue if request["do"] in RECORDED_CALLS else self
            result = getattr(target, request["do"])(*request.get("args", ()))
            if asyncio.iscoroutine(result):
                result = await result
            encodable = result if isinstance(result, dict) else None
            writer.write(orjson.dumps(encodable, default=str) + b"\n")

    def fault(self, kind: str, number: int = 0, text: str = "", seconds: float = 0.0) -> None:
        """Inject a fault into the next order."""
        self._tws.faults.append(Fault(kind, number, text, seconds))

    def announce(self, number: int, text: str = "") -> None:
        self._tws.announce(number, text)

    def replay(self) -> None:
        self._tws.replay()

    def turn(self, knob: str, value: Any) -> None:
        """Set one of SWITCHES or VENUE_SWITCHES."""
        assert knob in (*SWITCHES, *VENUE_SWITCHES)
        setattr(self._venue if knob in VENUE_SWITCHES else self._tws, knob, value)

    def cut(self) -> None:
        """Reset every client's connection."""
        for visitor in list(self._tws.sessions):
            visitor.cut()

    async def restart(self, seconds: float = 0.0) -> None:
        """Be unreachable for a while, as each night; this connection stays."""
        port = self._tws.port
        await self._tws.close()
        await asyncio.sleep(seconds)
        await self._tws.open(port)

    def state(self) -> dict[str, Any]:
        """Return the broker's state, for a test's final checks."""
        venue = self._venue
        return {
            "accepted": venue.accepted,
            "received": venue.received,
            "orders": [
                {"ref": o.ref, "status": o.status, "filled": o.filled, "client_id": o.client_id}
                for o in venue.orders
            ],
            "positions": {
                f"{account}:{con_id}": held for (account, con_id), (held, _) in
                venue.positions.items()
            },
            "clients": [visitor.client_id for visitor in self._tws.sessions],
            "messages": len(self._tws.writes),
        }  # fmt: skip
