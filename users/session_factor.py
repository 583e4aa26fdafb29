"""Whether and when the second factor was entered in a browser's session."""

import time
from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from common.errors import NotAllowedError
from common.reason_codes import Code
from users import second_factor
from users.models import SecondFactor, User

SESSION_KEY = "second_factor"
FRESH_SECONDS = 300


def record_second_factor(request: HttpRequest, user: User) -> None:
    """Store in the session that the user has just entered their second factor."""
    factor = SecondFactor.objects.filter(user=user).first()
    if factor is not None:
        request.session[SESSION_KEY] = {"of": factor.enrolled_at.isoformat(), "at": time.time()}


def has_second_factor(request: HttpRequest, user: User) -> bool:
    """Whether this session may act for the user: with their second factor, if they have one."""
    factor = second_factor.factor_of(user)
    if factor is None:
        return not second_factor.is_required(user)
    entered: dict[str, Any] = request.session.get(SESSION_KEY) or {}
    return entered.get("of") == factor.enrolled_at.isoformat()


def is_fresh(request: HttpRequest, user: User) -> bool:
    """Whether the second factor was entered within FRESH_SECONDS.

    For users without one: whether they may do without it."""
    if second_factor.factor_of(user) is None:
        return not second_factor.is_required(user)
    entered: dict[str, Any] = request.session.get(SESSION_KEY) or {}
    return 0 <= time.time() - float(entered.get("at", 0)) <= FRESH_SECONDS


def require_fresh(request: Request) -> None:
    """Raise NotAllowedError SECOND_FACTOR_NEEDED unless the second factor is fresh (`is_fresh`).

    For API requests whose need depends on the body: config/middleware/second_factor.py only sees
    the path. Requests with an API key pass.
    """
    user = request.user
    is_browser = isinstance(request.successful_authenticator, SessionAuthentication)
    if is_browser and isinstance(user, User) and not is_fresh(request._request, user):
        raise NotAllowedError(Code.SECOND_FACTOR_NEEDED)
