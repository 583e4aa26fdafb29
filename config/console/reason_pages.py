"""A reason's page for operators: what it means, whom it hit lately, and what was dropped."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Max, Q, Value
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse

from common.reasons import tried_again
from common.shown import known_code
from config.console.pages import View, page
from execution.models import Order
from execution.order_reasons import states

LATELY = 50_000  # orders that are looked through, the newest


@dataclass(frozen=True, slots=True)
class Hit:
    """An account that met it. waiting: orders that have not ended."""

    connection_id: UUID
    name: str
    owner_name: str
    many: int
    waiting: int
    latest: int
    at: datetime


def hits_of(code: str) -> list[Hit]:
    """Return which accounts met a code lately, those first that met it most often."""
    newest = Order.objects.aggregate(newest=Max("pk"))["newest"] or 0
    found = (
        Order.objects.filter(states(code), pk__gt=newest - LATELY)
        .order_by()
        .values(
            "connection_id",
            name=F("connection__name"),
            owner_name=Coalesce(
                "connection__user__username", "connection__admin__username", Value("")
            ),
        )
        .annotate(
            many=Count("pk"),
            waiting=Count("pk", filter=Q(done_at=None)),
            latest=Max("pk"),
            at=Max(Coalesce("done_at", "created_at")),
        )
        .order_by("-many", "-at")
    )
    return [Hit(**row) for row in found[:50]]


def show(request: HttpRequest, code: str, **_: Any) -> HttpResponse:
    """The page itself."""
    known = known_code(code)
    if known is None:
        raise Http404
    found = hits_of(known.value)
    return page(
        request,
        "reason.html",
        known.value,
        code=known,
        tried=tried_again(known),
        hits=found,
        many=sum(hit.many for hit in found),
        lately=LATELY,
    )


URLS: tuple[tuple[str, str, View], ...] = (("reasons/<str:code>/", "console_reason", show),)
