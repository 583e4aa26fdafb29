"""Files of the expert advisor, for tests without a terminal."""

import json
from typing import Any

from brokers.dwx import parse
from brokers.dwx.history_cache import TerminalHistory

CID = "abc000000000000010"
ORDER = {
    "magic": parse.magic_of(CID), "symbol": "EURUSD", "lots": 0.1, "type": "buy",
    "open_price": 1.1001, "open_time": "2026.11.20 17:57:12", "SL": 1.09, "TP": 0.0, "pnl": -0.09,
    "commission": -0.7, "swap": 0.0, "comment": CID,
}  # fmt: skip
ACCOUNT = {
    "name": "Z", "number": 4711, "currency": "USD", "leverage": 100, "free_margin": 1.5,
    "balance": 2.0, "equity": 3.0,
}  # fmt: skip


def orders(**fields: Any) -> bytes:
    return json.dumps({"account_info": ACCOUNT, "orders": {"5": {**ORDER, **fields}}}).encode()


def ticket(**fields: Any) -> parse.Ticket:
    [ticket] = parse.snapshot(orders(**fields)).tickets
    return ticket


def closed(**fields: Any) -> parse.Ticket:
    close = {"close_time": "2026.11.20 18:00:00", "close_price": 1.1}
    record = {**ORDER, **close, **fields}
    [ticket] = parse.history(TerminalHistory(), json.dumps({"5": record}).encode())
    return ticket
