"""Approve, cancel and publish signals. Each service acts in one transaction."""

from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q

from common.clocks import market_at, market_now
from common.db.sql import Query, kept_plans, rows
from common.errors import ConflictError
from common.failpoints import failpoint
from common.permissions import Right, require
from common.reason_codes import Code
from events.models import EventKind
from events.services import emit
from signals.checks.entry_sides import new_price_errors
from signals.checks.late_publication import marks_of
from signals.checks.listings import require_listed
from signals.checks.price_guard import Reference, market_of_publication
from signals.locks import candidates_shared, feed_shared, require_not_archived
from signals.models import Action, Approval, Feed, Signal
from signals.reading.errors import InvalidSignalError
from signals.signals import publication_requested, signal_cancelled, signal_published
from users.models import User

STORE_CANDIDATE_COUNT_SQL = """
  UPDATE signals_signal SET candidate_count = %(candidates)s WHERE id = %(signal_id)s
  RETURNING id, action"""
"""Part of the statement that also schedules the check of the outcome: stores how many accounts a
signal reached."""


class _Audience(NamedTuple):
    reaches_admins: bool
    owner_only: bool


_AUDIENCE = Query(
    _Audience, "SELECT reaches_admins, owner_only FROM signals_signal WHERE id = %s::bigint"
)
_REQUESTED = ("feed", "action", "oco_group", "published_at")  # what is asked before the lock


def publish(signal_id: int, *, by: User | None) -> bool:
    """Publish an approved signal, exactly once even with concurrent calls.

    Returns False if it was published already. The receivers of `signal_published` write the orders
    of all tenants in this transaction; if one fails, nothing is published. by: None for the system.
    Raises ConflictError SIGNAL_NOT_APPROVED, SIGNAL_ENDED, SIGNAL_NOT_PUBLISHED (the signal that it
    refers to), STATE_CONFLICT (the feed is archived), SYMBOL_NOT_LISTED (no account could trade
    it); InvalidInputError for prices that the market, or the levels of now, do not allow;
    NotAllowedError; Signal.DoesNotExist.

    Feed and signal are read and checked under their locks, so that no approval is withdrawn and no
    price edited between the check and the orders. Which accounts the approval covers
    (`reaches_admins`, `owner_only`) is decided and stored by a trigger alone:
    migrations/sql/approval.sql.

    A leg of an OCO pair is published together with the other one. Outside of a transaction it may
    wait for some seconds first, if the machine does not keep up.
    """
    signal = Signal.objects.only(*_REQUESTED).get(pk=signal_id)
    publication_requested.send(sender=Signal, signal=signal)
    with transaction.atomic(), kept_plans():
        published = [_publish(leg, by) for leg in _legs_of(signal)]
    return any(published)


def _legs_of(signal: Signal) -> list[Signal]:
    """Return both legs of the OCO pair that a signal is of, else the signal alone."""
    if signal.oco_group is None:
        return [signal]
    return list(Signal.objects.filter(oco_group=signal.oco_group).order_by("pk"))


def _leg_ids(signal_id: int) -> list[int]:
    return [leg.pk for leg in _legs_of(Signal.objects.get(pk=signal_id))]


def _publish(signal: Signal, by: User | None) -> bool:
    signal_id = signal.pk
    candidates_shared(signal.feed_id)
    feed = feed_shared(signal.feed_id)
    require(by, Right.PUBLISH, owner_id=feed.owner_id)
    # As it is published: it may have been edited while this waited, and is not from here on.
    signal = Signal.objects.select_for_update(no_key=True).get(pk=signal_id)
    now = market_now()  # after the lock: subscriptions that ended before are stamped earlier
    market = None if signal.is_published else _validate_publishable(signal, feed)
    # Conditions on this row only: joined columns are not read again after a wait for another
    # process, and both would succeed.
    unpublished = Signal.objects.waiting().filter(
        Q(valid_until=None) | Q(valid_until__gt=now), pk=signal_id, feed_id=feed.pk
    )
    if not feed.is_approved:
        unpublished = unpublished.filter(approved_by__isnull=False)
    record = _record_values(signal, market, now)
    if not unpublished.update(published_at=now, published_by=by, **record):
        _raise_publish_error(signal_id, now)
        return False
    _set_published(signal, feed, published_at=now, published_by_id=by and by.pk, **record)
    if signal.action == Action.OPEN:
        require_listed(signal)
    signal_published.send(sender=Signal, signal=signal)
    emit(
        EventKind.SIGNAL_PUBLISHED,
        user_id=signal.feed.owner_id,
        signal_id=signal_id,
        payload={"feed": signal.feed.slug, "signal": signal.number, "title": str(signal)},
    )
    failpoint("publish.written")
    return True


def _set_published(signal: Signal, feed: Feed, **written: Any) -> None:
    """Give the locked signal what its publication wrote, and which accounts the trigger decided.

    What it refers to is read again where it is needed, after the locks of the accounts.
    """
    (audience,) = rows(_AUDIENCE, (signal.pk,), planned_once=True)
    for name, value in (written | audience._asdict()).items():
        setattr(signal, name, value)
    signal._state.fields_cache.clear()
    signal.feed = feed


def _record_values(signal: Signal, market: Reference | None, now: datetime) -> dict[str, Any]:
    """Return what the link of the record states of this moment besides the signal itself."""
    marks = marks_of(signal, market, written_at=market_at(signal.created_at), now=now)
    if market is None:
        return {"marks": marks}
    return {
        "marks": marks, "market_bid": market.bid, "market_ask": market.ask,
        "market_at": market.time, "market_source": market.source_id,
    }  # fmt: skip


