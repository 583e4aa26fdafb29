"""Texts of messages that an installation has changed: placeholders, checks, rendering.

A text is stored in the operational settings (`messages.texts`). One that cannot be used, since
another release or a person by SQL wrote it, costs no message: the built-in text is sent, and
`settings_upkeep` alerts the operators.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from string import Formatter

import structlog
from django.db import DatabaseError

from common.errors import CONTENT_ERRORS
from common.operational.current import settings_now
from common.operational.document import Document
from common.operational.kinds import MessageText
from common.operational.reading import Fault
from common.web.formatting import hint, known_code, sentence
from events.context import EventContext
from events.messages.parts import FINAL_STATUS, slippage_text
from events.messages.positions import net_result
from events.models import TO_ONE_CHANNEL, EventKind

log = structlog.get_logger(__name__)
PATH = "messages.texts"
KINDS = frozenset(EventKind) - TO_ONE_CHANNEL
"""The kinds whose texts may be changed: a confirmation's link must never be missing."""

OF_ALL = {
    "title": "the built-in title",
    "text": "the built-in text, several lines",
    "account": "the account: MT5 · 7714",
    "time": "when it happened, UTC",
}
OF_TRADES = {
    "trade": "what is traded: Buy 10,000 EUR/USD",
    "symbol": "EUR/USD",
    "side": "BUY or SELL",
    "quantity": "base units",
    "signal": "the signal's number: S-2041",
    "trade_plan_id": "the signal's plan",
    "currency": "the account's currency",
}
OF_ORDERS = {
    "price": "the average price of its fills",
    "order_id": "the order's number here",
    "broker_order_id": "the order's number at its broker",
    "leg": "entry, sl, tp-1 …",
    "expected_price": "the price at which it was sent",
    "limit_price": "its limit",
    "stop_price": "its stop price",
    "slippage": "with its unit, + is worse",
    "code": "the reason code",
    "reason": "what the code means",
    "advice": "what to do about it",
    "detail": "what exactly, in this case",
}
OF_OPENED = {"price": "the price at which it was opened"}
OF_CLOSED = {
    "result": "after commission and swap, in the account's currency",
    "commission": "part of the result",
    "closed_by": "what closed it, a sentence",
}
OF_POSITIONS = {
    EventKind.POSITION_OPENED.value: OF_OPENED, EventKind.POSITION_CLOSED.value: OF_CLOSED,
}  # fmt: skip
OF_SIGNALS = {"signal": OF_TRADES["signal"], "trade": OF_TRADES["trade"], "feed": "the feed"}


def placeholders_of(kind: str) -> Mapping[str, str]:
    """Return the placeholders of a kind of message, each with what it stands for."""
    if kind.startswith("position."):  # its event names no order
        return {**OF_ALL, **OF_TRADES, **OF_POSITIONS.get(kind, {})}
    if kind.startswith(("order.", "exit.", "slippage.")):
        return {**OF_ALL, **OF_TRADES, **OF_ORDERS}
    return {**OF_ALL, **OF_SIGNALS} if kind.startswith("signal.") else OF_ALL


