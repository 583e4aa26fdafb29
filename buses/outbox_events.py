"""Events of the outbox that buses carry, and announcements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from django.db.models import Q

from buses import order_events, position_events
from buses.catalogue import AnalyticsReady, FanoutDone, Notice
from buses.made import Made
from buses.models import Announcement
from events.models import Event, EventKind
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Signal

# What orders and positions do is known from their own tables; what concerns a person's sign-in,
# keys and channels is private.
NOTICES = frozenset(
    {
        EventKind.SIGNAL_INCOMPLETE,
        EventKind.ORDER_UNEXPECTEDLY_LIVE,
        EventKind.ORDER_STUCK,
        EventKind.ORDER_UNKNOWN_TOO_LONG,
        EventKind.ORDER_CHANGED,
        EventKind.POSITION_UNPROTECTED,
        EventKind.POSITION_STOP_MOVED,
        EventKind.EXIT_DELAYED,
        EventKind.SLIPPAGE_ALERT,
        EventKind.CONNECTION_ERROR,
        EventKind.CONNECTION_INACTIVE,
        EventKind.CONNECTION_RECOVERED,
        EventKind.HOST_DOWN,
        EventKind.HOST_UP,
        EventKind.DRIFT_FOUND,
        EventKind.AUDIT_FAILED,
        EventKind.AUDIT_NOT_JUDGED,
        EventKind.SCHEDULER_LATE,
        EventKind.SCHEDULER_BACK,
        EventKind.CLOCK_SET_BACK,
        EventKind.KILL_SWITCH,
        EventKind.LOSS_LIMIT_REACHED,
        EventKind.TRADING_RESUMED,
    }
)


def of_events(ids: Sequence[int]) -> Iterator[Made]:
    """Yield what these events of the outbox report, if buses carry it."""
    events = list(Event.objects.filter(pk__in=ids).order_by("pk"))
    published = {event.signal_id for event in events if event.kind == EventKind.SIGNAL_PUBLISHED}
    signals = Signal.objects.filter(pk__in=published).select_related("feed").in_bulk()
    for event in events:
        if event.kind == EventKind.SIGNAL_PUBLISHED and event.signal_id in signals:
            yield _fanout(event, signals[event.signal_id])
        elif event.kind == EventKind.POSITION_CLOSED:
            yield from _closed(event)
        elif event.kind in NOTICES:
            yield _notice(event)


def of_announcements(ids: Sequence[int]) -> Iterator[Made]:
    """Yield what is announced. Results of a day concern all accounts: operators only."""
    for row in Announcement.objects.filter(pk__in=ids).order_by("pk"):
        ready = AnalyticsReady(
            day=date.fromisoformat(row.data["day"]),
            accounts=int(row.data["accounts"]),
            computed_at=row.at,
        )
        yield Made(row.pk, row.at, f"analytics/{row.data['day']}", ready)


def _fanout(event: Event, signal: Signal) -> Made:
    action: Any = signal.action
    side: Any = signal.direction or None
    at: datetime = signal.published_at or event.created_at
    done = FanoutDone(
        signal_id=signal.pk,
        feed=signal.feed.slug,
        strategy_id=signal.strategy_id or None,
        trade_plan_id=signal.trade_plan_id or None,
        action=action,
        symbol=signal.currency_pair,
        side=side,
        candidates=signal.candidate_count or 0,
        published_at=at,
    )
    return Made(event.pk, event.created_at, f"signals/{signal.pk}", done, tenant_id=event.user_id)


def _closed(event: Event) -> Iterator[Made]:
    position_id = event.payload.get("position")
    position = ExecutionPosition.objects.filter(pk=position_id).first()
    if position is None:
        return
    yield from position_events.of_closed({position.pk: event})
    entries = Order.objects.filter(
        Q(leg__startswith="entry"),
        signal=position.signal_id,
        connection=position.connection_id,
        position_leg=position.entry_leg,
        filled_quantity__gt=0,
    )
    entry_ids = list(entries.order_by("pk").values_list("pk", flat=True))
    yield from order_events.of_closed(entry_ids, event.pk, event.created_at)


def _notice(event: Event) -> Made:
    account = str(event.connection_id) if event.connection_id else None
    notice = Notice(
        kind=event.kind,
        signal_id=event.signal_id,
        order_id=event.order_id,
        account_id=account,
        payload=event.payload,
    )
    subject = f"accounts/{account}" if account else "installation"
    return Made(event.pk, event.created_at, subject, notice, account, event.user_id)
