"""What an object states besides its order, and may not be left out silently. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from alerts.dialects.option_values import require_size
from alerts.grammar.reading import SIZING, Note, ambiguous, excerpt, require_entry_size, unread
from common.errors import InvalidInputError
from common.reason_codes import Code

_CHANGES = re.compile(
    r"test|dry.?run|paper|simul|demo|clos|reduce|exit|cancel|disab|enab|ignor|skip|inver|revers",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"stop|\bsl\b|\btp[0-9]?\b|profit|target|limit|trail|trigger|break.?even|expir|delay",
    re.IGNORECASE,
)
LEVELS = ("sl", "tp", "stop_loss", "take_profit", "targets", "stopLoss", "takeProfit")


def require_whole(parsed: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a share of a position, which an order alone does not close."""
    size = "" if parsed.get("quantity") is None else str(parsed["quantity"])
    require_size("quantity", size)
    require_entry_size("quantity", size)
    kind = str(parsed.get("quantityType") or "")
    if "position" in kind.lower() and size.removesuffix("%") not in ("100", "100.0"):
        raise ambiguous(
            f"{size or 'A quantity'} of the position", "a close of that share",
            "a close of everything", field="quantityType",
            write="Send action CLOSE with close_fraction, or leave quantityType out.",
        )  # fmt: skip


def require_plain_extras(extras: Any) -> None:
    """Raise InvalidInputError for extras that can change what is meant, like {"dryRun": true}."""
    if not extras:
        return
    found = _CHANGES.search(json.dumps(extras)) or _ORDERS.search(" ".join(_names(extras)))
    if found:
        raise ambiguous(
            f"extras with {excerpt(found[0])}", "a note", "another order than without it",
            field="extras",
            write="Send a level as stopLoss or takeProfit; leave out what is only a note.",
        )  # fmt: skip


def _names(value: Any) -> list[str]:
    """Return the names of an object's fields, also of those within them."""
    if isinstance(value, Mapping):
        return [*map(str, value), *(name for inner in value.values() for name in _names(inner))]
    return [name for one in value for name in _names(one)] if isinstance(value, list) else []


def require_no_size(notes: list[Note]) -> None:
    """Raise InvalidInputError for a close with a size, which is no share of a position."""
    if size := next((note.text for note in notes if note.reason == SIZING), ""):
        name = size.split()[0]
        detail = (
            f"{name} of an exit could mean a close of that much, or of everything. Leave {name} "
            "out, or send action CLOSE with close_fraction."
        )
        raise InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field=name)


def refuse_rest(rest: dict[str, Any], *, keep: tuple[str, ...]) -> None:
    for name in rest:
        if name not in keep and rest[name] not in (None, ""):
            raise unread(name)


def refuse_levels(parsed: Mapping[str, Any], what: str) -> None:
    """Raise InvalidInputError for a close or a cancel with levels: now, or when the price is there?

    what: an exit.
    """
    for name in LEVELS:
        if parsed.get(name) not in (None, "", {}):
            raise ambiguous(
                f"{name} of {what}", f"{what} now", f"{what} when that price is reached",
                field=name, write=f"Leave {name} out, or send action MODIFY with the new level.",
            )  # fmt: skip
