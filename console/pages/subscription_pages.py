"""What operators do with a subscription: pause, resume, end."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from common.permissions import Right
from connections import services
from connections.models import Subscription
from console.pages.page_helpers import View, confirm, require_permission, run_action


def find(pk: int) -> Subscription:
    return get_object_or_404(Subscription.objects.select_related("connection", "feed"), pk=pk)


def pause(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask, then pause, or resume what is paused."""
    require_permission(request, Right.CONNECTIONS)
    subscription = find(pk)
    back = reverse("admin:connections_subscription_changelist")
    if request.method == "POST":
        return run_action(request, lambda: _flip(subscription, request), back=back)
    if "to" not in request.GET:  # what is confirmed is what the page asked, whoever was faster
        to = "resume" if subscription.is_paused else "pause"
        return HttpResponseRedirect(f"{request.path}?to={to}")
    named = f"{subscription.feed.name} on {subscription.connection.name}"
    if request.GET["to"] == "resume":
        points = [
            Consequence(
                "submitted", "The next signal is taken; what was skipped is not made up for."
            )
        ]
        return confirm(
            request, ConfirmationPage(f"Resume {named}?", points, "Resume it", back, danger=False)
        )
    points = [
        Consequence("skipped", "New signals are skipped on this account."),
        Consequence(
            "filled", "Open positions keep their stops; closes of the provider still reach them."
        ),
    ]
    return confirm(
        request, ConfirmationPage(f"Pause {named}?", points, "Pause it", back, danger=False)
    )


def _flip(subscription: Subscription, request: HttpRequest) -> str:
    by: Any = request.user
    if request.GET.get("to") == "resume":
        services.resume_subscription(subscription.pk, by=by)
        return "Resumed."
    services.pause_subscription(subscription.pk, by=by)
    return "Paused."


def end(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask, then end it; it can be taken up again later."""
    require_permission(request, Right.CONNECTIONS)
    subscription = find(pk)
    back = reverse("admin:connections_subscription_changelist")
    if request.method == "POST":
        return run_action(request, lambda: _end(subscription, request), back=back)
    points = [
        Consequence("cancelled", "The account is no candidate of this feed any more."),
        Consequence("filled", "Open positions stay; closes of the provider still reach them."),
    ]
    title = f"End {subscription.feed.name} on {subscription.connection.name}?"
    return confirm(request, ConfirmationPage(title, points, "End it", back))


def _end(subscription: Subscription, request: HttpRequest) -> str:
    by: Any = request.user
    services.unsubscribe(subscription.pk, by=by)
    return "The subscription has ended."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/pause/", "connections_subscription_pause", pause),
    ("<int:pk>/end/", "connections_subscription_end", end),
)
