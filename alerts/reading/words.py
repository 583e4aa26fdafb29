"""How an alert is read, in words: every field that is carried out, so that none is hidden. Pure."""

from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from typing import Any

from alerts.grammar.reading import AlertUpdate
from alerts.reading.alerts import Alert, AlertOrder, AlertSignal
from common.money import plain
from common.stop_rules import RULE_DISTANCES
from signals.models import Action, Direction
from signals.reading.draft import SignalDraft
from signals.symbols import rule_unit_word, slippage_unit

# Those that a preview shows in its own way, and units, which stand beside their numbers.
_APART = {
    "action", "pair", "direction", "order_type", "open_price", "stop_price", "sl", "targets",
    "external_id", "note", "refers_to", "refers_to_external_id", "sent_at", "feed", "symbol_field",
    "max_spread_unit", "max_slippage_unit", "stop_rule_unit",
}  # fmt: skip
_NAMES = {Direction.BUY: "long", Direction.SELL: "short"}
_UNITS = {"max_spread": "max_spread_unit", "max_slippage_pips": "max_slippage_unit"}


def reading_text(alert: Alert) -> str:
    """Return how an alert is read, in one line."""
    return ", ".join(f"{name} {value}" for name, value in fields_of(alert))


def fields_of(alert: Alert) -> Iterator[tuple[str, str]]:
    """Yield what was understood of an alert, field by field."""
    if isinstance(alert, AlertSignal):
        yield from _draft_fields(alert.draft)
        for one in alert.distances:
            yield one.level, f"{plain(one.value)} {one.unit.lower()} from the entry"
        return
    yield "symbol", alert.pair or ("all" if isinstance(alert, AlertOrder) else "the open trade's")
    if isinstance(alert, AlertOrder):
        yield "read as", alert.change
        if alert.closes:
            yield "closes", f"{_NAMES[alert.side] if alert.side else 'both sides'}"
            yield "share", f"{plain(alert.fraction * 100)} %"
        if alert.opening is not None:
            yield from _draft_fields(alert.opening)
    else:
        yield from _update_fields(alert)
    if alert.sent_at is not None:
        yield "time", alert.sent_at.isoformat()


def _draft_fields(draft: SignalDraft) -> Iterator[tuple[str, str]]:
    yield "action", draft.action
    yield "symbol", draft.pair or "that of the signal it refers to"
    if draft.action == Action.OPEN:
        yield "direction", str(draft.direction)
        yield "order_type", draft.order_type
    for name in ("open_price", "stop_price", "sl"):
        if (price := getattr(draft, name)) is not None:
            yield name, plain(price)
    for number, target in enumerate(draft.targets, 1):
        share = plain(round(target.fraction * 100, 2))
        yield f"target {number}", f"{plain(target.price)}, {share} %"
    for name in ("external_id", "note", "refers_to", "refers_to_external_id"):
        if value := getattr(draft, name):
            yield name, str(value)
    yield from _further_fields(draft)
    if draft.sent_at is not None:
        yield "time", draft.sent_at.isoformat()


def _update_fields(update: AlertUpdate) -> Iterator[tuple[str, str]]:
    if update.side:
        yield "direction", update.side
    if update.cancels:
        yield "cancel", "the entry that waits"
    if update.fraction is not None:
        yield "close", f"{plain(update.fraction * 100)} %"
    if update.sl_to_entry:
        yield "sl", "the entry price that the signal states"
    if update.sl is not None:
        yield "sl", plain(update.sl)
    for target in update.targets:
        yield "target", plain(target.price)


def _further_fields(draft: SignalDraft) -> Iterator[tuple[str, str]]:
    """Yield the other fields that a draft has: its stop rule, spread, condition, validity."""
    for one in fields(SignalDraft):
        value = getattr(draft, one.name)
        if one.name not in _APART and value != one.default:
            yield one.name, _text(draft, one.name, value)


def _text(draft: SignalDraft, name: str, value: Any) -> str:
    text = plain(value) if isinstance(value, Decimal) else str(value)
    if name in _UNITS:
        text += f" {slippage_unit(draft.pair, getattr(draft, _UNITS[name])).word}"
    elif name in RULE_DISTANCES:
        text += f" {rule_unit_word(draft.pair, draft.stop_rule_unit)}"
    return text.rstrip()
