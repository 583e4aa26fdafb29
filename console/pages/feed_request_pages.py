"""The queue of feeds whose owners ask for approval: read, then approve or refuse."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence
from connections.selectors import followers_of
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from signals.feeds.approval_requests import grant_approval, refuse_approval
from signals.feeds.terms import current_terms
from signals.models import MAX_TEXT, ApprovalRequest, RequestOutcome

MOST = 200
QUEUE = "admin:signals_feed_requests"


class AnswerForm(forms.Form):
    """The sentence that the feed's owner reads."""

    sentence = forms.CharField(
        required=False,
        max_length=MAX_TEXT,
        label="For the owner",
        widget=forms.Textarea(attrs={"rows": 3}),
    )


def queue(request: HttpRequest, **_: Any) -> HttpResponse:
    """List the open requests, the oldest first, and the last answers."""
    related = ApprovalRequest.objects.select_related("feed__owner", "decided_by")
    return page(
        request, "feed_requests.html", "Requests for approval",
        waiting=related.filter(outcome=RequestOutcome.OPEN).order_by("id")[:MOST],
        decided=related.exclude(outcome=RequestOutcome.OPEN).order_by("-decided_at")[:20],
        can_approve=can(request, Right.APPROVE),
    )  # fmt: skip


def approve(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then approve the feed."""
    row = _find(request, pk)
    followers = followers_of(row.feed_id)
    points = [
        Consequence(
            "ok",
            "Its signals are published without a further approval: to every subscriber and to the "
            "administrators’ accounts.",
        ),
        Consequence("validated", f"{followers.accounts:,} accounts follow it now."),
        *_about(row),
    ]
    form = AnswerForm(request.POST if request.method == "POST" else None)
    question = ConfirmationPage(
        f"Approve {row.feed.name}?", points, "Approve the feed", reverse(QUEUE), True, form,
        "Not now",
    )  # fmt: skip
    if request.method != "POST" or not form.is_valid():
        return confirm(request, question)
    by: Any = request.user

    def act() -> str:
        won = grant_approval(row.feed_id, sentence=form.cleaned_data["sentence"], by=by)
        return f"{row.feed.name} {'is' if won else 'was already'} approved."

    return run_action(request, act, back=reverse(QUEUE))


def refuse(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask for the sentence, then refuse the request."""
    row = _find(request, pk)
    form = AnswerForm(request.POST if request.method == "POST" else None)
    form.fields["sentence"].required = True
    points = [
        Consequence("denied", "The owner reads your sentence, and can ask again."),
        Consequence("pending", "Each of its signals goes on waiting for an operator."),
        *_about(row),
    ]
    question = ConfirmationPage(
        f"Refuse the approval of {row.feed.name}?", points, "Refuse", reverse(QUEUE), True, form,
        "Not now",
    )  # fmt: skip
    if request.method != "POST" or not form.is_valid():
        return confirm(request, question)
    by: Any = request.user

    def act() -> str:
        won = refuse_approval(row.feed_id, sentence=form.cleaned_data["sentence"], by=by)
        return f"The approval of {row.feed.name} {'is' if won else 'was already'} refused."

    return run_action(request, act, back=reverse(QUEUE))


def _find(request: HttpRequest, pk: int) -> ApprovalRequest:
    require_permission(request, Right.APPROVE)
    found: ApprovalRequest = get_object_or_404(
        ApprovalRequest.objects.select_related("feed__owner"), pk=pk
    )
    return found


def _about(row: ApprovalRequest) -> list[Consequence]:
    """Return what the owner wrote, and what the feed lacks."""
    owner = row.feed.owner.get_username()
    points = [Consequence("validated", f"{owner} wrote: “{row.text}”")] if row.text else []
    if not row.feed.description:
        points.append(Consequence("attention", "The feed has no description."))
    if current_terms(row.feed) is None:
        points.append(Consequence("attention", "The feed has no terms."))
    if not row.is_open:
        points.append(Consequence("attention", "This request was answered or withdrawn."))
    return points


URLS: tuple[tuple[str, str, View], ...] = (
    ("requests/", "signals_feed_requests", queue),
    ("requests/<int:pk>/approve/", "signals_feed_request_approve", approve),
    ("requests/<int:pk>/refuse/", "signals_feed_request_refuse", refuse),
)
