"""What each operation does that is not only read, for who is about to try it (`x-effect`)."""

from typing import Any

from api.schema import operations
from common.permissions import Scope
from common.web.idempotency import HEADER

REAL = "This is sent to your account. It is real, not a simulation"
EFFECTS = {
    "": "This is real, not a simulation: the feed's subscribers trade on the alert.",
    Scope.TRADE: f"{REAL}: orders can be placed, changed or cancelled at your brokers.",
    Scope.PUBLISH: f"{REAL}: what a feed publishes is traded on its subscribers' accounts.",
    Scope.OPERATE: f"{REAL}: your accounts, limits and settings change at once.",
    Scope.PRICES: f"{REAL}: stops, targets and triggers are compared with these prices.",
}
"""By the scope that the operation needs; it needs no key without one."""


def add_effects(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add `x-effect` to the operations that change something. A hook of drf-spectacular."""
    for _path, method, operation in operations(result):
        if effect := effect_of(method, operation):
            operation["x-effect"] = effect
    return result


def effect_of(method: str, operation: dict[str, Any]) -> str:
    """Return what sending it does; empty if it changes nothing.

    A POST of a signed-in user that takes no Idempotency-Key does nothing that could be done twice:
    it shows what would happen.
    """
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    is_signed = bool(operation.get("security"))
    if method == "get" or (method == "post" and is_signed and HEADER not in names):
        return ""
    scopes = [scope for one in operation.get("security", ()) for scope in one.get("apiKey", ())]
    return EFFECTS[scopes[0] if scopes else ""]
