"""Check that the fields of a signal fit together. Pure."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from common.reason_codes import Code
from common.stop_rules import RULE_FIELDS, stop_rule_faults
from common.units import Unit
from signals.models import (
    AT_MARKET_FROM_STOP,
    LIMITED,
    TRAIL_FIELDS,
    TRAIL_OPTIONS,
    TRIGGERED,
    Action,
    AfterState,
    OrderType,
    TimeInForce,
)
from signals.reading.draft import SignalDraft, level_errors
from signals.reading.field_table import ACTIONS, CONDITION_NAMES, EXIT_CONDITION_NAMES, MODIFIABLE
from signals.reading.fields import Fields
from signals.slicing import STYLE_FIELDS, style_errors
from signals.symbols import slippage_unit

# Types whose fill price we cannot limit, since the broker executes them.
LIMITED_AT_BROKER = (OrderType.STOP, OrderType.STOP_LIMIT)
# Types that no broker gets: the engine holds them and sends another order when they are triggered.
HELD = (OrderType.IF_TOUCHED, OrderType.TRAILING_STOP)


def validate(draft: SignalDraft, fields: Fields) -> None:
    """Add errors to `fields` where the draft's fields contradict or need each other.

    Fields that could not be read already have an error; what depends on them is not checked.
    """
    if fields.failed("action"):
        return
    _belongs_to_action(draft, fields)
    _reference(draft, fields)
    if fields.has("valid_until") and fields.has("valid_for"):
        fields.add_error(
            Code.FIELD_INVALID, "valid_for", "Send valid_until or valid_for, not both."
        )
    _exit_condition(fields)
    if draft.action == Action.OPEN and not fields.failed("order_type"):
        _prices(draft, fields)
        _trail(draft, fields)
        _units(draft, fields)
        _slippage(draft, fields)
        _stop_rule(draft, fields)
        _sides(draft, fields)
        if not fields.failed("time_in_force"):
            _time_in_force(draft, fields)
        _condition(draft, fields)
        _style(draft, fields)


def condition_errors(
    given: Collection[str], not_before: datetime | None, valid_until: datetime | None
) -> Iterator[tuple[str, str]]:
    """Yield (field, error) where the fields of a condition contradict or need each other.

    given: which of CONDITION_NAMES are there.
    """
    yield from signal_state_errors(given, "after_signal", "after_state")
    if not_before is not None and valid_until is not None and not_before >= valid_until:
        yield "not_before", "It must be before valid_until, at which the entry ends."


def signal_state_errors(
    given: Collection[str], signal: str, state: str
) -> Iterator[tuple[str, str]]:
    """Yield (field, error) where a named signal and its state need each other.

    given: which fields are there. signal, state: their names; the external id has its own field.
    """
    named = [name for name in (signal, f"{signal}_external_id") if name in given]
    for name in named[1:]:
        yield name, "Send only one of the signal's ids."
    if named and state not in given:
        known = ", ".join(AfterState.values)
        yield state, f"Send what must have become of that signal: {known}."
    if state in given and not named:
        yield state, f"Send the signal, too: {signal} or {signal}_external_id."


def _exit_condition(fields: Fields) -> None:
    given = [name for name in EXIT_CONDITION_NAMES if fields.has(name)]
    if any(fields.failed(name) for name in given):
        return
    for name, detail in signal_state_errors(given, "close_when_signal", "close_when_state"):
        code = Code.FIELD_INVALID if fields.has(name) else Code.FIELD_REQUIRED
        fields.add_error(code, name, detail)


def _condition(draft: SignalDraft, fields: Fields) -> None:
    given = [name for name in CONDITION_NAMES if fields.has(name)]
    if any(fields.failed(name) for name in given):
        return
    if draft.close_at and draft.not_before and draft.close_at <= draft.not_before:
        detail = "It must be after not_before, from which the entry works."
        fields.add_error(Code.FIELD_INVALID, "close_at", detail)
    for name, detail in condition_errors(given, draft.not_before, draft.valid_until):
        code = Code.FIELD_INVALID if fields.has(name) else Code.FIELD_REQUIRED
        fields.add_error(code, name, detail)


def unlimited_stop(name: str) -> str:
    """Return the error for a slippage limit of a stop order. name: the limit's field."""
    return (
        "No broker limits the price of a stop order once its price is reached. "
        f"Leave {name} out, or publish a stop-limit order."
    )


def limited_already(name: str) -> str:
    """Return the error for a slippage limit of a stop-limit order. name: the limit's field."""
    return f"A stop-limit order is never filled beyond its open_price. Leave {name} out."


def has_no_pips(pair: str, unit: str) -> bool:
    """Return whether a limit's unit is pips and the symbol has none: only currencies and metals."""
    return unit == Unit.PIPS and slippage_unit(pair) is not Unit.PIPS


