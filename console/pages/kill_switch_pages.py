"""Setting and releasing the kill switch, each after a question that says what it stops."""

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
    """What is to be stopped, how far, and why."""

    mode = forms.ChoiceField(label="How far", choices=HaltMode.choices)
    scope = forms.ChoiceField(
        label="What",
        choices=[("ALL", "Everything"), ("FEED", "One feed"), ("USER", "One user's accounts"),
                 ("CONNECTION", "One connection")],
    )  # fmt: skip
    name = forms.CharField(
        label="Which one", required=False, max_length=100,
        help_text="The feed's slug, the user's name, or the connection's id. Empty for everything.",
    )  # fmt: skip
    reason = forms.CharField(label="Why", max_length=200, help_text="Everyone affected reads it.")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        scope, name = data.get("scope"), data.get("name", "").strip()
        data["target"] = _target(scope, name)
        if scope != "ALL" and data["target"] is None:
            self.add_error("name", f"There is no {(scope or '').lower()} named so.")
        if scope == "ALL" and name:
            self.add_error("name", "Everything has no name; leave it empty.")
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


def _lists() -> str:
    return reverse("admin:connections_killswitch_changelist")


def halt(request: HttpRequest, **_: Any) -> HttpResponse:
    """Ask what to stop, then stop it."""
    require_permission(request, Right.HALT)
    form = HaltForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return run_action(request, lambda: _halt(form.cleaned_data, request), back=_lists())
    points = [
        Consequence("attention", "Exits only: new signals are skipped and no entry leaves; stops, "
              "targets and closes go on."),
        Consequence("naked", "Nothing is sent: exits stay here too. Stops that rest at brokers "
                             "keep "
              "working."),
        Consequence("safe", "It is read right before each send: what has not left yet does not "
                            "leave."),
    ]  # fmt: skip
    question = ConfirmationPage("Set the kill switch", points, "Stop trading", _lists(), form=form,
                        keep="Let it run")  # fmt: skip
    return confirm(request, question)


def _halt(data: dict[str, Any], request: HttpRequest) -> str:
    by: Any = request.user
    key = {"FEED": "feed_id", "USER": "user_id", "CONNECTION": "connection_id"}.get(data["scope"])
    target: dict[str, Any] = {key: data["target"].pk} if key else {}
    services.set_kill_switch(
        scope=data["scope"], mode=data["mode"], reason=data["reason"], by=by, **target
    )
    return "The kill switch is set."


def release(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask, then let trading go on."""
    require_permission(request, Right.RELEASE)
    switch = get_object_or_404(
        KillSwitch.objects.select_related("feed", "user", "connection", "set_by"), pk=pk
    )
    if request.method == "POST":
        return run_action(request, lambda: _release(switch, request), back=_lists())
    points = [
        Consequence(
            "submitted",
            f"Lets {KillSwitchBanner(switch).scope} trade again from the next signal on.",
        ),
        Consequence("skipped", "What was skipped meanwhile is not made up for."),
    ]
    title = f"Release the kill switch for {KillSwitchBanner(switch).scope}?"
    return confirm(
        request, ConfirmationPage(title, points, "Release it", _lists(), keep="Keep it set")
    )


def _release(switch: KillSwitch, request: HttpRequest) -> str:
    by: Any = request.user
    services.release_kill_switch(switch.pk, by=by)
    return f"Released: {KillSwitchBanner(switch).scope} may trade again."


URLS: tuple[tuple[str, str, View], ...] = (
    ("set/", "connections_killswitch_set", halt),
    ("<int:pk>/release/", "connections_killswitch_release", release),
)
