"""Enter an OCO pair or a bracket, see what each account would do with it, then save it."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.permissions import Right
from console.pages.page_helpers import View, page, require_permission
from console.queries.reach_preview import SignalPreview
from signals.forms.entries import BracketForms, EntryForms, PairForms
from signals.selectors import owned_feeds

SHOW = "Show what would happen"
ABOUT_PAIR = (
    "Two entries of one symbol. Each account holds both; the market reaches one first, which is "
    "sent and cancels the other."
)
ABOUT_BRACKET = "An entry with a stop loss and at least one target."


def oco(request: HttpRequest, **_: Any) -> HttpResponse:
    return _ask(
        request, PairForms, title="OCO pair", about=ABOUT_PAIR, button="Save the pair",
        shared_title="What both legs have in common",
        options_about="closing times, slippage, break-even and trailing",
    )  # fmt: skip


def bracket(request: HttpRequest, **_: Any) -> HttpResponse:
    return _ask(
        request, BracketForms, title="Bracket", about=ABOUT_BRACKET, button="Save the bracket",
        shared_title="Signal",
        options_about="conditions, closing, slippage, break-even and trailing, slices",
    )  # fmt: skip


def _ask(
    request: HttpRequest, form_type: type[EntryForms], *, button: str, **texts: str
) -> HttpResponse:
    """Show the forms; preview what was entered; save it once the preview of it was shown.

    Nothing is published: the signal's page does that, after another look at the preview.
    """
    require_permission(request, Right.PUBLISH)
    by: Any = request.user
    feeds = owned_feeds(by).filter(archived_at=None).order_by("name")
    forms = form_type(feeds, request.POST if request.method == "POST" else None)
    legs: list[SignalPreview] = []
    drafts = forms.read() if request.method == "POST" else None
    if drafts is not None:
        if forms.is_confirmed() and (saved := forms.save(drafts, by=by)):
            names = " and ".join(signal.number for signal in saved)
            messages.success(request, f"{names} saved. Nothing is sent until it is published.")
            return HttpResponseRedirect(reverse("admin:signals_signal_page", args=[saved[0].pk]))
        if not forms.has_errors:
            legs = [SignalPreview(*leg) for leg in forms.preview(drafts)]
        if legs:
            forms.mark_as_seen()
    return page(
        request, "signal/entry_form.html", texts.pop("title"), forms=forms, legs=legs,
        button=button if legs else SHOW, **texts,
    )  # fmt: skip


URLS: tuple[tuple[str, str, View], ...] = (
    ("oco/", "signals_signal_oco", oco),
    ("bracket/", "signals_signal_bracket", bracket),
)
