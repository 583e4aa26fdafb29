"""Staff with roles, for the tests of all apps."""

from itertools import count
from typing import Any

from django.contrib.auth.models import Group

from common.permissions import Role
from users.models import User

_number = count(1)


def staff(*roles: Role, name: str = "", **fields: Any) -> User:
    """A member of staff with these roles; without any: one who may nothing."""
    user = User.objects.create_user(
        name or f"staff-{next(_number)}", **{"is_staff": True, **fields}
    )
    give(user, *roles)
    return user


def give(user: User, *roles: Role) -> None:
    """Give roles; an unsaved one of them is an error of the test."""
    user.groups.set(Group.objects.filter(name__in=roles))
