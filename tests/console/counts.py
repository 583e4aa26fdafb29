"""The counts of the seeded world. Multiply them by its scale."""

from decimal import Decimal
from typing import Any

D = Decimal
CANARY = "s3cret-canary-do-not-show"
COUNTS: dict[tuple[str, str], int] = {
    ("FILLED", ""): 70,
    ("SUBMITTED", ""): 3,
    ("PARTIALLY_FILLED", ""): 2,
    ("PENDING", ""): 1,
    ("SKIPPED", "CONNECTION_PAUSED"): 4,
    ("SKIPPED", "CIRCUIT_OPEN"): 2,
    ("SKIPPED", "CONNECTION_UNTESTED"): 1,
    ("DENIED", "QUANTITY_BELOW_MINIMUM"): 3,
    ("DENIED", "PORTFOLIO_RISK"): 2,
    ("DENIED", "SYMBOL_NOT_AT_BROKER"): 1,
    ("DENIED", "STOP_TOO_NEAR"): 1,
    ("REJECTED", "STOPS_INVALID"): 2,
    ("REJECTED", "NO_MONEY"): 2,
    ("FAILED", "SEND_RETRIES_EXHAUSTED"): 1,
    ("CANCELLED", "OWNER_CANCELLED"): 1,
    ("EXPIRED", "NO_PRICE_WITHIN_LIMIT"): 2,
    ("UNKNOWN", "REPLY_LOST"): 2,
}
MANY = sum(COUNTS.values())  # 100
SHARES = {
    "filled": 70, "working": 6, "skipped": 7, "denied": 7, "rejected": 4, "failed": 1,
    "cancelled": 1, "expired": 2, "unknown": 2,
}  # fmt: skip
PAUSED, CIRCUIT, UNTESTED = 4, 2, 1  # of 100 connections
DETAILS = {
    "QUANTITY_BELOW_MINIMUM": "6,300 requested, the smallest here is 10,000.",
    "PORTFOLIO_RISK": "Open risk would be 10.6 % of equity; the cap is 10 %.",
    "STOPS_INVALID": "10016 Invalid stops",
    "NO_MONEY": "10019 There is not enough money",
    "SEND_RETRIES_EXHAUSTED": "The terminal's folder was locked through all 5 tries.",
}
KINDS = ("paper", "mt5", "mt4", "ibkr", "crypto")
SENT = {"FILLED", "SUBMITTED", "PARTIALLY_FILLED", "REJECTED", "CANCELLED", "EXPIRED", "UNKNOWN"}

OTHERS: list[tuple[dict[str, Any], dict[tuple[str, str], int]]] = [
    (
        {"currency_pair": "XAU/USD", "sl": D("1290.00")},
        {("FILLED", ""): 89, ("SKIPPED", "CONNECTION_PAUSED"): 7, ("DENIED", "MARGIN"): 2,
         ("REJECTED", "NO_MONEY"): 1, ("EXPIRED", "SIGNAL_EXPIRED"): 1},
    ),
    (
        {"currency_pair": "NZD/USD", "order_type": "LIMIT", "open_price": D("0.86591"),
         "sl": D("0.87")},
        {("SKIPPED", "CONNECTION_PAUSED"): 2, ("DENIED", "SLIPPAGE_LIMIT"): 2,
         ("CANCELLED", "CLOSED_BEFORE_SENT"): 14},
    ),
    (
        {"currency_pair": "XAU/USD", "direction": "BUY", "sl": D("1270.00")},
        {("FILLED", ""): 38, ("SKIPPED", "CONNECTION_PAUSED"): 1, ("DENIED", "MARGIN"): 1,
         ("REJECTED", "NO_MONEY"): 1},
    ),
]  # fmt: skip
OTHERS_MANY = 100 + 18 + 41
