"""What the script of the API reference (`try.js`) needs to send an operation. Pure."""

from typing import Any

from api.reference_rows import Operation
from common.idempotency import HEADER
from common.permissions import Scope

REAL = "This is sent to your account. It is real, not a simulation"
EFFECTS = {
    "": "This is real, not a simulation: the feed's subscribers trade on the alert.",
    Scope.TRADE: f"{REAL}: orders can be placed, changed or cancelled at your brokers.",
    Scope.PUBLISH: f"{REAL}: what a feed publishes is traded on its subscribers' accounts.",
    Scope.OPERATE: f"{REAL}: your accounts, limits and settings change at once.",
    Scope.PRICES: f"{REAL}: stops, targets and triggers are compared with these prices.",
}
"""What an operation that is not only read does, by the scope that it needs."""


def form_of(operation: Operation) -> dict[str, Any]:
    """Return the request's parts. What people read of them is on the page already."""
    return {
        "method": operation.method,
        "path": operation.path,
        "isSigned": operation.is_signed,
        "effect": effect_of(operation),
        "contentTypes": list(operation.content_types),
        "parameters": [
            {
                "name": field.name,
                "place": field.place,
                "type": field.type,
                "isRequired": field.is_required,
                "values": list(field.values),
            }
            for field in operation.parameters
        ],
    }


def effect_of(operation: Operation) -> str:
    """Return what sending it does; empty if it changes nothing.

    A POST of a signed-in user that takes no Idempotency-Key does nothing that could be done twice:
    it shows what would happen.
    """
    is_preview = operation.method == "POST" and HEADER not in {
        field.name for field in operation.parameters
    }
    if operation.method == "GET" or (is_preview and operation.is_signed):
        return ""
    return EFFECTS[operation.scope]
