"""A reason code's page for operators: its meaning and the accounts that recently had it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Max, Q, Value
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse

from analytics.orders.reasons import states
from common.web.formatting import known_code
from common.web.reason_links import retry_sentence
from console.pages.page_helpers import View, page
from execution.models import Order

RECENT_ORDERS = 50_000  # that are searched


@dataclass(frozen=True, slots=True)
class AffectedAccount:
    """An account with orders of this reason. waiting: orders that have not ended."""

    connection_id: UUID
    name: str
    owner_name: str
    count: int
    waiting: int
    latest: int
    at: datetime


def affected_accounts(code: str) -> list[AffectedAccount]:
    """Return the accounts with recent orders of a reason code, most orders first."""
    newest = Order.objects.aggregate(newest=Max("pk"))["newest"] or 0
    found = (
        Order.objects.filter(states(code), pk__gt=newest - RECENT_ORDERS)
        .order_by()
        .values(
            "connection_id",
            name=F("connection__name"),
            owner_name=Coalesce(
                "connection__user__username", "connection__admin__username", Value("")
            ),
        )
        .annotate(
            count=Count("pk"),
            waiting=Count("pk", filter=Q(done_at=None)),
            latest=Max("pk"),
            at=Max(Coalesce("done_at", "created_at")),
        )
        .order_by("-count", "-at")
    )
    return [AffectedAccount(**row) for row in found[:50]]


def show(request: HttpRequest, code: str, **_: Any) -> HttpResponse:
    known = known_code(code)
    if known is None:
        raise Http404
    found = affected_accounts(known.value)
    return page(
        request,
        "reason.html",
        known.value,
        code=known,
        tried=retry_sentence(known),
        hits=found,
        order_count=sum(hit.count for hit in found),
        searched=RECENT_ORDERS,
    )


URLS: tuple[tuple[str, str, View], ...] = (("reasons/<str:code>/", "console_reason", show),)
