"""The program that holds the package `MetaTrader5`: `python -m brokers.mt5.worker_process`.

The package keeps the interpreter's lock while it waits for its terminal, for as long as the server
takes. Here there is nobody else to be stopped by it. It ends when its input ends.

A frame in asks for one function: `call`, `args`, `words`, and `before`: the machine's time after
which it must not be begun any more. The worker has asked its guard before it wrote; this process
may have stood still since. Both read one clock of one machine (`common.clocks.machine_time`).
"""

import os
import signal
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO

from brokers.mt5 import ipc
from common.clocks import machine_time

PACKAGE = "MetaTrader5"
FUNCTIONS = frozenset({
    "initialize", "login", "shutdown", "version", "terminal_info", "account_info",
    "symbols_total", "symbols_get", "symbol_info", "symbol_info_tick", "symbol_select",
    "orders_total", "orders_get", "positions_total", "positions_get",
    "history_orders_total", "history_orders_get", "history_deals_total", "history_deals_get",
    "order_calc_margin", "order_check", "order_send",
})  # fmt: skip
SECRETS = ("password",)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker's; it lets its calls end first
    source, sink = _own_streams()
    package, absent = _load()
    ipc.write(sink, {"absent": absent})
    while (call := ipc.read(source)) is not None:
        ipc.write(sink, handle_call(package, call))
    if package is not None:
        package.shutdown()


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep both pipes from the package and from the terminal that it starts: what they print goes
    to the log, and no other process holds an end."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # a service without a log
        os.dup2(nothing, 1)
    return source, sink


def _load() -> tuple[ModuleType | None, str]:
    try:
        return import_module(PACKAGE), ""
    except ImportError as error:
        return None, str(error) or PACKAGE


def handle_call(package: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Call the package; say what it told and its `last_error`, or why it could not be asked."""
    name, words, before = call["call"], call["words"], call["before"]
    if name not in FUNCTIONS:
        return {"raised": f"no function {name!r}"}
    try:
        function = getattr(package, name)
        if before is not None and machine_time() > before:
            return {"late": True}
        answer = function(*call["args"], **words)
        return {"told": ipc.pack(answer), "error": list(package.last_error())}
    except Exception as error:
        return {"raised": _without_secrets(f"{type(error).__name__}: {error}", words)}


def _without_secrets(text: str, words: dict[str, Any]) -> str:
    for secret in filter(None, map(words.get, SECRETS)):
        text = text.replace(str(secret), "***")
    return text[:500]


if __name__ == "__main__":
    main()
