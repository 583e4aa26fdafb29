"""What an alert does, from what its form says. Pure: nothing is looked up or written.

Every form becomes an object of our own fields, or an update of an open trade. Here it becomes a
signal as the API accepts it, a close by symbol, or the order of a strategy; what could be two of
them is refused with both readings. `alerts.carry_out` resolves what the market and the open trades
decide: `AlertSignal.opposite`, `levels_alone`, `distances`, `level_form`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from alerts.grammar.mapping import NO_MAPPING, AlertMapping
from alerts.grammar.reading import Dialect, Note, Reading, refusal
from alerts.grammar.words import contradicting, turning_in_name, unclear_word
from alerts.reading.alerts import Alert, AlertOrder, AlertSignal, only_feed
from alerts.reading.orders import read_close, read_strategy_order, require_prices
from alerts.reading.strategy import POSITIONS
from alerts.reading.translate import translate
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.models import Action, Direction, OrderType
from signals.reading.draft import SignalDraft
from signals.reading.errors import InvalidSignalError, field_errors
from signals.reading.intake import read_signal

_WRITE = {
    Dialect.TEXT: "Write “{OPENS} …” for the one, “close …” for the other.",
    Dialect.COMMA_COMMAND: "Send “{opens},…” or a stop for the one, “close{closes},…” for the "
    "other.",
    Dialect.KEY_VALUE: "Send a stop for the one, “c=position b={closes}” for the other.",
    Dialect.COMMAND_BLOCK: "Write “{OPENS} BTCUSDT …” for the one, market(position=0) for the "
    "other.",
    Dialect.MAPPED: "Set a word for CLOSE in the feed's mapping, or send a stop with an entry.",
}
_WRITE_OBJECT = (
    'An indicator sends "action": "OPEN"; a strategy its market_position and prev_market_position.'
)
_TAKEN_BACK, _POSTPONING, _SHARE = map(contradicting, ("taken_back", "postponing", "share"))
OTHER_SIDE = {Direction.BUY: Direction.SELL, Direction.SELL: Direction.BUY}


def read_alert(body: bytes, mapping: AlertMapping = NO_MAPPING) -> Alert:
    """Return a parsed alert. mapping: the feed's own.

    Raises InvalidInputError; InvalidSignalError holds all its errors.
    """
    reading = translate(body, mapping)
    key = hashlib.sha256(body.strip()).hexdigest()
    if reading.update is not None:
        return replace(reading.update, key=key, dialect=reading.dialect, notes=reading.notes)
    alert = _resolved(reading)
    if isinstance(alert, AlertOrder):
        notes = (*reading.notes, *_unused_levels(alert, reading.document))
        return replace(alert, dialect=reading.dialect, notes=notes, level_form=reading.level_form)
    return replace(
        alert, dialect=reading.dialect, notes=reading.notes, distances=reading.distances, key=key,
        levels_alone=reading.levels_alone, level_form=reading.level_form,
    )  # fmt: skip


def _resolved(reading: Reading) -> AlertSignal | AlertOrder:
    parsed = reading.document
    _require_meant(parsed, _TAKEN_BACK)
    action = str(parsed.get("action") or "").strip().upper()
    has_position = any(parsed.get(name) is not None for name in POSITIONS)
    if has_position or action in Direction.values:
        return read_strategy_order(parsed, needs_time=reading.needs_time, form=reading.level_form)
    if action == Action.CLOSE:
        _require_meant(parsed, _POSTPONING)
        if parsed.get("close_fraction") is None:
            _require_meant(parsed, _SHARE)
        if not (parsed.get("refers_to") or parsed.get("refers_to_external_id")):
            return read_close(parsed)
    elif action != Action.MODIFY:
        _require_meant(parsed, turning_in_name)
    _require_known_action(action)
    draft = read_signal(parsed)
    try:
        require_prices(draft, reading.level_form)
    except InvalidInputError as error:
        raise InvalidSignalError(field_errors(error), (draft,)) from error
    if reading.may_end and draft.direction:
        return AlertSignal(draft, OTHER_SIDE[draft.direction])
    try:
        return AlertSignal(draft, None if action else _opposite(draft))
    except InvalidInputError as error:
        raise InvalidSignalError(field_errors(error), (only_feed(draft.feed),)) from error


def _require_known_action(action: str) -> None:
    """Raise InvalidInputError for an action of no form, with those that there are."""
    if not action or action in Action.values or "{{" in action:
        return
    if error := unclear_word(action.lower()):
        raise error
    raise refusal("known_action", action=action[:40].lower())


def _require_meant(parsed: Mapping[str, Any], find: Callable[[str], str]) -> None:
    """Raise InvalidInputError for a note with words that contradict what the other fields order.

    find: returns them, or ''.
    """
    for name in ("note", "comment"):
        if found := find(str(parsed.get(name) or "")):
            raise refusal("meant", field=name, key=name, found=found)


def ambiguous(direction: Direction, dialect: Dialect = Dialect.OWN) -> InvalidInputError:
    """Return the error for an alert with only a side, with both ways to read it."""
    opens, closes = ("long", "short") if direction == Direction.BUY else ("short", "long")
    write = _WRITE.get(dialect, _WRITE_OBJECT)
    write = write.format(opens=opens, OPENS=opens.upper(), closes=closes)
    detail = (
        f"{direction.lower()!r} alone could open a {opens} trade, or close a {closes} one. {write}"
    )
    return InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="action")


def _opposite(draft: SignalDraft) -> Direction | None:
    """Return the side of the trades that a signal without action and position might end.

    None: it is certainly an entry, since it waits for a price and has a stop. One without a stop
    can be a trade's end that waits. At market a stop or a target proves nothing: a template fills
    in the same ones for an exit and a reversal. Raises InvalidInputError ALERT_AMBIGUOUS if it has
    neither.
    """
    if draft.direction is None:
        return None
    if draft.order_type != OrderType.MARKET:
        return OTHER_SIDE[draft.direction] if draft.sl is None else None
    if draft.sl is None and not draft.targets:
        raise ambiguous(draft.direction)
    return OTHER_SIDE[draft.direction]


def _unused_levels(order: AlertOrder, parsed: Mapping[str, Any]) -> Iterator[Note]:
    """Yield a note for each level of an order that opens nothing: a strategy's template has them
    in each message."""
    if order.opening is None and order.opening_error is None:
        for name in ("sl", "stop_loss", "tp", "take_profit", "targets"):
            if parsed.get(name) not in (None, ""):
                yield Note(name, "an order that opens nothing has no levels")
