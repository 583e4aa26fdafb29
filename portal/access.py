"""Signing in and out, and what somebody sees who tried too often."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.pages import guarded
from portal.signing_in import go_on, home_of
from users.password_turns import BusyError
from users.tries import TooManyTriesError


class SignInForm(AuthenticationForm):
    """User name and password."""

    error_messages = {
        "invalid_login": "That name and password do not belong together. Passwords are case-"
        "sensitive; after 10 tries signing in rests for a quarter of an hour.",
        "inactive": "This user is switched off. An operator can switch it on.",
    }


class SignIn(views.LoginView):
    """Sign in. Whoever is signed in already goes on; operators go on to their console."""

    form_class: type[AuthenticationForm] = SignInForm
    template_name = "portal/sign_in.html"
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        user: Any = self.request.user
        return home_of(user)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """The password is right: on to the second factor, or in."""
        user: Any = form.get_user()
        return go_on(self.request, user, to=self.get_redirect_url() or home_of(user))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return guarded(super().dispatch(request, *args, **kwargs))  # type: ignore[arg-type]


class SignOut(views.LogoutView):
    """Sign out, by a POST; then to signing in."""


class SignInRefusals:
    """Answers for both sign-in pages when nothing is looked at: too many tries, too many people."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Say how long to wait; every other error is somebody else's."""
        if isinstance(error, TooManyTriesError):
            minutes = -(-error.retry_after // 60)
            told = render(request, "portal/locked.html", {"minutes": minutes}, status=429)
        elif isinstance(error, BusyError):
            told = render(request, "portal/busy.html", status=503)
        else:
            return None
        told["Retry-After"] = str(error.retry_after)
        return guarded(told)
