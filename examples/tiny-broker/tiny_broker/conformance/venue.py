"""Tiny itself: what the example's adapter talks to, with a journal and trouble on demand."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from common.clocks import market_now

Words = dict[str, Any]


@dataclass
class Venue:
    """One account A1 with the password `pw`. trouble: of the next order, by name.

    no_entry: the error that each log-in is answered with, whoever comes; ahead: of our clock.
    """

    port: int = 0
    journal: list[str] = field(default_factory=list)
    orders: list[Words] = field(default_factory=list)
    open: dict[str, Words] = field(default_factory=dict)
    trouble: str = ""
    no_entry: str = ""
    ahead: timedelta = timedelta(0)

    def answer(self, asked: Words) -> Words | None:
        """None: hang up without a word."""
        does: dict[str, Callable[[Words], Words | None]] = {
            "login": self._login, "place": self._place, "account": self._account,
            "symbols": lambda _: {"symbols": [SYMBOL]}, "price": self._price,
            "positions": lambda _: {"positions": list(self.open.values())},
            "order": lambda asked: {"order": self._find(asked["id"])},
            "orders": lambda asked: {"orders": self.orders},
        }  # fmt: skip
        return does[asked["do"]](asked)

    def owner_closes(self) -> None:
        """All that is open, by hand."""
        for position in list(self.open.values()):
            entry = position["id"]
            self._execute({**position, "id": ""}, position["quantity"], by="owner", entry=entry)
            del self.open[position["position"]]

    def now(self) -> str:
        """The broker's time."""
        return (market_now() + self.ahead).isoformat()

    def _login(self, asked: Words) -> Words:
        if self.no_entry:
            return {"error": self.no_entry}
        if asked["account"] != "A1":
            return {"error": "NO_ACCOUNT"}
        right = "pw"  # what the double takes
        return {"ok": True} if asked["password"] == right else {"error": "BAD_PASSWORD"}

    def _account(self, _: Words) -> Words:
        money = {"balance": "10000", "equity": "10000", "margin": "0", "leverage": "30"}
        return {"account": {**money, "currency": "USD", "trading": True, "time": self.now()}}

    def _price(self, asked: Words) -> Words:
        if asked["symbol"] != SYMBOL["symbol"]:
            return {"error": "NO_SYMBOL"}
        return {"price": {"pair": "EUR/USD", "bid": "1.0999", "ask": "1.1000", "time": self.now()}}

    def _place(self, asked: Words) -> Words | None:
        trouble, self.trouble = self.trouble, ""
        if trouble in ("NO_MONEY", "TEAPOT"):
            return {"error": trouble, "text": "no"}
        if trouble == "lost":
            return None
        if error := _wrong(asked):
            return {"error": error, "text": "not so"}
        if not self._find(asked["id"]):
            if asked["position"] and not self._reduce(asked):
                return {"error": "NO_POSITION"}
            self.journal.append(asked["id"])
            told = self._execute(asked, asked["quantity"])
            if not asked["position"]:
                number = told["position"]
                self.open[number] = {
                    **asked,
                    "position": number,
                    "price": "1.1",
                    "time": self.now(),
                }
        if trouble == "silent":
            return None
        if trouble == "shrug":  # taken, and answered with what nobody has listed
            return {"error": "SHRUG", "text": "who knows"}
        return {"order": None if trouble == "nonsense" else self._find(asked["id"])}

    def _reduce(self, asked: Words) -> bool:
        found = self.open.get(asked["position"])
        if found is None or Decimal(found["quantity"]) < Decimal(asked["quantity"]):
            return False
        found["quantity"] = str(Decimal(found["quantity"]) - Decimal(asked["quantity"]))
        if not Decimal(found["quantity"]):
            del self.open[asked["position"]]
        return True

    def _execute(self, asked: Words, quantity: str, by: str = "us", entry: str = "") -> Words:
        ticket = str(len(self.orders) + 1)
        fill = {
            "id": f"f{ticket}",
            "quantity": quantity,
            "price": "1.1",
            "time": self.now(),
            "fee": "0",
        }
        told = {
            "ticket": ticket, "id": asked["id"], "position": asked["position"] or ticket,
            "currency": "USD", "by": by, "entry": entry, "fills": [fill],
        }  # fmt: skip
        self.orders.append(told)
        return told

    def _find(self, order_id: str) -> Words | None:
        return next((one for one in self.orders if one["id"] == order_id), None)


SYMBOL: Words = {
    "symbol": "EURUSD", "pair": "EUR/USD", "digits": 5, "pip": "0.0001", "least": "10",
    "step": "10", "most": "1000000",
}  # fmt: skip


def _wrong(asked: Words) -> str:
    quantity, step = Decimal(asked["quantity"]), Decimal(SYMBOL["step"])
    if asked["symbol"] != SYMBOL["symbol"]:
        return "NO_SYMBOL"
    if not (quantity.is_finite() and step <= quantity <= Decimal(SYMBOL["most"])):
        return "BAD_QUANTITY"
    return "BAD_QUANTITY" if quantity % step else ""


@contextmanager
def serving() -> Iterator[Venue]:
    """Listen on a port of this machine, in a thread of its own."""
    venue, loop = Venue(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            told = venue.answer(json.loads(line))
            if told is None:
                break
            writer.write(json.dumps(told).encode() + b"\n")
        writer.close()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(
        asyncio.start_server(serve, "127.0.0.1", 0), loop
    ).result(10)
    venue.port = server.sockets[0].getsockname()[1]
    try:
        yield venue
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Let nobody in, and let go of whoever is there."""
    server.close()
    there = asyncio.all_tasks() - {asyncio.current_task()}
    for task in there:
        task.cancel()
    await asyncio.gather(*there, return_exceptions=True)
