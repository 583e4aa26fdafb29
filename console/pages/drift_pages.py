"""A drift item's page: our records, the broker's report, and the decision."""

from typing import Any, cast

from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.permissions import Right
from connections.models import ExecutionConnection
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from execution import tasks
from execution.base import reconciliation_requests
from execution.models import Decision, DriftItem
from execution.reconciliation import forms, presentation
from execution.reconciliation.forms import decision_form, decision_page
from users.models import User


def find(pk: int) -> DriftItem:
    """Return a drift item. Raises Http404."""
    related = ("connection__user", "connection__admin", "decided_by")
    found = DriftItem.objects.select_related(*related).defer("connection__sealed_credentials")
    return get_object_or_404(found, pk=pk)


def address(pk: int) -> str:
    return reverse("admin:execution_driftitem_page", args=[pk])


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    item = find(pk)
    may = can(request, Right.RECONCILE)
    actions = presentation.decision_links(item, "admin:execution_driftitem_") if may else []
    return page(request, "drift.html", "Drift", actions=actions, **presentation.page_context(item))


def decide(decision: Decision) -> View:
    """Return the view that asks for a confirmation and applies a decision."""

    def view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
        require_permission(request, Right.RECONCILE)
        item, by = find(pk), cast(User, request.user)
        form = decision_form(item, decision, request)
        if request.method == "POST" and (form is None or form.is_valid()):
            return run_action(request, lambda: _decide(item, decision, form, by), back=address(pk))
        return confirm(request, decision_page(item, decision, form, back=address(pk)))

    return view


def _decide(item: DriftItem, decision: Decision, form: Form | None, by: User) -> str:
    decided = forms.decide(item, decision, form, by=by)
    tasks.enqueue_decided_on_commit(decided)
    return presentation.outcome_message(decided)


def compare(request: HttpRequest, pk: Any, **_: Any) -> HttpResponse:
    """Request a comparison of a connection with its broker; it places no order."""
    require_permission(request, Right.RECONCILE)
    connection = get_object_or_404(ExecutionConnection.objects.defer("sealed_credentials"), pk=pk)
    back = reverse("admin:connections_executionconnection_page", args=[pk])
    if request.method != "POST":
        return HttpResponseRedirect(back)
    return run_action(request, lambda: _request_comparison(connection), back=back)


def _request_comparison(connection: ExecutionConnection) -> str:
    reconciliation_requests.request_reconciliation([connection.pk])
    tasks.enqueue_reconciliation_on_commit()
    return "It is being compared with its broker; differences appear in the drift inbox."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "execution_driftitem_page", show),
    *(
        (
            f"<int:pk>/{decision.value.lower()}/",
            f"execution_driftitem_{decision.value.lower()}",
            decide(decision),
        )
        for decision in Decision
        if decision
    ),
)
CONNECTION_URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/compare/", "connections_executionconnection_compare", compare),
)
