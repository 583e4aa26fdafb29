"""Alerts in the order in which they were sent, whatever order they come in.

Each alert that was acted on is kept (`ReceivedAlert`). One that was sent before it and comes later
opens no trade that is over, closes nothing that was opened since, and undoes no later levels. All
functions need the caller's transaction, and `lock_alert_order` before them.
"""

import zlib
from collections.abc import Iterable

from common.errors import ConflictError
from common.reason_codes import Code
from common.sql import rows
from signals.alert_reading import AlertOrder
from signals.draft import SignalDraft
from signals.locks import candidates_shared
from signals.models import Action, Direction, Feed, ReceivedAlert, Signal
from signals.strategy_orders import Change
from signals.symbols import needs_currency
from users.tenancy import for_all_tenants

BOTH = "BOTH"
RETENTION_DAYS = 7
# Namespaces of the advisory locks that put alerts one after the other: a feed's, a symbol's of it.
_FEED_LOCK, _SYMBOL_LOCK = 0x46434111, 0x46434112
_OPPOSITE = {Direction.BUY: Direction.SELL, Direction.SELL: Direction.BUY}
_SUMMARY_LENGTH = 300
_REMOVE_OLD = f"""
WITH old AS (
  SELECT id FROM signals_receivedalert
  WHERE received_at < clock_timestamp() - interval '{RETENTION_DAYS} days'
  ORDER BY received_at LIMIT 100 FOR UPDATE SKIP LOCKED
)
DELETE FROM signals_receivedalert WHERE id IN (SELECT id FROM old) RETURNING 1 AS removed
"""


def lock_alert_order(feed: Feed, symbol: str) -> None:
    """Let no other alert of the feed about a symbol be taken until the transaction ends, and hold
    the feed's candidates still, before the feed's own lock is taken. Alerts about others go on.

    symbol: a pair, or a base without its currency: which pair that is, is asked after this. Empty:
    not known yet, so that it waits for every alert of the feed, and they for it.
    """
    if not symbol:
        rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_FEED_LOCK, feed.pk % 2**31))
    else:
        rows("SELECT pg_advisory_xact_lock_shared(%s::int, %s::int)", (_FEED_LOCK, feed.pk % 2**31))
        rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_SYMBOL_LOCK, _key(feed, symbol)))
    candidates_shared(feed.pk)


def _key(feed: Feed, symbol: str) -> int:
    """Hash what an alert of a feed waits for. Two that share a number only wait for each other.

    A base that may be sent without its currency has one turn for all its pairs: which of them is
    meant may depend on the alert under way.
    """
    name = symbol if needs_currency(symbol) else symbol.partition("/")[0]
    return zlib.crc32(f"{feed.pk} {name}".encode()) - 2**31


def keep_order(feed: Feed, order: AlertOrder, summary: str, signals: Iterable[Signal]) -> None:
    """Keep an order that was carried out, and what it says of the trades begun before it."""
    _keep(
        feed=feed,
        key=order.key,
        pair=order.pair,
        change=order.change,
        ended_side=ended_side(order),
        summary=summary[:_SUMMARY_LENGTH],
        sent_at=order.sent_at,
        signal_ids=[signal.pk for signal in signals],
    )


def keep_signal(feed: Feed, signal: Signal, draft: SignalDraft) -> None:
    """Keep an alert that is a signal, if it says when it was sent."""
    if draft.sent_at is not None:
        _keep(
            feed=feed,
            key=signal.content_hash,
            pair=signal.currency_pair,
            change=signal.action.lower(),
            summary=str(signal)[:_SUMMARY_LENGTH],
            sent_at=draft.sent_at,
            signal_ids=[signal.pk],
        )


def _keep(**values: object) -> None:
    """Write one down and remove some of those that are old enough, whichever feed's they are."""
    ReceivedAlert.objects.create(**values)
    with for_all_tenants():
        rows(_REMOVE_OLD)


def ended_side(order: AlertOrder) -> str:
    """Return trades of which side, begun before an order, are over or smaller by it. Pure.

    A strategy's order says where its position stood: an addition to a long trade leaves long ones;
    after all else, nothing that was to be opened before may be opened any more.
    """
    if order.meaning is None:
        return order.side or BOTH
    if order.meaning.change == Change.ADD and order.meaning.opens is not None:
        return _OPPOSITE[order.meaning.opens]
    return BOTH


def late_entry(feed: Feed, draft: SignalDraft) -> ConflictError | None:
    """Return the refusal of an entry whose trade a later alert has ended."""
    if draft.sent_at is None or draft.direction is None:
        return None
    later = (
        ReceivedAlert.objects.filter(
            feed=feed,
            pair=draft.pair,
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
        f"({later.change}), says that the {side} trade in {draft.pair} is over or smaller."
    )
    return ConflictError(Code.ALERT_OUT_OF_ORDER, detail)


def late_levels(feed: Feed, signal: Signal, draft: SignalDraft) -> ConflictError | None:
    """Return the refusal of a MODIFY whose levels a later alert has changed again."""
    if draft.sent_at is None:
        return None
    later = ReceivedAlert.objects.filter(
        feed=feed, pair=signal.currency_pair, sent_at__gt=draft.sent_at, change="modify"
    )
    ids = [pk for alert in later for pk in alert.signal_ids]
    for other in Signal.objects.filter(pk__in=ids, refers_to_id=signal.refers_to_id):
        both_move_stop = signal.sl is not None and other.sl is not None
        if both_move_stop or (signal.target_prices and other.target_prices):
            detail = f"{other.number}, which was sent later, has changed the same levels."
            return ConflictError(Code.ALERT_OUT_OF_ORDER, detail)
    return None


def require_in_order(feed: Feed, signal: Signal, draft: SignalDraft) -> None:
    """Raise ConflictError ALERT_OUT_OF_ORDER if a later alert leaves nothing for this one to do."""
    error = None
    if draft.action == Action.OPEN:
        error = late_entry(feed, draft)
    elif draft.action == Action.MODIFY:
        error = late_levels(feed, signal, draft)
    if error:
        raise error


def opened_later(feed: Feed, order: AlertOrder, ids: list[int]) -> set[int]:
    """Return those of these signals that later alerts opened."""
    if not ids or order.sent_at is None:
        return set()
    later = ReceivedAlert.objects.filter(
        feed=feed, pair=order.pair, sent_at__gt=order.sent_at, signal_ids__overlap=ids
    )
    return {pk for alert in later for pk in alert.signal_ids}
