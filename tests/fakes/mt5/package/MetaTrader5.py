"""The package's functions, over a socket to the terminal of `tests/fakes/mt5/server.py`.

As in the real one: one connection for the process, one `last_error` for all threads, None for a
failure, named tuples for answers. Two calls at once raise: the real one would not survive them.
"""

import json
import os
import socket
import threading
import time
from typing import Any

from tests.fakes.mt5.rows import LISTS, ROWS, TradeRequest

__version__, __author__ = "5.0.5200", "a double"

ORDER_TYPE_BUY, ORDER_TYPE_SELL = 0, 1
TRADE_ACTION_DEAL, TRADE_ACTION_PENDING, TRADE_ACTION_SLTP = 1, 5, 6
TRADE_ACTION_MODIFY, TRADE_ACTION_REMOVE, TRADE_ACTION_CLOSE_BY = 7, 8, 10
ORDER_FILLING_FOK, ORDER_FILLING_IOC, ORDER_FILLING_RETURN = 0, 1, 2
ORDER_TIME_GTC, ORDER_TIME_DAY, ORDER_TIME_SPECIFIED = 0, 1, 2
TRADE_RETCODE_DONE, RES_S_OK = 10009, 1

_DOUBLES = frozenset({"volume", "price", "stoplimit", "sl", "tp"})
_TEXTS = frozenset({"symbol", "comment"})
_error: tuple[int, str] = (1, "Success")
_line: Any = None
_under_way = threading.Lock()
_spent = 0.0  # by the call before, for benches: it is told with the next one


def _call(name: str, *arguments: Any, **words: Any) -> Any:
    global _error, _spent
    began = time.perf_counter()
    if not _under_way.acquire(blocking=False):
        raise RuntimeError("two calls at once")
    try:
        if _line is None:
            _error = (-10004, "No IPC connection")
            return None
        return _ask(name, arguments, words)
    finally:
        _under_way.release()
        _spent = time.perf_counter() - began


def _ask(name: str, arguments: tuple[Any, ...], words: dict[str, Any]) -> Any:
    global _error, _line
    try:
        _line.write(json.dumps([name, arguments, words, _spent]).encode() + b"\n")
        _line.flush()
        answer = json.loads(_line.readline())
    except (OSError, ValueError):
        _line = None
        _error = (-10002, "IPC recv failed")
        return None
    if answer.get("die"):
        os._exit(9)
    if "freeze" in answer:  # as the real one: nobody else in this interpreter gets a turn
        import ctypes  # which takes longer than a whole conversation

        ctypes.PyDLL(None).usleep(int(answer["freeze"] * 1e6))
    if "print" in answer:
        os.write(1, answer["print"].encode())
    _error = tuple(answer["error"])
    return _shape(name, answer["told"])


def _shape(name: str, told: Any) -> Any:
    if told is None or name not in ROWS:
        return tuple(told) if isinstance(told, list) else told
    row = ROWS[name]
    if name in LISTS:
        return tuple(row(**one) for one in told)
    if "request" in told:
        told["request"] = TradeRequest(
            **{field: told["request"].get(field, 0) for field in TradeRequest._fields}
        )
    return row(**told)


def _is_request(words: Any) -> bool:
    """The real package looks at each argument before anything leaves."""
    global _error
    for name, value in words.items():
        if name in _DOUBLES:
            good = isinstance(value, float)
        elif name in _TEXTS:
            good = isinstance(value, str) and (name != "comment" or len(value) <= 31)
        else:
            good = type(value) is int and 0 <= value < 2**63
        if not good:
            _error = (-2, f'Invalid "{name}" argument')
            return False
    return True


def initialize(path: str | None = None, **words: Any) -> bool:
    global _line, _error
    try:
        where = os.environ["FAKE_MT5"]
        _line = socket.create_connection(("127.0.0.1", int(where))).makefile("rwb")
    except OSError:
        _error = (-10003, "IPC initialize failed, Process create failed")
        return False
    if not _call("initialize", path, **words):
        _line = None
        return False
    return True


def shutdown() -> None:
    global _line
    if _line is not None:
        _line.close()
        _line = None


def last_error() -> tuple[int, str]:
    return _error


def login(login: int, **words: Any) -> bool:
    return bool(_call("login", login, **words))


def order_send(request: dict[str, Any]) -> Any:
    return _call("order_send", request) if _is_request(request) else None


def order_check(request: dict[str, Any]) -> Any:
    return _call("order_check", request) if _is_request(request) else None


def _plain(name: str) -> Any:
    def call(*arguments: Any, **words: Any) -> Any:
        return _call(name, *arguments, **words)

    call.__name__ = name
    return call


version = _plain("version")
terminal_info = _plain("terminal_info")
account_info = _plain("account_info")
symbols_total = _plain("symbols_total")
symbols_get = _plain("symbols_get")
symbol_info = _plain("symbol_info")
symbol_info_tick = _plain("symbol_info_tick")
symbol_select = _plain("symbol_select")
orders_total = _plain("orders_total")
orders_get = _plain("orders_get")
positions_total = _plain("positions_total")
positions_get = _plain("positions_get")
history_orders_total = _plain("history_orders_total")
history_orders_get = _plain("history_orders_get")
history_deals_total = _plain("history_deals_total")
history_deals_get = _plain("history_deals_get")
order_calc_margin = _plain("order_calc_margin")
