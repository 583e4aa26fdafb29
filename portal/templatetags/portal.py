"""Template tags of the portal, besides the shared ones (common/templatetags)."""

from decimal import Decimal
from typing import Any

from django import template
from django.utils.safestring import SafeString

from common.badges import badge
from execution.order_explanations import format_price

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
def tab_here(tab: str, name: str) -> SafeString:
    """Mark a page's tab if it is the current one."""
    return SafeString(' aria-current="page"' if tab == name else "")
