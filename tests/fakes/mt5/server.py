"""The processes of fake terminals: `python -m tests.fakes.mt5.server`.

It reads lines with a port: 0 for any, or the port of a terminal that has ended. It forks a terminal
for each, since starting Python takes longer than most tests, and answers `PROCESS PORT`. When its
input ends, it ends itself and all its terminals.

A terminal reads JSON lists: a function's name, arguments, keywords. Names that begin with `set.`
are the tests' actions: they change the terminal's state or its faults.
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
SAVED_FIELDS = (
    "balance", "credit", "password", "orders", "history", "positions", "deals", "accepted",
)  # fmt: skip


class Terminal(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    model: TerminalModel
    lock = threading.Lock()


class ClientHandler(socketserver.StreamRequestHandler):
    server: Terminal

    def handle(self) -> None:
        for line in self.rfile:
            name, arguments, keywords = json.loads(line)
            answer = (
                self._run_action(name[4:], keywords)
                if name.startswith("set.")
                else self._call(name, arguments, keywords)
            )
            if answer is None:
                return
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    # ---- the package's calls --------------------------------------------------------------
    def _call(self, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        model = self.server.model
        with self.server.lock:
            model.calls.append(name)
            fault = self._next_fault(name)
        if fault is None:
            return self._execute(name, arguments, keywords)
        accepts = bool(fault.get("accepts"))
        if fault["do"] == "hold":
            if not accepts:
                self._hold()
            answer = self._execute(name, arguments, keywords)
            if accepts:
                self._hold()
            return answer
        answer = self._execute(name, arguments, keywords) if accepts else None
        if fault["do"] == "silent":
            return self._never_answer()
        if fault["do"] == "late":
            time.sleep(fault["seconds"])
            return answer
        return self._faulty(fault, name, arguments, answer)

    def _faulty(self, fault: dict[str, Any], name: str, arguments: list[Any], answer: Any) -> Any:
        model = self.server.model
        match fault["do"]:
            case "die":
                return {"die": True}
            case "drop":
                return None
            case "none":
                return {"result": None, "error": [fault["code"], "no"]}
            case "empty":
                return {"result": [], "error": list(FINE)}
            case "freeze":
                answer = answer or self._execute(name, arguments, {})
                return {**answer, "freeze": fault["seconds"]}
            case "print":
                answer = answer or self._execute(name, arguments, {})
                return {**answer, "print": fault["text"]}
            case "malformed":
                return {"result": {**answer["result"], "retcode": "10009!"}, "error": list(FINE)}
            case "half":
                return {"result": {"retcode": 10009}, "error": list(FINE)}
            case "switch":
                model.current = model.accounts[fault["login"]]
                return answer or self._execute(name, arguments, {})
            case "offline":
                model.connected = False
                return answer or self._execute(name, arguments, {})
            case "retcode":
                result = model.result(arguments[0], fault["code"])
                return {"result": result, "error": list(FINE)}
        raise ValueError(fault)

    def _never_answer(self) -> None:
        """Return when the client has disconnected."""
        while self.connection.recv(4096):
            pass

    def _hold(self) -> None:
        model = self.server.model
        model.holding.set()
        model.released.wait(WAIT_SECONDS)

    def _execute(self, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        model = self.server.model
        with self.server.lock:
            model.error = FINE
            result = getattr(model, name)(*arguments, **keywords)
            return {"result": result, "error": list(model.error)}

    def _next_fault(self, name: str) -> dict[str, Any] | None:
        model = self.server.model
        for fault in model.faults:
            if fault["call"] == name:
                fault["skip"] = fault.get("skip", 0) - 1
                if fault["skip"] >= 0:
                    return None
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    model.faults.remove(fault)
                return fault
        return None

    # ---- the tests' actions ---------------------------------------------------------------
    def _run_action(self, name: str, arguments: dict[str, Any]) -> Any:
        model = self.server.model
        if name == "wait_held":
            return model.holding.wait(WAIT_SECONDS)
        with self.server.lock:
            return getattr(self, f"_{name}")(model, **arguments) or {"ok": True}

    def _terminal(self, model: TerminalModel, **values: Any) -> None:
        for field, value in values.items():
            setattr(model, field, value)

    def _account(self, model: TerminalModel, login: int, **values: Any) -> None:
        for field, value in values.items():
            setattr(model.accounts[login], field, value)

    def _book(self, model: TerminalModel, login: int, **deal: Any) -> int:
        return model.accounts[login].book(**deal)

    def _roll_over(self, model: TerminalModel, login: int, amount: float) -> None:
        model.accounts[login].roll_over(amount)

    def _reopen(self, model: TerminalModel, login: int, reason: int, **how: Any) -> None:
        account = model.accounts[login]
        for position in list(account.positions):
            account.reopen(position, reason, **how)

    def _close_by(self, model: TerminalModel, login: int, ticket: int, opposite: int) -> None:
        model.accounts[login].close_by(ticket, opposite)

    def _comments(self, model: TerminalModel, login: int, cut: int, text: str = "") -> None:
        model.accounts[login].comments = lambda comment: text or comment[:cut]

    def _hide_deals(self, model: TerminalModel, login: int, hide: bool) -> None:
        account = model.accounts[login]
        account.hide_deals = hide
        if not hide:
            account.late.clear()

    def _symbol(self, model: TerminalModel, name: str, **values: Any) -> None:
        model.symbols[name].update(values)

    def _quote(self, model: TerminalModel, name: str, bid: float, ask: float) -> None:
        model.quote(name, bid, ask)

    def _close(self, model: TerminalModel, login: int, ticket: int, **how: Any) -> None:
        account = model.accounts[login]
        for position in [one for one in account.positions if one["ticket"] == ticket]:
            price = model.symbols[position["symbol"]]["bid"]
            account.close(position, price, **how)

    def _levels(self, model: TerminalModel, login: int, ticket: int, sl: float, tp: float) -> None:
        """Set a position's levels, as another client would; 0 is none."""
        for position in model.accounts[login].positions:
            if position["ticket"] == ticket:
                position.update(sl=sl, tp=tp)

    def _execute_again(
        self, model: TerminalModel, login: int, comment: str, other: str = "", magic: int = 0
    ) -> None:
        """Execute a market order again; other: with this comment and `magic`."""
        account = model.accounts[login]
        request = next(one for one in account.accepted if one["comment"] == comment)
        if other:
            request = {**request, "comment": other, "magic": magic}
        account.accepted.append(request)
        symbol = model.symbols[request["symbol"]]
        price = symbol["ask"] if request["type"] == 0 else symbol["bid"]
        account.execute(account.order(request), price)

    def _change_ticket(self, model: TerminalModel, login: int, ticket: int, new: int) -> None:
        """Give a position a new ticket, as servers do overnight; its identifier stays."""
        for position in model.accounts[login].positions:
            if position["ticket"] == ticket:
                position["ticket"] = new

    def _end_order(self, model: TerminalModel, login: int, ticket: int, state: int) -> None:
        account = model.accounts[login]
        for order in [one for one in account.orders if one["ticket"] == ticket]:
            account.end(order, state)

    def _log_in(self, model: TerminalModel, login: int) -> None:
        model.current = model.accounts[login]

    def _add_fault(self, model: TerminalModel, **fault: Any) -> None:
        model.faults.append(fault)

    def _end_faults(self, model: TerminalModel, call: str) -> None:
        model.faults[:] = [one for one in model.faults if one["call"] != call]

    def _release(self, model: TerminalModel) -> None:
        model.released.set()

    def _symbols(self, model: TerminalModel) -> list[dict[str, Any]]:
        return list(model.symbols.values())

    def _dump(self, model: TerminalModel) -> dict[str, Any]:
        """What a server keeps while the terminal does not run."""
        return {
            "symbols": model.symbols, "ticks": model.ticks,
            "accounts": {
                login: {name: getattr(account, name) for name in SAVED_FIELDS}
                for login, account in model.accounts.items()
            },
        }  # fmt: skip

    def _load(self, model: TerminalModel, state: dict[str, Any]) -> None:
        model.symbols, model.ticks = state["symbols"], state["ticks"]
        for login, values in state["accounts"].items():
            for name, value in values.items():
                setattr(model.accounts[int(login)], name, value)
        continue_numbers(max(one["ticket"] for one in _rows(model, "history", "orders", "deals")))

    def _state(self, model: TerminalModel, login: int) -> dict[str, Any]:
        account = model.accounts[login]
        return {
            "accepted": account.accepted, "orders": account.orders, "history": account.history,
            "positions": account.positions, "deals": account.deals, "calls": model.calls,
            "sent": model.sent,
        }  # fmt: skip


def _rows(model: TerminalModel, *names: str) -> list[dict[str, Any]]:
    rows = [
        row
        for account in model.accounts.values()
        for name in names
        for row in getattr(account, name)
    ]
    return rows or [{"ticket": 0}]


def main() -> None:
    running: set[int] = set()

    def remove_ended(*_: object) -> None:
        """Forget the ids of ended processes: the system may give them to others."""
        with suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                running.discard(ended)

    signal.signal(signal.SIGCHLD, remove_ended)
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _serve(int(line))
        running.add(child)
    for process in tuple(running):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _serve(port: int) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    try:
        Terminal.model = TerminalModel()
        with Terminal(("127.0.0.1", port), ClientHandler) as server:
            os.write(1, f"{os.getpid()} {server.server_address[1]}\n".encode())
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(0, 1)
            server.serve_forever()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
