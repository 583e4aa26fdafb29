"""What the portal's templates write beside the shared tags (common/templatetags)."""

from decimal import Decimal
from typing import Any

from django import template
from django.forms import BoundField, Form
from django.utils.safestring import SafeString

from common.badges import badge
from portal.order_explanations import format_price

register = template.Library()
TO_DO_WITH_PK = frozenset({"account", "account_edit", "credentials"})


@register.filter
def at_pip(price: Decimal | None, pip: Decimal | None) -> str:
    """A price with its instrument's own digits."""
    return format_price(price, pip)


@register.filter
def shape(state: tuple[str, str]) -> SafeString:
    """A badge of a shape and a word that come together."""
    return badge(*state)


@register.filter
def wrong_fields(form: Form) -> list[BoundField]:
    """The fields of a form that must be corrected, in the order in which they are shown."""
    return [field for field in form if field.errors]


@register.filter
def initial(text: str) -> str:
    """`Long EUR/USD`, of `long EUR/USD`; the rest stays as it is."""
    return text[:1].upper() + text[1:]


@register.simple_tag(takes_context=True)
def here(context: dict[str, Any], *names: str) -> SafeString:
    """Mark the part of the navigation that the page belongs to."""
    return SafeString(' aria-current="page"' if context.get("section") in names else "")
