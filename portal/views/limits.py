"""Loss limits of an account: resume its entries, and add a deposit or withdrawal."""

from uuid import UUID

from django import forms
from django.http import Http404, HttpRequest, HttpResponse

from common.form_fields import Amount
from common.web.confirmation import ConfirmationPage, Consequence
from connections import services
from connections.models import TradingPause
from portal.pages import confirm, current_user, tenants_only
from portal.views.accounts import address, find
from signals.forms.options import moment_field
from users.models import User


class CashFlowForm(forms.Form):
    """A deposit or a withdrawal that the broker does not report."""

    direction = forms.ChoiceField(choices=[("1", "Deposit"), ("-1", "Withdrawal")])
    amount = Amount(help_text="In the account’s currency.")
    at = moment_field(
        "When your broker booked it (UTC). Empty: now. Fillcast may have read it already, so an "
        "entry that is made later needs the time."
    )
    note = forms.CharField(required=False, max_length=200)


@tenants_only
def resume(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Resume the entries that a loss limit has paused, after a confirmation."""
    user = current_user(request)
    pause = TradingPause.objects.select_related("connection").filter(pk=pk).first()
    if pause is None or pause.connection.owner_id != user.pk:
        raise Http404
    name = pause.connection.name
    points = [
        Consequence("attention", f"{pause.detail}."),
        Consequence("submitted", "It trades from the next signal on."),
        Consequence("skipped", "Skipped signals are not executed later."),
        Consequence("pending", "For this limit, losses count from now on."),
    ]
    question = ConfirmationPage(
        f"Resume the entries of {name}?", points, "Resume entries",
        address(pause.connection_id) + "#limits",
    )  # fmt: skip
    return confirm(request, question, lambda: _resume(pk, name, user))


def _resume(pk: int, name: str, user: User) -> str:
    if not services.resume_after_limit(pk, by=user):
        return "The pause has ended already."
    return f"{name} trades from the next signal on."


@tenants_only
def cash_flow(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Add a deposit or withdrawal, which loss limits then leave out."""
    user, connection = current_user(request), find(request, pk).connection
    form = CashFlowForm(request.POST or None)
    points = [
        Consequence(
            "pending",
            "Loss limits leave the amount out. Add it when your broker shows it.",
        ),
        Consequence("skipped", "It cannot be changed. To correct it, add its opposite."),
    ]
    question = ConfirmationPage(
        f"Deposit or withdrawal of {connection.name}", points, "Add it",
        address(pk) + "#limits", False, form, "Not now",
    )  # fmt: skip

    def act() -> str:
        values = form.cleaned_data
        amount = values["amount"] * int(values["direction"])
        services.record_cash_flow(pk, amount=amount, by=user, at=values["at"], note=values["note"])
        return "The deposit or withdrawal was added."

    return confirm(request, question, act)
