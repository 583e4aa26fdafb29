"""The tenant's own loss limits: add, change and remove them."""

from typing import Any
from uuid import UUID

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.what_if.preset_use import PresetUse, uses_of, uses_of_accounts, uses_of_subscription
from common.db.row_changes import ChangedFieldsForm
from common.db.row_faults import row_faults
from common.form_fields import Amount
from common.web.confirmation import ConfirmationPage, Consequence
from connections import services
from connections.models import (
    ExecutionConnection,
    LossAction,
    LossBasis,
    LossLimit,
    LossMeasure,
    LossUnit,
    LossWindow,
    ResumeRule,
    Subscription,
)
from portal.pages import confirm, current_user, tenants_only
from portal.preset_texts import loss_limit_lines
from portal.selectors.loss_limits import own_loss_limits
from portal.selectors.presets import own_presets
from portal.views.accounts import address, find
from users.models import User

USUAL = {"window": "DATE", "measure": "EQUITY", "basis": "OPENING", "unit": "PERCENT"}
FIELDS = ("window", "measure", "basis", "maximum", "unit", "action", "resume")


class LossLimitForm(ChangedFieldsForm, forms.Form):
    """A loss limit as it is now."""

    window = forms.ChoiceField(label="Loss in", choices=LossWindow)
    measure = forms.ChoiceField(label="What is measured", choices=LossMeasure)
    basis = forms.ChoiceField(
        label="From", choices=LossBasis, help_text="Only balance and equity have a highest value."
    )
    maximum = Amount(help_text="Entries pause at this value.")
    unit = forms.ChoiceField(choices=LossUnit, help_text="Losing trades in a row: trades.")
    action = forms.ChoiceField(label="Then", choices=LossAction)
    resume = forms.ChoiceField(label="Entries resume", choices=ResumeRule)

    def clean(self) -> dict[str, Any]:
        """Show the broken rules of the limit also if one of its fields cannot be read."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:  # else the service states them
            row = LossLimit(**{name: data[name] for name in FIELDS if name in data})
            unknown = {*self.errors, "preset", "subscription"}
            for name, texts in row_faults(row, failed=unknown).items():
                self.add_error(name if name in self.fields else None, " ".join(texts))
        return data


class PresetLossLimitForm(LossLimitForm):
    """A new loss limit of a preset."""

    is_change = False


class NewLossLimitForm(LossLimitForm):
    """A new loss limit of one of these presets or subscriptions."""

    is_change = False
    field_order = ("applies_to", *FIELDS)
    applies_to = forms.ChoiceField(label="Applies to")

    def __init__(self, connection: ExecutionConnection, user: User, data: Any = None) -> None:
        super().__init__(data, initial=USUAL)
        preset = connection.preset
        choices = []
        if preset is not None and preset.user_id == user.pk:
            choices.append(("preset", f"All accounts with the preset {preset.name}"))
        choices += [
            (str(taken.pk), f"Only entries from {taken.feed.name}")
            for taken in _subscriptions(connection)
        ]
        field = self.fields["applies_to"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        if not choices:
            field.help_text = (
                "Subscribe the account to a feed first: its preset belongs to the operators."
            )


@tenants_only
def add(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Add a loss limit to the account's preset, if it is one's own, or to a subscription."""
    user, connection = current_user(request), find(request, pk).connection
    form = NewLossLimitForm(connection, user, request.POST or None)

    def act() -> str:
        values = {name: form.cleaned_data[name] for name in FIELDS}
        target = form.cleaned_data["applies_to"]
        limit = (
            LossLimit(preset=connection.preset, **values)
            if target == "preset"
            else LossLimit(subscription=_subscriptions(connection).get(pk=target), **values)
        )
        return f"Added: {services.add_loss_limit(limit, by=user).name}."

    points = [
        *loss_limit_lines(_uses_at_most(connection, user)),
        Consequence("pending", "A limit of one feed reaches only what is of that feed."),
    ]
    question = ConfirmationPage(
        f"Loss limit of {connection.name}", points, "Add it", _back(connection), False, form,
        "Not now",
    )  # fmt: skip
    return confirm(request, question, act)


@tenants_only
def add_to_preset(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Add a loss limit to one's own preset, also while no account uses it."""
    user = current_user(request)
    preset = get_object_or_404(own_presets(user), pk=pk)
    form = PresetLossLimitForm(request.POST or None, initial=USUAL)

    def act() -> str:
        values = {name: form.cleaned_data[name] for name in FIELDS}
        return (
            f"Added: {services.add_loss_limit(LossLimit(preset=preset, **values), by=user).name}."
        )

    points = loss_limit_lines(uses_of(preset))
    question = ConfirmationPage(
        f"Loss limit of {preset.name}", points, "Add it", _of_preset(pk), False, form, "Not now"
    )
    return confirm(request, question, act)


@tenants_only
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change one's own loss limit."""
    user, limit = current_user(request), _find(request, pk)
    initial = {name: getattr(limit, name) for name in FIELDS}
    form = LossLimitForm(request.POST or None, initial=initial)
    points = [
        *loss_limit_lines(_uses(limit)),
        Consequence("pending", "A pause that it has caused does not end."),
    ]
    question = ConfirmationPage(limit.name, points, "Save", _back_of(limit), False, form)

    def act() -> str:
        changes = form.changes()
        if not changes:
            return "Nothing was changed."
        return f"Saved: {services.change_loss_limit(pk, by=user, **changes).name}."

    return confirm(request, question, act)


@tenants_only
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Remove one's own loss limit, after a confirmation."""
    user, limit = current_user(request), _find(request, pk)
    points = [
        Consequence("attention", f"{limit.name} is no longer limited."),
        Consequence("paused", "A pause that it has caused stays until its end."),
    ]
    question = ConfirmationPage("Remove the loss limit?", points, "Remove it", _back_of(limit))

    def act() -> str:
        services.delete_loss_limit(pk, by=user)
        return "The loss limit was removed."

    return confirm(request, question, act)


def _uses_at_most(connection: ExecutionConnection, user: User) -> list[PresetUse]:
    """Return what a new limit of an account may reach: all accounts of its preset, if it is own."""
    preset = connection.preset
    if preset is not None and preset.user_id == user.pk:
        return uses_of(preset)
    return uses_of_accounts([(connection.pk, connection.name)])


def _uses(limit: LossLimit) -> list[PresetUse]:
    """Return what the accounts of a limit have open or waiting."""
    if limit.subscription is not None:
        return uses_of_subscription(limit.subscription)
    assert limit.preset is not None
    return uses_of(limit.preset)


def _find(request: HttpRequest, pk: int) -> LossLimit:
    own = own_loss_limits(current_user(request))
    return get_object_or_404(own.select_related("preset", "subscription__connection"), pk=pk)


def _subscriptions(connection: ExecutionConnection) -> QuerySet[Subscription]:
    taken = Subscription.objects.filter(connection=connection, archived_at__isnull=True)
    return taken.select_related("feed").order_by("feed__name")


def _back(connection: ExecutionConnection) -> str:
    return address(connection.pk) + "#limits"


def _back_of(limit: LossLimit) -> str:
    """Return the page of the limit's account, or of its preset."""
    if limit.subscription is not None:
        return _back(limit.subscription.connection)
    assert limit.preset_id is not None
    return _of_preset(limit.preset_id)


def _of_preset(pk: int) -> str:
    return reverse("portal:preset_edit", args=[pk]) + "#h-loss"
