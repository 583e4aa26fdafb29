"""Small pieces of HTML that lists and pages share. What they say: common/formatting.py."""

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.formatting import STATES, number


def badge(css: str, word: str) -> SafeString:
    """A state: its shape and its word."""
    return format_html('<span class="fc"><span class="fc-st is-{}">{}</span></span>', css, word)


def state_badge(status: str) -> SafeString:
    """The badge of an order's state."""
    shown = STATES[status]
    return badge(shown.css, shown.word)


def amount(value: Any, places: int | None = None, *, unit: str = "") -> SafeString:
    """A number among numbers: right-aligned, the same digits in a column; its unit after it."""
    text = number(value, places)
    return format_html('<span class="fc-n">{}</span>', f"{text} {unit}" if text and unit else text)


def code(text: str) -> SafeString:
    """A code or an id, as machines write it."""
    return format_html("<code>{}</code>", text) if text else SafeString("")