def _validate_publishable(signal: Signal, feed: Feed) -> Reference | None:
    """Return the market of now. Raises if feed, signal or market forbids the publication."""
    require_not_archived(feed)
    market = market_of_publication(signal, feed)
    if signal.refers_to is not None and not signal.refers_to.is_published:
        detail = f"It refers to {signal.refers_to.number}, which has not been published."
        raise ConflictError(Code.SIGNAL_NOT_PUBLISHED, detail)
    if signal.action == Action.MODIFY and signal.refers_to is not None:
        _require_entry_prices(signal, signal.refers_to)
    for awaited in (signal.after_signal, signal.close_when_signal):
        if awaited is not None and not awaited.is_published:
            detail = f"It waits for {awaited.number}, which has not been published."
            raise ConflictError(Code.SIGNAL_NOT_PUBLISHED, detail)
    return market


def _require_entry_prices(modify: Signal, opened: Signal) -> None:
    """Raise InvalidSignalError if the stop or targets of now have passed a MODIFY's entry price."""
    errors = new_price_errors(
        opened,
        open_price=modify.open_price,
        stop_price=modify.stop_price,
        sl=modify.sl,
        targets=modify.target_prices,
    )
    if errors:
        raise InvalidSignalError(errors)


def _raise_publish_error(signal_id: int, now: datetime) -> None:
    """Raise why a signal cannot be published; return if it is published already."""
    signal = Signal.objects.get(pk=signal_id)
    if signal.is_published:
        return
    if signal.cancelled_at is not None or signal.is_past(now):
        raise ConflictError(Code.SIGNAL_ENDED)
    approval = Approval(signal.approval)
    if approval == Approval.APPROVED:  # by a feed that is no longer approved
        approval = Approval.PENDING
    raise ConflictError(Code.SIGNAL_NOT_APPROVED, f"{signal.number} is {approval}.")


@transaction.atomic
def approve(signal_id: int, *, by: User) -> bool:
    """Approve a signal for publication. Returns False if it was approved already.

    Both legs of an OCO pair are approved, rejected and cancelled together.

    Raises ConflictError STATE_CONFLICT if it was rejected or its feed is archived, SIGNAL_ENDED if
    it was cancelled.
    """
    return _decide(signal_id, Approval.APPROVED, by)


@transaction.atomic
def reject(signal_id: int, *, by: User) -> bool:
    """Reject a signal for good. Returns False if it was rejected already.

    Raises ConflictError STATE_CONFLICT if it was approved, SIGNAL_ENDED if it was cancelled.
    """
    return _decide(signal_id, Approval.REJECTED, by)


def _decide(signal_id: int, approval: Approval, by: User) -> bool:
    require(by, Right.APPROVE)
    feed = feed_shared(Signal.objects.values_list("feed_id", flat=True).get(pk=signal_id))
    if approval == Approval.APPROVED:
        require_not_archived(feed)
    pending = Signal.objects.filter(
        pk__in=_leg_ids(signal_id), approval=Approval.PENDING, cancelled_at__isnull=True
    )
    if pending.update(approval=approval, approved_by=by, approved_at=market_now()):
        return True
    signal = Signal.objects.get(pk=signal_id)
    if signal.cancelled_at is not None:
        raise ConflictError(Code.SIGNAL_ENDED, f"{signal.number} was cancelled.")
    if signal.approval != approval:
        raise ConflictError(Code.STATE_CONFLICT, f"{signal.number} is {signal.approval} already.")
    return False


@transaction.atomic
def cancel(signal_id: int, *, by: User | None) -> bool:
    """Cancel a signal. Returns False if it was cancelled already.

    An unpublished signal will never be published. For a published OPEN, the receivers of
    `signal_cancelled` cancel its unfilled orders in this transaction; positions stay open (publish
    a CLOSE to end them). Raises ConflictError STATE_CONFLICT for a published CLOSE or
    MODIFY.
    """
    owner_id = Signal.objects.values_list("feed__owner_id", flat=True).get(pk=signal_id)
    require(by, Right.PUBLISH, owner_id=owner_id)
    cancelled = [_cancel(leg_id, by) for leg_id in _leg_ids(signal_id)]
    return any(cancelled)


def _cancel(signal_id: int, by: User | None) -> bool:
    cancellable = Q(published_at__isnull=True) | Q(action=Action.OPEN)  # checked again under lock
    uncancelled = Signal.objects.filter(cancellable, pk=signal_id, cancelled_at__isnull=True)
    if not uncancelled.update(cancelled_at=market_now(), cancelled_by=by):
        require_not_follow_up(Signal.objects.get(pk=signal_id))
        return False
    signal = Signal.objects.select_related("feed").get(pk=signal_id)
    if signal.is_published:
        signal_cancelled.send(sender=Signal, signal=signal)
    return True


def require_not_follow_up(signal: Signal) -> None:
    """Raise ConflictError STATE_CONFLICT if a signal is a published CLOSE or MODIFY.

    Its exits and levels are already with the accounts' brokers, so it cannot be cancelled.
    """
    if not signal.is_published or signal.action == Action.OPEN:
        return
    if signal.action == Action.CLOSE:
        detail = "its exits are under way or done. To hold the trade again, publish an OPEN."
    else:
        detail = "its levels are in force. To change them, publish another MODIFY."
    title = f"{signal.number} is a published {signal.action}, which cannot be cancelled:"
    raise ConflictError(Code.STATE_CONFLICT, f"{title} {detail}")
