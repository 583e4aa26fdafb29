"""The second factor: enter it when signing in, set it up, confirm it, turn it off.

These addresses run outside a request transaction (users/middleware.py), so that a failed attempt
is always counted. The services open their own transactions.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from common.errors import FillcastError, InvalidInputError
from common.web.confirmation import error_message
from portal.pages import current_user, redirect_to_sign_in, with_security_headers
from portal.sign_in_steps import complete_sign_in, home_url, pending_sign_in, safe_redirect
from users.models import User
from users.password_slots import SlotsBusyError
from users.sign_in import one_time_codes, second_factor
from users.sign_in.attempt_limits import Limit, undo_attempt
from users.sign_in.session_factor import is_fresh, record_second_factor

View = Callable[[HttpRequest], HttpResponse]
NEW_SECRET = "new_second_factor"  # noqa: S105  # where the session keeps it, sealed
ISSUER = "Fillcast"


class CodeForm(forms.Form):
    """One code of the authenticator app, or a recovery code."""

    code = forms.CharField(
        max_length=40,
        error_messages={"required": "Enter the code that your app shows now."},
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}
        ),
    )


class EnrolForm(CodeForm):
    """The app's first code and the password: an unattended browser must not be enough."""

    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password."},
    )
    field_order = ("code", "password")


def signed_in_only(view: View) -> View:
    """Let every signed-in user in, tenants and staff; others sign in first."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated:
            return with_security_headers(redirect_to_sign_in(request))
        return with_security_headers(view(request))

    return answer


def enter_code(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor after the password."""
    pending = pending_sign_in(request)
    if pending is None:
        return with_security_headers(HttpResponseRedirect(reverse("portal:sign_in")))
    user, next_url = pending
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _is_accepted(user, form):
        complete_sign_in(request, user)
        return with_security_headers(HttpResponseRedirect(next_url))
    return with_security_headers(_render_form(request, "code.html", form))


def set_up_at_sign_in(request: HttpRequest) -> HttpResponse:
    """Let staff who need a second factor and have none set it up after the password."""
    pending = pending_sign_in(request)
    if pending is None or second_factor.factor_of(pending[0]) is not None:
        return with_security_headers(HttpResponseRedirect(reverse("portal:sign_in")))
    user, next_url = pending
    form = CodeForm(request.POST or None)
    new_codes = _enrolled(request, user, form)
    if new_codes is None:
        return with_security_headers(_show_secret(request, user, form, "first.html"))
    complete_sign_in(request, user)
    return with_security_headers(
        render(
            request,
            "portal/security/recovery_codes.html",
            {"codes": new_codes, "next_url": next_url},
        )
    )


@signed_in_only
def overview(request: HttpRequest) -> HttpResponse:
    """The security page: second factor, password and API keys."""
    user = current_user(request)
    context = {
        "factor": second_factor.factor_of(user),
        "left": second_factor.recovery_codes_left(user),
        "required": second_factor.is_required(user),
        "home": home_url(user),
    }
    return render(request, "portal/security/overview.html", context)


@signed_in_only
def enrol(request: HttpRequest) -> HttpResponse:
    """Set up an authenticator app, or replace the present one."""
    user = current_user(request)
    form = EnrolForm(request.POST or None)
    counted: list[Limit] = []
    if request.method == "POST" and form.is_valid() and NEW_SECRET in request.session:
        counted = second_factor.count_enrolment(user)
        check_own_password(request, user, form, counted)
    new_codes = _enrolled(request, user, form, counted)
    if new_codes is None:
        return _show_secret(request, user, form, "enrol.html")
    request.session.cycle_key()
    record_second_factor(request, user)
    return _show_recovery_codes(request, new_codes)


