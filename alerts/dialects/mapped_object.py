"""JSON objects of any form, read by the paths and words of the feed's mapping. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alerts.grammar.bare_entry import is_clear_entry
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import Dialect, Note, Reading, excerpt
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.models import Action
from signals.reading.strict_json import first_duplicate


def require_no_duplicate(parsed: Mapping[str, Any]) -> None:
    """Raise InvalidInputError DUPLICATE_KEY for an object that has a name twice."""
    if duplicate := first_duplicate(parsed):
        raise InvalidInputError(
            Code.DUPLICATE_KEY, f"{duplicate!r} is there twice.", field=duplicate
        )


def value_at(parsed: Any, path: str) -> Any:
    """Return the value at a path such as `order.legs.0.price`; None if there is none."""
    for name in path.split("."):
        if isinstance(parsed, Mapping):
            parsed = parsed.get(name)
        elif isinstance(parsed, list) and name.isdigit() and len(name) < 4:
            parsed = parsed[int(name)] if int(name) < len(parsed) else None
        else:
            return None
    return parsed


def read_mapped_object(parsed: Mapping[str, Any], mapping: AlertMapping) -> Reading:
    """Return an object by the paths of the feed's mapping. Raises InvalidInputError."""
    values = {name: value_at(parsed, path) for name, path in mapping.paths.items()}
    word = str(values.pop("side")).strip().upper()
    side = mapping.sides.get(word)
    if side is None:
        known = ", ".join(mapping.sides) or "none"
        detail = f"{excerpt(word)} is no side word of the feed's mapping ({known}): add it there."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="side")
    symbol = values.pop("symbol")
    document = {"symbol": mapping.symbol_of(symbol) if isinstance(symbol, str) else symbol}
    document |= side.fields
    is_open = side.fields["action"] == Action.OPEN
    notes = []
    for name, value in values.items():
        if value in (None, ""):
            continue
        if (name in ("price", "sl", "tp")) > is_open or (name == "close_fraction" and is_open):
            notes.append(Note(name, f"a {side.fields['action']} has none"))
        else:
            document[name] = value
    used = {path.split(".")[0] for path in mapping.paths.values()}
    notes += [Note(str(name)[:60], "no path leads there") for name in parsed if name not in used]
    reading = Reading(Dialect.MAPPED, document, notes=tuple(notes))
    # A feed with a word of its own for a close defines what its “sell” means.
    has_close = any(one.fields["action"] == Action.CLOSE for one in mapping.sides.values())
    is_bare = word in ("BUY", "SELL") and not has_close and not is_clear_entry(reading)
    return replace(reading, may_end=is_open and is_bare)
