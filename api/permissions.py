"""Checks the caller's rights, and the scopes of an API key, for each operation.

A view names a right for each of its writing actions (`rights`); an action without one is refused.
Reading needs no right, since callers reach only the rows that they may see. The table of rights
(common/permissions.py) also has the scope that an API key needs for each.
"""

from typing import TYPE_CHECKING, Any

from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request

from common.errors import NotAllowedError
from common.permissions import OWN, Right, Scope, require, require_scope, scope_for
from common.reason_codes import Code

if TYPE_CHECKING:  # views read the settings, which name this module
    from rest_framework.views import APIView


class HasRight(IsAuthenticated):
    """Staff by their roles; others with their own rows, which `get_object` returns (else 404)."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raise NotAllowedError for a missing scope or right; False: not authenticated."""
        if not super().has_permission(request, view):
            # Such a view itself shows visitors only what is public.
            is_open = getattr(view, "open_to_visitors", False)
            return is_open and request.method in SAFE_METHODS and request.auth is None
        user: Any = request.user
        method = request.method or ""
        needed = needed_by(view, method)
        if (scope := scope_of(method, needed)) is not None:
            require_scope(user, scope)
        if isinstance(needed, Right) and (user.is_staff or not _is_about_one(view)):
            require(user, needed, owner_id=user.pk)
        return True

    def has_object_permission(self, request: Request, view: "APIView", obj: Any) -> bool:
        """Check the right of a tenant, who owns the object."""
        user: Any = request.user
        needed = needed_by(view, request.method or "")
        if isinstance(needed, Right) and not user.is_staff:
            require(user, needed, owner_id=user.pk)
        return True


def needed_by(view: Any, method: str) -> Right | str | None:
    """Return the right that an operation needs, or OWN; None: reading, or no such method (405).

    Raises NotAllowedError for an action without an entry in `rights`.
    """
    name = getattr(view, "action", "") or _method(view, method)
    if method in SAFE_METHODS or not name:
        return None
    needed: Right | str | None = getattr(view, "rights", {}).get(name)
    if needed is None:
        raise NotAllowedError(Code.PERMISSION_DENIED, "This operation has no right assigned.")
    assert isinstance(needed, Right) or needed == OWN
    return needed


def scope_of(method: str, needed: Right | str | None) -> Scope | None:
    """Return the scope that an API key needs; None without such a method."""
    if method in SAFE_METHODS:
        return Scope.READ
    return scope_for(needed) if needed is not None else None


def _is_about_one(view: Any) -> bool:
    return bool(getattr(view, "detail", False))


def _method(view: Any, method: str) -> str:
    """Return the method's name for a view without actions; "" if it has no such method."""
    name = method.lower()
    is_set = getattr(view, "action_map", None) is not None
    return "" if is_set or not hasattr(view, name) else name
