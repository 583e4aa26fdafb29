"""Show how an alert would be read and what it would do now. Nothing is stored or published."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import transaction

from common.errors import FillcastError, InvalidInputError
from common.money import plain
from signals.alert_dialects import AlertUpdate, Note, read_mapping, without_secrets
from signals.alert_distances import with_distances
from signals.alert_levels import require_clear_levels, require_near_market
from signals.alert_orders import withheld_error
from signals.alert_reading import Alert, AlertOrder, AlertSignal, ambiguous, read_alert
from signals.alert_rules import entry_symbol_error
from signals.alert_sides import require_sides
from signals.alert_trades import (
    moment_of,
    only_trade,
    require_another_trade,
    waiting_reversal_error,
)
from signals.alert_updates import described, drafts_of, require_clear_cancel
from signals.alerts import require_acceptable, require_approved
from signals.draft import SignalDraft
from signals.draft_fields import further_fields
from signals.errors import FieldError, field_errors
from signals.ingest import build_unsaved
from signals.models import Action, Direction, Feed, Origin
from signals.open_signals import OpenSignal, all_open_signals, last_is_unended, open_signals
from signals.symbol_completion import Closing, resolve_pair
from users.tenancy import for_all_tenants

_NAMES = {Direction.BUY: "long", Direction.SELL: "short"}


class ReadField(NamedTuple):
    """A field as it is understood."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class AlertPreview:
    """How an alert is read. dialect: '' if it cannot be read. fields: as they are understood.

    notes: what has no effect, and why. effect: what it would do now; '' if it is refused, with
    `errors`.
    """

    dialect: str = ""
    fields: tuple[ReadField, ...] = ()
    notes: tuple[Note, ...] = ()
    effect: str = ""
    errors: tuple[FieldError, ...] = ()


def preview_alert(feed: Feed, body: bytes) -> AlertPreview:
    """Return how an alert to this feed would be read and what it would do now."""
    try:
        mapping = read_mapping(feed.alert_mapping)
        alert = read_alert(without_secrets(body, mapping.paths.values()), mapping)
    except InvalidInputError as error:
        return AlertPreview(errors=field_errors(error))
    fields = tuple(ReadField(*field) for field in _fields(alert))
    shown = AlertPreview(alert.dialect.value, fields, alert.notes)
    try:
        require_approved(feed)
        require_acceptable(feed, alert)
        with transaction.atomic():
            return replace(shown, effect=_effect(feed, alert))
    except InvalidInputError as error:
        return replace(shown, errors=field_errors(error))
    except FillcastError as error:
        return replace(shown, errors=(FieldError(error.code, "", error.detail),))


def reading_text(alert: Alert) -> str:
    """Return how an alert is read, in one line."""
    return ", ".join(f"{name} {value}" for name, value in _fields(alert))


def _fields(alert: Alert) -> Iterator[tuple[str, str]]:
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
    yield from further_fields(draft)
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


def _effect(feed: Feed, alert: Alert) -> str:
    """Return what an alert would do now, in a sentence. Raises as the alert itself would."""
    if isinstance(alert, AlertUpdate):
        trade = only_trade(feed, alert, moment_of(alert, received_at=datetime.now(UTC)))
        require_clear_cancel(trade, alert)
        for draft in drafts_of(trade, alert):
            build_unsaved(feed, draft, Origin.ALERT)
        return f"{described(trade, alert)}."
    if isinstance(alert, AlertOrder):
        return _order_effect(feed, alert)
    draft = alert.draft
    if draft.action == Action.OPEN:
        draft = replace(draft, pair=resolve_pair(feed, draft.pair, field=draft.symbol_field))
        if (error := entry_symbol_error(feed, draft)) is not None:
            raise error
        require_near_market(feed, draft, alert.level_form)
        require_sides(feed, draft)
        draft = with_distances(feed, draft, alert.distances)
        may_end = alert.opposite and last_is_unended(feed.pk, draft.pair, alert.opposite)
        if may_end and draft.direction:
            raise ambiguous(draft.direction, alert.dialect)
        require_another_trade(feed, alert, draft)
    require_clear_levels(feed, draft, alert.level_form)
    signal = build_unsaved(feed, draft, Origin.ALERT)
    verb = {Action.OPEN: "Opens", Action.MODIFY: "Changes", Action.CLOSE: "Closes"}[draft.action]
    return f"{verb}: {signal}{_levels(draft)}."


def _levels(draft: SignalDraft) -> str:
    parts = [f"stop {plain(draft.sl)}"] if draft.sl is not None else []
    parts += [f"target {plain(target.price)}" for target in draft.targets]
    return f", {', '.join(parts)}" if parts else ""


def _order_effect(feed: Feed, order: AlertOrder) -> str:
    """Return what a close by symbol or a strategy's order would do."""
    closing = Closing(order.side) if order.opening is None else None
    pair = order.pair and resolve_pair(
        feed, order.pair, field=order.symbol_field, closing=closing
    )  # fmt: skip
    order = replace(order, pair=pair, opening=order.opening and replace(order.opening, pair=pair))
    parts, found = [], list[OpenSignal]()
    if order.closes:
        with for_all_tenants():
            found = (
                open_signals(feed.pk, pair, order.side)
                if pair
                else all_open_signals(feed.pk, order.side)
            )
        if found and (unclear := waiting_reversal_error(order)):
            raise unclear
        share = "" if order.fraction == 1 else f"{plain(round(order.fraction * 100, 2))} % of "
        numbers = ", ".join(f"S-{signal.id}" for signal in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        parts.append(f"closes {share}{numbers}{more}" if found else "closes nothing: none is open")
    withheld = withheld_error(feed, order)
    if withheld is None and order.opening is not None:
        try:
            signal = build_unsaved(feed, order.opening, Origin.ALERT)
            parts.append(f"opens {signal}{_levels(order.opening)}")
        except InvalidInputError as error:
            withheld = error
    if withheld is not None and not found:  # there is nothing to close either
        raise withheld
    if withheld is not None and (order.opening or order.opening_error):
        parts.append(f"opens nothing: {withheld.detail}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
