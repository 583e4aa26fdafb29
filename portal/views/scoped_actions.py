"""Cancelling entries and closing positions of an account, a feed or all accounts."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.scoped_pages import (
    ACTIONS,
    CANCEL,
    ScopedActionForm,
    done_message,
    live_scope,
)
from analytics.orders.scoped_results import ResultLine, refresh_seconds, scoped_result
from common.errors import FillcastError
from common.web.confirmation import ConfirmationPage
from connections.models import KillSwitch
from connections.services import HaltTarget
from execution import tasks
from execution.models import NOT_ENDED, Order, ScopedAction
from execution.scoped.actions import ActionRequest, ActionScope, carry_out
from portal.pages import current_user, page, redirect_with_error, tenants_only
from portal.selectors.feeds import subscribable_feeds
from portal.views import accounts
from positions.models import ExecutionPosition
from signals.models import Feed
from users.models import User

Scope = KillSwitch.Scope


@tenants_only
def of_all(request: HttpRequest) -> HttpResponse:
    """Cancel and close on all of the tenant's accounts."""
    target = HaltTarget(Scope.USER, user_id=current_user(request).pk)
    return _ask(request, target, "on all your accounts", reverse("portal:positions"))


@tenants_only
def of_account(request: HttpRequest, *, pk: UUID) -> HttpResponse:
    """Cancel and close on one account."""
    name = accounts.find(request, pk).connection.name
    target = HaltTarget(Scope.CONNECTION, connection_id=pk)
    return _ask(request, target, f"at {name}", accounts.address(pk))


@tenants_only
def of_feed(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Cancel and close what a feed's signals have live on the tenant's accounts."""
    user = current_user(request)
    feed = get_object_or_404(
        Feed.objects.filter(
            Q(pk__in=subscribable_feeds(user).values("pk")) | Q(pk__in=_traded_feeds(user))
        ),
        slug=slug,
    )
    target = HaltTarget(Scope.FEED, feed_id=feed.pk)
    return _ask(request, target, f"of {feed.name}", reverse("portal:feeds"))


def _traded_feeds(user: User) -> set[int]:
    """Return the ids of the feeds that have something live on the tenant's accounts."""
    orders = Order.objects.filter(NOT_ENDED, connection__user=user)
    positions = ExecutionPosition.objects.open().filter(connection__user=user)
    return {
        *orders.order_by().values_list("signal__feed_id", flat=True).distinct(),
        *positions.order_by().values_list("signal__feed_id", flat=True).distinct(),
    } - {None}


def _ask(request: HttpRequest, target: HaltTarget, what: str, back: str) -> HttpResponse:
    """Show what is live, ask, and then do it. What was not shown is asked first."""
    user, scope = current_user(request), ActionScope((target,))
    is_answer = request.method == "POST"
    action = request.GET.get("action")
    chosen = {"action": action if action in dict(ACTIONS) else CANCEL}
    form = ScopedActionForm(request.POST if is_answer else chosen)
    try:
        live = live_scope(scope, by=user)
        if form.is_valid() and is_answer and form.is_confirmed():
            return _carry_out(form.request(scope), request)
    except FillcastError as error:
        return redirect_with_error(request, error, back=back)
    is_valid = form.is_valid()
    if is_valid and is_answer:  # what was chosen after the page showed something else
        return HttpResponseRedirect(f"{request.path}?action={form.cleaned_data['action']}")
    button = form.button(live) if is_valid else ""
    points = form.points(live) if is_valid else []
    if is_valid:
        form.mark_as_seen(live)
    question = ConfirmationPage(
        f"Cancel or close what is live {what}", points, button or "Show what it touches", back,
        danger=bool(button), form=form, decline_label="Leave everything",
        only_shows=not button, action=request.path,
    )  # fmt: skip
    return page(request, "confirm.html", question=question, status=200 if is_valid else 422)


def _carry_out(asked: ActionRequest, request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        action = carry_out(asked, by=current_user(request))
        tasks.enqueue_pending_actions_on_commit()
        tasks.enqueue_on_commit(action.exits, queue=tasks.EXITS)
    messages.success(request, done_message(action))
    return HttpResponseRedirect(reverse("portal:scoped_action", args=[action.pk]))


@tenants_only
def result(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What was cancelled and closed, what had ended, and what still waits."""
    mine = ScopedAction.objects.filter(user=current_user(request))
    action = get_object_or_404(mine, pk=pk)
    found = scoped_result(action)
    context: dict[str, Any] = {
        "action": action,
        "result": found,
        "lines": [(line, _link(line)) for line in found.lines],
        "refresh_seconds": refresh_seconds(found),
    }
    return page(request, "scoped_action.html", **context)


def _link(line: ResultLine) -> str:
    """Return the address of the order's timeline."""
    order = line.order
    signal_id = order.signal_id or (order.position.signal_id if order.position else None)
    if signal_id is None:
        return ""
    return f"{reverse('portal:signal', args=[signal_id])}?order={order.pk}#timeline"
