"""Whether the caller has the right that an operation takes (common/permissions.py).

A view says for each of its writing actions which right that is (`rights`); what is not said is
refused. Reading takes none: the rows are those that the caller may see.
"""

from typing import TYPE_CHECKING, Any

from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request

from common.codes import Code
from common.errors import NotAllowedError
from common.permissions import OWN, Right, Scope, require, require_scope

if TYPE_CHECKING:  # views read the settings, which name this module
    from rest_framework.views import APIView


class HasRight(IsAuthenticated):
    """Staff by their roles; others over their own rows, which `get_object` has found (else 404)."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raise NotAllowedError with the missing right; False: nobody knows who is calling."""
        if not super().has_permission(request, view):
            return False
        user: Any = request.user
        if request.method in SAFE_METHODS:
            require_scope(user, Scope.READ)
        elif (needed := _needed(view, request)) is OWN:
            require_scope(user, Scope.OPERATE)
        elif isinstance(needed, Right) and (user.is_staff or not _is_about_one(view)):
            require(user, needed, owner_id=user.pk)
        return True

    def has_object_permission(self, request: Request, view: "APIView", obj: Any) -> bool:
        """The same for a tenant, whose own the object is."""
        user: Any = request.user
        if request.method not in SAFE_METHODS:
            needed = _needed(view, request)
            if isinstance(needed, Right) and not user.is_staff:
                require(user, needed, owner_id=user.pk)
        return True


def _is_about_one(view: Any) -> bool:
    return bool(getattr(view, "detail", False))


def _needed(view: Any, request: Request) -> Any:
    """Return the right, or OWN; None where there is no such method (405)."""
    name = getattr(view, "action", "") or _method(view, request)
    if not name:
        return None
    needed = getattr(view, "rights", {}).get(name)
    if needed is None:
        detail = "This operation names no right, so nobody may."
        raise NotAllowedError(Code.PERMISSION_DENIED, detail)
    return needed


def _method(view: Any, request: Request) -> str:
    """The method's name for a view without actions; "" if it has no such method."""
    name = (request.method or "").lower()
    is_set = hasattr(view, "action_map")
    return "" if is_set or not hasattr(view, name) else name
