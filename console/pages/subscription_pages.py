"""What operators can do with a subscription: pause, resume, end."""

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
    """Return a subscription with its connection and feed. Raises Http404."""
    return get_object_or_404(Subscription.objects.select_related("connection", "feed"), pk=pk)


def pause(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then pause the subscription, or resume it if it is paused."""
    require_permission(request, Right.CONNECTIONS)
    subscription = find(pk)
    back = reverse("admin:connections_subscription_changelist")
    if request.method == "POST":
        return run_action(request, lambda: _pause_or_resume(subscription, request), back=back)
    if (
        "to" not in request.GET
    ):  # the confirmation does what its page stated, even if the state changed since
        to = "resume" if subscription.is_paused else "pause"
        return HttpResponseRedirect(f"{request.path}?to={to}")
    name = f"{subscription.feed.name} on {subscription.connection.name}"
    if request.GET["to"] == "resume":
        points = [
            Consequence(
                "submitted",
                "It trades from the next signal on. Skipped signals are not executed later.",
            )
        ]
        return confirm(
            request, ConfirmationPage(f"Resume {name}?", points, "Resume it", back, danger=False)
        )
    points = [
        Consequence("skipped", "New signals are skipped on this account."),
        Consequence(
            "filled",
            "Open positions keep their stops, and the provider's closes still apply to them.",
        ),
    ]
    return confirm(
        request, ConfirmationPage(f"Pause {name}?", points, "Pause it", back, danger=False)
    )


def _pause_or_resume(subscription: Subscription, request: HttpRequest) -> str:
    by: Any = request.user
    if request.GET.get("to") == "resume":
        services.resume_subscription(subscription.pk, by=by)
        return "The subscription was resumed."
    services.pause_subscription(subscription.pk, by=by)
    return "The subscription was paused."


def end(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then end the subscription; the account can subscribe again later."""
    require_permission(request, Right.CONNECTIONS)
    subscription = find(pk)
    back = reverse("admin:connections_subscription_changelist")
    if request.method == "POST":
        return run_action(request, lambda: _end(subscription, request), back=back)
    points = [
        Consequence("cancelled", "The account takes no more signals of this feed."),
        Consequence(
            "filled", "Open positions stay open, and the provider's closes still apply to them."
        ),
    ]
    title = f"End {subscription.feed.name} on {subscription.connection.name}?"
    return confirm(request, ConfirmationPage(title, points, "End it", back))


def _end(subscription: Subscription, request: HttpRequest) -> str:
    by: Any = request.user
    services.unsubscribe(subscription.pk, by=by)
    return "The subscription was ended."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/pause/", "connections_subscription_pause", pause),
    ("<int:pk>/end/", "connections_subscription_end", end),
)
