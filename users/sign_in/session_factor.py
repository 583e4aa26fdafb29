"""Whether and when the second factor was entered in a browser's session.

Services that seal secrets, or decide where they are sent, call `require_fresh_factor`: so no page,
form or operation of the API does so without it, whatever its address is.
"""

import time
from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request

from users.models import SecondFactor, User
from users.sign_in import second_factor

SESSION_KEY = "second_factor"
FRESH_SECONDS = 300


class SecondFactorNeededError(Exception):
    """The session must confirm its second factor before this action; nothing was done.

    No FillcastError: a form cannot be corrected by it. The API answers SECOND_FACTOR_NEEDED; pages
    ask for the factor and then show again what was typed (config/middleware/second_factor.py).
    """


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
    """Raise SecondFactorNeededError unless the caller's second factor is fresh.

    For fields of the API that need it whatever the service would do with them.
    """
    if isinstance(request.user, User):
        require_fresh_factor(request.user)


def require_fresh_factor(by: User | None) -> None:
    """Raise SecondFactorNeededError if `by` acts in a session whose second factor is stale.

    API keys, which are created with the factor, and commands pass.
    """
    if by is not None and by.has_stale_factor:
        raise SecondFactorNeededError
