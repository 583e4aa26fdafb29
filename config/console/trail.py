"""The audit trail: every change of a setting that moves money, with who, when, before and after."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from pghistory.core import event_models
from pghistory.models import MiddlewareEvents

from config.console.pages import page
from users.models import User

A_PAGE = 50
HIDDEN = frozenset({"sealed_credentials", "secret_hash", "signing_key", "password", "url_sealed"})
VERBS = {"insert": "Created", "update": "Changed", "delete": "Removed"}


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the trail."""

    at: datetime
    verb: str
    what: str
    pk: str
    who: str
    url: str
    fields: list[tuple[str, str, str]]


def trail(request: HttpRequest) -> HttpResponse:
    """The newest changes first; `what` and `who` narrow them."""
    models = {_name(model): model for model in event_models()}
    wanted = request.GET.get("what", "")
    events: QuerySet[Any] = MiddlewareEvents.objects.all()
    if wanted in models:
        events = events.across(models[wanted])  # type: ignore[attr-defined]
    if who := request.GET.get("who", "").strip():
        events = events.filter(user__username=who)
    newest = events.order_by("-pgh_created_at", "-pgh_slug")
    found = Paginator(newest, A_PAGE).get_page(request.GET.get("page"))
    return page(
        request,
        "trail.html",
        "Audit trail",
        changes=list(_changes(found)),
        one_page=found,
        models=sorted(models),
        asked=request.GET,
    )


def _name(event_model: Any) -> str:
    tracked = event_model.pgh_tracked_model
    return str(tracked._meta.verbose_name)


def _changes(events: Any) -> Iterator[Change]:
    found = list(events)
    names = dict(
        User.objects.filter(pk__in={e.user_id for e in found if e.user_id}).values_list(
            "pk", "username"
        )
    )
    for event in found:
        yield Change(
            at=event.pgh_created_at,
            verb=VERBS.get(event.pgh_label, event.pgh_label),
            what=event.pgh_obj_model.rpartition(".")[2],
            pk=event.pgh_obj_id or "",
            who=names.get(event.user_id, ""),
            url=event.url or "",
            fields=_fields(event),
        )


def _fields(event: Any) -> list[tuple[str, str, str]]:
    """(field, before, after) of a change; what may be secret is told without its value."""
    made = []
    for name, (before, after) in (event.pgh_diff or {}).items():
        if name in HIDDEN:
            made.append((name, "was set" if before else "was empty", "set"))
        else:
            made.append((name, _short(before), _short(after)))
    return made


def _short(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
