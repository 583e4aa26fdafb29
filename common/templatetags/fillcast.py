"""Numbers, times, states and addresses in templates, as common/web/formatting.py writes them."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.forms import BoundField, Form
from django.http import QueryDict
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from common.clocks import market_at, market_now
from common.ended_orders import ENDED_WAITS, EndedWait
from common.money import plain, significant
from common.units import unit_label
from common.web import formatting
from common.web import reason_links as reason_pages
from common.web.badges import badge

register = template.Library()
REASON_IN_LINE = re.compile(r"(?:(?<=^Code )|(?<= · ))([A-Z][A-Z0-9_]+)(?=$|: | · )")


@register.filter
def num(value: Decimal | int | None, places: int | None = None) -> str:
    """Return a number with separators: `1,234.5`. places: the fixed number of decimals."""
    return formatting.number(value, places)


@register.filter
def setting_value(value: object) -> str:
    """Return the value of an operational setting as its document has it."""
    return "not set" if value is None else json.dumps(value, default=str)


@register.filter
def unit(name: str) -> str:
    """Return the name of a unit of slippage."""
    return unit_label(name)


@register.filter
def unconverted(fees: Mapping[str, Any] | None) -> str:
    """Return the fees that a result does not include."""
    return formatting.unconverted(fees)


@register.filter
def units(value: Decimal | None, pair: str) -> str:
    """Return a quantity with its unit: `10,000 EUR`."""
    return formatting.quantity(value, pair)


@register.filter
def rounded(value: Decimal) -> Decimal:
    """Round a computed value to what people can read: `1476.62`, `0.000012345`."""
    return significant(value)


@register.filter
def base_unit(pair: str) -> str:
    """Return the unit of quantities of a symbol: `EUR` of `EUR/USD`."""
    return formatting.units_of(pair)


@register.filter
def percent(fraction: Decimal | None) -> str:
    """Return a fraction as `25 %`."""
    return "" if fraction is None else f"{plain(fraction * 100)} %"


@register.filter
def share(fraction: Decimal | None) -> str:
    """Return a share as `97.3 %`; without a whole, as `–`."""
    return "–" if fraction is None else f"{formatting.number(fraction * 100, 1)} %"


@register.filter
def reason(code: str) -> SafeString:
    """Return a reason code as a link to its page."""
    return reason_pages.reason_link(code)


@register.filter
def ended_wait(code: str) -> EndedWait | None:
    """Return the texts for orders that ended while they waited for this; None if none do."""
    known = formatting.known_code(code)
    return ENDED_WAITS.get(known) if known else None


@register.filter
def with_reasons(body: str) -> SafeString:
    """Return a message's lines as HTML; its reason codes link to the codes' pages."""
    return mark_safe("<br>".join(_with_links(line) for line in body.splitlines()))


def _with_links(line: str) -> str:
    parts = enumerate(REASON_IN_LINE.split(line))  # every second part is a code
    return "".join(
        reason_pages.reason_link(part) if n % 2 and reason_pages.reason_url(part) else escape(part)
        for n, part in parts
    )


@register.filter
def with_commands(text: str) -> SafeString:
    """Return a text as HTML, with the commands between backticks in a fixed-width font."""
    parts = enumerate(text.split("`"))
    return format_html_join("", "{}", ((code_of(part) if n % 2 else part,) for n, part in parts))


@register.filter
def check_line(check: Mapping[str, Any]) -> SafeString:
    """Return the result of one check of a connection test, with its hint."""
    return with_commands(formatting.with_hint(check["detail"], check.get("hint", "")))


def code_of(command: str) -> SafeString:
    """Return a command in a fixed-width font."""
    return format_html("<code>{}</code>", command)


@register.filter
def basic_fields(form: Form) -> list[BoundField]:
    """Return the visible fields that a form shows at once."""
    hidden = getattr(form, "advanced_names", ())
    return [field for field in form.visible_fields() if field.name not in hidden]


@register.filter
def advanced_fields(form: Form) -> list[BoundField]:
    """Return the visible fields that a form shows under "Advanced": its `advanced_names`."""
    names = getattr(form, "advanced_names", ())
    return [field for field in form.visible_fields() if field.name in names]


@register.filter
def with_errors(fields: Iterable[BoundField]) -> bool:
    """Return whether one of these fields has an error, so that it must not be folded away."""
    return any(field.errors for field in fields)


@register.filter
def wrong_fields(form: Form) -> list[BoundField]:
    """Return the fields of a form that have errors, in display order."""
    return [field for field in form if field.errors]


@register.filter
def signed(value: Decimal | int | None, places: int = 2) -> str:
    """Return a number with its sign: `+150.08`, `−48.40`."""
    return formatting.signed(value, places)


@register.filter
def money(value: Decimal | int | None, currency: str) -> str:
    """Return an amount with the decimals of its currency: `1,200` in JPY."""
    return formatting.money(value, currency)


@register.filter
def gain(value: Decimal | int | None, currency: str) -> str:
    """Return a gain or loss with the decimals of its currency: `+1,200` in JPY."""
    return formatting.gain(value, currency)


@register.filter
def money_css(value: Decimal | None) -> str:
    """Return the class of a gain (`fc-up`) or a loss (`fc-down`)."""
    return "" if not value else "fc-up" if value > 0 else "fc-down"


@register.filter
def ms(value: Any) -> str:
    """Return a number of milliseconds, or a duration, in whole ones: `1,040`."""
    return formatting.milliseconds(value)


@register.filter
def duration(milliseconds: float | None) -> str:
    """Return a time with its unit: `243 ms`, from ten seconds on `12 s`."""
    return formatting.duration(milliseconds)


@register.filter
def age(seconds: float | None) -> str:
    """Return an age in its two largest units: `6 min 22 s`."""
    return formatting.age(seconds)


@register.filter
def page_time(at: datetime | None) -> datetime | None:
    """Return a machine time as pages show it: market time while a replay runs."""
    return None if at is None else market_at(at)


@register.filter(expects_localtime=True)
def clock(at: datetime | None) -> str:
    """Return a time of day in the page's zone: `12:30:01`."""
    return formatting.clock(at)


