"""Tiny itself: the fake broker of this example, with a journal and faults on demand."""

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

Message = dict[str, Any]


@dataclass
class Venue:
    """A broker with one account, A1, with the password `pw`.

    journal: ids of the executed orders. fault: name of the next order's fault. login_error: if
    set, the answer to each login. ahead: how far the broker's clock is ahead of ours.
    """

    port: int = 0
    journal: list[str] = field(default_factory=list)
    orders: list[Message] = field(default_factory=list)
    positions: dict[str, Message] = field(default_factory=dict)
    fault: str = ""
    login_error: str = ""
    ahead: timedelta = timedelta(0)

    def answer(self, request: Message) -> Message | None:
        """Return the answer to a request; None: disconnect without one."""
        handlers: dict[str, Callable[[Message], Message | None]] = {
            "login": self._login, "place": self._place, "account": self._account,
            "symbols": lambda _: {"symbols": [SYMBOL]}, "price": self._price,
            "positions": lambda _: {"positions": list(self.positions.values())},
            "order": lambda request: {"order": self._find(request["id"])},
            "orders": lambda request: {"orders": self.orders},
        }  # fmt: skip
        return handlers[request["do"]](request)

    def owner_closes(self) -> None:
        """Close all positions as the owner does by hand."""
        for position in list(self.positions.values()):
            entry = position["id"]
            self._execute({**position, "id": ""}, position["quantity"], by="owner", entry=entry)
            del self.positions[position["position"]]

    def now(self) -> str:
        """Return the broker's time."""
        return (market_now() + self.ahead).isoformat()

    def _login(self, request: Message) -> Message:
        if self.login_error:
            return {"error": self.login_error}
        if request["account"] != "A1":
            return {"error": "NO_ACCOUNT"}
        expected = "pw"
        return {"ok": True} if request["password"] == expected else {"error": "BAD_PASSWORD"}

    def _account(self, _: Message) -> Message:
        funds = {"balance": "10000", "equity": "10000", "margin": "0", "leverage": "30"}
        return {"account": {**funds, "currency": "USD", "trading": True, "time": self.now()}}

    def _price(self, request: Message) -> Message:
        if request["symbol"] != SYMBOL["symbol"]:
            return {"error": "NO_SYMBOL"}
        return {"price": {"pair": "EUR/USD", "bid": "1.0999", "ask": "1.1000", "time": self.now()}}

    def _place(self, request: Message) -> Message | None:
        fault, self.fault = self.fault, ""
        if fault in ("NO_MONEY", "TEAPOT"):
            return {"error": fault, "text": "refused"}
        if fault == "lost":
            return None
        if error := _request_error(request):
            return {"error": error, "text": "invalid"}
        if not self._find(request["id"]):
            if request["position"] and not self._reduce(request):
                return {"error": "NO_POSITION"}
            self.journal.append(request["id"])
            order = self._execute(request, request["quantity"])
            if not request["position"]:
                number = order["position"]
                self.positions[number] = {
                    **request,
                    "position": number,
                    "price": "1.1",
                    "time": self.now(),
                }
        if fault == "silent":
            return None
        if fault == "unlisted":  # executed, but answered with an error that is not listed
            return {"error": "SHRUG", "text": "unlisted"}
        return {"order": None if fault == "incomplete" else self._find(request["id"])}

    def _reduce(self, request: Message) -> bool:
        position = self.positions.get(request["position"])
        if position is None or Decimal(position["quantity"]) < Decimal(request["quantity"]):
            return False
        position["quantity"] = str(Decimal(position["quantity"]) - Decimal(request["quantity"]))
        if not Decimal(position["quantity"]):
            del self.positions[request["position"]]
        return True

    def _execute(self, request: Message, quantity: str, by: str = "us", entry: str = "") -> Message:
        ticket = str(len(self.orders) + 1)
        fill = {
            "id": f"f{ticket}",
            "quantity": quantity,
            "price": "1.1",
            "time": self.now(),
            "fee": "0",
        }
        order = {
            "ticket": ticket, "id": request["id"], "position": request["position"] or ticket,
            "currency": "USD", "by": by, "entry": entry, "fills": [fill],
        }  # fmt: skip
        self.orders.append(order)
        return order

    def _find(self, order_id: str) -> Message | None:
        return next((order for order in self.orders if order["id"] == order_id), None)


SYMBOL: Message = {
    "symbol": "EURUSD", "pair": "EUR/USD", "digits": 5, "pip": "0.0001", "least": "10",
    "step": "10", "most": "1000000",
}  # fmt: skip


def _request_error(request: Message) -> str:
    quantity, step = Decimal(request["quantity"]), Decimal(SYMBOL["step"])
    if request["symbol"] != SYMBOL["symbol"]:
        return "NO_SYMBOL"
    if not (quantity.is_finite() and step <= quantity <= Decimal(SYMBOL["most"])):
        return "BAD_QUANTITY"
    return "BAD_QUANTITY" if quantity % step else ""


@contextmanager
def serving() -> Iterator[Venue]:
    """Run the broker on a port of this machine, in a thread of its own."""
    venue, loop = Venue(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            answer = venue.answer(json.loads(line))
            if answer is None:
                break
            writer.write(json.dumps(answer).encode() + b"\n")
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
    """Stop listening and close all connections."""
    server.close()
    open_tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in open_tasks:
        task.cancel()
    await asyncio.gather(*open_tasks, return_exceptions=True)
