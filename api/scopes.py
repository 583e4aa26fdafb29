"""Which scope of an API key each operation needs. Reading needs `read`; what is not here, nobody
gets with a key. Rights (common/permissions.py) are asked besides: a scope gives nobody any."""

from typing import TYPE_CHECKING, Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from common.codes import Code
from common.errors import NotAllowedError
from common.permissions import Scope

if TYPE_CHECKING:  # views read the settings, which name this module
    from rest_framework.views import APIView

# By the first part of the address's name (`signal-publish`): what writing there needs.
WRITING = {
    "api-key": Scope.OPERATE,
    "channel": Scope.OPERATE,
    "connection": Scope.OPERATE,
    "data-connection": Scope.OPERATE,
    "drift": Scope.TRADE,
    "feed": Scope.PUBLISH,
    "kill-switch": Scope.OPERATE,
    "me": Scope.OPERATE,
    "notification": Scope.OPERATE,
    "order": Scope.TRADE,
    "position": Scope.TRADE,
    "preset": Scope.OPERATE,
    "signal": Scope.PUBLISH,
    "subscription": Scope.OPERATE,
}


def scope_of(view: Any, method: str) -> Scope | None:
    """Return the scope that a call needs; None: no key has it."""
    if method in SAFE_METHODS:
        return Scope.READ
    return WRITING.get(getattr(view, "basename", "") or getattr(view, "scope_name", ""))


class KeyScope(BasePermission):
    """Whether the API key that was sent has the scope. Who signed in with a browser needs none."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raise NotAllowedError RIGHT_MISSING that names the scope."""
        scopes = getattr(request.user, "key_scopes", None)
        needed = scope_of(view, request.method or "")
        if scopes is None or needed in scopes:
            return True
        name = needed.value if needed else "none"
        detail = f"This API key lacks the scope {name!r}. Use a key that has it, or make one."
        raise NotAllowedError(Code.RIGHT_MISSING, detail, scope=name)
