"""The process that runs the package `MetaTrader5`: `python -m brokers.mt5.worker_process`.

The package holds the interpreter's lock while it waits for its terminal; here that stops nothing
else. The process ends when its input ends.

A request has `call` (the name of a function, or of several at once: `activity`), `args`, `kwargs`,
and `before`: the machine time after which the call must not begin. The worker has called its guard
before the write, but this process may have been suspended since. Both use one clock
(`common.clocks.machine_time`).
"""

import os
import signal
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple

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
ACTIVITY = "activity"  # of several functions: one request instead of five
SECRETS = ("password",)


def main() -> None:
    """Serve requests from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker's; it lets its calls end first
    source, sink = _own_streams()
    package, missing = _load()
    ipc.write(sink, {"missing": missing})
    while (call := ipc.read(source)) is not None:
        ipc.write(sink, handle_call(package, call))
    if package is not None:
        package.shutdown()


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return both pipes, hidden from the package and the terminal that it starts: their output goes
    to the log, and no other process keeps a pipe open."""
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
    """Call the package. Return its result and `last_error`, or why the call failed."""
    name, kwargs, before = call["call"], call["kwargs"], call["before"]
    if name not in FUNCTIONS and name != ACTIVITY:
        return {"raised": f"no function {name!r}"}
    try:
        function = partial(activity, package) if name == ACTIVITY else getattr(package, name)
        if before is not None and machine_time() > before:
            return {"late": True}
        answer = function(*call["args"], **kwargs)
        return {"result": ipc.pack(answer), "error": list(package.last_error())}
    except Exception as error:  # any: the package may raise anything
        return {"raised": _without_secrets(f"{type(error).__name__}: {error}", kwargs)}


class ActivityRow(NamedTuple):
    """The account that is logged in, and how many orders, positions, past orders and deals it has:
    None where the package does not know."""

    account: Any
    numbers: list[int | None]


def activity(package: Any, begin: int, end: int) -> ActivityRow | None:
    """Return the numbers of the account that is logged in, past ones of a span of server time."""
    account = package.account_info()
    if account is None:
        return None
    numbers = [
        package.orders_total(),
        package.positions_total(),
        package.history_orders_total(begin, end),
        package.history_deals_total(begin, end),
    ]
    return ActivityRow(account, numbers)


def _without_secrets(text: str, kwargs: dict[str, Any]) -> str:
    for secret in filter(None, map(kwargs.get, SECRETS)):
        text = text.replace(str(secret), "***")
    return text[:500]


if __name__ == "__main__":
    main()
