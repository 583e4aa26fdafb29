"""Numbers, times, states and addresses in templates, as common/formatting.py writes them."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.http import QueryDict
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from common import formatting
from common import reason_links as reason_pages
from common.badges import badge
from common.clocks import market_at, market_now
from common.ended_orders import ENDED_WAITS, EndedWait
from common.money import plain
from common.units import unit_label

register = template.Library()


@register.filter
def num(value: Decimal | int | None, places: int | None = None) -> str:
    return formatting.number(value, places)


@register.filter
def unit(name: str) -> str:
    """The word of a unit of slippage."""
    return unit_label(name)


@register.filter
def unconverted(fees: Mapping[str, Any] | None) -> str:
    """Fees that stand beside a result."""
    return formatting.unconverted(fees)


@register.filter
def units(value: Decimal | None, pair: str) -> str:
    """A quantity with its unit: `10,000 EUR`."""
    return formatting.quantity(value, pair)


@register.filter
def reason(code: str) -> SafeString:
    """A reason code with the link to its page."""
    return reason_pages.reason_link(code)


@register.filter
def ended_wait(code: str) -> EndedWait | None:
    """What is said of an order that ended unsent while it waited for this; None: none does."""
    known = formatting.known_code(code)
    return ENDED_WAITS.get(known) if known else None


@register.filter
def with_reasons(body: str) -> SafeString:
    """A message's lines; the line that names its code links to its page."""
    lines = []
    for line in body.splitlines():
        word, _, code = line.partition(" ")
        linked = word == "Code" and reason_pages.reason_url(code)
        lines.append(
            format_html("Code {}", reason_pages.reason_link(code)) if linked else escape(line)
        )
    return mark_safe("<br>".join(lines))


@register.filter
def with_commands(said: str) -> SafeString:
    """A sentence whose commands stand between backticks, as it is told on a terminal, too."""
    parts = enumerate(said.split("`"))
    return format_html_join("", "{}", ((code_of(one) if n % 2 else one,) for n, one in parts))


@register.filter
def check_line(check: Mapping[str, Any]) -> SafeString:
    """What a connection test's check found, and what helps."""
    return with_commands(formatting.with_hint(check["detail"], check.get("hint", "")))


def code_of(command: str) -> SafeString:
    return format_html("<code>{}</code>", command)


@register.filter
def signed(value: Decimal | int | None, places: int = 2) -> str:
    return formatting.signed(value, places)


@register.filter
def money_css(value: Decimal | None) -> str:
    """`fc-up` for won, `fc-down` for lost: text only, the sign says it too."""
    return "" if not value else "fc-up" if value > 0 else "fc-down"


@register.filter
def ms(value: Any) -> str:
    return formatting.milliseconds(value)


@register.filter
def age(seconds: float | None) -> str:
    return formatting.age(seconds)


@register.filter
def page_time(at: datetime | None) -> datetime | None:
    """A machine time as the page's one clock shows it: market time while a replay runs."""
    return None if at is None else market_at(at)


@register.filter
def clock(at: datetime | None) -> str:
    return formatting.clock(at)


@register.filter
def fine(at: datetime | None) -> str:
    return formatting.clock(at, fine=True)


@register.filter
def price(value: Decimal | None) -> str:
    """A price with all the digits that it was told with."""
    return plain(value)


@register.simple_tag
def state(css: str, word: str) -> SafeString:
    return badge(css, word)


@register.filter
def account(connection: Any) -> str:
    """`MT5 · 7714`, with spaces that do not break."""
    kind = connection.exchange_name or connection.type
    is_short = len(kind) <= 4 or any(map(str.isdigit, kind))  # mt5-dwx
    shown_kind = kind.upper() if is_short else kind.capitalize()
    return f"{shown_kind}\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}{connection.account}"


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """The present address's query with changes; the page number falls away unless it is given."""
    params: QueryDict = context["request"].GET.copy()
    params.pop("page", None)
    for name, value in changes.items():
        if value in (None, ""):
            params.pop(name, None)
        else:
            params[name] = str(value)
    return f"?{params.urlencode()}"


@register.simple_tag(takes_context=True)
def follow(context: dict[str, Any], seconds: int, also: str = "") -> SafeString:
    """Attributes that keep an element with the id `live` up to date: htmx asks for this page again
    and takes its new `#live`. seconds: how often; 0: it is settled and no longer asks. also: ids of
    more parts of the page that are replaced with it (`#rows,#pills`)."""
    if not seconds:
        return SafeString("")
    more = format_html(' hx-select-oob="{}"', also) if also else ""
    return format_html(
        'hx-get="{}" hx-trigger="every {}s" hx-select="#live" hx-swap="outerHTML" '
        'hx-disinherit="*"{}',
        context["request"].get_full_path(),
        seconds,
        more,
    )


@register.simple_tag
def page_clock() -> datetime:
    """The time that pages show now: the market's, which is real time unless a replay runs."""
    return market_now()
