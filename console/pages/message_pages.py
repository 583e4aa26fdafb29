"""The texts of messages: which are changed, one with its preview, the built-in text again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http import HttpResponseRedirect as Redirect
from django.urls import reverse

from common.errors import FillcastError
from common.models import SettingsVersion
from common.operational import store
from common.operational.kinds import LONGEST_BODY, LONGEST_TITLE, MessageText
from common.permissions import Right
from common.web.confirmation import error_message
from console.pages.page_helpers import View, can, page, require_permission
from events.messages import built_in_message
from events.messages.labels import DIGEST_LABELS, kind_label
from events.messages.templates import KINDS, example_of, fault_of, own_text, placeholders_of
from events.models import ON_REQUEST, EventKind

LIST, ONE = "admin:console_messages", "admin:console_message"
FIRST = (EventKind.ORDER_PLACED, EventKind.ORDER_FILLED, EventKind.ORDER_FAILED)
"""The messages that the page shows first: those of every order's way."""
WHY = "Text of {kind} changed."


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of message in the list. is_broken: its own text cannot be used."""

    kind: str
    label: str
    text: MessageText
    is_own: bool
    is_broken: bool
    is_on_request: bool


def show(request: HttpRequest) -> HttpResponse:
    """List the kinds of messages with their texts."""
    if request.method != "GET":
        return HttpResponseNotAllowed(["GET"])
    texts = _texts(store.newest())
    order = [*FIRST, *(kind for kind in DIGEST_LABELS if kind not in FIRST)]
    rows = [_row(str(kind), texts) for kind in order if kind in KINDS]
    return page(
        request, "messages.html", "Messages", rows=rows, may_change=can(request, Right.SETTINGS),
        changed=sum(row.is_own for row in rows),
    )  # fmt: skip


def see(request: HttpRequest, kind: str) -> HttpResponse:
    """Show a message's text with its preview."""
    if request.method != "GET":
        return HttpResponseNotAllowed(["GET"])
    stored = _texts(store.newest()).get(_known(kind))
    return _page(request, kind, stored or MessageText("{title}", "{text}"), stored)


def change(request: HttpRequest, kind: str) -> HttpResponse:
    """Preview what was typed; save it, or let the built-in text be sent again."""
    require_permission(request, Right.SETTINGS)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    texts = _texts(store.newest())
    stored, post = texts.get(_known(kind)), request.POST
    if "reset" in post:
        return _store(request, kind, None, texts)
    typed = MessageText(
        " ".join(post.get("title", "").splitlines()).strip(),
        post.get("body", "").replace("\r\n", "\n").rstrip(),
    )
    faults = _faults(kind, typed)
    if "save" in post and not faults:
        return _store(request, kind, typed, texts)
    return _page(request, kind, typed, stored, faults=faults, status=400 if faults else 200)


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise Http404
    return kind


def _page(
    request: HttpRequest,
    kind: str,
    typed: MessageText,
    stored: MessageText | None,
    *,
    faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    example = example_of(kind)
    built_in = built_in_message(example)
    faults = _faults(kind, typed) if faults is None else faults
    own = None if faults else own_text(example, built_in.title, built_in.body, own=typed)
    base = request.POST.get("base", "")
    response = page(
        request,
        "message.html",
        kind_label(kind),
        kind=kind,
        typed=typed,
        is_own=stored is not None,
        faults=faults,
        placeholders=placeholders_of(kind),
        built_in=built_in,
        preview=own,
        why=request.POST.get("why", ""),
        base=base if base.isdecimal() else str(store.number_of(store.newest())),
        may_change=can(request, Right.SETTINGS),
        longest_title=LONGEST_TITLE,
        longest_body=LONGEST_BODY,
        is_on_request=kind in ON_REQUEST,
    )
    response.status_code = status
    return response


def _faults(kind: str, typed: MessageText) -> dict[str, str]:
    found = {name: fault_of(kind, text) for name, text in typed._asdict().items()}
    if not typed.title:
        found["title"] = "A message needs a title. {title} is the built-in one."
    for name, longest in (("title", LONGEST_TITLE), ("body", LONGEST_BODY)):
        if len(getattr(typed, name)) > longest:
            found[name] = f"At most {longest:,} characters."
    return {name: fault for name, fault in found.items() if fault}


def _store(
    request: HttpRequest, kind: str, text: MessageText | None, texts: Mapping[str, MessageText]
) -> HttpResponse:
    """Store a version with this text, or without one: then the built-in text is sent."""
    changed = {one: old._asdict() for one, old in texts.items() if one != kind}
    if text is not None:
        changed[kind] = text._asdict()
    base = request.POST.get("base", "")
    by: Any = request.user
    why = request.POST.get("why", "").strip()
    if not why:
        why = WHY.format(kind=kind) if text else f"Text of {kind} reset."
    try:
        version = store.save(
            {"messages": {"texts": changed}}, by=by, why=why, origin=store.Origin.CONSOLE,
            base=int(base) if base.isdecimal() else 0,
        )  # fmt: skip
    except FillcastError as error:
        messages.error(request, error_message(error))
        if text is not None:
            return _page(request, kind, text, texts.get(kind), status=409)
        return Redirect(reverse(ONE, args=[kind]))
    if version is None:
        messages.info(request, "Nothing differs from what is in force.")
    else:
        sent = "your text" if text else "the built-in text"
        messages.success(
            request, f"Version {version.pk} is stored: within two seconds, {sent} is sent."
        )
    return Redirect(reverse(ONE, args=[kind]) if text else reverse(LIST))


def _row(kind: str, texts: Mapping[str, MessageText]) -> Row:
    own = texts.get(kind)
    built_in = built_in_message(example_of(kind))
    is_broken = own is not None and bool(_faults(kind, own))
    text = own or MessageText(built_in.title, built_in.body)
    return Row(kind, kind_label(kind), text, own is not None, is_broken, kind in ON_REQUEST)


def _texts(newest: SettingsVersion | None) -> dict[str, MessageText]:
    """Return the stored texts, also those that cannot be used."""
    document = store.document_of(newest)
    stored = document["messages"]["texts"]
    return {kind: MessageText(**text) for kind, text in stored.items()}


URLS: tuple[tuple[str, View, str], ...] = (
    ("", show, "console_messages"),
    ("<str:kind>/", see, "console_message"),
    ("<str:kind>/change/", change, "console_message_change"),
)