def names_in(text: str) -> list[str]:
    """Return the placeholders of a text, in order. Raises ValueError for a text that is not one."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("A { has no }, or a } has no {") from None
    found = []
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise ValueError(f"{{{name}}} is not a placeholder: write its name alone, {{account}}")
        found.append(name)
    return found


def fault_of(kind: str, text: str) -> str:
    """Return what is wrong with a title or body; '' if nothing is."""
    known = placeholders_of(kind)
    try:
        names = names_in(text)
    except ValueError as error:
        return f"{error}. Write {{{{ or }}}} for a brace itself."
    if unknown := [name for name in names if name not in known]:
        named = ", ".join(f"{{{name}}}" for name in dict.fromkeys(unknown))
        return f"Unknown: {named}. This message has {', '.join(f'{{{name}}}' for name in known)}."
    return ""


def faults_of(document: Document) -> Iterator[Fault]:
    """Yield what is wrong with the texts of a document."""
    for kind, text in document.messages.texts.items():
        if kind not in KINDS:
            yield Fault(f"{PATH}.{kind}", "There is no such kind of message.")
            continue
        for part, given in text._asdict().items():
            if fault := fault_of(kind, given):
                yield Fault(f"{PATH}.{kind}.{part}", fault)


def own_text(
    event: EventContext, title: str, text: str, *, own: MessageText | None = None
) -> MessageText | None:
    """Return the installation's own text of a message; None: it has none that can be used.

    title, text: the built-in ones. own: the text to try; None: what is in force.
    """
    try:
        own = own or settings_now().messages.texts.get(event.kind)
        if own is None or event.kind not in KINDS:
            return None
        values = _values(event, title, text)
        title_lines = " ".join(_filled(own.title, values)).splitlines()
        made = MessageText(" ".join(title_lines), "\n".join(_filled(own.body, values)))
    except (DatabaseError, KeyError, *CONTENT_ERRORS):  # not read yet, or a placeholder is unknown
        log.exception("a message has its built-in text", kind=event.kind, event_id=event.id)
        return None
    return made if made.title.strip() else MessageText(title, made.body)


def _filled(text: str, values: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a text. One whose placeholders are all empty is left out: so are facts
    that are not known."""
    for line in text.splitlines():
        names = names_in(line)
        if not names or any(values[name] for name in names):
            yield line.format_map(values)


def _values(event: EventContext, title: str, text: str) -> dict[str, str]:
    code = event.get("code")
    status = FINAL_STATUS.get(event.kind, "")
    net = net_result(event) if event.kind == EventKind.POSITION_CLOSED else None
    known = {
        "title": title,
        "text": text,
        "time": event.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "order_id": str(event.order_id or ""),
        "price": event.get("price", event.get("avg_fill_price")),
        "slippage": slippage_text(event),
        "reason": sentence(code, status) if known_code(code) else "",
        "advice": hint(code, status) if known_code(code) else "",
        "result": "" if net is None else f"{net:f}",
    }
    return {name: known.get(name) or event.get(name) for name in placeholders_of(event.kind)}


def example_of(kind: str) -> EventContext:
    """Return a made-up event of a kind, with every fact that its message may have."""
    facts = {
        "account": "Main\u00a0·\u00a07714", "trade": "Buy 10,000 EUR/USD", "symbol": "EUR/USD",
        "pair": "EUR/USD", "side": "BUY", "quantity": "10000", "signal": "S-2041",
        "trade_plan_id": "plan-7", "leg": "entry", "currency": "USD", "slippage": "0.3",
        "slippage_unit": "PIPS", "expected_price": "1.0999", "price": "1.1002",
        "closed_by": "Target 1 was hit.", "closing_leg": "tp",
    }  # fmt: skip
    payload: dict[str, object] = {
        "broker_order_id": "88412", "feed": "macro-breakout", "title": "Buy EUR/USD",
        "pnl": "48.40", "commission": "2.50", "reason": "target_1", "stop": "1.0950",
        "stop_before": "1.0900", "seconds": "4", "filled": 149, "working": 2,
    }  # fmt: skip
    if kind in FINAL_STATUS or kind in (EventKind.ORDER_SKIPPED, EventKind.ORDER_UNKNOWN):
        facts |= {"code": _EXAMPLE_CODES.get(kind, "REPLY_LOST")}
        facts |= {"price": "", "slippage": ""}
    at = datetime(2026, 11, 30, 14, 5, 9, tzinfo=UTC)
    return EventContext(1, kind, 1, None, 2041, 31415, payload, at, facts)


_EXAMPLE_CODES = {
    EventKind.ORDER_DENIED.value: "MAX_LEVERAGE", EventKind.ORDER_REJECTED.value: "NO_MONEY",
    EventKind.ORDER_EXPIRED.value: "SIGNAL_EXPIRED", EventKind.ORDER_FAILED.value: "NEVER_ARRIVED",
    EventKind.ORDER_SKIPPED.value: "CONNECTION_PAUSED",
}  # fmt: skip
