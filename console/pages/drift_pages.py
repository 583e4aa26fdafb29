"""A drift item's page: our records, the broker's report, and the decision."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from common.confirmation import ConfirmationPage
from common.formatting import age, sentence
from common.permissions import Right
from connections.models import ExecutionConnection
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from execution import tasks
from execution.base import reconciliation_requests
from execution.models import Decision, DriftItem
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation import presentation as drift_words
from execution.reconciliation.adopt import Levels
from execution.reconciliation.decisions import actions_of
from execution.reconciliation.effects import Decided


class AdoptForm(forms.Form):
    """The levels of an adopted trade."""

    stop_loss = forms.DecimalField(
        required=False,
        min_value=0,
        help_text="Leave empty to keep the stop that the broker holds, if any.",
    )
    take_profit = forms.DecimalField(required=False, min_value=0)


class RelinkForm(forms.Form):
    """The order or position of ours that it belongs to."""

    order = forms.IntegerField(
        required=False, min_value=1, help_text="The order number without “O-”, or:"
    )
    position = forms.IntegerField(
        required=False, min_value=1, help_text="The position number without “P-”."
    )


class IgnoreForm(forms.Form):
    """Why a difference is ignored."""

    reason = forms.CharField(max_length=200)


def find(pk: int) -> DriftItem:
    """Return a drift item. Raises Http404."""
    related = ("connection__user", "connection__admin", "decided_by")
    found = DriftItem.objects.select_related(*related).defer("connection__sealed_credentials")
    return get_object_or_404(found, pk=pk)


def address(pk: int) -> str:
    """Return the address of a drift item's page."""
    return reverse("admin:execution_driftitem_page", args=[pk])


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The drift item's page."""
    item = find(pk)
    pairs, facts = drift_words.sides(item)
    may = can(request, Right.RECONCILE)
    return page(
        request,
        "drift.html",
        "Drift",
        item=item,
        sentence=sentence(item.kind),
        subject=drift_words.subject(item),
        hint=drift_words.guidance(item),
        pairs=pairs,
        facts=facts,
        age=age((timezone.now() - item.found_at).total_seconds()) if item.is_open else "",
        actions=[
            (drift_words.button(item, one), f"admin:execution_driftitem_{one.value.lower()}", one)
            for one in actions_of(item)
            if may
        ],
    )


Act = Callable[[DriftItem, dict[str, Any], Any], Decided]


def decide(
    decision: Decision, act: Act, form_for: Callable[[DriftItem], type[forms.Form] | None]
) -> View:
    """Return the view that asks for a confirmation and applies a decision."""

    def view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
        require_permission(request, Right.RECONCILE)
        item = find(pk)
        fields = form_for(item)
        form = fields(request.POST if request.method == "POST" else None) if fields else None
        if request.method == "POST" and (form is None or form.is_valid()):
            data = form.cleaned_data if form else {}
            return run_action(
                request, lambda: _done(act(item, data, request.user)), back=address(pk)
            )
        question = ConfirmationPage(
            drift_words.title(item, decision),
            drift_words.consequences(item, decision),
            drift_words.button(item, decision),
            address(pk),
            danger=decision is Decision.CLOSE,
            form=form,
        )
        return confirm(request, question)

    return view


def _done(decided: Decided) -> str:
    tasks.enqueue_decided_on_commit(decided)
    return drift_words.outcome_message(decided)


def _adopt(item: DriftItem, data: dict[str, Any], by: Any) -> Decided:
    levels = Levels(data.get("stop_loss") or None, data.get("take_profit") or None)
    return drift_decisions.adopt(item.pk, by=by, levels=levels)


def _relink(item: DriftItem, data: dict[str, Any], by: Any) -> Decided:
    return drift_decisions.relink(
        item.pk, by=by, order_id=data.get("order"), position_id=data.get("position")
    )


def _close(item: DriftItem, data: dict[str, Any], by: Any) -> Decided:
    return drift_decisions.close(item.pk, by=by)


def _ignore(item: DriftItem, data: dict[str, Any], by: Any) -> Decided:
    return drift_decisions.ignore(item.pk, by=by, reason=data["reason"])


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


FORMS: dict[Decision, Callable[[DriftItem], type[forms.Form] | None]] = {
    Decision.ADOPT: lambda item: AdoptForm if drift_words.opens_a_trade(item) else None,
    Decision.RELINK: lambda item: RelinkForm if drift_words.opens_a_trade(item) else None,
    Decision.CLOSE: lambda item: None,
    Decision.IGNORE: lambda item: IgnoreForm,
}
ACTS: dict[Decision, Act] = {
    Decision.ADOPT: _adopt,
    Decision.RELINK: _relink,
    Decision.CLOSE: _close,
    Decision.IGNORE: _ignore,
}

URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "execution_driftitem_page", show),
    *(
        (
            f"<int:pk>/{decision.value.lower()}/",
            f"execution_driftitem_{decision.value.lower()}",
            decide(decision, act, FORMS[decision]),
        )
        for decision, act in ACTS.items()
    ),
)
CONNECTION_URLS: tuple[tuple[str, str, View], ...] = (
    ("<uuid:pk>/compare/", "connections_executionconnection_compare", compare),
)
