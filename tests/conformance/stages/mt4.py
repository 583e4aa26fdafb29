"""MetaTrader 4, and 5 by the same files: a real folder, and a process that acts as the expert
advisor in it."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from brokers.dwx import adapter, mt5_adapter
from brokers.dwx.adapter import DwxAdapter
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side
from conformance.harness import (
    Harness,
    HarnessFeature,
    InjectedFault,
    JournalEntry,
    NotApplicable,
)
from conformance.runner import OpenHarness
from tests.fakes.dwx.terminal import Terminal
from tests.until import until

ACCOUNT = "4711"
BID, SPREAD = D("1.10000"), D("0.00010")
NO_BOUND = "a command names no worst price: the expert advisor fills at the price that it finds"
WHOLE = "MetaTrader 4 fills an order at once or not at all"
ONE_NUMBER = (
    "the expert advisor reports every refusal of MetaTrader 5 with one code, which means unknown"
)
NO_STEP = "the files state no step: it is a setting, and an exit is sent whatever it says"
NAMED_BY_MAGIC = "a position is named by its magic number, whatever its ticket is"
NO_FLAG = "the files state no trading flag of a symbol"
NO_LIST = "the files have no list of symbols: they are a setting"
IN_MONEY = "fees are charged in the account's currency"
NO_FREEZE = "the files name no freeze level: the terminal refuses, and its message states no code"
READ_AGAIN = "executions are not pushed: each poll reads the same history again"
ANSWERS = ["Orders", "Historic_Trades", "Market_Data"]
FAULTS: dict[InjectedFault, dict[str, Any]] = {
    InjectedFault.REFUSED: {"error": "requote", "once": True},
    InjectedFault.LOST: {"swallow": True},
    InjectedFault.NO_ANSWER: {"slow_reply": 60},
    InjectedFault.CONNECTION_LOST: {"crash": True},
    InjectedFault.LATE: {"slow_trade": 60},
    InjectedFault.HALF_REPLY: {"half_after": ["Orders"]},
    InjectedFault.UNLISTED: {"error": "ErrorCode: 6666", "late": 0.3, "once": True},
    InjectedFault.OVERTAKEN: {"filled_first": True},
    InjectedFault.DROPS_LEVELS: {"drops_levels": True},
    InjectedFault.CLOSED: {"error": "market is closed"},
    InjectedFault.NO_MONEY: {"error": "not enough money"},
    InjectedFault.DISABLED: {"error": "trade is not allowed in the expert properties"},
    InjectedFault.STOPS_NEAR: {"stops_level": 0.001},
    InjectedFault.CLOCK_AHEAD: {"skew": 600, "disk_skew": 600},
    InjectedFault.CLOCK_BEHIND: {"skew": -600, "disk_skew": -600},
}
FAULTS_5 = FAULTS | {
    InjectedFault.THREE_FILLS: {"pieces": 3},
    InjectedFault.PARTIAL: {"fill_half": True},
    InjectedFault.DISABLED: {"error": "ErrorCode: 4752"},
}
ORDER_TYPES = {"": OrderType.MARKET, "limit": OrderType.LIMIT, "stop": OrderType.STOP}
LOT = D(100_000)
HALF_LENGTH = 60  # characters of the file; each price update changes what comes later in it
SETTINGS = {
    "folder": "alice", "symbols": ["EURUSD", "USDJPY"], "server_zone": "UTC+2",
    "take_seconds": 20, "answer_seconds": 20, "stale_seconds": 20, "settle_seconds": 0.5,
}  # fmt: skip
HASTY = {"take_seconds": 0.5, "answer_seconds": 1, "stale_seconds": 1}
"""While a fault lasts, and for what never answers. Otherwise the terminal, a process of its own,
may pause on a busy machine: that is no fault."""


def hasty(spec: ConnectionSpec) -> ConnectionSpec:
    """Return a connection that waits for its terminal only briefly."""
    return replace(spec, settings={**spec.settings, **HASTY})


class DwxStage(Harness):
    """A hedging account in a terminal. A new adapter simulates a new process.

    is_mt5: MetaTrader 5."""

    name = "mt4"
    symbol = "EURUSD"
    quantity = D(12_000)
    drop_seconds = 2.0  # polled each quarter of a second; longer on a busy machine

    def __init__(self, path: Path, is_mt5: bool) -> None:
        self.path, self.root, self.is_mt5 = path, path / "root", is_mt5
        self.unavailable = {InjectedFault.REPLAY: READ_AGAIN, InjectedFault.FROZEN: NO_FREEZE}
        self.unavailable[InjectedFault.COARSER] = NO_STEP
        self.unavailable |= {
            InjectedFault.HALT_ENDED: NO_FLAG, InjectedFault.DELISTED: NO_LIST,
            InjectedFault.FEE_IN_COIN: IN_MONEY,
        }  # fmt: skip
        if is_mt5:
            self.unavailable[InjectedFault.RENUMBERED] = NAMED_BY_MAGIC
        if is_mt5:  # the expert advisor reports all its refusals with one code: unknown
            refusals = (
                InjectedFault.REFUSED,
                InjectedFault.CLOSED,
                InjectedFault.NO_MONEY,
                InjectedFault.STOPS_NEAR,
            )
            self.unavailable |= dict.fromkeys((*refusals, HarnessFeature.EXTREMES), ONE_NUMBER)
        else:
            self.unavailable |= dict.fromkeys(
                (InjectedFault.THREE_FILLS, InjectedFault.PARTIAL), WHOLE
            )
        self.terminal = self._terminal("alice")
        self.others: list[Terminal] = []
        self._faults: dict[str, Any] = {}
        self.adapter = self._process()
        self.spec = self._spec("c-1", "alice")
        self._before, self._half, self._is_halving = -1, "", False

    def _process(self) -> DwxAdapter:
        return mt5_adapter.create(str(self.root)) if self.is_mt5 else adapter.create(str(self.root))

    def _terminal(self, name: str) -> Terminal:
        path = self.path / f"broker-{name}"
        return Terminal(self.root, path, name, self.is_mt5, MaximumLotSize=1000)

    def _spec(self, connection: str, folder: str) -> ConnectionSpec:
        secrets = {"password": Terminal.key}
        settings = {**SETTINGS, "folder": folder, **({"hedging": True} if self.is_mt5 else {})}
        return ConnectionSpec(connection, ACCOUNT, "", settings, secrets)

    async def open(self) -> None:
        await asyncio.to_thread(self.terminal.start)

    async def close(self) -> None:
        await self.adapter.disconnect()
        for item in (self.terminal, *self.others):
            await asyncio.to_thread(item.kill)

    # ---- features ---------------------------------------------------------------------------
    async def accepted(self, client_order_id: str) -> int:
        return [item["comment"] for item in self.terminal.journal()].count(client_order_id)

    async def journal(self) -> Sequence[JournalEntry]:
        """The entries: an exit closes a ticket and has no id of its own."""
        entries = []
        for one in self.terminal.journal():
            side = Side.BUY if one["type"].startswith("buy") else Side.SELL
            order_type = ORDER_TYPES[one["type"].removeprefix(side.lower())]
            quantity = D(str(one["lots"])) * LOT
            entries.append(JournalEntry(one["comment"], order_type, side, quantity))
        return entries

    async def stops(self) -> Sequence[D]:
        tickets = self.terminal.open_tickets().values()
        held = [one for one in tickets if one["type"] in ("buy", "sell") and one["sl"]]
        return [D(str(one["sl"])) for one in held]

    async def move(self, factor: D) -> None:
        bid = float(round(BID * factor, 5))
        price = {"symbol": self.symbol, "bid": bid, "ask": round(bid + float(SPREAD), 5)}
        await asyncio.to_thread(self.terminal.simulate, "price", **price)

    async def gap(self, factor: D) -> None:
        raise NotApplicable(NO_BOUND)

    async def second_account(self) -> ConnectionSpec:
        self.others.append(self._terminal("bob"))
        await asyncio.to_thread(self.others[-1].start)
        return self._spec("c-2", "bob")

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        if mistake is HarnessFeature.HOST:  # a folder that no expert advisor writes to
            self._terminal("unused")
            return hasty(self._spec("c-3", "unused"))
        wrong = replace(self.spec, connection_id="c-4")
        if mistake is HarnessFeature.PASSWORD:
            return replace(wrong, credentials={"password": "wrong battery"})
        return replace(wrong, account="999")

    async def new_process(self) -> None:
        await self.adapter.disconnect()
        self.adapter = self._process()

    async def restart(self) -> None:
        await asyncio.to_thread(self.terminal.close)
        await asyncio.to_thread(self.terminal.start)

    async def owner_closes(self, broker_position_id: str) -> None:
        magic = int(broker_position_id.removeprefix("m"))
        tickets = self.terminal.open_tickets().values()
        [ticket] = [item["number"] for item in tickets if magic in (item["magic"], item["number"])]
        await asyncio.to_thread(self.terminal.simulate, "end", ticket=ticket, mark="")

    async def execute_again(self, request: OrderRequest) -> None:
        tickets = self.terminal.open_tickets().values()
        [first] = [item for item in tickets if item["comment"] == request.client_order_id]
        names = ("magic", "symbol", "type", "lots", "comment")
        values = {name: first[name] for name in names}
        await asyncio.to_thread(self.terminal.simulate, "order", **values)

    async def half_reply(self) -> Sequence[str]:
        assert self._half
        return [self._half[:HALF_LENGTH]]

    # ---- faults -----------------------------------------------------------------------------
    async def begin(self, fault: InjectedFault) -> None:
        self.spec = hasty(self.spec)
        if fault is InjectedFault.DOWN:
            await asyncio.to_thread(self.terminal.kill)
        elif fault is InjectedFault.RENUMBERED:
            await asyncio.to_thread(self.terminal.simulate, "renumber")
        elif fault is InjectedFault.DROPS_LATER:
            for number in self.terminal.open_tickets():
                await asyncio.to_thread(
                    self.terminal.simulate, "levels", ticket=int(number), sl=0.0, tp=0.0
                )
        elif fault is InjectedFault.READS:
            await asyncio.to_thread(self.terminal.write_half, *ANSWERS)
        else:
            self._before = len(self.terminal.journal()) if fault is InjectedFault.UNLISTED else -1
            self._is_halving = fault is InjectedFault.HALF_REPLY
            self._faults |= (FAULTS_5 if self.is_mt5 else FAULTS)[fault]
            self.terminal.fault(**self._faults)

    async def end(self) -> None:
        """Also wait until the terminal has received what was sent."""
        if self._is_halving:
            raw = (self.terminal.folder / "DWX_Orders.txt").read_bytes()
            self._half = raw.decode("utf-8", "backslashreplace")  # it writes cp1252
        if self.terminal.is_alive:
            slot = self.terminal.folder / "DWX_Commands_0.txt"
            await asyncio.to_thread(until, lambda: not slot.exists())
            await asyncio.to_thread(until, lambda: len(self.terminal.journal()) > self._before)
        self.spec = self._spec("c-1", "alice")
        self._before, self._is_halving = -1, False
        self._faults.clear()
        self.terminal.fault()
        if not self.terminal.is_alive:
            await asyncio.to_thread(self.terminal.kill)
            await asyncio.to_thread(self.terminal.start)


def opening(is_mt5: bool = False) -> OpenHarness:
    """Return the function that opens a stage."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        with tempfile.TemporaryDirectory() as path:
            stage = DwxStage(Path(path), is_mt5)
            await stage.open()
            try:
                yield stage
            finally:
                await stage.close()

    return opened


STAGES: dict[str, OpenHarness] = {"mt4": opening(), "mt5-dwx": opening(is_mt5=True)}
MAX_CONCURRENT = 4
