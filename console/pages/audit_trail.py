"""The audit trail: every change of a setting that affects money: who, when, before, after."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse

from common.models import TrailLine
from console.pages.page_helpers import page
from console.tracked_tables import LABELS
from users.lookups import named
from users.models import User

PAGE_SIZE = 50
TABLES = {label: table for table, label in LABELS.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the trail for display."""

    number: int | None
    at: datetime
    verb: str
    what: str
    pk: str
    who: str
    origin: str
    address: str
    fields: list[tuple[str, str, str]]


def trail(request: HttpRequest) -> HttpResponse:
    """List the changes, newest first, filtered by `what` and `who`."""
    lines = TrailLine.objects.order_by("-id")
    label = request.GET.get("what", "")
    if label in TABLES:
        lines = lines.filter(relation=TABLES[label])
    if who := request.GET.get("who", "").strip().replace("\0", ""):
        lines = lines.filter(user_id__in=named(who).values("pk"))
    one_page = Paginator(lines, PAGE_SIZE).get_page(request.GET.get("page"))
    return page(
        request,
        "trail.html",
        "Audit trail",
        changes=list(_changes(one_page)),
        one_page=one_page,
        models=sorted(TABLES),
        filters=request.GET,
    )


def _changes(page_lines: Any) -> Iterator[Change]:
    lines = list(page_lines)
    users = {line.user_id for line in lines if line.user_id}
    names = dict(User.objects.filter(pk__in=users).values_list("pk", "username"))
    for line in lines:
        yield Change(
            number=line.number,
            at=line.at,
            verb=line.get_operation_display(),
            what=LABELS.get(line.relation, line.relation),
            pk=line.row_id,
            who=names.get(line.user_id, f"user {line.user_id}" if line.user_id else ""),
            origin=_origin(line),
            address=line.address,
            fields=_fields(line),
        )


def _origin(line: TrailLine) -> str:
    """Return how the change came in, with the program's name for commands and tasks."""
    program = str(line.context.get("program", "")).partition(":")[2]
    return (
        f"{line.origin} {program}"
        if line.origin in ("command", "task") and program
        else line.origin
    )


def _fields(line: TrailLine) -> list[tuple[str, str, str]]:
    """Return (field, before, after) of an update; nothing for an inserted or deleted row."""
    if line.operation != TrailLine.Operation.UPDATE:
        return []
    before, after = line.before or {}, line.after or {}
    return [
        (name, _short(before.get(name)), _short(value))
        for name, value in after.items()
        if value == "(secret)" or before.get(name) != value
    ]


def _short(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
