"""The processes of fake terminals: `python -m tests.fakes.mt5.server` reads lines with a port (0:
any; another one's: begin again where that was), forks a terminal for each, since starting Python
takes longer than most tests, and answers `PROCESS PORT`. With its input it ends, and they with it.

A terminal's line is a JSON list: the function's name, arguments,
keywords. Names that begin with `set.` are the test's own hand: they change the world or its faults,
and are answered by the same line.
"""

import json
import os
import signal
import socketserver
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from tests.fakes.mt5.account_model import continue_numbers
from tests.fakes.mt5.terminal_model import FINE, TerminalModel

WAIT_SECONDS = 60.0
KEPT_FIELDS = ("balance", "password", "orders", "history", "positions", "deals", "accepted")


class Terminal(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    world: TerminalModel
    lock = threading.Lock()


class ClientHandler(socketserver.StreamRequestHandler):
    server: Terminal

    def handle(self) -> None:
        for line in self.rfile:
            name, arguments, words, *spent = json.loads(line)
            self.server.world.spent += spent
            answer = (
                self._by_hand(name[4:], words)
                if name.startswith("set.")
                else self._call(name, arguments, words)
            )
            if answer is None:
                return
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    # ---- the package's calls --------------------------------------------------------------
    def _call(self, name: str, arguments: list[Any], words: dict[str, Any]) -> Any:
        world = self.server.world
        with self.server.lock:
            world.calls.append(name)
            fault = self._fault(name)
        if fault is None:
            return self._do(name, arguments, words)
        accepts = bool(fault.get("accepts"))
        if fault["do"] == "hold":
            if not accepts:
                self._hold()
            answer = self._do(name, arguments, words)
            if accepts:
                self._hold()
            return answer
        told = self._do(name, arguments, words) if accepts else None
        if fault["do"] == "silent":
            return self._wait_for_ever()
        if fault["do"] == "late":
            time.sleep(fault["seconds"])
            return told
        return self._faulty(fault, name, arguments, told)

    def _faulty(self, fault: dict[str, Any], name: str, arguments: list[Any], told: Any) -> Any:
        world = self.server.world
        match fault["do"]:
            case "die":
                return {"die": True}
            case "drop":
                return None
            case "none":
                return {"told": None, "error": [fault["code"], fault.get("words", "no")]}
            case "empty":
                return {"told": [], "error": list(FINE)}
            case "freeze" | "print":
                return {**(told or self._do(name, arguments, {})), fault["do"]: fault["words"]}
            case "odd":
                return {"told": {**told["told"], "retcode": "10009!"}, "error": list(FINE)}
            case "half":
                return {"told": {"retcode": 10009}, "error": list(FINE)}
            case "switch":
                world.current = world.accounts[fault["login"]]
                return told or self._do(name, arguments, {})
            case "offline":
                world.connected = False
                return told or self._do(name, arguments, {})
            case "retcode":
                result = world.result(arguments[0], fault["code"])
                return {"told": result, "error": list(FINE)}
        raise ValueError(fault)

    def _wait_for_ever(self) -> None:
        """Until the client has gone: nothing is done and nothing is said."""
        while self.connection.recv(4096):
            pass

    def _hold(self) -> None:
        world = self.server.world
        world.holding.set()
        world.released.wait(WAIT_SECONDS)

    def _do(self, name: str, arguments: list[Any], words: dict[str, Any]) -> Any:
        world = self.server.world
        with self.server.lock:
            world.error = FINE
            told = getattr(world, name)(*arguments, **words)
            return {"told": told, "error": list(world.error)}

    def _fault(self, name: str) -> dict[str, Any] | None:
        world = self.server.world
        for fault in world.faults:
            if fault["call"] == name:
                fault["skip"] = fault.get("skip", 0) - 1
                if fault["skip"] >= 0:
                    return None
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    world.faults.remove(fault)
                return fault
        return None

    # ---- the test's hand ------------------------------------------------------------------
    def _by_hand(self, name: str, words: dict[str, Any]) -> Any:
        world = self.server.world
        if name == "wait_held":
            return world.holding.wait(WAIT_SECONDS)
        with self.server.lock:
            return getattr(self, f"_{name}")(world, **words) or {"ok": True}

    def _world(self, world: TerminalModel, **values: Any) -> None:
        for field, value in values.items():
            setattr(world, field, value)

    def _books(self, world: TerminalModel, login: int, **values: Any) -> None:
        for field, value in values.items():
            setattr(world.accounts[login], field, value)

    def _comments(self, world: TerminalModel, login: int, cut: int, text: str = "") -> None:
        world.accounts[login].comments = lambda comment: text or comment[:cut]

    def _late(self, world: TerminalModel, login: int, hides: bool) -> None:
        books = world.accounts[login]
        books.hides_deals = hides
        if not hides:
            books.late.clear()

    def _symbol(self, world: TerminalModel, name: str, **values: Any) -> None:
        world.symbols[name].update(values)

    def _quote(self, world: TerminalModel, name: str, bid: float, ask: float) -> None:
        world.quote(name, bid, ask)

    def _close(self, world: TerminalModel, login: int, ticket: int, **words: Any) -> None:
        books = world.accounts[login]
        for position in [one for one in books.positions if one["ticket"] == ticket]:
            price = world.symbols[position["symbol"]]["bid"]
            books.close(position, price, **words)

    def _levels(self, world: TerminalModel, login: int, ticket: int, sl: float, tp: float) -> None:
        """Somebody else than the client sets a position's levels; 0 is none."""
        for position in world.accounts[login].positions:
            if position["ticket"] == ticket:
                position.update(sl=sl, tp=tp)

    def _again(
        self, world: TerminalModel, login: int, comment: str, other: str = "", magic: int = 0
    ) -> None:
        """The server executes a market order once more; other: under another id, of that magic."""
        books = world.accounts[login]
        request = next(one for one in books.accepted if one["comment"] == comment)
        if other:
            request = {**request, "comment": other, "magic": magic}
        books.accepted.append(request)
        one = world.symbols[request["symbol"]]
        books.execute(books.order(request), one["ask"] if request["type"] == 0 else one["bid"])

    def _rename(self, world: TerminalModel, login: int, ticket: int, new: int) -> None:
        """What a server does overnight: the position has another ticket, and its identifier."""
        for position in world.accounts[login].positions:
            if position["ticket"] == ticket:
                position["ticket"] = new

    def _end(self, world: TerminalModel, login: int, ticket: int, state: int) -> None:
        books = world.accounts[login]
        for order in [one for one in books.orders if one["ticket"] == ticket]:
            books.end(order, state)

    def _log(self, world: TerminalModel, login: int) -> None:
        world.current = world.accounts[login]

    def _fault_add(self, world: TerminalModel, **fault: Any) -> None:
        world.faults.append(fault)

    def _fault_end(self, world: TerminalModel, call: str) -> None:
        world.faults[:] = [one for one in world.faults if one["call"] != call]

    def _release(self, world: TerminalModel) -> None:
        world.released.set()

    def _symbols(self, world: TerminalModel) -> list[dict[str, Any]]:
        return list(world.symbols.values())

    def _dump(self, world: TerminalModel) -> dict[str, Any]:
        """What a server keeps while the terminal's machine is off."""
        return {
            "symbols": world.symbols, "ticks": world.ticks,
            "accounts": {
                login: {name: getattr(books, name) for name in KEPT_FIELDS}
                for login, books in world.accounts.items()
            },
        }  # fmt: skip

    def _load(self, world: TerminalModel, kept: dict[str, Any]) -> None:
        world.symbols, world.ticks = kept["symbols"], kept["ticks"]
        for login, values in kept["accounts"].items():
            for name, value in values.items():
                setattr(world.accounts[int(login)], name, value)
        continue_numbers(max(one["ticket"] for one in _all(world, "history", "orders", "deals")))

    def _show(self, world: TerminalModel, login: int) -> dict[str, Any]:
        books = world.accounts[login]
        return {
            "accepted": books.accepted, "orders": books.orders, "history": books.history,
            "positions": books.positions, "deals": books.deals, "calls": world.calls,
            "spent": world.spent[1:],
        }  # fmt: skip


def _all(world: TerminalModel, *names: str) -> list[dict[str, Any]]:
    found = [
        row for books in world.accounts.values() for name in names for row in getattr(books, name)
    ]
    return found or [{"ticket": 0}]


def main() -> None:
    running: set[int] = set()

    def remove_ended(*_: object) -> None:
        """The numbers of ended processes are given to others, which must not be ended for them."""
        with suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                running.discard(ended)

    signal.signal(signal.SIGCHLD, remove_ended)
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _serve(int(line))
        running.add(child)
    for one in tuple(running):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def _serve(port: int) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    try:
        Terminal.world = TerminalModel()
        with Terminal(("127.0.0.1", port), ClientHandler) as server:
            os.write(1, f"{os.getpid()} {server.server_address[1]}\n".encode())
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            server.serve_forever()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
