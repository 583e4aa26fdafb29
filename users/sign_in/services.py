"""Sign-in with a password and a user name or confirmed e-mail address: limited, few at a time,
outside of any transaction.
"""

from datetime import timedelta
from typing import Any

import structlog
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Q
from django.http import HttpRequest

from common.db.prepared_lookup import PreparedLookup
from common.spellings import is_same_address, one_spelling
from users import lookups
from users.models import User
from users.password_slots import slots
from users.sign_in.attempt_limits import (
    Limit,
    TooManyAttemptsError,
    client_address,
    count_attempt,
    is_remembered,
    remember,
    undo_attempt,
)

log = structlog.get_logger(__name__)
LIMIT_WINDOW = timedelta(minutes=15)
LONGEST = 254  # an e-mail address; a user name has at most 150
FROM_ONE_ADDRESS, FOR_ONE_NAME, FOR_NAME_AND_ADDRESS = 100, 50, 10
KNOWN_FOR = timedelta(days=30)
_USER_BY_ID = PreparedLookup(lambda: User.objects.select_related("second_factor").filter(pk=1))


class PasswordBackend(ModelBackend):
    """Django's backend with limits by address, by login, and by both together.

    A login is found by its user name or its confirmed e-mail address. Whichever was typed, attempts
    count for the login, so that two names give no second ten. The limit of a login does not apply
    to an address from which this user has signed in within 30 days, so that guesses from elsewhere
    cannot lock users out of their accounts.
    """

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the user of this name or address and password; None if there is none.

        Raises TooManyAttemptsError and SlotsBusyError, which `portal.sign_in` answers.
        """
        name = username if username is not None else kwargs.get(User.USERNAME_FIELD)
        if name is None or password is None:
            return None
        with slots.slot():
            user = _user_called(name)
            login = name if user is None else user.get_username()
            limits = limits_for(request, login) if request is not None else []
            try:
                count_attempt(limits)
            except TooManyAttemptsError:
                log.warning("sign_in_refused", reason="too many tries")
                raise
            if not _password_matches(user, password):
                log.warning("sign_in_failed", user_id=user.pk if user else None)
                return None
            undo_attempt(limits, forget=limits[-1:])
            if request is not None:
                remember(_known_address(request, login))
        return user if self.user_can_authenticate(user) else None

    def get_user(self, user_id: int) -> User | None:
        """Return the user of a session, together with their second factor."""
        user = _USER_BY_ID.first(user_id)
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return the permissions of a user, their roles' and their own, by one statement.

        Django reads the two kinds one after the other, and each page of the console asks for them.
        """
        if obj is not None or not user_obj.is_active or user_obj.is_superuser:
            return set(super().get_all_permissions(user_obj, obj))
        if not hasattr(user_obj, "_perm_cache"):  # where Django keeps them, too
            user_obj._perm_cache = _permissions_of(user_obj)
        known: set[str] = user_obj._perm_cache
        return known


def _permissions_of(user: User) -> set[str]:
    own, of_roles = (
        Permission.objects.filter(held)
        .order_by()
        .values_list("content_type__app_label", "codename")
        for held in (Q(user=user), Q(group__user=user))
    )
    return {f"{app}.{name}" for app, name in own.union(of_roles)}


def limits_for(request: HttpRequest, login: str) -> list[Limit]:
    """Return the limits that apply to an attempt for this login from this address.

    login: its user name; what was typed, if no user is called that.
    """
    address, normalized = client_address(request), _normalized(login)
    limits = [Limit("address", address, FROM_ONE_ADDRESS, LIMIT_WINDOW)]
    if not is_remembered(_known_address(request, login)):
        limits.append(Limit("name", normalized, FOR_ONE_NAME, LIMIT_WINDOW))
    return [
        *limits,
        Limit("name and address", f"{address} {normalized}", FOR_NAME_AND_ADDRESS, LIMIT_WINDOW),
    ]


def _known_address(request: HttpRequest, login: str) -> Limit:
    return Limit("known address", f"{client_address(request)} {_normalized(login)}", 1, KNOWN_FOR)


def _normalized(login: str) -> str:
    """Return a login as it is counted.

    Addresses count in one spelling, whether a login has them or not: else the eleventh attempt
    in another spelling would show which.
    """
    normalized = one_spelling(login)[:LONGEST]
    return normalized.lower() if "@" in normalized else normalized


def _user_called(name: str) -> User | None:
    """Return the user with this user name, or else this confirmed address. Always one query."""
    if "\0" in name:
        return None  # PostgreSQL refuses this character
    users = list(lookups.named_or_with_address(name).select_related("second_factor")[:4])
    for spelling in (name, one_spelling(name)):
        for user in users:
            if user.get_username() == spelling:
                return user
    return next((user for user in users if is_same_address(user.email, name)), None)


def _password_matches(user: User | None, password: str) -> bool:
    """Compare the password; takes as long for a login that does not exist."""
    if not connection.in_atomic_block:
        connection.close()  # back to the pool while the processor works
    if user is None:
        make_password(password)
        return False
    return user.check_password(password)
