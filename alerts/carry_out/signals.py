"""Carry out an alert of the inbox: publish its signal, or have its order or update carried out.

Called in the alert's transaction by `alerts.inbox.publishing`, which settles the row.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from alerts.carry_out.chat import carry_out_edit, refuse_second_entry
from alerts.carry_out.distances import with_distances
from alerts.carry_out.levels import require_clear_levels, require_near_market
from alerts.carry_out.orders import Outcome, carry_out
from alerts.carry_out.repeats import is_another
from alerts.carry_out.sequence import known_signal, record_signal, require_in_order
from alerts.carry_out.sides import require_sides
from alerts.carry_out.sizes import size_note
from alerts.carry_out.trades import require_another_trade
from alerts.carry_out.updates import carry_out_update
from alerts.models import AlertSource, IncomingAlert
from alerts.reading import (
    Alert,
    AlertOrder,
    AlertSignal,
    AlertUpdate,
    ambiguous,
    only_feed,
    read_alert,
    read_mapping,
)
from common.clocks import market_at
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from signals import services
from signals.feeds.alert_rules import entry_symbol_error
from signals.locks import candidates_shared
from signals.models import Action, Feed, Origin, Signal
from signals.open_signals import last_is_unended
from signals.publishing.ingest import referred_pair, save_draft, with_feed_errors
from signals.reading.draft import SignalDraft
from signals.reading.errors import InvalidSignalError, field_errors
from signals.sequence import lock_alert_order
from signals.symbol_completion import resolve_pair
from users.tenancy import on_behalf_of


def waiting_time(alert: IncomingAlert) -> str:
    """Return since when an alert has waited, and why its last attempt failed."""
    waited = int((datetime.now(UTC) - alert.received_at).total_seconds())
    reason = f" The last attempt failed: {alert.detail}" if alert.detail else ""
    return f"It waited {waited} s, since {alert.received_at:%H:%M:%S} UTC.{reason}"


def carry_out_alert(alert: IncomingAlert, *, is_late: bool = False) -> Outcome:
    """Publish what an alert says, in the caller's transaction; return the outcome.

    A repeated alert is recognised: a strategy's order by `AlertOrder.key`, a signal by its external
    id, else by its contents within REPLAY_WINDOW. An alert that arrives after one that was sent
    later is checked against it (`sequence`). is_late: it opens nothing any more.

    Raises InvalidInputError (FEED_UNKNOWN, ALERT_SYMBOL_NOT_ALLOWED, and as `read_alert` and
    `save_draft` do), NotAllowedError FEED_NOT_APPROVED, ConflictError (ALERT_EXPIRED,
    ALERT_OUT_OF_ORDER, DUPLICATE_SIGNAL, and as `publish` does). Then the caller must roll back.
    """
    feed = alert.feed
    if feed.archived_at is not None or not feed.owner.is_active:
        raise InvalidInputError(Code.FEED_UNKNOWN, "The feed is archived, or its owner inactive.")
    if not feed.is_approved:
        raise NotAllowedError(Code.FEED_NOT_APPROVED)
    with on_behalf_of(feed.owner):
        with with_feed_errors(lambda _: feed, Origin.ALERT):
            read = read_alert(bytes(alert.body), read_mapping(feed.alert_mapping))
        late = ConflictError(Code.ALERT_EXPIRED, waiting_time(alert)) if is_late else None
        outcome = _carried_out(alert, read, late)
    summary = " ".join(filter(None, (outcome.summary, size_note(read.notes))))
    return replace(outcome, summary=summary)


def _carried_out(alert: IncomingAlert, read: Alert, late: ConflictError | None) -> Outcome:
    if alert.edit_of:
        return carry_out_edit(alert, read)
    if isinstance(read, AlertOrder):
        return _carry_out_order(alert, read, late)
    if isinstance(read, AlertUpdate):
        done = carry_out_update(
            alert.feed, read, received_at=alert.received_at, reply_to=alert.reply_to,
            written_at=written_at(alert),
        )  # fmt: skip
        return Outcome(done.signals, done.is_new, "update", done.summary)
    refuse_second_entry(alert, read)
    if read.draft.action == Action.OPEN and (late is not None or alert.entry_until is None):
        # Without an end of its own it was no entry when it arrived: the mapping has changed since.
        raise late or ConflictError(Code.ALERT_EXPIRED, waiting_time(alert))
    return _save_and_publish(alert, read)


def written_at(alert: IncomingAlert) -> datetime | None:
    """Return when a chat's message was written; None for other alerts, whose arrival is known."""
    return alert.received_at if alert.source == AlertSource.TELEGRAM else None


