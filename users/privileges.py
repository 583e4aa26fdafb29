"""Checks before a user, a password, a role or another user's API key is changed.

No user can raise their own rights, or act on a user who has more rights.
"""

from collections.abc import Collection

from django.contrib.auth.models import Permission
from django.db.models import Q

from common.errors import NotAllowedError
from common.permissions import LABEL, ROLES, Right, Role, require
from common.reason_codes import Code
from users.models import User


def roles_of(user: User) -> set[Role]:
    """Return the roles of a user, even if the user is inactive."""
    known = {role.value for role in Role}
    return {Role(name) for name in user.groups.values_list("name", flat=True) if name in known}


def rights_of(user: User) -> frozenset[Right]:
    """Return all rights that a user has as active staff, by roles or directly."""
    if user.is_superuser:
        return frozenset(Right)
    permissions = Permission.objects.filter(Q(group__user=user) | Q(user=user))
    names = set(
        permissions.filter(content_type__app_label=LABEL).values_list("codename", flat=True)
    )
    return frozenset(right for right in Right if right.value in names)


def require_above(user: User, by: User | None, right: Right) -> None:
    """Raise NotAllowedError unless `by` has the right and may use it on this user (None: system).

    `by` may not use it on themselves, on a superuser unless they are one, or on a user who has a
    right that `by` does not have.
    """
    if by is None:
        return
    require(by, right)
    if by.pk == user.pk:
        raise NotAllowedError(Code.OWN_RIGHTS)
    if user.is_superuser:
        require_superuser(by)
    _require_within(rights_of(user), by, f"{user.get_username()} has rights that you do not have")


def require_givable(roles: Collection[Role], by: User | None) -> None:
    """Raise NotAllowedError if one of these roles has a right that `by` does not have."""
    if by is not None:
        for role in sorted(roles):
            _require_within(
                ROLES[role], by, f"The role {role.value} has rights that you do not have"
            )


def require_superuser(by: User | None) -> None:
    """Raise NotAllowedError unless `by` is a superuser (None: the system)."""
    if by is not None and not by.is_superuser:
        raise NotAllowedError(
            Code.RIGHTS_ABOVE_OWN, "Only a superuser can make, change or switch off a superuser."
        )


def _require_within(rights: frozenset[Right], by: User, lead: str) -> None:
    if missing := sorted(rights - rights_of(by)):
        raise NotAllowedError(
            Code.RIGHTS_ABOVE_OWN, f"{lead}: {', '.join(missing)}.", rights=", ".join(missing)
        )
