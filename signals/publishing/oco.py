"""OCO pairs: two entries of one symbol, of which each account sends at most one.

Both are signals of their own that share a group. They are stored, approved, published and cancelled
together (`services.py`); the engine holds both on every account until the market reaches one, which
cancels the other (docs/adr/0027).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import uuid4

from django.db import transaction

from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from signals.field_error import FieldError
from signals.models import TRAIL_OPTIONS, Action, Feed, OrderType, Origin, Signal, TimeInForce
from signals.publishing.ingest import build_unsaved, save_draft
from signals.publishing.preview import Preview, possible_preview, preview, require_possible
from signals.reading.draft import SignalDraft
from signals.reading.errors import InvalidSignalError, field_errors
from signals.reading.field_table import CONDITION_NAMES, EXIT_CONDITION_NAMES
from signals.reading.fields import Fields
from signals.reading.intake import parsed_object, read_fields
from signals.reading.strict_json import JsonObject
from signals.slicing import STYLE_FIELDS
from users.models import User

Item = TypeVar("Item")
Result = TypeVar("Result")
LEGS = 2
LONGEST_EXTERNAL_ID = 98  # a column holds 100 characters, and the leg's number is appended
# What both legs have in common stands beside them.
SHARED = ("feed", "symbol", "currency_pair", "pair", "ticker", "external_id")
_PRICES = ("direction", "order_type", "open_price", "stop_price", *TRAIL_OPTIONS)


def read_pair(data: bytes | Mapping[str, Any], *, key: str = "") -> tuple[SignalDraft, ...]:
    """Return the two entries that a JSON object with `legs` describes.

    key: the external id if the object has none. Raises InvalidSignalError with the errors of both
    legs, whose fields are named `legs.0.sl`; InvalidInputError if it is not JSON or too large.
    """
    parsed = parsed_object(data)
    outer = Fields(parsed)
    shared = {name: outer.raw(name) for name in SHARED if outer.has(name)}
    legs = outer.raw("legs")
    outer.refuse_unknown()
    if not _is_pair(legs):
        code = Code.FIELD_REQUIRED if legs is None else Code.FIELD_INVALID
        outer.add_error(code, "legs", "An OCO pair has two legs: a list of two objects.")
        legs = []
    drafts = tuple(_read_leg(outer, shared, leg, index) for index, leg in enumerate(legs))
    if drafts and _are_equal(*drafts):
        detail = "Both legs have the same side, type and prices, so they would be reached together."
        outer.add_error(Code.FIELD_INVALID, "legs", detail)
    external_id = (drafts[0].external_id if drafts else "") or key
    if len(external_id) > LONGEST_EXTERNAL_ID:
        detail = f"external_id has at most {LONGEST_EXTERNAL_ID} characters here."
        outer.add_error(Code.FIELD_INVALID, "external_id", detail)
    if outer.errors:
        is_readable = not any(outer.failed(f"legs.{index}.action") for index in range(LEGS))
        raise InvalidSignalError(_named_once(outer.errors, legs), drafts if is_readable else ())
    return tuple(
        replace(draft, external_id=f"{external_id}:{number}" if external_id else "")
        for number, draft in enumerate(drafts, 1)
    )


def _is_pair(legs: object) -> bool:
    return (
        isinstance(legs, list)
        and len(legs) == LEGS
        and all(isinstance(leg, Mapping) for leg in legs)
    )


def _read_leg(
    outer: Fields, shared: Mapping[str, Any], leg: Mapping[str, Any], index: int
) -> SignalDraft:
    merged = JsonObject({**leg, **shared})
    merged.duplicates = leg.duplicates if isinstance(leg, JsonObject) else ()
    fields = Fields(merged, at=f"legs.{index}.", errors=outer.errors)
    for name in SHARED:
        if name in leg:
            detail = f"Both legs have the same {name}: send it beside legs."
            fields.add_error(Code.FIELD_INVALID, name, detail)
    draft = read_fields(fields)
    for name, detail in _leg_errors(draft, has_type=fields.has("order_type")):
        if not fields.failed(name):
            fields.add_error(Code.FIELD_INVALID, name, detail)
    return draft


def _leg_errors(draft: SignalDraft, *, has_type: bool) -> Iterable[tuple[str, str]]:
    """Yield (field, error) for what a leg cannot be, since the engine holds it."""
    if draft.action != Action.OPEN:
        yield "action", "A leg is an OPEN signal."
        return
    if draft.order_type == OrderType.MARKET:
        start = "A market order is sent at once" if has_type else "A leg has an order_type"
        yield "order_type", f"{start}: choose LIMIT, STOP, STOP_LIMIT, IF_TOUCHED or TRAILING_STOP."
    if draft.time_in_force not in (TimeInForce.GTC, TimeInForce.GTD):
        yield "time_in_force", "A leg waits for its price: GTC or GTD, with valid_until as its end."
    for name in (*CONDITION_NAMES, *EXIT_CONDITION_NAMES):
        if getattr(draft, name):
            yield name, "A leg waits for its price alone. Publish an entry of its own instead."
    for name in STYLE_FIELDS:
        if getattr(draft, name) not in (None, ""):
            yield name, "A leg is sent as one order, not in slices."


def _are_equal(first: SignalDraft, second: SignalDraft) -> bool:
    return all(getattr(first, name) == getattr(second, name) for name in _PRICES)


def _named_once(
    errors: Iterable[FieldError], legs: Iterable[Mapping[str, Any]]
) -> list[FieldError]:
    """Return errors with what stands beside the legs under its own name, each once."""
    own = {
        f"legs.{index}.{name}": name
        for index, leg in enumerate(legs)
        for name in SHARED
        if name not in leg
    }
    named = (replace(error, field=own.get(error.field, error.field)) for error in errors)
    return list(dict.fromkeys(named))


@transaction.atomic
def save_pair(
    feed: Feed, drafts: Sequence[SignalDraft], *, origin: Origin, by: User | None
) -> tuple[list[Signal], bool]:
    """Store both legs, or none; return them and whether they are new.

    Raises what `save_draft` raises, InvalidSignalError with the errors of both legs, and
    ConflictError DUPLICATE_SIGNAL if only one of them is there already.
    """
    group = uuid4()
    saved = _of_each(
        drafts, lambda draft: save_draft(feed, draft, origin=origin, by=by, oco_group=group)
    )
    signals = [signal for signal, _ in saved]
    groups = {signal.oco_group for signal in signals}
    if len({is_new for _, is_new in saved}) > 1 or len(groups) > 1 or None in groups:
        detail = f"{signals[0].number} or {signals[1].number} has its external id already."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    return signals, saved[0][1]


def require_possible_pair(signals: Sequence[Signal]) -> None:
    """Raise InvalidSignalError if no candidate could take one of the legs as it is."""
    _of_each(signals, require_possible)


def build_unsaved_pair(feed: Feed, drafts: Sequence[SignalDraft]) -> list[Signal]:
    """Return the legs that `save_pair` would store; nothing is written.

    Raises InvalidSignalError with the errors of both legs.
    """
    group = uuid4()
    signals = _of_each(drafts, lambda draft: build_unsaved(feed, draft))
    for signal in signals:
        signal.oco_group = group
    return signals


def preview_pair(signals: Sequence[Signal]) -> list[Preview]:
    """Return the preview of each leg: what would happen if the market reached it first."""
    return [preview(signal) for signal in signals]


def possible_pair_previews(signals: Sequence[Signal]) -> list[Preview]:
    """Return the preview of each leg; raise InvalidSignalError if no candidate could take one."""
    return _of_each(signals, possible_preview)


def _of_each(items: Sequence[Item], call: Callable[[Item], Result]) -> list[Result]:
    """Call a function with each leg. Raises InvalidSignalError with what it refuses of all."""
    results, errors = list[Result](), list[FieldError]()
    for index, item in enumerate(items):
        try:
            results.append(call(item))
        except InvalidInputError as error:
            errors += [
                replace(one, field=f"legs.{index}.{one.field}") for one in field_errors(error)
            ]
    if errors:
        raise InvalidSignalError(_named_once(errors, ({},) * len(items)))
    return results
