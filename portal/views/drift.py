"""Where an account's broker and we differ: both sides side by side, and what its owner decides."""

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
    """Return what differs on a tenant's accounts, the longest open first; notes are left out."""
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
    """One difference."""
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
    """Ask, then decide."""
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


def _decide(item: DriftItem, decision: Decision, said: dict[str, Any], by: User) -> Decided:
    match decision:
        case Decision.ADOPT:
            levels = Levels(said.get("stop_loss"), said.get("take_profit"))
            return drift_decisions.adopt(item.pk, by=by, levels=levels)
        case Decision.RELINK:
            return drift_decisions.relink(
                item.pk, by=by, order_id=said.get("order"), position_id=said.get("position")
            )
        case Decision.CLOSE:
            return drift_decisions.close(item.pk, by=by)
        case _:
            return drift_decisions.ignore(item.pk, by=by, reason=said["reason"])


@tenants_only
def compare(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Have an account compared with its broker now; nothing is traded."""
    find(request, pk)
    return run_action(request, lambda: _request_comparison(pk), back=address(pk))


def _request_comparison(pk: UUID) -> str:
    reconciliation_requests.request_reconciliation([pk])
    tasks.enqueue_reconciliation_on_commit()
    return "The account is being compared with its broker; what differs is shown below."
