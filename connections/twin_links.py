"""What a change of a live subscription means for its paper twin: it follows, and ends with it.

The twin's terms are a copy, written in the transaction that changes the live ones. The sweep that
winds twins up repeats that. It alone follows halts, within seconds: a halt must not wait for the
rows of twins.

Lock the live account before its twin.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from common.db.sql import run
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import (
    ExecutionConnection,
    Instrument,
    LossLimit,
    Subscription,
    SubscriptionInterval,
    SubscriptionTwin,
    TwinEnd,
)

NUMBER_PREFIX = "paper-twin-"
"""How the account numbers of twins begin. Only we open paper accounts with it."""

NOT_COPIED = frozenset(
    {
        "id", "connection_id", "feed_id", "symbol_map", "is_paused", "priority", "route_policy",
        "archived_at", "created_at",
    }
)  # fmt: skip
"""Columns of a subscription that its twin has of its own."""
_COPIED = [
    field.column for field in Subscription._meta.concrete_fields if field.column not in NOT_COPIED
]

IS_STOPPED_SQL = """(l.is_paused OR c.is_paused OR NOT c.is_active OR NOT EXISTS (
    SELECT FROM connections_executionconnection x
    WHERE (x.id = c.id OR x.id IN (SELECT r.connection_id FROM connections_subscriptionroute r
        WHERE r.subscription_id = l.id))
      AND x.is_active AND NOT x.is_paused AND x.archived_at IS NULL
      AND NOT EXISTS (SELECT FROM connections_killswitch k WHERE k.released_at IS NULL
        AND (k.scope = 'CONNECTION' AND k.connection_id = x.id
          OR k.scope = 'BROKER_TYPE' AND k.broker_type = x.type))))"""
"""Whether a live subscription `l` on account `c` takes no entries for a reason that its twin shares
only by following: a pause, or a halt of the account or its broker type. A routed one goes on while
an account of its route is neither halted so nor paused or switched off. All other halts concern
both by themselves."""

_RUNNING = """connections_subscriptiontwin w
JOIN connections_subscription l ON l.id = w.subscription_id
JOIN connections_executionconnection c ON c.id = l.connection_id"""
_CHOSEN = (
    "w.ended_at IS NULL AND (%(connection)s::uuid IS NULL OR l.connection_id = %(connection)s)"
    " AND (%(subscription)s::bigint IS NULL OR l.id = %(subscription)s)"
)

ANY_TWIN = """
SELECT EXISTS (SELECT FROM connections_subscriptiontwin WHERE ended_at IS NULL)
  OR EXISTS (SELECT FROM connections_subscriptiontwin w
    JOIN connections_executionconnection c ON c.id = w.connection_id
    WHERE c.archived_at IS NULL) AS is_any
"""
"""Whether any paper twin is running, or has ended and is not wound up."""

FOLLOW_TERMS = f"""
UPDATE connections_subscription t SET
  ({", ".join((*_COPIED, "is_paused"))}) = ROW(
    {", ".join(f"l.{name}" for name in _COPIED)}, {IS_STOPPED_SQL})
FROM {_RUNNING}
WHERE w.twin_id = t.id AND {_CHOSEN}
  AND ({", ".join(f"t.{name}" for name in _COPIED)}, t.is_paused)
  IS DISTINCT FROM ({", ".join(f"l.{name}" for name in _COPIED)}, {IS_STOPPED_SQL})
"""

FOLLOW_PRESET = f"""
UPDATE connections_executionconnection t SET preset_id = c.preset_id
FROM {_RUNNING}
WHERE w.connection_id = t.id AND {_CHOSEN} AND t.preset_id IS DISTINCT FROM c.preset_id
"""

_TERMS = ("maximum", "unit", "action", "resume", "started_at")
_KEY = '"window", measure, basis'
DROP_LIMITS = f"""
DELETE FROM connections_losslimit t USING {_RUNNING}
WHERE t.subscription_id = w.twin_id AND {_CHOSEN} AND NOT EXISTS (
  SELECT FROM connections_losslimit o WHERE o.subscription_id = l.id
    AND (o."window", o.measure, o.basis) = (t."window", t.measure, t.basis))
