"""Treat alerts in the order in which they were sent, whatever order they arrive in.

Each alert that was carried out is stored (`ReceivedAlert`). An alert that was sent before it and
arrives later opens no trade that has ended, closes nothing that was opened since, and does not undo
later levels. All functions need the caller's transaction, and `lock_alert_order` before them.
"""

from collections.abc import Iterable
from datetime import datetime

from alerts.reading import AlertOrder
from alerts.reading.strategy import Change
from common.errors import ConflictError
from common.reason_codes import Code
from signals.models import Action, Direction, Feed, ReceivedAlert, Signal
from signals.reading.draft import SignalDraft
from signals.reading.ends import REPLAY_WINDOW
from signals.sequence import record_received

BOTH = "BOTH"
_OPPOSITE = {Direction.BUY: Direction.SELL, Direction.SELL: Direction.BUY}
_SUMMARY_LENGTH = 300


def record_order(
    feed: Feed,
    order: AlertOrder,
    summary: str,
    signals: Iterable[Signal],
    *,
    received_at: datetime,
) -> None:
    """Store an order that was carried out, and which earlier trades it ended."""
    record_received(
        received_at=received_at,
        feed=feed,
        key=order.key,
        pair=order.pair,
        change=order.change,
        ended_side=ended_side(order),
        summary=summary[:_SUMMARY_LENGTH],
        sent_at=order.sent_at,
        signal_ids=[signal.pk for signal in signals],
    )


def known_signal(
    feed: Feed, text_key: str, *, received_at: datetime, has_time: bool
) -> Signal | None:
    """Return the signal of an alert with the same text before; None: new.

    has_time: its text states when it was sent; else it counts within REPLAY_WINDOW only.
    """
    same = ReceivedAlert.objects.filter(feed=feed, key=text_key)
    if not has_time:
        same = same.filter(received_at__gt=received_at - REPLAY_WINDOW)
    known = same.order_by("-id").first()
    return Signal.objects.filter(pk__in=known.signal_ids).first() if known else None


def record_signal(
    feed: Feed, signal: Signal, draft: SignalDraft, *, received_at: datetime, text_key: str = ""
) -> None:
    """Store an alert that is a signal, if it has the time at which it was sent, or a text_key."""
    if draft.sent_at is not None or text_key:
        record_received(
            received_at=received_at,
            feed=feed,
            key=text_key or signal.content_hash,
            pair=signal.currency_pair,
            change=signal.action.lower(),
            summary=str(signal)[:_SUMMARY_LENGTH],
            sent_at=draft.sent_at,
            signal_ids=[signal.pk],
        )


def ended_side(order: AlertOrder) -> str:
    """Return the side of the earlier trades that an order ends or makes smaller. Pure.

    A strategy's order shows its position: an addition to a long trade leaves long trades open.
    After any other order, an entry that was sent before it must not be opened.
    """
    if order.meaning is None:
        return order.side or BOTH
    if order.meaning.change == Change.ADD and order.meaning.opens is not None:
        return _OPPOSITE[order.meaning.opens]
    return BOTH


def late_entry(feed: Feed, draft: SignalDraft) -> ConflictError | None:
    """Return the error for an entry whose trade a later alert has ended; None without one."""
    if draft.sent_at is None or draft.direction is None:
        return None
    later = (
        ReceivedAlert.objects.filter(
            feed=feed,
            pair__in=("", draft.pair),  # "": a close of all symbols
            sent_at__gt=draft.sent_at,
            ended_side__in=(draft.direction, BOTH),
        )
        .order_by("-sent_at")
        .first()
    )
    if later is None or later.sent_at is None:
        return None
    side = "long" if draft.direction == Direction.BUY else "short"
    detail = (
        f"It was sent at {draft.sent_at:%H:%M:%S} UTC. A later alert, of {later.sent_at:%H:%M:%S} "
        f"({later.change}), has ended the {side} trade in {draft.pair} or made it smaller."
    )
    return ConflictError(Code.ALERT_OUT_OF_ORDER, detail)


def late_levels(feed: Feed, signal: Signal, draft: SignalDraft) -> ConflictError | None:
    """Return the error for a MODIFY of what a later alert has changed; None: there is none."""
    if draft.sent_at is None:
        return None
    later = ReceivedAlert.objects.filter(
        feed=feed,
        pair=signal.currency_pair,
        sent_at__gt=draft.sent_at,
        change__in=("modify", "update"),
    )
    ids = [pk for alert in later for pk in alert.signal_ids]
    for other in Signal.objects.filter(pk__in=ids, refers_to_id=signal.refers_to_id):
        both_move = any(
            getattr(signal, name) is not None and getattr(other, name) is not None
            for name in (
                "sl",
                "open_price",
                "stop_price",
                "close_at",
                "close_when_signal",
                "valid_until",
            )
        )
        if both_move or (signal.target_prices and other.target_prices):
            detail = f"{other.number}, which was sent later, has changed the same."
            return ConflictError(Code.ALERT_OUT_OF_ORDER, detail)
    return None


def require_in_order(feed: Feed, signal: Signal, draft: SignalDraft) -> None:
    """Raise ConflictError ALERT_OUT_OF_ORDER if a later alert has overtaken this one."""
    error = None
    if draft.action == Action.OPEN:
        error = late_entry(feed, draft)
    elif draft.action == Action.MODIFY:
        error = late_levels(feed, signal, draft)
    if error:
        raise error


def opened_later(feed: Feed, order: AlertOrder, ids: list[int]) -> set[int]:
    """Return the ids among these that later alerts opened."""
    if not ids or order.sent_at is None:
        return set()
    later = ReceivedAlert.objects.filter(
        feed=feed, sent_at__gt=order.sent_at, signal_ids__overlap=ids
    )
    if order.pair:
        later = later.filter(pair=order.pair)
    return {pk for alert in later for pk in alert.signal_ids}
