"""The operational settings: a form by groups, the difference before it is saved, the versions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from common.errors import ConflictError, InvalidInputError
from common.models import SettingsVersion
from common.operational import current, store
from common.operational.document import FIRST
from common.operational.reading import (
    GROUPS,
    KEYS,
    Change,
    InvalidDocumentError,
    Json,
    Key,
    differences,
    dump,
    parse,
    read,
)
from common.permissions import Right
from console.pages.page_helpers import View, can, page, require_permission, run_action

PAGE_SIZE = 20
NAME = "admin:console_settings"


@dataclass(frozen=True, slots=True)
class Input:
    """One setting on the form. text: its value as it is typed."""

    key: Key
    text: str
    default: str
    error: str = ""

    @property
    def options(self) -> Sequence[tuple[str, str]]:
        """The values to choose from; none of what is typed."""
        kind = self.key.kind
        if kind.is_list:
            return ()
        chosen = [(name, name) for name in kind.choices]
        if kind.is_switch:
            chosen = [("true", "yes"), ("false", "no")]
        if chosen and kind.expected.endswith("or null"):
            chosen.append(("", "not set"))
        return chosen

    @property
    def is_long(self) -> bool:
        """Whether it has several lines."""
        return self.key.kind.is_list or isinstance(self.key.default, Mapping)


@dataclass(frozen=True, slots=True)
class Version:
    """A version for display, with what it changed."""

    row: SettingsVersion
    changes: Sequence[Change]
    is_in_force: bool
    is_valid: bool


def show(request: HttpRequest) -> HttpResponse:
    """Show the settings in force, the form and the versions."""
    if request.method != "GET":
        return HttpResponseNotAllowed(["GET"])
    newest = store.newest()
    return _page(request, store.document_of(newest), base=store.number_of(newest))


def change(request: HttpRequest) -> HttpResponse:
    """Show what a form or an imported document would change; save it once that was seen."""
    require_permission(request, Right.SETTINGS)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    post = request.POST
    base = int(post["base"]) if post.get("base", "").isdecimal() else 0
    why = post.get("why", "")
    before = store.document_of(store.newest())
    try:
        changes = _changes_of(post, before)
        document, _ = store.check(changes)
    except InvalidDocumentError as error:
        faults = {fault.path: fault.sentence for fault in error.faults}
        return _page(request, before, base=base, faults=faults, status=400)
    except InvalidInputError as error:
        faults = {one.field: one.detail for one in (error, *error.others)}
        return _page(request, before, base=base, faults=faults, status=400)
    found = differences(before, document)
    if not found:
        messages.info(request, "Nothing differs from what is in force.")
        return HttpResponseRedirect(reverse(NAME))
    if post.get("step") == "save":
        return _save(request, changes, why, base)
    return page(
        request, "settings_review.html", "Review the changes",
        changes=found, document=json.dumps(changes, default=str), base=base, why=why,
    )  # fmt: skip


def _save(request: HttpRequest, changes: Json, why: str, base: int) -> HttpResponse:
    by: Any = request.user
    try:
        version = store.save(changes, by=by, why=why, origin=store.Origin.CONSOLE, base=base)
    except (InvalidInputError, ConflictError) as error:
        messages.error(request, error.detail)
    else:
        number = f"Version {version.pk} is stored" if version else "Nothing was changed"
        messages.success(request, f"{number}. Every process uses it within two seconds.")
    return HttpResponseRedirect(reverse(NAME))


def restore(request: HttpRequest, number: int) -> HttpResponse:
    """Store an earlier version again, by one click."""
    require_permission(request, Right.SETTINGS)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])

    def act() -> str:
        by: Any = request.user
        version = store.restore(number, by=by, origin=store.Origin.CONSOLE)
        return f"Version {number} is in force again, as version {version.pk}."

    return run_action(request, act, back=reverse(NAME))


def export(request: HttpRequest) -> HttpResponse:
    """Download the settings in force as JSON, which an import accepts."""
    if request.method != "GET":
        return HttpResponseNotAllowed(["GET"])
    found = current.in_force()
    text = json.dumps(dump(found.document), indent=2)
    name = f"fillcast-settings-{found.number}.json"
    return HttpResponse(
        text + "\n",
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _page(
    request: HttpRequest,
    document: Json,
    *,
    base: int,
    faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    typed, faults = request.POST, faults or {}
    inputs = {
        key.path: Input(
            key,
            typed.get(key.path, text_of(key, document[key.group][key.name])),
            text_of(key, key.kind.write(key.default)),
            faults.get(key.path, ""),
        )
        for key in KEYS.values()
    }
    in_force = current.in_force()
    rows = Paginator(SettingsVersion.objects.order_by("-pk"), PAGE_SIZE)
    one_page = rows.get_page(request.GET.get("page"))
    groups = [
        (of.metadata["title"], [one for one in inputs.values() if one.key.group == name])
        for name, of in GROUPS.items()
    ]
    response = page(
        request,
        "settings.html",
        "Settings",
        first=[inputs[path] for path in FIRST],
        groups=[
            (title, [one for one in found if one.key.path not in FIRST]) for title, found in groups
        ],
        other_faults={path: text for path, text in faults.items() if path not in inputs},
        fault_count=len(faults),
        base=base,
        typed=typed,
        in_force=in_force,
        source=settings.FILLCAST_SETTINGS_SOURCE,
        may_change=can(request, Right.SETTINGS),
        versions=list(_versions(list(one_page), in_force.number)),
        one_page=one_page,
    )
    response.status_code = status
    return response


def _versions(rows: Sequence[SettingsVersion], in_force: int) -> Iterator[Version]:
    earlier = SettingsVersion.objects.filter(pk__in=[row.pk - 1 for row in rows])
    documents = {row.pk: row.document for row in (*rows, *earlier)}
    for row in rows:
        before = documents.get(row.pk - 1, dump(read({})))
        is_valid = _is_valid(row.document)
        changed = (
            differences(before, row.document) if is_valid and isinstance(before, Mapping) else []
        )
        yield Version(row, changed, row.pk == in_force, is_valid)


def _is_valid(document: object) -> bool:
    try:
        read(document)  # type: ignore[arg-type]  # whatever is stored
    except (InvalidDocumentError, AttributeError, TypeError):
        return False
    return True


def text_of(key: Key, value: Any) -> str:
    """Return how a value of the document is typed on the form."""
    if value is None:
        return ""
    if key.kind.is_list:
        return "\n".join(map(str, value))
    if isinstance(value, bool | Mapping):
        return json.dumps(value)
    return str(value)


def value_of(key: Key, text: str) -> Any:
    """Return the JSON value of what was typed. It is not checked. Raises InvalidDocumentError."""
    text = text.strip()
    if key.kind.is_list:
        return [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(key.default, Mapping):
        return parse(text) if text else {}
    if key.kind.is_switch and text in ("true", "false"):
        return text == "true"
    return text or None


def _changes_of(post: Mapping[str, str], before: Json) -> Json:
    """Return what was imported, else the settings whose text differs from what is in force."""
    if text := post.get("document", "").strip():
        return parse(text)
    changes: Json = {}
    for key in KEYS.values():
        typed = post.get(key.path)
        was = text_of(key, before[key.group][key.name])
        if typed is not None and typed.replace("\r\n", "\n").strip() != was:
            changes.setdefault(key.group, {})[key.name] = value_of(key, typed)
    return changes


URLS: tuple[tuple[str, View, str], ...] = (
    ("", show, "console_settings"),
    ("change/", change, "console_settings_change"),
    ("<int:number>/restore/", restore, "console_settings_restore"),
    ("export/", export, "console_settings_export"),
)
