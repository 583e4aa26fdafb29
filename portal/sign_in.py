"""Signing in and out, and the pages shown after too many attempts."""

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
from users.password_slots import SlotsBusyError
from users.people import sign_up
from users.sign_in.attempt_limits import TooManyAttemptsError
from users.sign_in.new_passwords import PasswordFields, prepared_for, undo_password_attempt
from users.sign_in.services import LONGEST
from users.sign_in.session_factor import is_fresh


class SignInForm(AuthenticationForm):
    """User name or confirmed e-mail address, and password."""

    error_messages = {
        "invalid_login": "The name, address or password is wrong. Passwords are case-sensitive,"
        " and an address must be confirmed. After 10 failed attempts you must wait 15 minutes.",
        "inactive": "This user is deactivated. An operator can activate it.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs["maxlength"] = LONGEST


class SignIn(views.LoginView):
    """The sign-in page. Sends signed-in operators to the console, others to the portal."""

    form_class: type[AuthenticationForm] = SignInForm
    template_name = "portal/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(**context, can_sign_up=sign_up.is_open())

    def get_default_redirect_url(self) -> str:
        user: Any = self.request.user
        return home_url(user)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """After the right password, continue with the second factor, or sign in."""
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
PASSWORD_PATHS = ("/admin/", "/password/")  # only these are checked against PASSWORD_PAGES


class PasswordHashingMiddleware:
    """Hashes new passwords before the request's transaction begins.

    Must come before TenantMiddleware. Hashes only for users who may set the password and, where
    they have a second factor, confirmed it recently.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
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
    """Return the fields of a page that sets a password, if this user may set it."""
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
    """Return the page that states how long to wait. locked: template after too many attempts."""
    if isinstance(error, TooManyAttemptsError):
        minutes = -(-error.retry_after // 60)
        response = render(request, locked, {"minutes": minutes}, status=429)
    else:
        response = render(request, "portal/busy.html", status=503)
    response["Retry-After"] = str(error.retry_after)
    return with_security_headers(response)


class SignInLimitMiddleware:
    """Answers on both sign-in pages after too many attempts, or while too many users sign in."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return the page that states how long to wait; None for any other error."""
        if isinstance(error, (TooManyAttemptsError, SlotsBusyError)):
            return too_many_tries_response(request, error)
        return None
