"""Nobody raises their own rights, or touches those of somebody who has more.

What services and forms ask before they change a user, a password, a role or another's API key.
"""

from collections.abc import Collection

from django.contrib.auth.models import Permission
from django.db.models import Q

from common.errors import NotAllowedError
from common.permissions import LABEL, ROLES, Right, Role, require
from common.reason_codes import Code
from users.models import User


def roles_of(user: User) -> set[Role]:
    """Return the roles of a user, also of one who is switched off."""
    known = {role.value for role in Role}
    return {Role(name) for name in user.groups.values_list("name", flat=True) if name in known}


def rights_of(user: User) -> frozenset[Right]:
    """Return all rights that a user would have when switched on and staff, by roles or directly."""
    if user.is_superuser:
        return frozenset(Right)
    mine = Permission.objects.filter(Q(group__user=user) | Q(user=user))
    names = set(mine.filter(content_type__app_label=LABEL).values_list("codename", flat=True))
    return frozenset(right for right in Right if right.value in names)


def require_above(user: User, by: User | None, right: Right) -> None:
    """Raise NotAllowedError unless `by` has the right and may use it on this user (None: system).

    That is: not on themselves, not on a superuser unless they are one, and on nobody who has a
    right that they have not.
    """
    if by is None:
        return
    require(by, right)
    if by.pk == user.pk:
        raise NotAllowedError(Code.OWN_RIGHTS)
    if user.is_superuser:
        require_superuser(by)
    _require_within(rights_of(user), by, f"{user.get_username()} has rights that you have not")


def require_givable(roles: Collection[Role], by: User | None) -> None:
    """Raise NotAllowedError where a role has a right that who gives it has not."""
    if by is not None:
        for role in sorted(roles):
            _require_within(ROLES[role], by, f"The role {role.value} has rights that you have not")


def require_superuser(by: User | None) -> None:
    """Raise NotAllowedError unless `by` is a superuser (None: the system)."""
    if by is not None and not by.is_superuser:
        raise NotAllowedError(
            Code.RIGHTS_ABOVE_OWN, "Only a superuser makes, changes or switches off a superuser."
        )


def _require_within(rights: frozenset[Right], by: User, said: str) -> None:
    if missing := sorted(rights - rights_of(by)):
        raise NotAllowedError(
            Code.RIGHTS_ABOVE_OWN, f"{said}: {', '.join(missing)}.", rights=", ".join(missing)
        )
