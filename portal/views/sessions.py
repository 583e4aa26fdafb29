"""A user's sessions in browsers: list them, end one, sign out everywhere."""

from django import forms
from django.contrib import auth, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from common.web.confirmation import ConfirmationPage, Consequence
from portal.pages import current_user, run_action
from portal.views.keys import own_page, signed_in_only
from users.sign_in import login_sessions


@signed_in_only
def sessions(request: HttpRequest) -> HttpResponse:
    """List the user's sessions, this one first."""
    found = login_sessions.sessions_of(current_user(request), request.session.session_key)
    return own_page(request, "sessions.html", sessions=found)


@signed_in_only
def end_one(request: HttpRequest, *, reference: str) -> HttpResponse:
    """Sign one session out."""
    user = current_user(request)

    def end() -> str:
        login_sessions.end_session(user, reference)
        return "That session was signed out."

    return run_action(request, end, back=reverse("security:sessions"))


class EverywhereForm(forms.Form):
    """Whether this browser is signed out as well."""

    this_browser = forms.BooleanField(
        required=False,
        label="This browser, too",
        help_text="For example on a computer that is not yours. You then sign in again here.",
    )


@signed_in_only
def end_all(request: HttpRequest) -> HttpResponse:
    """Confirm, then sign out every session; this one only if that is chosen."""
    user, back = current_user(request), reverse("security:sessions")
    form = EverywhereForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        points = [
            Consequence("cancelled", "Every other browser must sign in again, with your password."),
            Consequence("safe", "API keys, orders and positions stay."),
            Consequence("attention", "Does another person know your password? Change it as well."),
        ]
        question = ConfirmationPage(
            "Sign out everywhere?", points, "Sign out", back, form=form, decline_label="Not now"
        )
        return own_page(request, "key_revoke.html", question=question)
    is_here = form.cleaned_data["this_browser"]
    with transaction.atomic():
        kept = None if is_here else request.session.session_key
        ended = login_sessions.end_sessions(user, except_key=kept)
    if is_here:
        auth.logout(request)
        messages.success(request, "You were signed out everywhere.")
        return HttpResponseRedirect(reverse("portal:sign_in"))
    text = f"{ended} other session{'' if ended == 1 else 's'} signed out. You stay signed in here."
    messages.success(request, text)
    return HttpResponseRedirect(back)
