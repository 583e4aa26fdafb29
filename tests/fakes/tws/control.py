"""How a test in another process plays the broker: JSON lines at the double's own port.

A line is {"do": name, "args": […]}: a deed of the venue, or one of `Control`'s own.
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
VENUE_SWITCHES = ("drops_levels",)


class Control:
    """One control line."""

    def __init__(self, tws: "FakeTws") -> None:
        self._tws, self._venue = tws, tws.venue

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what is said, line by line."""
        while line := await reader.readline():
            said = orjson.loads(line)
            where = self._venue if said["do"] in RECORDED_CALLS else self
            told = getattr(where, said["do"])(*said.get("args", ()))
            if asyncio.iscoroutine(told):
                told = await told
            plain = told if isinstance(told, dict) else None
            writer.write(orjson.dumps(plain, default=str) + b"\n")

    def fault(self, kind: str, number: int = 0, text: str = "", seconds: float = 0.0) -> None:
        """Have something happen to the next order."""
        self._tws.faults.append(Fault(kind, number, text, seconds))

    def announce(self, number: int, text: str = "") -> None:
        self._tws.announce(number, text)

    def replay(self) -> None:
        self._tws.replay()

    def turn(self, knob: str, value: Any) -> None:
        """Turn one of KNOBS, or of the venue's."""
        assert knob in (*SWITCHES, *VENUE_SWITCHES)
        setattr(self._venue if knob in VENUE_SWITCHES else self._tws, knob, value)

    def cut(self) -> None:
        """Cut every client's line."""
        for visitor in list(self._tws.sessions):
            visitor.cut()

    async def restart(self, seconds: float = 0.0) -> None:
        """Be away for a while, as each night; this line stays."""
        port = self._tws.port
        await self._tws.close()
        await asyncio.sleep(seconds)
        await self._tws.open(port)

    def delays(self) -> dict[str, Any]:
        """How long the double took for each order, in seconds; begins anew."""
        told = {"seconds": list(self._tws.delays)}
        self._tws.delays.clear()
        return told

    def state(self) -> dict[str, Any]:
        """What the broker has, for a test's last word."""
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
