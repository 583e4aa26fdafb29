"""A user's sessions in browsers: list them, end one, sign out everywhere else."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from portal.pages import current_user, run_action
from portal.views.keys import own_page, signed_in_only
from users import login_sessions


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


@signed_in_only
def end_others(request: HttpRequest) -> HttpResponse:
    """Confirm, then sign out every session except this one."""
    user, back = current_user(request), reverse("security:sessions")

    def end() -> str:
        ended = login_sessions.end_sessions(user, except_key=request.session.session_key)
        return (
            f"{ended} other session{'' if ended == 1 else 's'} signed out. You stay signed in here."
        )

    if request.method == "POST":
        return run_action(request, end, back=back)
    points = [
        Consequence("cancelled", "Every other browser must sign in again, with your password."),
        Consequence("safe", "This browser stays signed in. API keys, orders and positions stay."),
        Consequence("attention", "Does another person know your password? Change it as well."),
    ]
    question = ConfirmationPage(
        "Sign out everywhere else?", points, "Sign out the others", back, decline_label="Not now"
    )
    return own_page(request, "key_revoke.html", question=question)