@signed_in_only
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor again before a sensitive page, then redirect there."""
    user = current_user(request)
    target = request.GET.get("next", "")
    next_url = safe_redirect(request, target, reverse("security:overview"))
    if is_fresh(request, user):
        return HttpResponseRedirect(next_url)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _is_accepted(user, form):
        record_second_factor(request, user)
        return HttpResponseRedirect(next_url)
    return _render_form(request, "confirm.html", form, back=home_url(user))


@signed_in_only
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Create new recovery codes and show them once."""
    user = current_user(request)
    if request.method != "POST" or second_factor.factor_of(user) is None:
        return HttpResponseRedirect(reverse("security:overview"))
    return _show_recovery_codes(request, second_factor.renew_recovery_codes(user))


@signed_in_only
def turn_off(request: HttpRequest) -> HttpResponse:
    """Turn the second factor off, where that is allowed."""
    if request.method == "POST":
        try:
            second_factor.turn_off(current_user(request))
            messages.success(
                request, "Your second factor is off. You now sign in with your password alone."
            )
        except FillcastError as error:
            messages.error(request, error_message(error))
    return HttpResponseRedirect(reverse("security:overview"))


def _is_accepted(user: User, form: forms.Form) -> bool:
    """Return whether the code is right; if not, add the error to the form."""
    try:
        second_factor.check(user, form.cleaned_data["code"])
    except InvalidInputError as error:
        form.add_error("code", f"{error.detail} {error.code.hint}")
        return False
    return True


def check_own_password(
    request: HttpRequest, user: User, form: forms.Form, counted: Sequence[Limit] = ()
) -> None:
    """Add an error to the form unless its password is the user's.

    counted: what is taken back if too many others sign in at that moment, and none was checked.
    """
    from django.contrib.auth import authenticate  # attempts are limited as when signing in

    typed = form.cleaned_data["password"]
    try:
        found = authenticate(request, username=user.username, password=typed)
    except SlotsBusyError:  # the password was not checked
        undo_attempt(counted)
        raise
    if found != user:
        form.add_error("password", "This is not your password.")


def _enrolled(
    request: HttpRequest, user: User, form: forms.Form, counted: Sequence[Limit] = ()
) -> list[str] | None:
    """Enrol the shown secret if the code proves that the app has it; return recovery codes."""
    sealed = request.session.get(NEW_SECRET)
    if request.method != "POST" or not form.is_valid() or not sealed:
        return None
    secret = second_factor.open_secret(user, bytes.fromhex(sealed))
    if secret is None:
        return None
    try:
        new_codes = second_factor.enrol(user, secret, form.cleaned_data["code"], counted=counted)
    except InvalidInputError as error:
        form.add_error("code", f"{error.detail} Check that your phone's clock is right.")
        return None
    request.session.pop(NEW_SECRET, None)
    return new_codes


def _show_secret(request: HttpRequest, user: User, form: forms.Form, template: str) -> HttpResponse:
    """Show the same secret until it is enrolled, so that a typing error needs no new scan."""
    sealed = request.session.get(NEW_SECRET)
    secret = second_factor.open_secret(user, bytes.fromhex(sealed)) if sealed else None
    if secret is None:
        secret = one_time_codes.new_secret()
        request.session[NEW_SECRET] = second_factor.seal_secret(user, secret).hex()
    address = one_time_codes.app_address(secret, name=user.username, issuer=ISSUER)
    context = {
        "form": form,
        "qr": one_time_codes.qr_image(address),
        "secret": one_time_codes.typed_secret(secret),
    }
    status = 422 if form.errors else 200
    return render(request, f"portal/security/{template}", context, status=status)


def _render_form(
    request: HttpRequest, template: str, form: forms.Form, **more: Any
) -> HttpResponse:
    status = 422 if form.errors else 200
    context = {"form": form, **more}
    return render(request, f"portal/security/{template}", context, status=status)


def _show_recovery_codes(request: HttpRequest, new_codes: list[str]) -> HttpResponse:
    context = {"codes": new_codes, "next_url": reverse("security:overview")}
    return render(request, "portal/security/recovery_codes.html", context)