def entry_price_errors(
    order_type: str, prices: Mapping[str, Decimal | None]
) -> Iterator[tuple[str, str]]:
    """Yield (field, error) for each price of a MODIFY that an entry of this type does not have.

    prices: open_price and stop_price; None: it stays.
    """
    name = OrderType(order_type).label.lower().replace(" ", "-")
    for field, types in (("open_price", LIMITED), ("stop_price", TRIGGERED)):
        if prices.get(field) is not None and order_type not in types:
            yield field, f"The entry is a {name} order, which has no {field} to change."


def entry_end_errors(
    end: datetime, *, now: datetime, closes_at: datetime | None, begins: datetime | None
) -> Iterator[str]:
    """Yield why an entry that was published cannot end at this market time.

    closes_at: when its positions are closed. begins: the time that it waits for.
    """
    if end <= now:
        yield f"It has passed; it is {now:%Y-%m-%d %H:%M:%S} UTC."
    if closes_at is not None and end > closes_at:
        yield (
            f"It must not be later than {closes_at:%Y-%m-%d %H:%M:%S} UTC, when the position is "
            "closed."
        )
    if begins is not None and end <= begins:
        yield f"It must be after {begins:%Y-%m-%d %H:%M:%S} UTC, from which the entry works."


def time_in_force_error(order_type: str, time_in_force: str) -> str:
    """Return why an order of this type cannot have this time in force; empty if it can."""
    if order_type == OrderType.STOP_LIMIT and time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        return f"A stop-limit order waits for its stop price, and {time_in_force} ends at once."
    if order_type in HELD and time_in_force not in (TimeInForce.GTC, TimeInForce.GTD):
        name = OrderType(order_type).label.lower().replace(" ", "-")
        return f"A {name} order waits for its trigger: GTC or GTD, with valid_until as its end."
    if order_type == OrderType.MARKET and time_in_force == TimeInForce.GTD:
        return "A market order does not wait, so it has no GTD. valid_until ends it if it is late."
    return ""


def refuse_for_action(action: Action, fields: Fields) -> None:
    """Add an error for each field without a meaning for an action: its sender expects an effect."""
    for name, actions in ACTIONS.items():
        if action not in actions and fields.raw(name) is not None:
            known = " or ".join(sorted(actions))
            fields.add_error(Code.FIELD_INVALID, name, f"{name} is only for {known}.")


def _belongs_to_action(draft: SignalDraft, fields: Fields) -> None:
    refuse_for_action(draft.action, fields)
    if draft.action == Action.MODIFY and not any(fields.has(name) for name in MODIFIABLE):
        detail = (
            "MODIFY needs a new sl, tp, targets, close_at, close_when_signal, valid_until, "
            "open_price, stop_price or price_limit."
        )
        fields.add_error(Code.FIELD_REQUIRED, "sl", detail)


def _reference(draft: SignalDraft, fields: Fields) -> None:
    used = [name for name in ("refers_to", "refers_to_external_id") if fields.has(name)]
    if draft.action == Action.OPEN:
        return
    if len(used) == 2:
        fields.add_error(Code.FIELD_INVALID, used[1], "Send only one of the signal's ids.")
    named = draft.refers_to is not None or draft.refers_to_external_id
    if not named and not any(fields.failed(name) for name in used):
        fields.add_error(Code.REFERENCE_REQUIRED, "refers_to")


def _prices(draft: SignalDraft, fields: Fields) -> None:
    """Check that each order type has the prices that it needs, and no others."""
    name = OrderType(draft.order_type).label.lower().replace(" ", "-")
    order = f"{'An' if name[0] in 'aeiou' else 'A'} {name} order"
    if draft.order_type in LIMITED and not (fields.has("open_price") or fields.has("price")):
        fields.add_error(Code.PRICE_REQUIRED, "open_price", f"{order} needs open_price.")
    if draft.order_type not in TRIGGERED:
        if fields.has("stop_price"):
            detail = (
                "Only a stop, stop-limit or if-touched order has a stop_price; the stop loss is "
                "called sl."
            )
            fields.add_error(Code.FIELD_INVALID, "stop_price", detail)
    elif not fields.has("stop_price"):
        fields.add_error(Code.PRICE_REQUIRED, "stop_price", f"{order} needs stop_price.")
    elif (
        draft.order_type in AT_MARKET_FROM_STOP
        and draft.open_price is not None
        and draft.open_price != draft.stop_price
    ):
        detail = f"{order} becomes a market order at stop_price; leave open_price out."
        fields.add_error(Code.FIELD_INVALID, fields.first_used("price", "open_price"), detail)


