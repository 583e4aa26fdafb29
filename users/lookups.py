"""Finding users by what a person typed: a user name, or an e-mail address."""

from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Lower

from common.spellings import is_same_address, spellings_of
from users.models import User


def named(name: str) -> QuerySet[User]:
    """Return the users with this user name: at most one that signed up, however it is typed."""
    return User.objects.filter(username__in=spellings_of(name))


def named_or_with_address(name: str) -> QuerySet[User]:
    """Return the users with this user name or, as the database compares, confirmed address."""
    found = User.objects.alias(address=Lower("email"))
    return found.filter(Q(username__in=spellings_of(name)) | _has_confirmed(name))


def with_confirmed_address(address: str) -> list[User]:
    """Return the users who have confirmed this address: at most one."""
    found = User.objects.alias(address=Lower("email")).filter(_has_confirmed(address))
    return [user for user in found if is_same_address(user.email, address)]


def _has_confirmed(address: str) -> Q:
    typed = [Lower(Value(spelling)) for spelling in spellings_of(address)]
    return Q(address__in=typed, email_confirmed_at__isnull=False)