@register.filter(expects_localtime=True)
def clock_ms(at: datetime | None) -> str:
    """Return a time of day in the page's zone with milliseconds: `12:30:01.204`."""
    return formatting.clock(at, with_ms=True)


@register.simple_tag
def zone() -> str:
    """Return the time zone of the page's times: UTC, or that of the user as `Berlin time`."""
    name = timezone.get_current_timezone_name()
    return name if name == "UTC" else f"{name.rpartition('/')[2].replace('_', ' ')} time"


@register.filter
def price(value: Decimal | None) -> str:
    """Return a price with all its digits."""
    return plain(value)


@register.filter
def terms(signal: Any) -> str:
    """Return a signal's levels, limits and validity in one sentence; empty: it has none."""
    found = [f"stop {plain(signal.sl)}"] if signal.sl else []
    if signal.target_prices:
        found.append(f"target {' and '.join(plain(at) for at in signal.target_prices)}")
    if signal.max_slippage_pips is not None:
        limit = plain(signal.max_slippage_pips)
        found.append(f"at most {limit} {unit_label(signal.slippage_unit)} worse")
    if signal.max_spread is not None:
        limit = plain(signal.max_spread)
        found.append(f"spread at most {limit} {unit_label(signal.spread_unit)}")
    if signal.stop_rule_text:
        found.append(signal.stop_rule_text)
    if signal.time_exit_text:
        found.append(f"closed {signal.time_exit_text}")
    if signal.exit_condition_text:
        found.append(f"closed {signal.exit_condition_text}")
    if signal.valid_until:
        until = timezone.localtime(signal.valid_until)
        found.append(f"valid until {until:%-d %b %Y %H:%M:%S} {zone()}")
    text = ", ".join(found)
    return f"{text[0].upper()}{text[1:]}." if text else ""


@register.simple_tag
def state(css: str, word: str) -> SafeString:
    """Return a badge. css: the class of its shape; word: the text beside it."""
    return badge(css, word)


@register.filter
def account(connection: Any) -> str:
    """Return `MT5 · 7714`, with spaces that do not break."""
    broker = connection.exchange_name or connection.type
    is_short = len(broker) <= 4 or any(map(str.isdigit, broker))  # mt5-dwx
    label = broker.upper() if is_short else broker.capitalize()
    return f"{label}\N{NO-BREAK SPACE}·\N{NO-BREAK SPACE}{connection.account}"


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """Return the current query string with changes; without the page number unless it is given."""
    params: QueryDict = context["request"].GET.copy()
    params.pop("page", None)
    for name, value in changes.items():
        if value in (None, ""):
            params.pop(name, None)
        else:
            params[name] = str(value)
    return f"?{params.urlencode()}"


@register.simple_tag(takes_context=True)
def keep_typed(context: dict[str, Any], hidden: str = "") -> SafeString:
    """Return the attributes of a form whose fields fillcast.js keeps: Back shows them again.

    Only for forms without secrets. hidden: names of hidden fields that are kept too; `*`: all.
    """
    answers = ' data-typed="yes"' if context["request"].method == "POST" else ""
    return format_html('data-keep="{}"{}', hidden, SafeString(answers))


@register.simple_tag(takes_context=True)
def follow(context: dict[str, Any], seconds: int, also: str = "") -> SafeString:
    """Return the attributes that keep the element `#live` up to date: htmx loads this page again
    and replaces the element.

    seconds: how often; 0: not any more. also: ids of further parts to replace (`#rows,#pills`).
    """
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
    """Return the time that pages show now: market time, which is real time unless a replay runs."""
    return market_now()
