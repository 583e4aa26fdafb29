"""Subscribe to feeds and change subscriptions. Public through `connections.services`.

Every change of the set of candidates holds the candidate lock exclusively, and reads its time after
that. So each publication is clearly before or after it, and the audit can derive the candidates of
a publication from the intervals.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from common.clocks import market_now
from common.db.row_changes import change_row
from common.errors import (
    CollectedErrors,
    ConflictError,
    InvalidInputError,
    NotAllowedError,
    raise_all,
)
from common.permissions import Right
from common.reason_codes import Code
from common.stop_rules import RULE_FIELDS, stop_rule_faults
from common.web.quotas import lock_quota, require_quota, within_a_day
from connections.accounts.permissions import check_owner
from connections.accounts.services import lock_connection
from connections.entry_limits import ENTRY_LIMITS
from connections.models import (
    Directions,
    ExecutionConnection,
    PriorityClass,
    Subscription,
    SubscriptionInterval,
    TwinEnd,
)
from connections.subscriptions import limits
from connections.subscriptions.readiness import readiness_of
from connections.subscriptions.routes import check_not_routed, read_symbol_map
from connections.twin_links import end_twins, follow_symbol_map, follow_twin, refuse_twin
from signals.locks import candidates_exclusive, feed_shared
from signals.models import Feed
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
    priority: int = PriorityClass.NORMAL,
    demo_only: bool = False,
    **more: Any,
) -> Subscription:
    """Let a connection take a feed's signals from the next publication on.

    Refused with all that is missing if the account cannot trade the feed yet (`readiness.py`). by:
    None only where no person asks, as when a demo is set up; then that is not checked.

    An ended subscription is reopened. expires_at: market time. priority: a `PriorityClass`; only an
    operator gives HIGH. demo_only: for sample orders; it has no route, and counts for no quota.
    more: its own limits and the fields of its stop rule, see
    `update_subscription`. Raises ConflictError CANNOT_SUBSCRIBE, or STATE_CONFLICT if the
    connection takes the feed already or either is archived, or QUOTA_REACHED; NotAllowedError for a
    private feed of another user; InvalidInputError for invalid values.
    """
    if not demo_only:
        lock_quota("subscriptions", ExecutionConnection.objects.get(pk=connection_id).owner_id)
    connection = lock_connection(connection_id, by)
    refuse_twin(connection)
    new = Subscription(connection=connection)
    own_limits = {name: more[name] for name in more if name not in RULE_FIELDS}
    rule = {name: more[name] for name in more if name in RULE_FIELDS}
    faults = CollectedErrors()
    values = {
        **_no_limits(),
        **(faults.attempt(lambda: _limits(new, own_limits, by)) or {}),
        "multiplier": faults.attempt(lambda: _multiplier(multiplier)),
        "symbol_map": faults.attempt(lambda: read_symbol_map(symbol_map or {}, connection.type)),
        "directions": faults.attempt(lambda: _directions(directions)),
        "expires_at": expires_at,
        "priority": faults.attempt(lambda: _priority(priority, new, by)),
        "demo_only": demo_only,
        **(faults.attempt(lambda: _stop_rule(new, rule)) or {}),
    }
    faults.raise_all()
    if not demo_only:
        _require_quota(connection, feed_id)
    candidates_exclusive(feed_id)
    feed = feed_shared(feed_id)  # locked: it cannot become private or archived before the commit
    _check_feed(feed, connection, by)
    check_not_routed(connection, feed_id)
    if by is not None:
        _check_ready(connection, feed, values["symbol_map"] or {})
    now = market_now()
    subscription = _create_or_reopen(connection, feed, values)
    SubscriptionInterval.objects.create(subscription=subscription, started_at=now)
    return subscription


def _require_quota(connection: ExecutionConnection, feed_id: int) -> None:
    """Raise ConflictError QUOTA_REACHED if a subscription of the feed is too many for the owner.

    Those of paper twins do not count: TWIN_LIMIT limits them. Nor does that of an account's sample
    orders.
    """
    owner_id = connection.owner_id
    counted = Subscription.objects.filter(
        Q(archived_at=None) | within_a_day(),
        connection__in=ExecutionConnection.objects.owned_by(owner_id),
        twin_of=None,
        demo_only=False,
    )
    if not counted.filter(connection=connection, feed=feed_id).exists():
        require_quota("subscriptions", owner_id, counted)


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


def _check_ready(
    connection: ExecutionConnection, feed: Feed, symbol_map: Mapping[str, str]
) -> None:
    live = Subscription.objects.filter(connection=connection, feed=feed, archived_at=None)
    if live.exists():
        return  # refused for that reason
    if (found := readiness_of(connection, feed, symbol_map)).missing:
        raise ConflictError(Code.CANNOT_SUBSCRIBE, found.message)


@transaction.atomic
def unsubscribe(subscription_id: int, *, by: User | None) -> bool:
    """End a subscription: no later signal is taken; open positions stay.

    Returns False if it has ended already.
    """
    subscription = _locked(subscription_id, by)
    candidates_exclusive(subscription.feed_id)
    now = market_now()
    live = Subscription.objects.filter(pk=subscription_id, archived_at=None)
    if not live.update(archived_at=now, route_policy=""):
        return False
    subscription.routes.all().delete()  # its accounts may take the feed in another way
    SubscriptionInterval.objects.filter(subscription=subscription, ended_at=None).update(
        ended_at=now
    )
    end_twins(now, TwinEnd.SUBSCRIPTION, subscription=subscription)
    return True


def pause_subscription(subscription_id: int, *, by: User | None) -> bool:
    """Skip the feed's signals until `resume_subscription`. Return False if it was paused."""
    return _set_flag(subscription_id, by, is_paused=True)


