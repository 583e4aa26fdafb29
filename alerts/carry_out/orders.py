"""Carry out an alert about a symbol, or all: close what its feed has open, open a trade.

Called in the alert's transaction, on behalf of the feed's owner.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from django.db import transaction

from alerts.carry_out.levels import level_error
from alerts.carry_out.repeats import is_another_order
from alerts.carry_out.sequence import late_entry, opened_later, record_order
from alerts.carry_out.trades import opened_after, waiting_reversal_error
from alerts.reading import AlertOrder
from alerts.reading.strategy import Change
from common.errors import ConflictError, FillcastError, InvalidInputError
from common.money import plain
from common.reason_codes import Code
from signals import services
from signals.checks.listings import require_listed_pair
from signals.feeds.alert_rules import entry_symbol_error
from signals.field_error import FieldError
from signals.models import Action, Direction, Feed, Origin, ReceivedAlert, Signal
from signals.open_signals import OpenSignal, all_open_signals, closed_by_feed, open_signals
from signals.publishing.ingest import further_errors, other_feed_error, save_draft
from signals.reading.draft import SignalDraft
from signals.reading.ends import REPLAY_WINDOW
from signals.reading.errors import InvalidSignalError, field_errors
from signals.sequence import lock_alert_order
from signals.symbol_completion import Closing, resolve_pair
from users.tenancy import for_all_tenants

# How many trades that the feed has closed, and an account still holds, an alert closes again.
MAX_CLOSED_AGAIN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an alert.

    signals: those that it published, the opening one last; none if there was nothing to do. is_new:
    False if the alert was received before. change: how it was read. summary: what was done.
    """

    signals: tuple[Signal, ...]
    is_new: bool
    change: str = ""
    summary: str = ""

    @property
    def main(self) -> Signal | None:
        """The signal that represents the alert: the one that opens, else the first that closes."""
        return main_signal(self.signals)


def main_signal(signals: Sequence[Signal]) -> Signal | None:
    """Return the one of an alert's signals that opens, else the first that closes; None: none."""
    opening = (signal for signal in signals if signal.action == Action.OPEN)
    return next(opening, None) or next(iter(signals), None)


def carry_out(
    feed: Feed, order: AlertOrder, *, received_at: datetime, sent_at: datetime | None
) -> Outcome:
    """Publish the signals of an alert's order: once, however often it is sent.

    received_at: when it arrived; what arrived shortly before may be the same. sent_at: when it was
    sent, as it says itself or its chat does; market time.

    It closes first, then opens. A late alert closes nothing that a later one opened, and opens no
    trade that a later one ended. A reversal that may not open still closes, even if no account can
    trade the symbol any more.
    Raises what `save_draft` and `publish` raise, and ConflictError ALERT_OUT_OF_ORDER,
    DUPLICATE_SIGNAL; the caller must then roll back.
    """
    if wrong_feed := other_feed_error(feed, order.feed):
        raise _all_errors(feed, order, wrong_feed)
    lock_alert_order(feed, order.pair)
    known = _received_before(feed, order, received_at)
    if known and order.sent_at is not None:
        return _earlier_outcome(known)
    if order.pair:
        try:
            order = _with_pair(order, _resolved(feed, order))
        except InvalidInputError as error:
            raise _all_errors(feed, order, error) from error
    closed, skipped = _to_close(feed, order, known, sent_at)
    if known and not closed and not is_another_order(order, known[0], written_at=sent_at):
        return _earlier_outcome(known)
    if closed and (unclear := waiting_reversal_error(order)):
        raise _all_errors(feed, order, unclear)
    withheld = withheld_error(feed, order)
    if withheld and not closed:
        if isinstance(withheld, InvalidInputError):
            raise _all_errors(feed, order, withheld)
        raise withheld
    name = _name(order)
    publish = partial(_published, feed, received_at=received_at)
    signals = tuple(
        publish(
            _closing_draft(signal, order),
            f"{name}:{number}",
            is_reversal=order.change == Change.REVERSE,
        )
        for number, signal in enumerate(closed, 1)
    )
    if order.opening is not None and withheld is None:
        try:
            with transaction.atomic():  # nothing stays of an entry that is refused
                signals += (publish(order.opening, f"{name}:{len(closed) + 1}"),)
        except InvalidInputError as error:
            if not closed:
                raise
            withheld = error
    summary = _summary(order, closed, skipped, withheld)
    record_order(feed, order, summary, signals, received_at=received_at)
    return Outcome(signals, True, order.change, summary)


