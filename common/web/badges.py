"""Small pieces of HTML for lists and pages. Their texts come from common/web/formatting.py."""

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.web.formatting import STATES, number


def badge(css: str, word: str) -> SafeString:
    """Return a state badge. css: the class of its shape; word: the text beside it."""
    return format_html('<span class="fc"><span class="fc-st is-{}">{}</span></span>', css, word)


def state_badge(status: str) -> SafeString:
    """Return the badge of an order's status."""
    label = STATES[status]
    return badge(label.css, label.word)


def amount(value: Any, places: int | None = None, *, unit: str = "") -> SafeString:
    """Return a right-aligned number with digits of equal width, followed by its unit."""
    text = number(value, places)
    return format_html('<span class="fc-n">{}</span>', f"{text} {unit}" if text and unit else text)


def code(text: str) -> SafeString:
    """Return a code or an id in a fixed-width font."""
    return format_html("<code>{}</code>", text) if text else SafeString("")