def resume_subscription(subscription_id: int, *, by: User | None) -> bool:
    """Take the feed's signals again. Return False if it was not paused."""
    return _set_flag(subscription_id, by, is_paused=False)


@transaction.atomic
def update_subscription(subscription_id: int, *, by: User | None, **changes: Any) -> bool:
    """Change multiplier, symbol_map, directions, expires_at, priority, limits or its stop rule.

    A stop rule (`common.stop_rules.RULE_FIELDS`) applies to positions that open later.

    Returns False if nothing changed. Raises InvalidInputError FIELD_UNKNOWN for other fields, other
    codes for invalid values and limits that are looser than the preset's; NotAllowedError.
    """
    known = {*ENTRY_LIMITS, *limits.ALIASES}
    own_limits = {name: changes.pop(name) for name in list(changes) if name in known}
    readers: dict[str, Callable[[Any], Any]] = {
        "multiplier": _multiplier,
        "symbol_map": lambda value: read_symbol_map(value, subscription.connection.type),
        "directions": _directions,
        "expires_at": lambda value: _end(value, subscription),
        "priority": lambda value: _priority(value, subscription, by),
        **dict.fromkeys(RULE_FIELDS, lambda value: value),
    }
    if unknown := sorted(set(changes) - set(readers)):
        raise InvalidInputError(
            Code.FIELD_UNKNOWN, f"{unknown[0]!r} cannot be changed.", field=unknown[0]
        )
    subscription = _active(subscription_id, by)
    rule = {name: changes[name] for name in RULE_FIELDS if name in changes}
    faults = CollectedErrors()
    faults.attempt(lambda: _stop_rule(subscription, rule))
    read = {
        field: faults.attempt(partial(readers[field], value)) for field, value in changes.items()
    }
    read |= faults.attempt(lambda: _limits(subscription, own_limits, by)) or {}
    faults.raise_all()
    if all(getattr(subscription, field) == value for field, value in read.items()):
        return False
    Subscription.objects.filter(pk=subscription_id).update(**read)
    follow_twin(subscription_id=subscription_id)
    if "symbol_map" in read:
        follow_symbol_map(Subscription.objects.get(pk=subscription_id))
    return True


def _end(value: datetime | None, subscription: Subscription) -> datetime | None:
    if value is not None and value != subscription.expires_at and value <= market_now():
        raise InvalidInputError(
            Code.FIELD_INVALID, "The new end is in the past.", field="expires_at"
        )
    return value


