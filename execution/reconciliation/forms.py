"""The forms of decisions on drift items, for the console and the portal."""

from typing import Any

from django import forms
from django.http import HttpRequest

from common.form_fields import Amount
from common.web.confirmation import ConfirmationPage
from execution.models import Decision, DriftItem
from execution.reconciliation import decisions, presentation
from execution.reconciliation.adopt import Levels
from execution.reconciliation.effects import Decided
from users.models import User


class AdoptForm(forms.Form):
    """The levels of an adopted trade."""

    stop_loss = Amount(
        required=False, help_text="Leave empty to keep the stop that the broker holds, if any."
    )
    take_profit = Amount(required=False)


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

    reason = forms.CharField(max_length=200, help_text="A note that is kept with the difference.")


def decision_form(item: DriftItem, decision: Decision, request: HttpRequest) -> forms.Form | None:
    """Return the form of a decision on an item; None: it needs nothing but a confirmation."""
    data = request.POST if request.method == "POST" else None
    if decision is Decision.IGNORE:
        return IgnoreForm(data)
    if not presentation.opens_a_trade(item):
        return None
    if decision is Decision.ADOPT:
        return AdoptForm(data)
    return RelinkForm(data) if decision is Decision.RELINK else None


def decision_page(
    item: DriftItem, decision: Decision, form: forms.Form | None, *, back: str
) -> ConfirmationPage:
    """Return the confirmation page of a decision. back: the address of the item's page."""
    return ConfirmationPage(
        title=presentation.title(item, decision),
        points=presentation.consequences(item, decision),
        button=presentation.button(item, decision),
        back=back,
        danger=decision is Decision.CLOSE,
        form=form,
    )


def decide(
    item: DriftItem, decision: Decision, form: forms.Form | None, *, by: User | None
) -> Decided:
    """Apply a decision with the values of its valid form. Raises as `decisions`."""
    data: dict[str, Any] = form.cleaned_data if form else {}
    match decision:
        case Decision.ADOPT:
            levels = Levels(data.get("stop_loss"), data.get("take_profit"))
            return decisions.adopt(item.pk, by=by, levels=levels)
        case Decision.RELINK:
            return decisions.relink(
                item.pk, by=by, order_id=data.get("order"), position_id=data.get("position")
            )
        case Decision.CLOSE:
            return decisions.close(item.pk, by=by)
        case _:
            return decisions.ignore(item.pk, by=by, reason=data["reason"])
