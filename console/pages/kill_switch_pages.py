"""Setting and releasing the kill switch, each after a confirmation of what it affects."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from common.permissions import Right
from connections import services
from connections.models import ExecutionConnection, HaltMode, KillSwitch
from console.pages.page_helpers import View, confirm, require_permission, run_action
from console.queries.banners import KillSwitchBanner
from signals.models import Feed
from users.models import User


class HaltForm(forms.Form):
    """What to stop, how far, and why."""

    mode = forms.ChoiceField(label="How far", choices=HaltMode.choices)
    scope = forms.ChoiceField(
        label="What",
        choices=[("ALL", "Everything"), ("FEED", "One feed"), ("USER", "One user's accounts"),
                 ("CONNECTION", "One connection")],
    )  # fmt: skip
    name = forms.CharField(
        label="Which one", required=False, max_length=100,
        help_text="The feed's slug, the user's name or the connection's ID. Empty for everything.",
    )  # fmt: skip
    reason = forms.CharField(label="Why", max_length=200, help_text="Everyone affected sees it.")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        scope, name = data.get("scope"), data.get("name", "").strip()
        data["target"] = _target(scope, name)
        if scope != "ALL" and data["target"] is None:
            self.add_error("name", f"There is no such {(scope or '').lower()}.")
        if scope == "ALL" and name:
            self.add_error("name", "Leave this empty to stop everything.")
        return data


def _target(scope: str | None, name: str) -> Any:
    if scope == "FEED":
        return Feed.objects.filter(slug=name).first()
    if scope == "USER":
        return User.objects.filter(username=name).first()
    if scope == "CONNECTION":
        try:
            return ExecutionConnection.objects.filter(pk=name).first()
        except (ValueError, forms.ValidationError):
            return None
    return None


def _list_address() -> str:
    return reverse("admin:connections_killswitch_changelist")


def halt(request: HttpRequest, **_: Any) -> HttpResponse:
    """Ask what to stop, then set the kill switch."""
    require_permission(request, Right.HALT)
    form = HaltForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return run_action(request, lambda: _halt(form.cleaned_data, request), back=_list_address())
    points = [
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
    question = ConfirmationPage(
        "Set the kill switch",
        points,
        "Stop trading",
        _list_address(),
        form=form,
        keep="Keep trading",
    )
    return confirm(request, question)


def _halt(data: dict[str, Any], request: HttpRequest) -> str:
    by: Any = request.user
    key = {"FEED": "feed_id", "USER": "user_id", "CONNECTION": "connection_id"}.get(data["scope"])
    target: dict[str, Any] = {key: data["target"].pk} if key else {}
    services.set_kill_switch(
        scope=data["scope"], mode=data["mode"], reason=data["reason"], by=by, **target
    )
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
        Consequence("skipped", "Skipped signals are not executed later."),
    ]
    title = f"Release the kill switch for {KillSwitchBanner(switch).scope}?"
    return confirm(
        request, ConfirmationPage(title, points, "Release it", _list_address(), keep="Keep it set")
    )


def _release(switch: KillSwitch, request: HttpRequest) -> str:
    by: Any = request.user
    services.release_kill_switch(switch.pk, by=by)
    return f"Released: {KillSwitchBanner(switch).scope} may trade again."


URLS: tuple[tuple[str, str, View], ...] = (
    ("set/", "connections_killswitch_set", halt),
    ("<int:pk>/release/", "connections_killswitch_release", release),
)
