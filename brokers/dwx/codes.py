"""The expert advisor's error types and MT4's error texts, mapped to our codes.

Source: DWX_Server_MT4.mq4 1.0 (SendError and ErrorDescription), and MetaQuotes' list of trade
server return codes (docs.mql4.com/constants/errorswarnings/enum_trade_return_codes), which states
for 'common error', 'no error' and 'trade timeout' that the operation may have happened. Read on
2026-11-20. An error in no table is unknown.
"""

import re
from decimal import Decimal

from brokers.base import BrokerError, NotSent, OutcomeUnknown, Rejected
from brokers.dwx.parse import Message
from common.reason_codes import Code

TICKET_NOT_FOUND = "CLOSE_ORDER_SELECT_TICKET"  # nothing was closed
BY_EXPERT_ADVISOR: dict[str, Code] = {  # it refused without sending to the broker
    "OPEN_ORDER_MAXIMUM_NUMBER": Code.TERMINAL_LIMIT,
    "OPEN_ORDER_LOTSIZE_TOO_LARGE": Code.TERMINAL_LIMIT,
    "OPEN_ORDER_LOTSIZE_OUT_OF_RANGE": Code.VOLUME_INVALID,
    "OPEN_ORDER_PRICE_ZERO": Code.UNKNOWN_SYMBOL_AT_BROKER,
    "OPEN_ORDER_TYPE": Code.REJECTED_BY_BROKER,
    "OPEN_ORDER_WRONG_FORMAT": Code.REJECTED_BY_BROKER,
    "MODIFY_ORDER_WRONG_FORMAT": Code.REJECTED_BY_BROKER,
    "CLOSE_ORDER_WRONG_FORMAT": Code.REJECTED_BY_BROKER,
    "MODIFY_ORDER_SELECT_TICKET": Code.NO_POSITION,
    TICKET_NOT_FOUND: Code.NO_POSITION,
    "WRONG_FORMAT_START_IDENTIFIER": Code.REJECTED_BY_BROKER,
    "WRONG_FORMAT_END_IDENTIFIER": Code.REJECTED_BY_BROKER,
    "WRONG_FORMAT_COMMAND": Code.REJECTED_BY_BROKER,
}

NO_LOTS = re.compile(r"\bmin: 0\.0+,|\bmax: 0\.0+\)")
"""Older versions of the expert advisor write the maximum by a wrong format."""

BY_BROKER = frozenset({"OPEN_ORDER", "MODIFY_ORDER", "CLOSE_ORDER_TICKET"})
"""Error types that are followed by MT4's own text."""

NOT_SENT: dict[str, Code] = {  # the terminal kept it
    "trade is not allowed in the expert properties": Code.TRADING_DISABLED,
    "trade context is busy": Code.NOT_CONNECTED,
    "4752": Code.TRADING_DISABLED,  # MetaTrader 5's ERR_TRADE_DISABLED; others are ambiguous
}

REJECTED: dict[str, Code] = {
    "invalid trade parameters": Code.REJECTED_BY_BROKER,
    "old version of the client terminal": Code.REJECTED_BY_BROKER,
    "not enough rights": Code.TRADING_DISABLED,
    "account disabled": Code.TRADING_DISABLED,
    "invalid account": Code.UNKNOWN_ACCOUNT,
    "invalid price": Code.PRICE_INVALID,
    "invalid stops": Code.STOPS_INVALID,
    "invalid trade volume": Code.VOLUME_INVALID,
    "market is closed": Code.MARKET_CLOSED,
    "trade is disabled": Code.SYMBOL_TRADING_DISABLED,  # the account has texts of its own
    "not enough money": Code.NO_MONEY,
    "price changed": Code.REQUOTE,
    "off quotes": Code.PRICE_INVALID,
    "requote": Code.REQUOTE,
    "order is locked": Code.REJECTED_BY_BROKER,
    "long positions only allowed": Code.SIDE_NOT_ALLOWED,
    "longs are not allowed in the expert properties": Code.SIDE_NOT_ALLOWED,  # by the terminal
    "shorts are not allowed in the expert properties": Code.SIDE_NOT_ALLOWED,
    "too many requests": Code.REJECTED_BY_BROKER,
    "too frequent requests": Code.REJECTED_BY_BROKER,
    "modification denied because order too close to market": Code.STOPS_INVALID,
    "expirations are denied by broker": Code.ORDER_TYPE_UNSUPPORTED,
    "amount of open and pending orders has reached the limit": Code.REJECTED_BY_BROKER,
    "hedging is prohibited": Code.REJECTED_BY_BROKER,
    "prohibited by FIFO rules": Code.REJECTED_BY_BROKER,
    "unknown symbol": Code.UNKNOWN_SYMBOL_AT_BROKER,
    "invalid price parameter for trade function": Code.PRICE_INVALID,
    "invalid function parameter value": Code.REJECTED_BY_BROKER,  # lots below zero: see orders.py
    "invalid ticket": Code.NO_POSITION,
}

OPENING = frozenset({"OPEN_ORDER", *(k for k in BY_EXPERT_ADVISOR if k.startswith(("OPEN", "WR")))})
CLOSING = frozenset(
    {"CLOSE_ORDER_TICKET", *(k for k in BY_EXPERT_ADVISOR if k.startswith(("CLOSE", "WR")))}
)
MODIFYING = frozenset(
    {"MODIFY_ORDER", *(k for k in BY_EXPERT_ADVISOR if k.startswith(("MODIFY", "WR")))}
)


ABOUT_TRADES = tuple(f"Successfully {did} order" for did in ("sent", "closed", "modified"))


def newest_message(messages: list[Message], kinds: frozenset[str]) -> Message | None:
    """Return the last message about a command; earlier ones may belong to an earlier command."""
    matching = [m for m in messages if m.kind in kinds or m.text.startswith(ABOUT_TRADES)]
    return matching[-1] if matching else None


def outcome_of(message: Message) -> BrokerError:
    """Return the outcome that an error message means; in doubt it is unknown."""
    if message.kind == "OPEN_ORDER_LOTSIZE_OUT_OF_RANGE" and NO_LOTS.search(message.text):
        return Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, message.text)  # an unknown symbol has none
    if code := BY_EXPERT_ADVISOR.get(message.kind):
        return Rejected(code, message.text)
    text = message.text.rpartition(": ")[2]
    if message.kind in BY_BROKER:
        if code := NOT_SENT.get(text):
            return NotSent(code, message.text)
        if code := REJECTED.get(text):
            return Rejected(code, message.text)
    return OutcomeUnknown(Code.REPLY_LOST, f"{message.kind} {message.text}"[:500])


def refused_symbols(message: Message) -> list[str]:
    """Return the symbols behind 'Could not subscribe to symbols: '."""
    return [name.strip() for name in message.text.partition(": ")[2].split(",") if name.strip()]


def stated_limits(message: Message) -> tuple[Decimal, ...]:
    """Return the numbers of a limit that the expert advisor states, in the order of the text."""
    found = re.findall(r"(?:: |\()(-?\d+(?:\.\d+)?)", message.text)
    return tuple(Decimal(number).normalize() for number in found)
