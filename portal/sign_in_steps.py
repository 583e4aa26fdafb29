"""Signing in: the steps between the right password and the second factor.

Until both are done no user is signed in; the browser's session keeps the pending user for ten
minutes.
"""

import time
from typing import Any

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from users.models import User
from users.sign_in import second_factor
from users.sign_in.services import PasswordBackend
from users.sign_in.session_factor import record_second_factor

PENDING, WITHIN_SECONDS = "signing_in", 600
BACKEND = f"{PasswordBackend.__module__}.{PasswordBackend.__qualname__}"


def continue_sign_in(request: HttpRequest, user: User, *, to: str) -> HttpResponse:
    """Sign the user in after the right password, or redirect to the second factor first."""
    if second_factor.factor_of(user) is not None:
        step = "security:code"
    elif second_factor.is_required(user):
        step = "security:first"
    else:
        login(request, user, backend=BACKEND)
        return HttpResponseRedirect(to)
    request.session.cycle_key()  # the next steps belong to this browser alone
    request.session[PENDING] = {
        "user": user.pk, "hash": user.get_session_auth_hash(), "at": time.time(), "to": to
    }  # fmt: skip
    return HttpResponseRedirect(reverse(step))


def pending_sign_in(request: HttpRequest) -> tuple[User, str] | None:
    """Return the user who entered the password and their destination; None after ten minutes."""
    pending: dict[str, Any] = request.session.get(PENDING) or {}
    if not pending or not 0 <= time.time() - pending["at"] <= WITHIN_SECONDS:
        return None
    user = PasswordBackend().get_user(pending["user"])
    if user is None or user.get_session_auth_hash() != pending["hash"]:
        return None
    return user, str(pending["to"])


def complete_sign_in(request: HttpRequest, user: User) -> None:
    """Sign the user in after the second factor."""
    request.session.pop(PENDING, None)
    login(request, user, backend=BACKEND)
    record_second_factor(request, user)


def safe_redirect(request: HttpRequest, target: str, otherwise: str) -> str:
    """Return the target address if it is on this site, else the other one."""
    allowed = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if allowed else otherwise


def home_url(user: User) -> str:
    """Return the address of a user's start page."""
    return reverse("admin:index" if user.is_operator else "portal:overview")
