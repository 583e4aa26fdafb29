"""Template tags of the portal, besides the shared ones (common/templatetags)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from analytics.orders.explanations import format_price
from analytics.results.statistics import Figure
from common.web.badges import badge
from common.web.formatting import MINUS, age, gain, number
from events.push_keys import offered_key
from portal import history_cells

register = template.Library()


@register.filter
def at_pip(price: Decimal | None, pip: Decimal | None) -> str:
    """Format a price with its instrument's digits."""
    return format_price(price, pip)


@register.filter
def shape(state: tuple[str, str]) -> SafeString:
    """Render a badge from (shape, label)."""
    return badge(*state)


@register.filter
def initial(text: str) -> str:
    """Capitalize the first letter only: `Long EUR/USD`."""
    return text[:1].upper() + text[1:]


@register.simple_tag(takes_context=True)
def here(context: dict[str, Any], *names: str) -> SafeString:
    """Mark the navigation entry of the current page."""
    return SafeString(' aria-current="page"' if context.get("section") in names else "")


@register.simple_tag(takes_context=True)
def here_in(context: dict[str, Any], area: str) -> SafeString:
    """Mark the navigation entry of an area, whose pages' names begin with its name."""
    is_here = str(context.get("section", "")).startswith(area)
    return SafeString(' aria-current="page"' if is_here else "")


@register.simple_tag
def push_key() -> str:
    """Return the key with which browsers subscribe; '' if push messages are off."""
    return offered_key()


@register.simple_tag
def tab_here(tab: str, name: str) -> SafeString:
    """Mark a page's tab if it is the current one."""
    return SafeString(' aria-current="page"' if tab == name else "")


@register.simple_tag
def history_cell(row: Mapping[str, object], name: str) -> str:
    """Return a column of a row of the history, with its links."""
    return history_cells.cell(row, name)


@register.filter
def history_label(name: str) -> str:
    """Return the heading of a column of the history."""
    return history_cells.label(name)


@register.filter
def state_name(value: str) -> str:
    """Return the word for an action, a state of an order, or what closed a position."""
    return history_cells.state_name(value)


@register.filter
def entry(found: Mapping[object, object], key: object) -> object:
    """Return what a mapping has for a key; None: nothing."""
    return found.get(key)


@register.filter
def percent(value: Decimal | None) -> str:
    """Return a fraction in percent: 0.1234 as `12.34 %`. None is empty."""
    return "" if value is None else f"{number(value * 100, 2)}\N{NO-BREAK SPACE}%"


@register.filter
def signed_percent(value: Decimal | None) -> str:
    """Return a gain of a fraction as `+1.20 %`, a loss as `−1.20 %`."""
    text = percent(value)
    if not text.strip(f"0.{MINUS}%\N{NO-BREAK SPACE}"):
        return text.removeprefix(MINUS)
    return f"+{text}" if value is not None and value > 0 else text


@register.simple_tag
def figure(value: Figure, form: str = "number", currency: str = "") -> SafeString:
    """Render a statistic: as `percent`, `seconds`, a `gain` in its currency, or a number.

    One that is not defined says so with the reason.
    """
    if value.value is None:
        return format_html(
            '<dd class="fc-big"><small>not defined</small></dd><dd>{}</dd>', value.why
        )
    if form == "percent":
        shown = percent(value.value)
    elif form == "signed":
        shown = signed_percent(value.value)
    elif form == "gain":
        shown = gain(value.value, currency)
    else:
        shown = age(float(value.value)) if form == "seconds" else number(value.value, 2)
    return format_html('<dd class="fc-big">{}</dd>', shown)
