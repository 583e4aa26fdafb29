"""The functions of the package, over a socket to the terminal of `tests/fakes/mt5/server.py`.

As in the real package, a process has one connection and all threads share one `last_error`; a
failed call returns None, any other named tuples. Two concurrent calls raise RuntimeError: the real
package would crash.
"""

import json
import os
import socket
import threading
from typing import Any

from tests.fakes.mt5.rows import LISTS, ROWS, TradeRequest

__version__, __author__ = "5.0.5200", "a fake"

ORDER_TYPE_BUY, ORDER_TYPE_SELL = 0, 1
TRADE_ACTION_DEAL, TRADE_ACTION_PENDING, TRADE_ACTION_SLTP = 1, 5, 6
TRADE_ACTION_MODIFY, TRADE_ACTION_REMOVE, TRADE_ACTION_CLOSE_BY = 7, 8, 10
ORDER_FILLING_FOK, ORDER_FILLING_IOC, ORDER_FILLING_RETURN = 0, 1, 2
ORDER_TIME_GTC, ORDER_TIME_DAY, ORDER_TIME_SPECIFIED = 0, 1, 2
TRADE_RETCODE_DONE, RES_S_OK = 10009, 1

_DOUBLES = frozenset({"volume", "price", "stoplimit", "sl", "tp"})
_TEXTS = frozenset({"symbol", "comment"})
_error: tuple[int, str] = (1, "Success")
_stream: Any = None
_call_lock = threading.Lock()


def _call(name: str, *arguments: Any, **keywords: Any) -> Any:
    global _error
    if not _call_lock.acquire(blocking=False):
        raise RuntimeError("two calls at once")
    try:
        if _stream is None:
            _error = (-10004, "No IPC connection")
            return None
        return _request(name, arguments, keywords)
    finally:
        _call_lock.release()


def _request(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    global _error, _stream
    try:
        _stream.write(json.dumps([name, arguments, keywords]).encode() + b"\n")
        _stream.flush()
        answer = json.loads(_stream.readline())
    except (OSError, ValueError):
        _stream = None
        _error = (-10002, "IPC recv failed")
        return None
    if answer.get("die"):
        os._exit(9)
    if "freeze" in answer:  # like the real package, it holds the interpreter's lock
        import ctypes  # slow, and rarely needed

        ctypes.PyDLL(None).usleep(int(answer["freeze"] * 1e6))
    if "print" in answer:
        os.write(1, answer["print"].encode())
    _error = tuple(answer["error"])
    return _as_rows(name, answer["result"])


def _as_rows(name: str, result: Any) -> Any:
    if result is None or name not in ROWS:
        return tuple(result) if isinstance(result, list) else result
    row = ROWS[name]
    if name in LISTS:
        return tuple(row(**one) for one in result)
    if "request" in result:
        result["request"] = TradeRequest(
            **{field: result["request"].get(field, 0) for field in TradeRequest._fields}
        )
    return row(**result)


def _is_valid(request: dict[str, Any]) -> bool:
    """Check each argument before anything is sent, as the real package does."""
    global _error
    for name, value in request.items():
        if name in _DOUBLES:
            is_good = isinstance(value, float)
        elif name in _TEXTS:
            is_good = isinstance(value, str) and (name != "comment" or len(value) <= 31)
        else:
            is_good = type(value) is int and 0 <= value < 2**63
        if not is_good:
            _error = (-2, f'Invalid "{name}" argument')
            return False
    return True


def initialize(path: str | None = None, **keywords: Any) -> bool:
    global _stream, _error
    try:
        port = int(os.environ["FAKE_MT5"])
        _stream = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
    except OSError:
        _error = (-10003, "IPC initialize failed, Process create failed")
        return False
    if not _call("initialize", path, **keywords):
        _stream = None
        return False
    return True


def shutdown() -> None:
    global _stream
    if _stream is not None:
        _stream.close()
        _stream = None


def last_error() -> tuple[int, str]:
    return _error


def login(login: int, **keywords: Any) -> bool:
    return bool(_call("login", login, **keywords))


def order_send(request: dict[str, Any]) -> Any:
    return _call("order_send", request) if _is_valid(request) else None


def order_check(request: dict[str, Any]) -> Any:
    return _call("order_check", request) if _is_valid(request) else None


def _forwarded(name: str) -> Any:
    def call(*arguments: Any, **keywords: Any) -> Any:
        return _call(name, *arguments, **keywords)

    call.__name__ = name
    return call


version = _forwarded("version")
terminal_info = _forwarded("terminal_info")
account_info = _forwarded("account_info")
symbols_total = _forwarded("symbols_total")
symbols_get = _forwarded("symbols_get")
symbol_info = _forwarded("symbol_info")
symbol_info_tick = _forwarded("symbol_info_tick")
symbol_select = _forwarded("symbol_select")
orders_total = _forwarded("orders_total")
orders_get = _forwarded("orders_get")
positions_total = _forwarded("positions_total")
positions_get = _forwarded("positions_get")
history_orders_total = _forwarded("history_orders_total")
history_orders_get = _forwarded("history_orders_get")
history_deals_total = _forwarded("history_deals_total")
history_deals_get = _forwarded("history_deals_get")
order_calc_margin = _forwarded("order_calc_margin")
