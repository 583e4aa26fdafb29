"""Cancelling entries and closing positions of a scope, after their impact was shown."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from analytics.orders.scoped_pages import (
    BOTH,
    LiveScope,
    ScopedActionForm,
    done_message,
    live_scope,
)
from analytics.orders.scoped_results import refresh_seconds, scoped_result
from common.errors import FillcastError
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, error_message
from connections.services import read_target
from console.pages.page_helpers import View, confirm, page, require_permission
from console.pages.scope_fields import ScopeForm
from execution import tasks
from execution.models import ScopedAction
from execution.scoped.actions import ActionRequest, ActionScope, carry_out

SHOW = "Show what it touches"


class AskForm(ScopedActionForm, ScopeForm):
    """What to do, and with which orders and positions."""

    to_stop = "set the kill switch"
    field_order = ("action", "scope", "name")

    def question(self) -> str:
        """Return action, scope and name as one text."""
        return "|".join(self.cleaned_data[name] for name in ("action", "scope", "name"))


def ask(request: HttpRequest, **_: Any) -> HttpResponse:
    """Ask what to end, show what that touches now, then do it and show the result.

    The scope may be named in the address, as the links of other pages do.
    """
    require_permission(request, Right.TRADE)
    is_answer = request.method == "POST"
    form = AskForm(request.POST if is_answer else _named(request))
    points, button = [_rule()], SHOW
    live = _live(form, request) if form.is_bound and form.is_valid() else None
    if live is not None:
        if is_answer and form.is_confirmed():
            return _carry_out(form.request(live.scope), request)
        points, button = form.points(live), form.button(live) or SHOW
        form.mark_as_seen(live)
    question = ConfirmationPage(
        "Cancel entries, close positions", points, button, _list_address(), form=form,
        danger=button != SHOW, decline_label="Leave everything",
    )  # fmt: skip
    return confirm(request, question)


def _named(request: HttpRequest) -> dict[str, str] | None:
    """Return the scope that the address names, as the form's data; None if it names none."""
    if "scope" not in request.GET:
        return None
    names = ("action", "scope", "name")
    return {"action": BOTH, **{n: request.GET[n] for n in names if n in request.GET}}


def _live(form: AskForm, request: HttpRequest) -> LiveScope:
    """Return what is live in a valid form's scope."""
    by: Any = request.user
    data = form.cleaned_data
    target = read_target(scope=data["scope"], **data["target"])
    return live_scope(ActionScope((target,)), by=by)


def _rule() -> Consequence:
    return Consequence(
        "safe",
        "Nothing is done yet. The next page shows how many orders and positions it touches, and "
        "how much money.",
    )


def _carry_out(asked: ActionRequest, request: HttpRequest) -> HttpResponse:
    by: Any = request.user
    try:
        action = carry_out(asked, by=by)
    except FillcastError as error:
        messages.error(request, error_message(error))
        return HttpResponseRedirect(_list_address())
    tasks.enqueue_pending_actions_on_commit()
    tasks.enqueue_on_commit(action.exits, queue=tasks.EXITS)
    messages.success(request, done_message(action))
    return HttpResponseRedirect(reverse("admin:execution_scopedaction_page", args=[action.pk]))


def _list_address() -> str:
    return reverse("admin:execution_scopedaction_changelist")


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """What was cancelled and closed, what had ended, and what still waits."""
    action = get_object_or_404(ScopedAction.objects.select_related("user"), pk=pk)
    result = scoped_result(action)
    return page(
        request,
        "scoped_action.html",
        f"Cancelled and closed: {action.scope_name}",
        action=action,
        result=result,
        lines=[
            (line, reverse("admin:execution_order_page", args=[line.order.pk]))
            for line in result.lines
        ],
        refresh_seconds=refresh_seconds(result),
    )


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "execution_scopedaction_page", show),
    ("ask/", "execution_scopedaction_ask", ask),
)