def _all_errors(feed: Feed, order: AlertOrder, first: InvalidInputError) -> InvalidSignalError:
    """Return an error of an alert with everything else that is wrong with it."""
    errors = [*field_errors(first)]
    if order.opening_error is not None:
        errors += field_errors(order.opening_error)
    if order.opening is None and first.field != order.symbol_field:
        errors += _symbol_errors(feed, order)
    draft = replace(order.opening or order.closing, feed=order.feed)
    errors += further_errors([draft], errors, lambda _: feed, Origin.ALERT)
    return InvalidSignalError(list(dict.fromkeys(errors)))


def _symbol_errors(feed: Feed, order: AlertOrder) -> tuple[FieldError, ...]:
    """Return what is wrong with the symbol of an alert that only closes."""
    try:
        pair = order.pair and _resolved(feed, order)
    except InvalidInputError as error:
        return field_errors(error)
    unlisted = _unlisted(feed, _with_pair(order, pair))
    return field_errors(unlisted) if unlisted else ()


def _resolved(feed: Feed, order: AlertOrder) -> str:
    closing = Closing(order.side) if order.opening is None else None
    return resolve_pair(feed, order.pair, field=order.symbol_field, closing=closing)


def _with_pair(order: AlertOrder, pair: str) -> AlertOrder:
    return replace(order, pair=pair, opening=order.opening and replace(order.opening, pair=pair))


def _unlisted(feed: Feed, order: AlertOrder) -> InvalidInputError | None:
    """Return the error for an order whose symbol no account of the feed can trade; None if one can.

    A close of a symbol that the feed has traded before is no error: there is nothing to do.
    """
    if not order.pair:
        return None
    if order.opening is None and feed.signals.published().filter(currency_pair=order.pair).exists():
        return None
    try:
        require_listed_pair(feed, order.pair, field=order.symbol_field)
    except InvalidInputError as error:
        return error
    return None


def _name(order: AlertOrder) -> str:
    """Return the prefix of the external ids of an order's signals.

    It is always the same for an order with a time or an external id, otherwise new each time: equal
    orders are then distinguished by what is open.
    """
    name = f"alert:{order.key[:32]}"
    is_identified = order.sent_at is not None or order.external_id
    return name if is_identified else f"{name}:{secrets.token_hex(8)}"


def _received_before(feed: Feed, order: AlertOrder, received_at: datetime) -> list[ReceivedAlert]:
    """Return the equal alerts that were carried out before, the latest first.

    Without a time and an external id, only those within REPLAY_WINDOW before this one count.
    """
    same = ReceivedAlert.objects.filter(feed=feed, key=order.key)
    if order.sent_at is None and not order.external_id:
        same = same.filter(received_at__gt=received_at - REPLAY_WINDOW)
    return list(same.order_by("-id"))


def _earlier_outcome(known: list[ReceivedAlert]) -> Outcome:
    """Return the outcome of an alert that was received before."""
    alert = known[0]
    by_id = Signal.objects.in_bulk(alert.signal_ids)
    signals = tuple(by_id[pk] for pk in alert.signal_ids if pk in by_id)
    return Outcome(signals, False, alert.change, alert.summary)


