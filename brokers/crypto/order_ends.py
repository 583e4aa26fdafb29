"""Why an order has ended, by what an exchange states of it beside its state. Pure.

Exchanges accept an order and end it later, and state why in a field of their own. Bybit v5 "Enums":
`rejectReason`, `cancelType`; OKX "Order details": `cancelSource`, `cancelSourceReason` (31 to 33
are post-only, self-trade, too many matches); Kraken "Get Closed Orders": `reason`.
"""

from collections.abc import Mapping
from typing import Any

from brokers.types import ReportKind
from common.reason_codes import Code

SELF_TRADE = "EXPIRED_IN_MATCH"  # Binance: it would have traded with another order of the account
FIELDS = ("rejectReason", "cancelType", "cancelSource", "cancelSourceReason", "reason")
NOTHING = frozenset({"", "None", "UNKNOWN", "EC_NoError"})
OF_SELF_TRADES = ("smp", "selfmatch", "selfmuch", "self trade", "self-trade")
OF_MONEY = ("insufficient", "cannotafford", "not enough")
OKX_SELF_TRADE = "32"


def words(order: Mapping[str, Any]) -> str:
    """Return how an order ended: ccxt's word, and the exchange's own where it states more."""
    info = order.get("info") or {}
    if info.get("status") == SELF_TRADE:
        return SELF_TRADE
    stated = [text for name in FIELDS if (text := str(info.get(name, ""))) not in NOTHING]
    return " ".join([f"{order.get('status')}:", *stated]) if stated else str(order.get("status"))


def reason(kind: ReportKind, order: Mapping[str, Any]) -> Code | None:
    """Return our code for an order's end; None for a report of none, and for a mere cancel."""
    if kind not in (ReportKind.EXPIRED, ReportKind.CANCELLED, ReportKind.REJECTED):
        return None
    stated = words(order).lower()
    if _is_self_trade(order, stated):
        return Code.REJECTED_BY_BROKER  # neither its time nor its price
    if any(one in stated for one in OF_MONEY):
        return Code.NO_MONEY
    if kind is ReportKind.REJECTED:
        return Code.REJECTED_BY_BROKER
    if order.get("timeInForce") in ("IOC", "FOK") or order.get("type") == "market":
        return Code.NO_PRICE_WITHIN_LIMIT  # exchanges differ in which of the two it is
    return Code.TIME_IN_FORCE_ENDED if kind is ReportKind.EXPIRED else None


def _is_self_trade(order: Mapping[str, Any], stated: str) -> bool:
    source = (order.get("info") or {}).get("cancelSource")
    is_stated = any(one in stated for one in OF_SELF_TRADES)
    return stated == SELF_TRADE.lower() or source == OKX_SELF_TRADE or is_stated
