"""The page on which operators reset a user's second factor."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from common.permissions import Right
from console.pages.page_helpers import View, confirm, require_permission, run_action
from users import second_factor
from users.models import User


def reset_second_factor(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then remove a user's second factor and recovery codes."""
    require_permission(request, Right.USERS)
    user = get_object_or_404(User, pk=pk)
    back = reverse("admin:users_user_change", args=[pk])
    by: Any = request.user
    if request.method == "POST":
        return run_action(request, lambda: _reset(user, by), back=back)
    points = [
        Consequence("attention", "Verify who is asking: call them back, do not trust a message."),
        Consequence("cancelled", "This user's authenticator app and recovery codes stop working."),
        Consequence("safe", "It is recorded in the audit trail with your name."),
    ]
    if second_factor.is_required(user):
        points.insert(2, Consequence("safe", "The user must set up a new one at the next sign-in."))
    title = f"Reset the second factor of {user.username}?"
    return confirm(
        request, ConfirmationPage(title, points, "Reset it", back, decline_label="Keep it")
    )


def _reset(user: User, by: User) -> str:
    if second_factor.reset(user.pk, by=by):
        return f"The second factor of {user.username} was reset."
    return f"{user.username} has no second factor; nothing was changed."


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/reset-second-factor/", "users_user_reset_second_factor", reset_second_factor),
)
