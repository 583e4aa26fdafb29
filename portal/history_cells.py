"""The cells of the history: numbers lead to pages, codes have words, times the user's zone."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from common.web.badges import state_badge
from common.web.formatting import STATES, gain, number
from common.web.reason_links import reason_link
from positions.models import CloseReason
from signals.models import Action

Row = Mapping[str, object]
LABELS = {"trade_plan_id": "Trade plan"}  # where the name of the field is no word
MONEY = frozenset({"net", "commission", "swap"})  # of the row's currency


def cell(row: Row, name: str) -> str:
    """Return the column of a row for people; what comes from others is escaped in the page."""
    value = row[name]
    if value in (None, ""):
        return ""
    if known := CELLS.get(name):
        return known(row, str(value))
    if isinstance(value, datetime):
        return f"{timezone.localtime(value):%-d %b %Y %H:%M:%S}"
    if not isinstance(value, Decimal):
        return str(value)
    currency = str(row.get("currency") or "")
    return gain(value, currency) if name in MONEY and currency else number(value)


def label(name: str) -> str:
    """Return the heading of a column: `Trade plan`, `Entry price`."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def state_name(value: str) -> str:
    """Return the word for an action, a state of an order, or what closed a position."""
    return WORDS.get(value, value)


def _signal(_row: Row, text: str) -> str:
    return _link(reverse("portal:signal", args=[_number(text)]), text)


def _order(row: Row, text: str) -> str:
    """Return the order's number, with a link to its course on its signal's page."""
    signal = str(row.get("signal") or "")
    if not signal:
        return text
    page = reverse("portal:signal", args=[_number(signal)])
    return _link(f"{page}?order={_number(text)}#timeline", text)


def _position(_row: Row, text: str) -> str:
    return _link(reverse("portal:position", args=[_number(text)]), text)


def _state(_row: Row, text: str) -> str:
    return state_badge(text) if text in STATES else text


def _link(page: str, text: str) -> str:
    return format_html('<a href="{}">{}</a>', page, text)


def _number(text: str) -> int:
    """Return 2041 of `S-2041`."""
    return int(text.partition("-")[2])


WORDS: dict[str, str] = {
    **{action.value: str(action.label) for action in Action},
    **{status: label.word for status, label in STATES.items()},
    **{reason.value: str(reason.label) for reason in CloseReason},
}
CELLS: dict[str, Callable[[Row, str], str]] = {
    "signal": _signal,
    "order": _order,
    "position": _position,
    "state": _state,
    "reason": lambda _row, text: reason_link(text),
    "closed_by": lambda _row, text: state_name(text),
    "action": lambda _row, text: state_name(text),
}
