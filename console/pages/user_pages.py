"""Pages on which operators reset a user's second factor, and invite people."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.errors import FillcastError
from common.form_fields import WholeNumberInput
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from console.pages.page_helpers import View, confirm, require_permission, run_action
from console.pages.token_pages import show_once
from users.models import Invitation, User
from users.people import invitations
from users.sign_in import second_factor


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


class InvitationForm(forms.Form):
    """For whom an invitation is, and how long it works."""

    note = forms.CharField(
        label="For whom", max_length=200, help_text="A name that operators will recognize."
    )
    days = WholeNumberInput(
        label="Works for, days",
        min_value=1,
        max_value=invitations.MAX_DAYS,
        initial=invitations.DEFAULT_DAYS,
    )


def invite(request: HttpRequest, **_: Any) -> HttpResponse:
    """Make an invitation and show its link once."""
    require_permission(request, Right.USERS)
    back = reverse("admin:users_invitation_changelist")
    form = InvitationForm(request.POST or None)
    by: Any = request.user
    if request.method == "POST" and form.is_valid():
        try:
            invitation, link = invitations.invite(**form.cleaned_data, by=by)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            secrets = [("Send this link to the person whom you invite", link)]
            return show_once(request, f"Invitation for {invitation.note}", secrets, back)
    points = [
        Consequence("safe", "The link is shown once, on the next page. Only its hash is stored."),
        Consequence(
            "attention",
            "One person can sign up with it, as a tenant: send it to no one else.",
        ),
    ]
    question = ConfirmationPage(
        "Invite a person", points, "Make the link", back, False, form, "Not now"
    )
    return confirm(request, question)


def revoke_invitation(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then revoke an invitation."""
    require_permission(request, Right.USERS)
    invitation = get_object_or_404(Invitation, pk=pk)
    back = reverse("admin:users_invitation_changelist")
    by: Any = request.user

    def revoke() -> str:
        done = invitations.revoke_invitation(pk, by=by)
        return f"“{invitation.note}” is revoked." if done else "It was already revoked."

    if request.method == "POST":
        return run_action(request, revoke, back=back)
    points = [Consequence("cancelled", "Its link stops working. This cannot be undone.")]
    title = f"Revoke the invitation “{invitation.note}”?"
    return confirm(
        request, ConfirmationPage(title, points, "Revoke it", back, decline_label="Keep it")
    )


INVITATION_URLS: tuple[tuple[str, str, View], ...] = (
    ("create/", "users_invitation_create", invite),
    ("<int:pk>/revoke/", "users_invitation_revoke", revoke_invitation),
)
URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/reset-second-factor/", "users_user_reset_second_factor", reset_second_factor),
)
