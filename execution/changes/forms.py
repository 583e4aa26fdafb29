"""The form that changes an entry that has not filled, for the console and the portal."""

from typing import Any

from django import forms

from common.clocks import market_at
from common.db.trials import trial_errors
from common.form_fields import Amount, UtcDateTimeField
from common.reason_codes import Code
from common.web.confirmation import Consequence
from common.web.formatting import clock
from execution.changes.changeable_orders import WITH_LIMIT, WITH_STOP, coming_levels
from execution.changes.order_changes import change_order, describe
from execution.models import ChangeState, EntryChange, Order, Status
from execution.submission.change_terms import WantedTerms
from users.models import User


class ChangeOrderForm(forms.Form):
    """New terms of an order, with its present ones. Only what a person has changed is sent."""

    limit_price = Amount(label="Limit price", show_hidden_initial=True)
    stop_price = Amount(label="Stop price", show_hidden_initial=True)
    quantity = Amount(
        label="Quantity",
        show_hidden_initial=True,
        help_text="Units, all of the order: what has filled included.",
    )
    stop_loss = Amount(label="Stop loss", required=False, show_hidden_initial=True)
    take_profit = Amount(
        label="Take profit", required=False, show_hidden_initial=True,
        help_text="The next target. Later ones stay.",
    )  # fmt: skip

    valid_until = UtcDateTimeField(
        label="Valid until",
        required=False,
        show_hidden_initial=True,
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"
        ),
        help_text="UTC. What has not filled by then is cancelled.",
    )

    def __init__(self, order: Order, data: Any = None) -> None:
        """order: as it is now; its type decides which prices it has."""
        self.order = order
        is_sent = order.status != Status.PENDING
        quantity = order.quantity if is_sent else order.requested_quantity
        stop, target = coming_levels(order)
        present = {
            "stop_loss": stop,
            "take_profit": target,
            "limit_price": order.limit_price,
            "stop_price": order.stop_price,
            "quantity": quantity,
        }
        signal = order.signal
        end = order.own_valid_until or (signal.valid_until if signal is not None else None)
        super().__init__(data, initial=present | {"valid_until": end})
        if order.order_type not in WITH_LIMIT:
            del self.fields["limit_price"]
        if order.order_type not in WITH_STOP:
            del self.fields["stop_price"]
        if quantity is None:
            self.fields["quantity"].required = False
            self.fields["quantity"].help_text = "Units. Empty: the size that the preset gives."

    def clean(self) -> dict[str, Any]:
        """Refuse to remove the end, or a level of a position that is not open."""
        for name in ("stop_loss", "take_profit"):
            if name in self.changed_data and self.cleaned_data.get(name, 0) is None:
                self.add_error(name, "It can be removed when the position is open.")
        if "valid_until" in self.changed_data and self.cleaned_data.get("valid_until", 0) is None:
            self.add_error("valid_until", "Enter a later time, if it shall work on.")
        wanted = self.wanted()
        if self.errors and wanted != WantedTerms():  # else the change itself states them
            for error in trial_errors(lambda: change_order(self.order.pk, wanted)):
                if error.field in self.fields and error.field not in self.errors:
                    self.add_error(error.field, error.detail)
        return self.cleaned_data

    def wanted(self) -> WantedTerms:
        """Return what a person has changed, as far as it could be read."""
        changed = [name for name in self.changed_data if name in self.cleaned_data]
        return WantedTerms(**{name: self.cleaned_data[name] for name in changed})


def change_consequences(order: Order) -> list[Consequence]:
    """Return what a change of the order will do."""
    if order.status == Status.PENDING:
        return [
            Consequence(
                "validated",
                "Its broker does not have it yet: it is changed at once, and its limits are "
                "checked when it is sent.",
            )
        ]
    return [
        Consequence(
            "submitting",
            "Asks the broker to change the order. It stays the same order: there is never a "
            "second one. It may still fill at the old values first.",
        ),
        Consequence(
            "validated",
            "A change that raises the risk is checked against the account's limits now.",
        ),
        Consequence(
            "validated",
            "Stop loss and take profit count at once. The broker gets them when the position is "
            "open.",
        ),
    ]


def make_change(order: Order, form: ChangeOrderForm, by: User) -> str:
    """Request what the form wants; return what happened as a sentence. Enqueue on commit."""
    change: EntryChange = change_order(order.pk, form.wanted(), by=by)
    if change.is_open:
        return f"O-{order.pk}: the broker is asked to change the {describe(change)}."
    return f"O-{order.pk} was changed: {describe(change)}."


def change_line(change: EntryChange | None) -> str:
    """Return the last change of an order as a sentence for its page; empty: there was none."""
    if change is None:
        return ""
    what = describe(change)
    if change.is_open:
        since = clock(market_at(change.requested_at))
        text = f"A change is under way since {since} UTC: {what}. {change.get_state_display()}."
        why = Code[change.code].sentence if change.code == Code.LEVELS_FROZEN else ""
        return " ".join(part for part in (text, why, change.detail) if part)
    if change.state == ChangeState.REFUSED:
        return f"It was not changed ({what}): {change.detail or Code[change.code].sentence}"
    later = f" {Code[change.code].sentence}" if change.code else ""
    return f"Last changed: {what}.{later}"
