"""Whether an alert with an equal text is the one that came before, or opens another trade.

For alerts that have neither a time nor an id: others are recognised by these. Called in the alert's
transaction, on behalf of the feed's owner.
"""

from datetime import datetime

from alerts.carry_out.trades import ended_at_brokers, sent_time
from alerts.reading import AlertOrder
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.models import Action, Direction, ReceivedAlert, Signal
from signals.open_signals import closed_by_feed, open_signals
from users.tenancy import for_all_tenants


def is_another(known: Signal, *, written_at: datetime | None) -> bool:
    """Whether an alert is another one than that which published `known`, with the same contents.

    written_at: when a chat states that it was written (market time); each message is known there,
    so that it is another message for certain. Raises InvalidInputError ALERT_AMBIGUOUS for an entry
    that may be the same one again: of a chat unless the feed had ended its trade before it was
    written, else if that trade has ended.
    """
    if known.action != Action.OPEN:
        return written_at is not None
    if written_at is None:
        if _has_ended(known):
            raise _ambiguous(known, "which has ended since", "Send")
        return False
    if _was_ended(known, written_at):
        return True
    raise _ambiguous(known, str(known), "Write “close” first if that one is over, or add")


def is_another_order(
    order: AlertOrder, known: ReceivedAlert, *, written_at: datetime | None
) -> bool:
    """Whether an order opens another trade than the equal one that is known. Raises as above."""
    if order.opening is None or order.external_id:
        return False
    opened = Signal.objects.filter(pk__in=known.signal_ids, action=Action.OPEN).first()
    return opened is not None and is_another(opened, written_at=written_at)


def _ambiguous(known: Signal, what: str, write: str) -> InvalidInputError:
    detail = (
        f"The same text came at {known.created_at:%H:%M:%S} UTC and opened {known.number}, {what}. "
        f"This could be that message again, or another trade. {write} the time of sending for "
        "another one."
    )
    return InvalidInputError(Code.ALERT_AMBIGUOUS, detail, field="time")


def _has_ended(trade: Signal) -> bool:
    """Whether the feed or the brokers have ended a trade."""
    if trade.cancelled_at is not None or closed_by_feed([trade.pk]):
        return True
    since = trade.published_at
    if since is None or trade.pk not in ended_at_brokers(trade.feed, since):
        return False
    with for_all_tenants():
        found = open_signals(trade.feed_id, trade.currency_pair, Direction(trade.direction))
    return trade.pk not in {one.id for one in found}


def _was_ended(trade: Signal, at: datetime) -> bool:
    """Whether the feed had ended a trade by then: its sender knew."""
    if trade.cancelled_at is not None:
        return trade.cancelled_at <= at
    closes = Signal.objects.filter(
        refers_to=trade, action=Action.CLOSE, close_fraction=1, published_at__isnull=False
    )
    return any(sent_time(close) <= at for close in closes)