def _to_close(
    feed: Feed, order: AlertOrder, known: list[ReceivedAlert], sent_at: datetime | None
) -> tuple[list[OpenSignal], list[OpenSignal]]:
    """Return the signals that an order closes, and those that it skips (`_closed_before`).

    It closes what the feed has open of the symbol, without what later alerts opened and what equal
    alerts closed. Raises ConflictError DUPLICATE_SIGNAL if an alert with the same external id has
    closed, and other trades are open now: it is not clear whether it was sent again or is new.
    """
    if not order.closes:
        return [], []
    with for_all_tenants():
        open_now = (
            open_signals(feed.pk, order.pair, order.side)
            if order.pair
            else all_open_signals(feed.pk, order.side)
        )
    closed_before = _closed_before(open_now)
    excluded = opened_later(feed, order, [signal.id for signal in open_now])
    if order.sent_at is None and sent_at is not None:
        excluded |= opened_after([signal.id for signal in open_now], sent_at)
    if known:
        closes = Signal.objects.filter(pk__in=[pk for alert in known for pk in alert.signal_ids])
        excluded |= set(closes.values_list("refers_to_id", flat=True))
    targets = [signal for signal in open_now if signal.id not in excluded]
    closed = [signal for signal in targets if signal.id not in closed_before]
    if known and closed and order.external_id:
        detail = (
            f"An alert with the external id {order.external_id!r} was carried out before. "
            f"Open since then: {_numbers(closed)}. To close that, send timenow or another id."
        )
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    return closed, [signal for signal in targets if signal.id in closed_before]


def _closed_before(open_now: list[OpenSignal]) -> set[int]:
    """Return the ids that the feed has closed itself, except the newest MAX_CLOSED_AGAIN.

    Without that limit, an account that does not fill its exits would make every alert of the feed
    publish one signal more than the last.
    """
    closed = closed_by_feed([signal.id for signal in open_now])
    return set(sorted(closed)[:-MAX_CLOSED_AGAIN])


def withheld_error(feed: Feed, order: AlertOrder) -> FillcastError | None:
    """Return why an order must not open its trade, as far as that is known beforehand."""
    late = late_entry(feed, order.opening) if order.opening else order.opening_error
    unlisted = late or entry_symbol_error(feed, order.opening) or _unlisted(feed, order)
    return unlisted or level_error(feed, order.opening, order.level_form)


def _closing_draft(signal: OpenSignal, order: AlertOrder) -> SignalDraft:
    return replace(order.closing, refers_to=signal.id, close_fraction=order.fraction)


def _published(
    feed: Feed,
    draft: SignalDraft,
    external_id: str,
    *,
    received_at: datetime,
    is_reversal: bool = False,
) -> Signal:
    draft = replace(draft, external_id=external_id)
    signal, is_new = save_draft(
        feed,
        draft,
        origin=Origin.ALERT,
        by=feed.owner,
        received_at=received_at,
        is_reversal=is_reversal,
    )
    if not services.publish(signal.pk, by=feed.owner) or not is_new:
        detail = f"This alert was carried out before, as {signal.number}; nothing was done now."
        raise ConflictError(Code.DUPLICATE_SIGNAL, detail)
    signal.refresh_from_db()
    return signal


def _summary(
    order: AlertOrder,
    closed: list[OpenSignal],
    skipped: list[OpenSignal],
    withheld: FillcastError | None,
) -> str:
    parts = []
    if order.closes and (closed or order.opening is None):
        parts.append(_closing(order, closed))
    if skipped:
        parts.append(
            f"skipped {_numbers(skipped)}, which this feed has closed before and accounts still "
            "hold: close each by refers_to"
        )
    if order.meaning is not None and order.meaning.opens is not None:
        side = "long" if order.meaning.opens == Direction.BUY else "short"
        if withheld is not None:
            parts.append(f"opened no {side} trade: {withheld.detail.removesuffix('.')}")
        else:
            verb = "added to" if order.meaning.change == Change.ADD else "opened"
            parts.append(f"{verb} a {side} trade in {order.pair}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _closing(order: AlertOrder, closed: list[OpenSignal]) -> str:
    side = {None: "", Direction.BUY: "long ", Direction.SELL: "short "}[order.side]
    if not closed:
        where = f" in {order.pair}" if order.pair else ""
        return f"nothing to do: this feed has no open {side}trade{where}"
    share = "" if order.fraction == 1 else f"{plain(round(order.fraction * 100, 2))} % of "
    return f"closed {share}{_numbers(closed)}"


def _numbers(signals: list[OpenSignal]) -> str:
    numbers = [f"S-{signal.id}" for signal in signals]
    return ", ".join(numbers[:3]) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