def _written(alert: IncomingAlert) -> datetime | None:
    """Return the same as market time."""
    written = written_at(alert)
    return market_at(written) if written else None


def _carry_out_order(
    alert: IncomingAlert, order: AlertOrder, late: ConflictError | None
) -> Outcome:
    """Carry out a strategy's order; without its entry, if that may not be opened any more."""
    if late is not None and order.opening is not None:
        if not order.closes:
            raise late
        withheld = InvalidInputError(Code.ALERT_EXPIRED, late.detail)
        order = replace(order, opening=None, opening_error=withheld)
    sent_at = order.sent_at or _written(alert)
    return carry_out(alert.feed, order, received_at=alert.received_at, sent_at=sent_at)


def _save_and_publish(row: IncomingAlert, alert: AlertSignal) -> Outcome:
    feed, draft = row.feed, alert.draft
    opens = draft.action == Action.OPEN
    if draft.sent_at is None:  # the time of sending is not known: there is no order to keep
        candidates_shared(feed.pk)
    else:
        lock_alert_order(feed, draft.pair if opens else referred_pair(feed, draft))
    if opens:  # a MODIFY or CLOSE has the pair of the signal that it refers to
        draft = replace(draft, pair=_resolved(feed, alert))
        if (error := entry_symbol_error(feed, draft)) is not None:
            raise error
    if alert.distances:
        # Its levels follow the market, so only its text recognises it when it is sent again.
        known = _same_text(row, alert)
        if known is not None:
            return Outcome((known,), False)
        _require_near(feed, draft, alert)
        draft = with_distances(feed, draft, alert.distances)
    else:
        _require_near(feed, draft, alert)
    if alert.opposite and last_is_unended(feed.pk, draft.pair, alert.opposite):
        seen = draft.external_id and feed.signals.filter(external_id=draft.external_id).exists()
        if not seen and draft.direction:
            errors = field_errors(ambiguous(draft.direction, alert.dialect))
            with with_feed_errors(lambda _: feed, Origin.ALERT):
                raise InvalidSignalError(errors, (only_feed(draft.feed),))
    signal, created = save_draft(
        feed, draft, origin=Origin.ALERT, by=feed.owner, received_at=row.received_at,
        is_another=partial(is_another, written_at=_written(row)),
    )  # fmt: skip
    if created and opens:  # when it is sent again, the market may have moved
        require_sides(feed, draft)
        require_another_trade(feed, alert, draft)
    if not signal.is_published and signal.cancelled_at is None:
        require_in_order(feed, signal, draft)
        services.publish(signal.pk, by=feed.owner)
        text_key = alert.key if alert.distances else ""
        record_signal(feed, signal, draft, received_at=row.received_at, text_key=text_key)
        signal.refresh_from_db()
    return Outcome((signal,), created)


def _same_text(row: IncomingAlert, alert: AlertSignal) -> Signal | None:
    """Return the signal that the same text has published; None: it is new."""
    has_time = alert.draft.sent_at is not None
    known = known_signal(row.feed, alert.key, received_at=row.received_at, has_time=has_time)
    if known is None or has_time or alert.draft.external_id:
        return known
    return None if is_another(known, written_at=_written(row)) else known


def _require_near(feed: Feed, draft: SignalDraft, alert: AlertSignal) -> None:
    """Raise InvalidSignalError for levels that may be distances (`alert_levels`)."""
    with with_feed_errors(lambda _: feed, Origin.ALERT):
        try:
            require_near_market(feed, draft, alert.level_form)
            require_clear_levels(feed, draft, alert.level_form)
        except InvalidInputError as error:
            raise InvalidSignalError(field_errors(error), (draft,)) from error


def _resolved(feed: Feed, alert: AlertSignal) -> str:
    """Return the pair of an alert's symbol. Raises InvalidSignalError with all of its errors."""
    draft = alert.draft
    with with_feed_errors(lambda _: feed, Origin.ALERT):
        try:
            return resolve_pair(feed, draft.pair, field=draft.symbol_field)
        except InvalidInputError as error:
            raise InvalidSignalError(field_errors(error), (draft,)) from error
