"""Template tags of the console, besides the shared ones (common/templatetags/fillcast.py)."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.safestring import SafeString

from analytics.orders.figures import stated_detail
from analytics.orders.reasons import OrderReason, reason_of
from common.limit_figures import read_figures, text_with_detail
from common.web import formatting
from common.web.badges import code, state_badge
from console.queries.first_steps import Step, step_of, steps_taken
from console.queries.frame import frame_of
from execution.models import ExecutionLog, Order

register = template.Library()


@register.inclusion_tag("console/parts/scan_alarm.html", takes_context=True)
def scan_alarm(context: Mapping[str, Any]) -> dict[str, Any]:
    """The alarms of every page: levels not scanned, a stopped scheduler, a broken audit trail."""
    frame = frame_of(context["request"])
    return {"scan": frame.scan, "trail": frame.trail}


@register.simple_tag
def first_steps() -> list[tuple[Step, bool]]:
    """Return the steps to the first trade, each with whether it is done."""
    return steps_taken()


@register.filter
def first_step(options: Any) -> Step | None:
    """Return the step that creates the first row of a list, by its model's options."""
    return step_of(options.label_lower)


@register.filter
def share_of(shares: dict[str, int], name: str) -> int:
    """Return one of the counts by state."""
    return shares.get(name, 0)


@register.filter
def order_state(status: str) -> SafeString:
    """Render the badge of an order status."""
    return state_badge(status)


@register.filter
def order_reason(order: Order) -> OrderReason:
    """Return why an order is in its status, and since when it waits."""
    return reason_of(order)


@register.filter
def order_detail(order: Order) -> str:
    """Return the figures and details of an order's reason."""
    return stated_detail(order)


@register.filter
def line_detail(line: ExecutionLog) -> str:
    """Return the figures and details of a log line."""
    return text_with_detail(read_figures(line.code, line.numbers), line.detail)


@register.filter
def other_numbers(line: ExecutionLog) -> dict[str, Any]:
    """Return the numbers of a log line that are no figures of a denial."""
    return {} if read_figures(line.code, line.numbers) else line.numbers


@register.filter
def sentence(reason: str, status: str = "") -> str:
    """Return the sentence of a reason code; an unknown code is returned as it is.

    status: of the order that it is about.
    """
    return formatting.sentence(reason, status)


@register.filter
def hint(reason: str) -> str:
    """Return what to do about a reason code."""
    return formatting.hint(reason)


@register.filter
def mono(text: str) -> SafeString:
    """Render a text in a code element."""
    return code(text)


@register.filter
def owner(connection: Any) -> str:
    """Return the owner of a connection."""
    if connection.admin_id:
        return f"{connection.admin.get_username()}, takes all signals"
    return str(connection.user.get_username()) if connection.user_id else ""
