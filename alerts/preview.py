"""Show how an alert would be read and what it would do now. Nothing is stored or published."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import transaction

from alerts.acceptance import require_acceptable, require_approved
from alerts.carry_out.distances import with_distances
from alerts.carry_out.levels import require_clear_levels, require_near_market
from alerts.carry_out.orders import withheld_error
from alerts.carry_out.sides import require_sides
from alerts.carry_out.trades import (
    moment_of,
    only_trade,
    require_another_trade,
    waiting_reversal_error,
)
from alerts.carry_out.updates import described, drafts_of, require_clear_cancel
from alerts.reading import (
    Alert,
    AlertOrder,
    AlertUpdate,
    Note,
    ambiguous,
    read_alert,
    read_mapping,
    without_secrets,
)
from alerts.reading.words import fields_of
from common.errors import FillcastError, InvalidInputError
from common.money import plain
from signals.feeds.alert_rules import entry_symbol_error
from signals.field_error import FieldError
from signals.models import Action, Feed, Origin
from signals.open_signals import OpenSignal, all_open_signals, last_is_unended, open_signals
from signals.publishing.ingest import build_unsaved
from signals.reading.draft import SignalDraft
from signals.reading.errors import field_errors
from signals.symbol_completion import Closing, resolve_pair
from users.tenancy import for_all_tenants


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
    fields = tuple(ReadField(*field) for field in fields_of(alert))
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
