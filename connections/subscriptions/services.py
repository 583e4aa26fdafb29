"""Subscribe to feeds and change subscriptions. Public through `connections.services`.

Every change of the set of candidates holds the candidate lock exclusively, and reads its time after
that. So each publication is clearly before or after it, and the audit can derive the candidates of
a publication from the intervals.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from common.clocks import market_now
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from common.row_changes import change_row
from connections.account_settings.validation import invalid_symbols_message
from connections.accounts.services import lock_connection
from connections.models import Directions, ExecutionConnection, Subscription, SubscriptionInterval
from signals.locks import candidates_exclusive, feed_shared
from signals.models import Feed
from signals.symbols import read_pair
from users.models import User


@transaction.atomic
def subscribe(
    *,
    connection_id: UUID,
    feed_id: int,
    by: User | None,
    multiplier: Decimal = Decimal(1),
    symbol_map: Mapping[str, str] | None = None,
    directions: str = Directions.BOTH,
    expires_at: datetime | None = None,
) -> Subscription:
    """Let a connection take a feed's signals from the next publication on.

    An ended subscription is reopened. expires_at: market time. Raises ConflictError STATE_CONFLICT
    if the connection takes the feed already or either is archived; NotAllowedError for a private
    feed of another user; InvalidInputError for invalid values.
    """
    connection = lock_connection(connection_id, by)
    values = {
        "multiplier": _multiplier(multiplier),
        "symbol_map": _symbol_map(symbol_map or {}, connection.type),
        "directions": _directions(directions),
        "expires_at": expires_at,
    }
    candidates_exclusive(feed_id)
    feed = feed_shared(feed_id)  # locked: it cannot become private or archived before the commit
    _check_feed(feed, connection, by)
    now = market_now()
    subscription = _create_or_reopen(connection, feed, values)
    SubscriptionInterval.objects.create(subscription=subscription, started_at=now)
    return subscription


def _create_or_reopen(
    connection: ExecutionConnection, feed: Feed, values: dict[str, Any]
) -> Subscription:
    subscription, created = Subscription.objects.get_or_create(
        connection=connection, feed=feed, defaults=values
    )
    if created:
        return subscription
    if subscription.archived_at is None:
        raise ConflictError(Code.STATE_CONFLICT, "The connection takes this feed already.")
    return change_row(subscription, {**values, "is_paused": False, "archived_at": None})


def _check_feed(feed: Feed, connection: ExecutionConnection, by: User | None) -> None:
    if feed.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, f"The feed {feed.slug!r} is archived.")
    may = feed.is_public or feed.owner_id == connection.owner_id or by is None or by.is_operator
    if not may:
        raise NotAllowedError(Code.NOT_FOUND, "There is no such feed.")


@transaction.atomic
def unsubscribe(subscription_id: int, *, by: User | None) -> bool:
    """End a subscription: no later signal is taken; open positions stay.

    Returns False if it has ended already.
    """
    subscription = _locked(subscription_id, by)
    candidates_exclusive(subscription.feed_id)
    now = market_now()
    live = Subscription.objects.filter(pk=subscription_id, archived_at=None)
    if not live.update(archived_at=now):
        return False
    SubscriptionInterval.objects.filter(subscription=subscription, ended_at=None).update(
        ended_at=now
    )
    return True


def pause_subscription(subscription_id: int, *, by: User | None) -> bool:
    """Skip the feed's signals until `resume_subscription`. Return False if it was paused."""
    return _set_flag(subscription_id, by, is_paused=True)


def resume_subscription(subscription_id: int, *, by: User | None) -> bool:
    """Take the feed's signals again. Return False if it was not paused."""
    return _set_flag(subscription_id, by, is_paused=False)


def renew_subscription(
    subscription_id: int, *, by: User | None, expires_at: datetime | None
) -> bool:
    """Set the end of a subscription (market time; None: no end). Return False if nothing changed.

    Raises InvalidInputError FIELD_INVALID if the end is in the past.
    """
    if expires_at is not None and expires_at <= market_now():
        raise InvalidInputError(
            Code.FIELD_INVALID, "The new end is in the past.", field="expires_at"
        )
    return update_subscription(subscription_id, by=by, expires_at=expires_at)


@transaction.atomic
def update_subscription(subscription_id: int, *, by: User | None, **changes: Any) -> bool:
    """Change multiplier, symbol_map, directions or expires_at. Return False if nothing changed.

    Raises InvalidInputError FIELD_UNKNOWN for other fields, other codes for invalid values.
    """
    readers: dict[str, Callable[[Any], Any]] = {
        "multiplier": _multiplier,
        "symbol_map": lambda value: _symbol_map(value, subscription.connection.type),
        "directions": _directions,
        "expires_at": lambda value: value,
    }
    if unknown := sorted(set(changes) - set(readers)):
        raise InvalidInputError(
            Code.FIELD_UNKNOWN, f"{unknown[0]!r} cannot be changed.", field=unknown[0]
        )
    subscription = _active(subscription_id, by)
    read = {field: readers[field](value) for field, value in changes.items()}
    if all(getattr(subscription, field) == value for field, value in read.items()):
        return False
    return Subscription.objects.filter(pk=subscription_id).update(**read) == 1


@transaction.atomic
def _set_flag(subscription_id: int, by: User | None, **to: bool) -> bool:
    _active(subscription_id, by)
    return Subscription.objects.filter(pk=subscription_id).exclude(**to).update(**to) == 1


def _active(subscription_id: int, by: User | None) -> Subscription:
    subscription = _locked(subscription_id, by)
    if subscription.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "The subscription has ended.")
    return subscription


def _locked(subscription_id: int, by: User | None) -> Subscription:
    """Return the subscription under its connection's lock, which archiving takes, too."""
    connection_id = Subscription.objects.values_list("connection_id", flat=True).get(
        pk=subscription_id
    )
    lock_connection(connection_id, by, archived_too=True)
    return Subscription.objects.get(pk=subscription_id)


def _multiplier(value: Decimal) -> Decimal:
    if value <= 0:
        raise InvalidInputError(Code.NUMBER_NOT_POSITIVE, field="multiplier")
    return value


def _directions(value: str) -> str:
    if value not in Directions.values:
        raise InvalidInputError(
            Code.FIELD_INVALID, f"One of {', '.join(Directions.values)}.", field="directions"
        )
    return value


def _symbol_map(value: Mapping[str, str], broker_type: str) -> dict[str, str]:
    """Return the validated map from canonical pair to the broker's symbol."""
    try:
        read = {read_pair(pair): str(symbol) for pair, symbol in value.items()}
    except InvalidInputError as error:
        raise InvalidInputError(error.code, error.detail, field="symbol_map") from error
    if wrong := invalid_symbols_message(broker_type, list(read.values())):
        raise InvalidInputError(Code.FIELD_INVALID, wrong, field="symbol_map")
    return read
