"""Resume the entries of an account that a loss limit has paused, after a confirmation."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence
from connections import services
from connections.models import TradingPause
from console.pages.page_helpers import View, confirm, require_permission, run_action


def resume(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then resume the entries of the account."""
    require_permission(request, Right.LIMITS)
    pause = get_object_or_404(TradingPause.objects.select_related("connection"), pk=pk)
    back = reverse("admin:connections_tradingpause_changelist")
    if request.method == "POST":
        return run_action(request, lambda: _resume(pause, request), back=back)
    points = [
        Consequence("attention", f"{pause.detail}."),
        Consequence("submitted", "It trades from the next signal on."),
        Consequence("skipped", "Skipped signals are not executed later."),
        Consequence("pending", "For this limit, losses count from now on."),
    ]
    title = f"Resume the entries of {pause.connection.name}?"
    return confirm(request, ConfirmationPage(title, points, "Resume entries", back))


def _resume(pause: TradingPause, request: HttpRequest) -> str:
    by: Any = request.user
    if not services.resume_after_limit(pause.pk, by=by):
        return "The pause has ended already."
    return f"{pause.connection.name} trades from the next signal on."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/resume/", "connections_tradingpause_resume", resume),
)
