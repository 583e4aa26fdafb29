"""A recovery epoch's page: what may be lost, what is unresolved, and the release."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence
from connections.models import Epoch
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from execution.disaster_recovery.epochs import release_epoch
from execution.disaster_recovery.open_issues import list_open_issues

# All by an open issue's code: the CSS class of its badge, its name, and the list of its rows (the
# URL's name and its query).
BADGES = {"WAIT": "submitting", "BOOKS": "attention", "UNKNOWN": "unknown",
          "UNCOMPARED": "attention", "DRIFT": "attention", "EXITS": "unprotected"}  # fmt: skip
NAMES = {"WAIT": "Still sending", "BOOKS": "Broker books not read", "UNKNOWN": "Unknown orders",
         "UNCOMPARED": "Not compared", "DRIFT": "Differences", "EXITS": "Held exits"}  # fmt: skip
LISTS = {
    "UNKNOWN": ("execution_order_changelist", "?status__exact=UNKNOWN"),
    "UNCOMPARED": ("connections_executionconnection_changelist", ""),
    "DRIFT": ("execution_driftitem_changelist", "?state__exact=OPEN"),
    "EXITS": ("positions_executionposition_changelist", ""),
}


class ReleaseForm(forms.Form):
    """Whether to release an epoch with unresolved items, and why."""

    force = forms.BooleanField(label="Release it although items are unresolved", required=False)
    note = forms.CharField(
        label="Why", max_length=200, required=False,
        help_text="Required if items are unresolved; they are recorded with it.",
    )  # fmt: skip


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    epoch = get_object_or_404(Epoch, pk=pk)
    is_open = epoch.released_at is None
    issues = list_open_issues(epoch) if is_open else []
    return page(
        request,
        "epoch.html",
        str(epoch),
        epoch=epoch,
        is_open=is_open,
        issues=[
            (issue, BADGES[issue.code], NAMES[issue.code], _list_url(issue.code))
            for issue in issues
        ],
        left_open=[
            (NAMES.get(issue["code"], issue["code"]), issue["count"]) for issue in epoch.left_open
        ],
        exits_held=len(epoch.treated.get("exits_held", [])),
        can_release=is_open and can(request, Right.RELEASE),
    )


def _list_url(code: str) -> str:
    """Return the address of the list of an issue's rows; empty if it has none."""
    name, query = LISTS.get(code, ("", ""))
    return reverse(f"admin:{name}") + query if name else ""


def release(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """List what is unresolved and confirm, then allow entries again."""
    require_permission(request, Right.RELEASE)
    epoch = get_object_or_404(Epoch, pk=pk)
    back = reverse("admin:connections_epoch_page", args=[pk])
    form = ReleaseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return run_action(
            request, lambda: _release(request, form.cleaned_data, epoch.number), back=back
        )
    points = [
        *(
            Consequence(BADGES[issue.code], f"{NAMES[issue.code]}: {issue.count}. {issue.sentence}")
            for issue in (list_open_issues(epoch) if epoch.released_at is None else [])
        ),
        Consequence(
            "submitted",
            "Entries are sent from the next signal on. Skipped signals are not executed later.",
        ),
    ]
    title = f"Release epoch {epoch.number}?"
    return confirm(
        request,
        ConfirmationPage(title, points, "Release it", back, form=form, decline_label="Not now"),
    )


def _release(request: HttpRequest, data: dict[str, Any], number: int) -> str:
    """number: of the page's epoch; one that was opened since has issues that it does not show."""
    by: Any = request.user
    epoch = release_epoch(by=by, note=data["note"], force=data["force"], number=number)
    return f"Epoch {epoch.number} was released: entries are sent again."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "connections_epoch_page", show),
    ("<int:pk>/release/", "connections_epoch_release", release),
)
