"""Differences between us and a broker: both sides, and the owner's decision."""

from typing import Any
from uuid import UUID

from django import forms
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from common.confirmation import ConfirmationPage
from common.formatting import age, sentence
from execution import tasks
from execution.base import reconciliation_requests
from execution.models import Decision, DriftItem
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation import presentation as drift_words
from execution.reconciliation.adopt import Levels
from execution.reconciliation.decisions import actions_of
from execution.reconciliation.effects import Decided
from portal.forms import AdoptForm, IgnoreForm, RelinkForm
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
    pairs, facts = drift_words.sides(item)
    return page(
        request,
        "drift.html",
        item=item,
        sentence=sentence(item.kind),
        subject=drift_words.subject(item),
        hint=drift_words.guidance(item),
        pairs=pairs,
        facts=facts,
        age=age((timezone.now() - item.found_at).total_seconds()),
        actions=[
            (drift_words.button(item, one), f"portal:difference_{one.value.lower()}", one)
            for one in actions_of(item)
        ],
    )


@tenants_only
def decide(request: HttpRequest, *, pk: int, decision: str) -> HttpResponse:
    """Ask for a confirmation, then apply the decision."""
    item, user = _find(request, pk), current_user(request)
    chosen = Decision(decision.upper())
    form = _form(item, chosen, request)
    question = ConfirmationPage(
        title=drift_words.title(item, chosen),
        points=drift_words.consequences(item, chosen),
        button=drift_words.button(item, chosen),
        back=reverse("portal:difference", args=[pk]),
        danger=chosen is Decision.CLOSE,
        form=form,
    )

    def act() -> str:
        decided = _decide(item, chosen, form.cleaned_data if form else {}, user)
        tasks.enqueue_decided_on_commit(decided)
        return drift_words.outcome_message(decided)

    return confirm(request, question, act)


def _form(item: DriftItem, decision: Decision, request: HttpRequest) -> forms.Form | None:
    data = request.POST if request.method == "POST" else None
    if decision is Decision.IGNORE:
        return IgnoreForm(data)
    if not drift_words.opens_a_trade(item):
        return None
    if decision is Decision.ADOPT:
        return AdoptForm(data)
    return RelinkForm(data) if decision is Decision.RELINK else None


def _decide(item: DriftItem, decision: Decision, data: dict[str, Any], by: User) -> Decided:
    match decision:
        case Decision.ADOPT:
            levels = Levels(data.get("stop_loss"), data.get("take_profit"))
            return drift_decisions.adopt(item.pk, by=by, levels=levels)
        case Decision.RELINK:
            return drift_decisions.relink(
                item.pk, by=by, order_id=data.get("order"), position_id=data.get("position")
            )
        case Decision.CLOSE:
            return drift_decisions.close(item.pk, by=by)
        case _:
            return drift_decisions.ignore(item.pk, by=by, reason=data["reason"])


@tenants_only
def compare(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Request a comparison of an account with its broker; it places no order."""
    find(request, pk)
    return run_action(request, lambda: _request_comparison(pk), back=address(pk))


def _request_comparison(pk: UUID) -> str:
    reconciliation_requests.request_reconciliation([pk])
    tasks.enqueue_reconciliation_on_commit()
    return "The account is being compared with its broker; differences appear below."
