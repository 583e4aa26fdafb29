"""Staff users with roles, for the tests of all apps."""

from itertools import count
from typing import Any

from django.contrib.auth.models import Group

from common.permissions import Role
from users.models import User

_number = count(1)


def staff(*roles: Role, name: str = "", **fields: Any) -> User:
    """Return a member of staff with these roles; without roles it has no permission."""
    user = User.objects.create_user(
        name or f"staff-{next(_number)}", **{"is_staff": True, **fields}
    )
    give(user, *roles)
    return user


def give(user: User, *roles: Role) -> None:
    """Give a user these roles and remove all others."""
    user.groups.set(Group.objects.filter(name__in=roles))
