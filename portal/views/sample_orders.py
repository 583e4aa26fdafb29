"""The sample order of a paper or demo account: placed and closed by one button each."""

from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from analytics.orders.explanations import explain
from analytics.orders.figures import with_figures
from common.reason_codes import Code
from common.web.formatting import hint, sentence
from execution.models import Order
from execution.sample_orders import (
    CLOSE_AFTER_SECONDS,
    Sample,
    close_sample,
    newest_sample,
    place_sample,
)
from portal.pages import current_user, page, run_action, tenants_only
from portal.views.accounts import find
from users.models import User

FAST_SECONDS, SLOW_SECONDS = 1, 5  # how often the page follows: on its way, while it is open
MAX_REQUEST_ID = 40


def address(pk: UUID) -> str:
    return reverse("portal:account_sample", args=[pk])


@tenants_only
def show(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Show the newest sample order with the time of each step; a POST places one."""
    found = find(request, pk)
    user, sample = current_user(request), newest_sample(pk)
    if request.method == "POST":
        return run_action(request, lambda: _place(request, pk, user), back=address(pk))
    is_followed = sample is not None and sample.is_open
    fast = sample is not None and sample.state in ("PLACED", "CLOSING")
    return page(
        request,
        "sample_order.html",
        account=found,
        sample=sample,
        explanation=None if sample is None else _explanation(sample),
        request_id=uuid4().hex,
        close_after=CLOSE_AFTER_SECONDS,
        refused=refusal(found.is_demo),
        refresh_seconds=(FAST_SECONDS if fast else SLOW_SECONDS) if is_followed else 0,
    )


def refusal(is_demo: bool) -> str:
    """Return why there are no sample orders on an account; '' if there are."""
    code = Code.SAMPLE_NEEDS_DEMO
    return "" if is_demo else f"{sentence(code)} {hint(code)}"


def _explanation(sample: Sample) -> object:
    """Return what became of its order, for people."""
    return explain(with_figures(Order.objects.filter(pk=sample.order.pk)).get())


def _place(request: HttpRequest, pk: UUID, user: User) -> str:
    post = request.POST
    sample, is_new = place_sample(
        pk,
        by=user,
        pair=post.get("symbol", "").strip().upper()[:20],
        request_id=post.get("request_id", "")[:MAX_REQUEST_ID],
        close_after_seconds=CLOSE_AFTER_SECONDS if "closes" in post else None,
    )
    if is_new:
        return f"The sample order is placed: buy {sample.order.pair}. Its steps appear below."
    if sample.is_open:
        return "A sample order is open already; no other one was placed."
    return "This sample order was placed before; no other one was placed."


@tenants_only
def close(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Close the open sample order, without a question."""
    user = current_user(request)
    find(request, pk)
    return run_action(request, lambda: _close(pk, user), back=address(pk))


def _close(pk: UUID, user: User) -> str:
    close_sample(pk, by=user)
    return "The sample order is being closed; the steps show when it is."