def _limits(
    subscription: Subscription, changes: Mapping[str, Any], by: User | None
) -> dict[str, Any]:
    """Return changed limits as they are stored. The caller has locked the connection."""
    if not changes:
        return {}
    stored = {limits.ALIASES.get(name, name): value for name, value in changes.items()}
    if unknown := sorted(set(stored) - set(ENTRY_LIMITS)):
        raise InvalidInputError(
            Code.FIELD_UNKNOWN, f"{unknown[0]!r} cannot be set.", field=unknown[0]
        )
    check_owner(subscription.connection, by, Right.LIMITS)
    return limits.read_limits(subscription, subscription.connection.preset, stored)


def subscription_errors(
    subscription: Subscription, changes: Mapping[str, Any], by: User | None
) -> list[InvalidInputError]:
    """Return what is wrong with changed settings."""
    values = {limits.ALIASES.get(name, name): value for name, value in changes.items()}
    own_limits = {name: values[name] for name in ENTRY_LIMITS if name in values}
    rule = {name: values[name] for name in RULE_FIELDS if name in values}
    preset = subscription.connection.preset
    faults = CollectedErrors()
    faults.attempt(lambda: limits.read_limits(subscription, preset, own_limits))
    faults.attempt(lambda: _stop_rule(subscription, rule))
    if "multiplier" in values:
        faults.attempt(lambda: _multiplier(values["multiplier"]))
    if "symbol_map" in values:
        broker_type = subscription.connection.type
        faults.attempt(lambda: read_symbol_map(values["symbol_map"], broker_type))
    if "priority" in values:
        faults.attempt(lambda: _priority(values["priority"], subscription, by))
    return faults.errors


def _no_limits() -> dict[str, Any]:
    """Return the limits of a new subscription; one that is reopened has none of its former ones."""
    fields = {field.name: field for field in Subscription._meta.concrete_fields}
    return {name: fields[name].get_default() for name in ENTRY_LIMITS}


@transaction.atomic
def _set_flag(subscription_id: int, by: User | None, **to: bool) -> bool:
    _active(subscription_id, by)
    changed = Subscription.objects.filter(pk=subscription_id).exclude(**to).update(**to) == 1
    follow_twin(subscription_id=subscription_id)
    return changed


def _active(subscription_id: int, by: User | None) -> Subscription:
    subscription = _locked(subscription_id, by)
    if subscription.archived_at is not None:
        raise ConflictError(Code.STATE_CONFLICT, "The subscription has ended.")
    return subscription


def _locked(subscription_id: int, by: User | None) -> Subscription:
    """Return the subscription under its connection's lock, which archiving takes, too.

    Raises ConflictError TWIN_FOLLOWS for that of a paper twin.
    """
    connection_id = Subscription.objects.values_list("connection_id", flat=True).get(
        pk=subscription_id
    )
    refuse_twin(lock_connection(connection_id, by, archived_too=True))
    return Subscription.objects.get(pk=subscription_id)


def _multiplier(value: Decimal) -> Decimal:
    if value <= 0:
        raise InvalidInputError(Code.NUMBER_NOT_POSITIVE, field="multiplier")
    return value


def _stop_rule(subscription: Subscription, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stop rule with the changes. Raises InvalidInputError with all faults."""
    rule = {name: changes.get(name, getattr(subscription, name)) for name in RULE_FIELDS}
    raise_all(
        [
            InvalidInputError(Code.FIELD_INVALID, detail, field=name)
            for name, detail in stop_rule_faults(rule)
        ]
    )
    return rule


def _directions(value: str) -> str:
    if value not in Directions.values:
        raise InvalidInputError(
            Code.FIELD_INVALID, f"One of {', '.join(Directions.values)}.", field="directions"
        )
    return value


def _priority(value: int, subscription: Subscription, by: User | None) -> int:
    """Return a valid priority class. Tenants share the workers, so no tenant gives itself HIGH."""
    if value not in PriorityClass.values:
        raise InvalidInputError(
            Code.FIELD_INVALID, "One of 1 (high), 2 (normal), 3 (low).", field="priority"
        )
    is_raised = value == PriorityClass.HIGH and subscription.priority != value
    if is_raised and by is not None and not by.is_operator:
        raise InvalidInputError(
            Code.FIELD_INVALID,
            "Only an operator gives high priority. Choose normal (2) or low (3).",
            field="priority",
        )
    return value
