"""Setting and releasing the kill switch, each after a confirmation of what it affects."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.halt_texts import RELEASE_RULE, halt_lines
from common.errors import FillcastError, InvalidInputError
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from connections import services
from connections.models import HaltMode, KillSwitch
from console.pages.page_helpers import View, confirm, require_permission, run_action
from console.pages.scope_fields import ScopeForm
from console.queries.banners import KillSwitchBanner
from execution import tasks
from execution.services import HaltImpact, halt_impact


class HaltForm(ScopeForm):
    """What to stop, how far, and why."""

    mode = forms.ChoiceField(label="How far", choices=HaltMode.choices)
    cancel_entries = forms.BooleanField(
        label="Also cancel the entries that have not filled", required=False
    )
    flatten = forms.BooleanField(
        label="Also close the open positions at the market", required=False,
        help_text="Only with exits allowed.",
    )  # fmt: skip
    reason = forms.CharField(label="Why", max_length=200, help_text="Everyone affected sees it.")
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    field_order = ("mode", "scope", "name", "cancel_entries", "flatten", "reason")

    def errors_of(self, data: dict[str, Any]) -> list[InvalidInputError]:
        """Return the faults of the halt."""
        names = {"scope": data.get("scope"), "mode": data.get("mode"), **data["target"]}
        return services.halt_errors(flatten=data.get("flatten", False), **names)

    def mark_as_seen(self) -> bool:
        """Return whether the page has shown what this halt would touch; from now on it has."""
        names = ("mode", "scope", "name", "cancel_entries", "flatten")
        halt = "|".join(str(self.cleaned_data[name]) for name in names)
        has_seen: bool = self.cleaned_data["seen"] == halt
        self.data = {**{name: self.data.get(name, "") for name in self.data}, "seen": halt}
        return has_seen


def _list_address() -> str:
    return reverse("admin:connections_killswitch_changelist")


def halt(request: HttpRequest, **_: Any) -> HttpResponse:
    """Ask what to stop, show what that touches, then set the kill switch."""
    require_permission(request, Right.HALT)
    form = HaltForm(request.POST or None)
    points, button = _rules(), "Show what it stops"
    if request.method == "POST" and form.is_valid():
        values = _values(form.cleaned_data, request)
        try:
            impact = halt_impact(services.halt_target(**values))
        except FillcastError as error:
            add_form_error(form, error)
        else:
            if form.mark_as_seen():
                return run_action(request, lambda: _halt(values), back=_list_address())
            points, button = [*_consequences(impact, form.cleaned_data), *points], "Stop trading"
    question = ConfirmationPage(
        "Set the kill switch",
        points,
        button,
        _list_address(),
        form=form,
        decline_label="Keep trading",
    )
    return confirm(request, question)


def _rules() -> list[Consequence]:
    return [
        Consequence(
            "attention",
            "Exits only: new signals are skipped and no entry is sent. Stops, targets and closes "
            "keep working.",
        ),
        Consequence(
            "unprotected",
            "Halted: nothing is sent, not even exits. Stops that brokers hold keep working.",
        ),
        Consequence(
            "safe",
            "The kill switch is checked right before each send, so it stops orders that are being "
            "prepared now.",
        ),
    ]


def _consequences(impact: HaltImpact, data: dict[str, Any]) -> list[Consequence]:
    """Return what the halt touches now, in counts and money."""
    return halt_lines(
        impact, mode=data["mode"], cancels=data["cancel_entries"], flattens=data["flatten"]
    )


def _values(data: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
    names = ("scope", "mode", "reason", "cancel_entries", "flatten")
    return {**{name: data[name] for name in names}, **data["target"], "by": request.user}


def _halt(values: dict[str, Any]) -> str:
    switch = services.set_kill_switch(**values)
    tasks.enqueue_halt_actions_on_commit(switch)
    return "The kill switch was set."


def release(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then release a kill switch."""
    require_permission(request, Right.RELEASE)
    switch = get_object_or_404(
        KillSwitch.objects.select_related("feed", "user", "connection", "set_by"), pk=pk
    )
    if request.method == "POST":
        return run_action(request, lambda: _release(switch, request), back=_list_address())
    points = [
        Consequence(
            "submitted",
            f"Allows {KillSwitchBanner(switch).scope} to trade from the next signal on.",
        ),
        Consequence("skipped", RELEASE_RULE),
    ]
    title = f"Release the kill switch for {KillSwitchBanner(switch).scope}?"
    return confirm(
        request,
        ConfirmationPage(title, points, "Release it", _list_address(), decline_label="Keep it set"),
    )


def _release(switch: KillSwitch, request: HttpRequest) -> str:
    by: Any = request.user
    services.release_kill_switch(switch.pk, by=by)
    return f"Released: {KillSwitchBanner(switch).scope} may trade again."


URLS: tuple[tuple[str, str, View], ...] = (
    ("set/", "connections_killswitch_set", halt),
    ("<int:pk>/release/", "connections_killswitch_release", release),
)
