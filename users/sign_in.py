"""Signing in with name and password: counted, a few at a time, outside of any transaction."""

import unicodedata
from datetime import timedelta
from typing import Any

import structlog
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.http import HttpRequest

from common.prepared_lookup import PreparedLookup
from users.attempt_limits import (
    Limit,
    TooManyAttemptsError,
    client_address,
    count_attempt,
    is_remembered,
    remember,
    undo_attempt,
)
from users.models import User
from users.password_slots import slots

log = structlog.get_logger(__name__)
PAUSE = timedelta(minutes=15)
FROM_ONE_ADDRESS, FOR_ONE_NAME, FOR_NAME_AND_ADDRESS = 100, 50, 10
KNOWN_FOR = timedelta(days=30)
_USER_BY_ID = PreparedLookup(lambda: User.objects.select_related("second_factor").filter(pk=1))


class PasswordBackend(ModelBackend):
    """Django's own, with limits: by address, by name, and by both together.

    A name's limit does not bind an address from which this user has signed in of late: guesses
    from elsewhere keep nobody out of their own account.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user of this name and password; None if there is none.

        Raises TooManyTriesError and BusyError, which `portal.sign_in` answers.
        """
        name = username if username is not None else kwargs.get(User.USERNAME_FIELD)
        if name is None or password is None:
            return None
        with slots.slot():
            limits = limits_for(request, name) if request is not None else []
            try:
                count_attempt(limits)
            except TooManyAttemptsError:
                log.warning("sign_in_refused", reason="too many tries")
                raise
            user = _user_named(name)
            if not _is_right(user, password):
                log.warning("sign_in_failed", user_id=user.pk if user else None)
                return None
            undo_attempt(limits, forget=limits[-1:])
            if request is not None:
                remember(_known(request, name))
        return user if self.user_can_authenticate(user) else None

    def get_user(self, user_id: int) -> User | None:
        """Return who a session belongs to, together with their second factor."""
        user = _USER_BY_ID.first(user_id)
        return user if user is not None and self.user_can_authenticate(user) else None


def limits_for(request: HttpRequest, name: str) -> list[Limit]:
    """Return what a try of this name from this address counts against."""
    address, plain = client_address(request), _plain(name)
    limits = [Limit("address", address, FROM_ONE_ADDRESS, PAUSE)]
    if not is_remembered(_known(request, name)):
        limits.append(Limit("name", plain, FOR_ONE_NAME, PAUSE))
    return [*limits, Limit("name and address", f"{address} {plain}", FOR_NAME_AND_ADDRESS, PAUSE)]


def _known(request: HttpRequest, name: str) -> Limit:
    return Limit("known address", f"{client_address(request)} {_plain(name)}", 1, KNOWN_FOR)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name)[:150]


def _user_named(name: str) -> User | None:
    if "\0" in name:
        return None  # PostgreSQL cannot be asked for it
    return User.objects.select_related("second_factor").filter(username=name).first()


def _is_right(user: User | None, password: str) -> bool:
    if not connection.in_atomic_block:
        connection.close()  # back to the pool while the processor works
    if user is None:
        make_password(password)  # it takes as long as for a name that is there
        return False
    return user.check_password(password)
