"""Differences between us and a broker: both sides, and the owner's decision."""

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from execution import tasks
from execution.base import reconciliation_requests
from execution.models import Decision, DriftItem
from execution.reconciliation import forms, presentation
from execution.reconciliation.forms import decision_form, decision_page
from portal.pages import confirm, current_user, page, run_action, tenants_only
from portal.selectors.accounts import connections_of
from portal.views.accounts import address, find
from users.models import User


def drift_items_of(user: User) -> QuerySet[DriftItem]:
    """Return the drift items of a tenant's accounts, oldest first, without notes."""
    mine = connections_of(user).values("pk")
    found = DriftItem.objects.filter(connection__in=mine).exclude(state=DriftItem.State.NOTED)
    return found.select_related("connection").defer("connection__sealed_credentials").order_by("pk")


def _find(request: HttpRequest, pk: int) -> DriftItem:
    found = drift_items_of(current_user(request)).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


@tenants_only
def drift_item(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One drift item: both sides, the evidence and the possible decisions."""
    item = _find(request, pk)
    actions = presentation.decision_links(item, "portal:difference_")
    return page(request, "drift.html", actions=actions, **presentation.page_context(item))


@tenants_only
def decide(request: HttpRequest, *, pk: int, decision: str) -> HttpResponse:
    """Ask for a confirmation, then apply the decision."""
    item, user = _find(request, pk), current_user(request)
    chosen = Decision(decision.upper())
    form = decision_form(item, chosen, request)
    question = decision_page(item, chosen, form, back=reverse("portal:difference", args=[pk]))

    def act() -> str:
        decided = forms.decide(item, chosen, form, by=user)
        tasks.enqueue_decided_on_commit(decided)
        return presentation.outcome_message(decided)

    return confirm(request, question, act)


@tenants_only
def compare(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Request a comparison of an account with its broker; it places no order."""
    find(request, pk)
    return run_action(request, lambda: _request_comparison(pk), back=address(pk))


def _request_comparison(pk: UUID) -> str:
    reconciliation_requests.request_reconciliation([pk])
    tasks.enqueue_reconciliation_on_commit()
    return "The account is being compared with its broker; differences appear below."
