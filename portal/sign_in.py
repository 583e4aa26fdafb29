"""Signing in and out, and what somebody sees who tried too often."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.shortcuts import render
from django.urls import Resolver404, resolve

from common.permissions import Right, may
from portal.pages import with_security_headers
from portal.sign_in_steps import continue_sign_in, home_url
from users.attempt_limits import TooManyAttemptsError
from users.new_passwords import PasswordFields, prepared_for, undo_password_attempt
from users.password_slots import SlotsBusyError
from users.session_factor import is_fresh


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
        return home_url(user)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """The password is right: on to the second factor, or in."""
        user: Any = form.get_user()
        return continue_sign_in(self.request, user, to=self.get_redirect_url() or home_url(user))

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return with_security_headers(super().dispatch(request, *args, **kwargs))  # type: ignore[arg-type]


class SignOut(views.LogoutView):
    """Sign out, by a POST; then to signing in."""


_OWN = PasswordFields("new_password1", "new_password2", current="old_password")
_ANOTHERS = PasswordFields("password1", "password2")
PASSWORD_PAGES = {  # by the address's name
    "admin:users_user_add": _ANOTHERS,
    "admin:auth_user_password_change": _ANOTHERS,
    "admin:password_change": _OWN,
    "security:password": _OWN,
}
PASSWORD_PATHS = ("/admin/", "/password/")  # only these are resolved once more


class PasswordHashingMiddleware:
    """Hashes the passwords of the pages that set one before the request's transaction begins.

    Stands in front of TenantMiddleware. Only for who may set them and has shown the second factor
    of late, where they have one: for others nothing is hashed.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        fields = _password_fields(request)
        if fields is None:
            return self.get_response(request)
        user: Any = request.user
        try:
            with prepared_for(user, request.POST, fields):
                answer = self.get_response(request)
            if answer.status_code >= 500:
                undo_password_attempt(user, request.POST, fields)
            return answer
        except (TooManyAttemptsError, SlotsBusyError) as error:
            return too_many_tries_response(
                request, error, locked="portal/security/password_tries.html"
            )


def _password_fields(request: HttpRequest) -> PasswordFields | None:
    """Return the fields of a page that sets a password, if one was sent by who may set it."""
    if request.method != "POST" or not request.path_info.startswith(PASSWORD_PATHS):
        return None
    try:
        name = resolve(request.path_info).view_name
        fields = PASSWORD_PAGES.get(name)
        if fields is None or not request.body:
            return None
    except (Resolver404, RequestDataTooBig, UnreadablePostError):
        return None
    user: Any = request.user
    if not user.is_authenticated or not is_fresh(request, user):
        return None
    if fields is _ANOTHERS:
        return fields if may(user, Right.USERS) else None
    return fields if user.is_staff or not name.startswith("admin:") else None


def too_many_tries_response(
    request: HttpRequest,
    error: TooManyAttemptsError | SlotsBusyError,
    *,
    locked: str = "portal/locked.html",
) -> HttpResponse:
    """Say how long to wait until a password is looked at again. locked: the page after too many."""
    if isinstance(error, TooManyAttemptsError):
        minutes = -(-error.retry_after // 60)
        told = render(request, locked, {"minutes": minutes}, status=429)
    else:
        told = render(request, "portal/busy.html", status=503)
    told["Retry-After"] = str(error.retry_after)
    return with_security_headers(told)


class SignInLimitMiddleware:
    """Answers for both sign-in pages when nothing is looked at: too many tries, too many people."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Say how long to wait; every other error is somebody else's."""
        if isinstance(error, (TooManyAttemptsError, SlotsBusyError)):
            return too_many_tries_response(request, error)
        return None