"""
FOLLOW_LIMITS = f"""
INSERT INTO connections_losslimit AS t
  (subscription_id, {_KEY}, {", ".join(_TERMS)}, created_at)
SELECT w.twin_id, o."window", o.measure, o.basis, {", ".join(f"o.{name}" for name in _TERMS)},
  clock_timestamp()
FROM {_RUNNING} JOIN connections_losslimit o ON o.subscription_id = l.id
WHERE {_CHOSEN}
ON CONFLICT (subscription_id, {_KEY}) WHERE subscription_id IS NOT NULL DO UPDATE SET
  ({", ".join(_TERMS)}) = ROW({", ".join(f"excluded.{name}" for name in _TERMS)})
WHERE ({", ".join(f"t.{name}" for name in _TERMS)})
  IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _TERMS)})
"""


def follow_twin(*, connection_id: UUID | None = None, subscription_id: int | None = None) -> int:
    """Give the running twins of an account or a subscription its terms of now; return how many
    rows that changed. Without either: all twins."""
    chosen = {"connection": connection_id, "subscription": subscription_id}
    changed = run(FOLLOW_TERMS, chosen) + run(FOLLOW_PRESET, chosen)
    return changed + run(DROP_LIMITS, chosen) + run(FOLLOW_LIMITS, chosen)


def follow_symbol_map(subscription: Subscription) -> None:
    """Give the running twin of a subscription its symbol map of now."""
    running = SubscriptionTwin.objects.filter(subscription=subscription, ended_at=None)
    for link in running.select_related("connection"):
        Subscription.objects.filter(pk=link.twin_id).update(
            symbol_map=twin_symbol_map(subscription, link.connection.instrument_book or "paper")
        )


def twin_symbol_map(subscription: Subscription, book: str) -> Mapping[str, str]:
    """Return the symbol map of a twin: pairs that its live subscription trades as other pairs.

    Names of the live broker mean nothing to the paper broker. A pair that is mapped to a symbol of
    the same pair needs no entry there; one whose other pair the paper broker lacks has none.
    """
    if not subscription.symbol_map:
        return {}
    mapped = dict(
        Instrument.objects.filter(
            book=subscription.connection.instrument_book,
            symbol__in=subscription.symbol_map.values(),
        ).values_list("symbol", "pair")
    )
    other = {
        pair: mapped[symbol]
        for pair, symbol in subscription.symbol_map.items()
        if mapped.get(symbol, pair) != pair
    }
    named = dict(
        Instrument.objects.filter(
            book=book, pair__in=other.values(), is_preferred=True
        ).values_list("pair", "symbol")
    )
    return {pair: named[traded] for pair, traded in other.items() if traded in named}


def end_twins(now: datetime, reason: TwinEnd, **which: object) -> int:
    """End running twins: they take no signal that is published from now on; return how many.

    The caller holds the candidate lock of their feeds and has read `now` (market time) after that.
    Their positions are closed and their accounts archived by `execution.twin_endings`. which: a
    filter of `SubscriptionTwin`.
    """
    running = SubscriptionTwin.objects.filter(ended_at=None, **which)
    twins = list(running.values_list("pk", "twin_id"))
    if not twins:
        return 0
    own = [twin_id for _, twin_id in twins]
    Subscription.objects.filter(pk__in=own, archived_at=None).update(archived_at=now)
    LossLimit.objects.filter(subscription__in=own).delete()  # copies; pauses keep what they state
    SubscriptionInterval.objects.filter(subscription__in=own, ended_at=None).update(ended_at=now)
    SubscriptionTwin.objects.filter(pk__in=[pk for pk, _ in twins]).update(
        ended_at=now, end_reason=reason
    )
    return len(twins)


def is_twin(connection: ExecutionConnection) -> bool:
    """Whether an account is or was a paper twin."""
    return is_twin_account(connection.type, connection.account)


def is_twin_account(broker_type: str, number: str) -> bool:
    """Whether an account with this broker type and number is or was a paper twin. Pure."""
    return broker_type == "paper" and number.startswith(NUMBER_PREFIX)


def refuse_twin(connection: ExecutionConnection) -> None:
    """Raise ConflictError TWIN_FOLLOWS for the account of a paper twin."""
    if is_twin(connection):
        raise ConflictError(Code.TWIN_FOLLOWS)
