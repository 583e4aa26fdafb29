"""The second factor of a browser's session: whether it was entered, and how long ago."""

import time
from typing import Any

from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from common.errors import NotAllowedError
from common.reason_codes import Code
from users import second_factor
from users.models import SecondFactor, User

SHOWN = "second_factor"  # where the session keeps it
FRESH_SECONDS = 300


def record_second_factor(request: HttpRequest, user: User) -> None:
    """Keep that this browser has shown this very second factor, and when."""
    factor = SecondFactor.objects.filter(user=user).first()
    if factor is not None:
        request.session[SHOWN] = {"of": factor.enrolled_at.isoformat(), "at": time.time()}


def has_second_factor(request: HttpRequest, user: User) -> bool:
    """Whether this session may work for the user: with their second factor, if they have one."""
    factor = second_factor.factor_of(user)
    if factor is None:
        return not second_factor.is_required(user)
    said: dict[str, Any] = request.session.get(SHOWN) or {}
    return said.get("of") == factor.enrolled_at.isoformat()


def is_fresh(request: HttpRequest, user: User) -> bool:
    """Whether the second factor was shown within the last minutes; true for who has none."""
    if second_factor.factor_of(user) is None:
        return not second_factor.is_required(user)
    said: dict[str, Any] = request.session.get(SHOWN) or {}
    return 0 <= time.time() - float(said.get("at", 0)) <= FRESH_SECONDS


def require_fresh(request: Request) -> None:
    """Refuse an API request of a browser whose second factor was entered too long ago.

    For what config/middleware/second_factor.py cannot see by the address: it depends on the body.
    API keys
    are not asked. Raises NotAllowedError SECOND_FACTOR_NEEDED.
    """
    user = request.user
    is_browser = isinstance(request.successful_authenticator, SessionAuthentication)
    if is_browser and isinstance(user, User) and not is_fresh(request._request, user):
        raise NotAllowedError(Code.SECOND_FACTOR_NEEDED)
