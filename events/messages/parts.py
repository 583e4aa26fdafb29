"""What the texts of messages have in common. Pure."""

from decimal import Decimal, InvalidOperation

from common.limit_figures import read_figures, text_with_detail
from common.reason_codes import Code
from common.units import unit_label
from common.web.formatting import hint, number, sentence, signed
from events.context import EventContext
from events.models import EventKind

TITLE_MAX, LINES_MAX = 200, 10
ROOM = 20_000  # characters of a body, if its channel has no closer limit
ORDER_PRICES = {
    "limit_price": "limit price",
    "stop_price": "stop price",
    "worst_price": "price limit",
    "expected_price": "expected price",
}
WITH_PRICES_OF_THEIR_OWN = frozenset(
    {EventKind.ORDER_FILLED, EventKind.ORDER_PARTIALLY_FILLED, EventKind.ORDER_CHANGED}
)
Lines = tuple[str, ...]  # the title, then the body's lines; empty ones are left out
AMOUNT_LIMIT = Decimal(10) ** 20  # every amount that can be stored is below it
FINAL_STATUS: dict[str, str] = {
    EventKind.ORDER_DENIED: "DENIED",
    EventKind.ORDER_EXPIRED: "EXPIRED",
    EventKind.ORDER_REJECTED: "REJECTED",
    EventKind.ORDER_FAILED: "FAILED",
}
"""The status of the order when an event of this kind is written."""


def trade(event: EventContext) -> str:
    leg = event.get("leg")
    exit_leg = f" ({leg})" if leg and not leg.startswith("entry") else ""
    name = f"order {event.order_id}" if event.order_id else "order"
    return event.get("trade", event.get("title", name)) + exit_leg


def reason_lines(event: EventContext) -> Lines:
    """Return the code's sentence, figures and detail of this case, what to do, and the code."""
    name, detail = event.get("code"), event.get("detail")
    code = Code(name) if name in Code.__members__ else None
    if code is None:
        return (detail, name)
    detail = "" if detail == code.sentence else detail
    detail = text_with_detail(read_figures(code.value, event.payload.get("figures")), detail)
    status = FINAL_STATUS.get(event.kind, "")
    return (sentence(code, status), detail, hint(code, status), f"Code {code.value}")


def slippage_text(event: EventContext) -> str:
    """Return the slippage with its unit; pips for older events, which have no unit."""
    slippage = event.get("slippage", event.get("slippage_pips"))
    return f"{signed_text(slippage)} {unit_label(event.get('slippage_unit'))}" if slippage else ""


def asked_prices(event: EventContext) -> str:
    """Return the order's own prices, for events that have no fill price; '' without any."""
    if not event.kind.startswith("order.") or event.kind in WITH_PRICES_OF_THEIR_OWN:
        return ""
    return ", ".join(
        f"{word} {price}"
        for name, word in ORDER_PRICES.items()
        if (price := plain_text(event.get(name)))
    )


def connection(event: EventContext) -> str:
    return event.get("account", event.get("name", "A connection"))


def utc_minute(moment: str) -> str:
    """Return an ISO time for people: `2026-11-28T12:00:00Z` as `2026-11-28 12:00 UTC`."""
    return moment.replace("T", " ")[:16] + " UTC"


def items(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def decimal_of(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < AMOUNT_LIMIT else None


def plain_text(text: str) -> str:
    value = decimal_of(text)
    return text if value is None else number(value)


def signed_text(text: str) -> str:
    value = decimal_of(text)
    return text if value is None else signed(value, None)