def trail_errors(
    order_type: str, given: Collection[str], percent: Decimal | None, *, has_price: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (field, error) where a trailing stop's fields contradict or need each other.

    given: which of its fields are there. has_price: whether the order has an open_price.
    """
    named = [name for name in TRAIL_FIELDS if name in given]
    if order_type != OrderType.TRAILING_STOP:
        for name in (name for name in TRAIL_OPTIONS if name in given):
            yield name, f"Only a trailing stop (TRAILING_STOP) has {name}."
        return
    if not named:
        yield "trail_distance", f"A trailing stop needs one of {', '.join(TRAIL_FIELDS)}."
    for name in named[1:]:
        yield name, f"Send one distance: {named[0]} is there already."
    if "trail_atr_minutes" in given and "trail_atr" not in named:
        yield (
            "trail_atr_minutes",
            "It is the length of trail_atr's candles; send it with trail_atr.",
        )
    if percent is not None and percent >= 100:
        yield "trail_percent", "It must be below 100 percent of the price."
    if has_price:
        yield "open_price", "A trailing stop follows the market; leave open_price out."


def _trail(draft: SignalDraft, fields: Fields) -> None:
    """Check that a trailing stop has one distance, and other types have none."""
    given = [name for name in TRAIL_OPTIONS if fields.has(name)]
    for name, error in trail_errors(
        draft.order_type,
        given,
        draft.trail_percent,
        has_price=fields.has("open_price") or fields.has("price"),
    ):
        is_missing = name == "trail_distance" and not any(name in given for name in TRAIL_FIELDS)
        code = Code.FIELD_REQUIRED if is_missing else Code.FIELD_INVALID
        renamed = fields.first_used("price", "open_price") if name == "open_price" else name
        fields.add_error(code, renamed, error)


def _units(draft: SignalDraft, fields: Fields) -> None:
    """Refuse the unit of a limit that is not there: it would limit nothing."""
    for limit, names in (
        ("max_slippage", ("max_slippage", "max_slippage_pips")),
        ("max_spread", ("max_spread",)),
    ):
        unit = f"{limit}_unit"
        if getattr(draft, unit) and not fields.failed(unit) and not any(map(fields.has, names)):
            detail = f"It is the unit of {limit}: send that too, or leave the unit out."
            fields.add_error(Code.FIELD_INVALID, unit, detail)


def _slippage(draft: SignalDraft, fields: Fields) -> None:
    """Refuse a slippage limit of an order that cannot keep it, or has a limit already."""
    if draft.order_type not in LIMITED_AT_BROKER:
        return
    describe = unlimited_stop if draft.order_type == OrderType.STOP else limited_already
    for name in ("max_slippage", "max_slippage_pips"):
        if fields.has(name):
            fields.add_error(Code.FIELD_INVALID, name, describe(name))


def break_even_target_error(target: int | None, targets: int) -> str:
    """Return why break-even cannot follow this target; empty if it can. targets: their number."""
    if not target or target <= targets:
        return ""
    return f"The signal has {targets} target{'' if targets == 1 else 's'}, fewer than that."


def _stop_rule(draft: SignalDraft, fields: Fields) -> None:
    """Check that the fields of a break-even and trailing rule fit together."""
    for name, detail in stop_rule_faults({name: getattr(draft, name) for name in RULE_FIELDS}):
        if not fields.failed(name):
            fields.add_error(Code.FIELD_INVALID, name, detail)
    error = break_even_target_error(draft.break_even_target, len(draft.targets))
    if error and not fields.failed("targets"):
        fields.add_error(Code.FIELD_INVALID, "break_even_target", error)


def _time_in_force(draft: SignalDraft, fields: Fields) -> None:
    """Check that the order type can have the time in force, and that GTD has its end."""
    if error := time_in_force_error(draft.order_type, draft.time_in_force):
        fields.add_error(Code.FIELD_INVALID, "time_in_force", error)
    elif draft.time_in_force == TimeInForce.GTD and not (
        fields.has("valid_until") or fields.has("valid_for")
    ):
        detail = "GTD needs valid_until or valid_for: until then the broker keeps the order."
        fields.add_error(Code.FIELD_REQUIRED, "valid_until", detail)


def _style(draft: SignalDraft, fields: Fields) -> None:
    """Check the execution style, unless it could not be read."""
    if fields.failed("execution_style"):
        return
    names = (
        *STYLE_FIELDS, "action", "order_type", "time_in_force", "direction", "sl", "valid_for",
        "close_after_seconds",
    )  # fmt: skip
    for error in style_errors({name: getattr(draft, name) for name in names}):
        if not fields.failed(error.field):
            fields.add_error(error.code, error.field, error.detail)


def _sides(draft: SignalDraft, fields: Fields) -> None:
    if draft.direction is None:
        return
    shorthand = fields.first_used("tp", "take_profit", "targets")
    for error in level_errors(
        direction=draft.direction,
        entry=draft.entry_price,
        sl=draft.sl,
        targets=draft.targets,
        trigger=draft.trigger_price,
    ):
        renamed = shorthand if error.field == "targets" else fields.first_used("stop_loss", "sl")
        fields.add_error(error.code, renamed, error.detail)
