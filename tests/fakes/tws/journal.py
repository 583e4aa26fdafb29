"""The venue's journal: each call is written to it before it is executed. A venue restored from it
has every order, execution and position, so it survives its process."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from tests.fakes.tws.messages import PlacedOrder
from tests.fakes.tws.venue import Execution, Order, Venue

RECORDED_CALLS = (
    "receive",
    "place",
    "cancel",
    "quote",
    "fill",
    "correct",
    "end",
    "forget",
    "give",
    "execute_again",
)


class JournaledVenue(Venue):
    """A venue that writes each call to a file first, and continues from it after a kill."""

    def __init__(self, path: Path, accounts: tuple[str, ...] = ("DU1234567",)) -> None:
        super().__init__(accounts)
        lines = path.read_bytes().splitlines() if path.exists() else []
        self._file: Any = None
        for line in lines:
            self._replay(orjson.loads(line))
        self.now = lambda: datetime.now(UTC)
        self._file = path.open("ab", buffering=0)

    def _replay(self, line: dict[str, Any]) -> None:
        at = datetime.fromisoformat(line["at"])
        self.now = lambda: at
        method: Callable[..., Any] = getattr(self, line["do"])
        method(*line["args"])

    def _write(self, do: str, *args: Any) -> None:
        if self._file is not None:
            line = {"at": self.now().isoformat(), "do": do, "args": args}
            self._file.write(orjson.dumps(line, default=str) + b"\n")

    def receive(self, ref: str) -> None:
        self._write("receive", ref)
        super().receive(ref)

    def place(self, client_id: int, placed: PlacedOrder | dict[str, Any]) -> Order:
        if isinstance(placed, dict):
            placed = PlacedOrder(**{**placed, "quantity": Decimal(placed["quantity"])})
        self._write("place", client_id, asdict(placed))
        return super().place(client_id, placed)

    def cancel(self, order: Order | int) -> None:
        if isinstance(order, int):
            order = next(candidate for candidate in self.orders if candidate.perm_id == order)
        self._write("cancel", order.perm_id)
        super().cancel(order)

    def quote(self, symbol: str, bid: str, ask: str) -> None:
        self._write("quote", symbol, bid, ask)
        super().quote(symbol, bid, ask)

    def fill(self, ref: str, quantity: str, price: str) -> Execution:
        self._write("fill", ref, quantity, price)
        return super().fill(ref, quantity, price)

    def correct(self, execution: Execution | int, price: str, quantity: str = "") -> Execution:
        if isinstance(execution, int):
            execution = next(item for item in self.executions if item.number == execution)
        self._write("correct", execution.number, price, quantity)
        return super().correct(execution, price, quantity)

    def end(self, ref: str, status: str = "Cancelled", why: str = "") -> None:
        self._write("end", ref, status, why)
        super().end(ref, status, why)

    def forget(self, ref: str) -> None:
        self._write("forget", ref)
        super().forget(ref)

    def give(self, account: str, symbol: str, quantity: str, cost: str) -> None:
        self._write("give", account, symbol, quantity, cost)
        super().give(account, symbol, quantity, cost)
