"""What operators can do with a subscription: pause, resume, priority, route, end."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.subscription_texts import live_lines
from analytics.what_if.route_preview import preview_route
from common.errors import FillcastError
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from connections import services
from connections.forms import PriorityForm, RouteForm, route_points
from connections.models import Subscription
from connections.services import routable_accounts
from console.pages.page_helpers import View, confirm, page, require_permission, run_action


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
        *live_lines(subscription, ends=False),
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
        *live_lines(subscription, ends=True),
    ]
    title = f"End {subscription.feed.name} on {subscription.connection.name}?"
    return confirm(request, ConfirmationPage(title, points, "End it", back))


def _end(subscription: Subscription, request: HttpRequest) -> str:
    by: Any = request.user
    services.unsubscribe(subscription.pk, by=by)
    return "The subscription was ended."


def priority(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask for the priority class of the subscription, then set it."""
    require_permission(request, Right.CONNECTIONS)
    subscription = find(pk)
    back = reverse("admin:connections_subscription_changelist")
    data = request.POST if request.method == "POST" else None
    form = PriorityForm(data, initial={"priority": subscription.priority})
    if data is not None and form.is_valid():
        changes = form.changes()
        return run_action(request, lambda: _set_priority(subscription, request, changes), back=back)
    points = [
        Consequence(
            "submitting",
            "While many entries wait: exits are sent first, then entries by hand, then those of "
            "high, normal and low priority. Within a priority the accounts take turns.",
        ),
        Consequence("validated", "Applies from the next signal on."),
    ]
    title = f"Priority of {subscription.feed.name} on {subscription.connection.name}"
    return confirm(request, ConfirmationPage(title, points, "Save", back, danger=False, form=form))


def _set_priority(subscription: Subscription, request: HttpRequest, changes: dict[str, Any]) -> str:
    by: Any = request.user
    changed = services.update_subscription(subscription.pk, by=by, **changes)
    return "The priority was changed." if changed else "Nothing was changed."


def route(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Choose the accounts of which one executes each signal, and show which one would now."""
    require_permission(request, Right.CONNECTIONS)
    subscription = find(pk)
    back = reverse("admin:connections_subscription_changelist")
    data = request.POST if request.method == "POST" else None
    form = RouteForm(subscription, routable_accounts(subscription), data)
    if data is not None and form.is_valid():
        by: Any = request.user
        try:
            changed = services.set_route(pk, by=by, **form.route())
        except FillcastError as error:
            add_form_error(form, error)
        else:
            saved = "Saved. It applies from the next signal on."
            messages.success(request, saved if changed else "Nothing was changed.")
            return HttpResponseRedirect(request.path)
    title = f"Route of {subscription.connection.name} for {subscription.feed.name}"
    question = ConfirmationPage(title, route_points(), "Save", back, danger=False, form=form)
    return page(
        request, "subscription_route.html", title, question=question,
        route=preview_route(subscription, request.GET),
    )  # fmt: skip


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/pause/", "connections_subscription_pause", pause),
    ("<int:pk>/priority/", "connections_subscription_priority", priority),
    ("<int:pk>/route/", "connections_subscription_route", route),
    ("<int:pk>/end/", "connections_subscription_end", end),
)
