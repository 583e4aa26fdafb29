"""MetaTrader 4: the adapter on a real folder, against a process that plays the expert advisor."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from brokers.conformance.run import Open
from brokers.conformance.stage import Offer, Stage, Trouble
from brokers.dwx.adapter import create
from brokers.messages import ConnectionSpec
from tests.doubles.dwx.terminal import Terminal, until

ACCOUNT = "4711"
BID, SPREAD = D("1.10000"), D("0.00010")
WHOLE = "MetaTrader 4 fills an order at once or not at all"
READ_ANEW = "executions are not pushed: each look reads the same history again"
ANSWERS = ["Orders", "Historic_Trades", "Market_Data"]
FAULTS: dict[Trouble, dict[str, Any]] = {
    Trouble.REFUSED: {"error": "requote", "once": True},
    Trouble.LOST: {"swallow": True},
    Trouble.MUTE: {"mute": 60},
    Trouble.CUT: {"die": True},
    Trouble.LATE: {"slow_trade": 60},
    Trouble.HALF: {"half": ["Orders"]},
    Trouble.UNLISTED: {"error": "ErrorCode: 6666", "late": 0.3, "once": True},
    Trouble.OVERTAKEN: {"filled_first": True},
    Trouble.READS: {"half": ANSWERS},
    Trouble.CLOSED: {"error": "market is closed"},
    Trouble.POOR: {"error": "not enough money"},
    Trouble.DISABLED: {"error": "trade is not allowed in the expert properties"},
    Trouble.STOPS_NEAR: {"stops_level": 0.001},
}
SETTINGS = {
    "folder": "alice", "symbols": ["EURUSD", "USDJPY"], "server_zone": "UTC+2",
    "take_seconds": 0.5, "answer_seconds": 1, "stale_seconds": 1, "settle_seconds": 0.5,
}  # fmt: skip


class Mt4Stage(Stage):
    """A hedging account in a terminal with room for orders. A new process is a new adapter."""

    name = "mt4"
    symbol = "EURUSD"
    quantity = D(12_000)
    lacks = {Trouble.PIECES: WHOLE, Trouble.PARTIAL: WHOLE, Trouble.REPLAY: READ_ANEW}

    def __init__(self, place: Path) -> None:
        self.place, self.root = place, place / "root"
        self.terminal = self._terminal("alice")
        self.others: list[Terminal] = []
        self.adapter = create(str(self.root))
        self.spec = self._spec("c-1", "alice")
        self._before = -1

    def _terminal(self, name: str) -> Terminal:
        return Terminal(self.root, self.place / f"broker-{name}", name, MaximumLotSize=1000)

    def _spec(self, connection: str, folder: str) -> ConnectionSpec:
        secrets = {"password": Terminal.key}
        return ConnectionSpec(connection, ACCOUNT, "", {**SETTINGS, "folder": folder}, secrets)

    async def open(self) -> None:
        await asyncio.to_thread(self.terminal.start)

    async def close(self) -> None:
        await self.adapter.disconnect()
        for one in (self.terminal, *self.others):
            await asyncio.to_thread(one.kill)

    # ---- offers -----------------------------------------------------------------------------
    async def accepted(self, client_order_id: str) -> int:
        return [one["comment"] for one in self.terminal.journal()].count(client_order_id)

    async def move(self, factor: D) -> None:
        bid = float(round(BID * factor, 5))
        price = {"symbol": self.symbol, "bid": bid, "ask": round(bid + float(SPREAD), 5)}
        await asyncio.to_thread(self.terminal.wish, "price", **price)

    async def second(self) -> ConnectionSpec:
        self.others.append(self._terminal("bob"))
        await asyncio.to_thread(self.others[-1].start)
        return self._spec("c-2", "bob")

    async def mistaken(self, what: Offer) -> ConnectionSpec:
        if what is Offer.HOST:  # a folder that no expert advisor writes in
            self._terminal("nobody")
            return self._spec("c-3", "nobody")
        wrong = replace(self.spec, connection_id="c-4")
        if what is Offer.PASSWORD:
            return replace(wrong, credentials={"password": "wrong battery"})
        return replace(wrong, account="999")

    async def anew(self) -> None:
        await self.adapter.disconnect()
        self.adapter = create(str(self.root))

    async def restart(self) -> None:
        await asyncio.to_thread(self.terminal.close)
        await asyncio.to_thread(self.terminal.start)

    async def owner_closes(self, broker_position_id: str) -> None:
        await asyncio.to_thread(self.terminal.wish, "end", ticket=int(broker_position_id), mark="")

    # ---- trouble ----------------------------------------------------------------------------
    async def begin(self, trouble: Trouble) -> None:
        if trouble is Trouble.DOWN:
            await asyncio.to_thread(self.terminal.kill)
        else:
            self._before = len(self.terminal.journal()) if trouble is Trouble.UNLISTED else -1
            self.terminal.fault(**FAULTS[trouble])
        if trouble is Trouble.READS:  # the last whole file is still there
            orders = self.terminal.folder / "DWX_Orders.txt"
            await asyncio.to_thread(until, lambda: not orders.read_bytes().endswith(b"\n"))

    async def end(self) -> None:
        """What has left is with the terminal by then, as on a line without a buffer."""
        if self.terminal.is_alive:
            slot = self.terminal.folder / "DWX_Commands_0.txt"
            await asyncio.to_thread(until, lambda: not slot.exists())
            await asyncio.to_thread(until, lambda: len(self.terminal.journal()) > self._before)
        self._before = -1
        self.terminal.fault()
        if not self.terminal.is_alive:
            await asyncio.to_thread(self.terminal.kill)
            await asyncio.to_thread(self.terminal.start)


@contextlib.asynccontextmanager
async def _opened() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as place:
        stage = Mt4Stage(Path(place))
        await stage.open()
        try:
            yield stage
        finally:
            await stage.close()


STAGES: dict[str, Open] = {"mt4": _opened}
