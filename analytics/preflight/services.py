"""Ask for preflights. The same rules for the portal and the API."""

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from analytics.models import Preflight
from common.errors import ConflictError, InvalidInputError, NotAllowedError, raise_all
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.quotas import lock_quota
from connections.models import Directions, ExecutionConnection
from connections.services import read_symbol_map
from signals.models import Feed
from signals.selectors import feeds_for
from users.models import User

MOST, USUAL = 500, 100
UNDER_WAY_AT_MOST = 3  # of one person: a worker runs them one after the other, for everybody


def feeds_to_replay(user: User) -> QuerySet[Feed]:
    """Return the feeds that the user may subscribe to, or is subscribed to."""
    taken = Q(subscriptions__connection__user=user, subscriptions__archived_at=None)
    mine = Feed.objects.filter(taken).values("pk")
    open_ones = Q(is_public=True, archived_at=None) | Q(owner=user, archived_at=None)
    found: QuerySet[Feed] = feeds_for(user).filter(open_ones | Q(pk__in=mine))
    return found


@transaction.atomic
def request_preflight(
    *,
    connection_id: UUID,
    feed_id: int,
    by: User,
    signals: int = USUAL,
    multiplier: Decimal = Decimal(1),
    directions: str = Directions.BOTH,
    symbol_map: Mapping[str, str] | None = None,
) -> Preflight:
    """Ask for a replay, which a worker takes up; it replaces the last one of account and feed.

    Raises NotAllowedError without the right or for a feed that the user may not take,
    InvalidInputError for invalid values, ConflictError PREFLIGHT_RUNNING while one runs, and
    TOO_MANY_PREFLIGHTS while UNDER_WAY_AT_MOST others of the account's owner do.
    """
    connection = ExecutionConnection.objects.filter(pk=connection_id, archived_at=None).first()
    if connection is None:
        raise NotAllowedError(Code.NOT_FOUND, "There is no such account.")
    require(by, Right.CONNECTIONS, owner_id=connection.owner_id)
    if not (by.is_operator or feeds_to_replay(by).filter(pk=feed_id).exists()):
        raise NotAllowedError(Code.NOT_FOUND, "There is no such feed.")
    _require_valid(signals, multiplier, directions)
    values = {
        "signals_wanted": signals,
        "multiplier": multiplier,
        "directions": directions,
        "symbol_map": dict(read_symbol_map(symbol_map or {}, connection.type)),
    }
    lock_quota("preflights under way", connection.owner_id)  # of two at once only one is the last
    of = {"connection": connection, "feed_id": feed_id}
    others = Preflight.objects.filter(connection__user=connection.user).exclude(**of)
    known = Preflight.objects.filter(**of).first()
    is_new = known is None or not _is_under_way(known)
    if is_new and sum(map(_is_under_way, others)) >= UNDER_WAY_AT_MOST:
        raise ConflictError(Code.TOO_MANY_PREFLIGHTS)
    Preflight.objects.bulk_create([Preflight(**of, **values)], ignore_conflicts=True)
    job = Preflight.objects.select_for_update().get(**of)
    if _is_under_way(job) and any(getattr(job, name) != values[name] for name in values):
        raise ConflictError(Code.PREFLIGHT_RUNNING)
    if _is_under_way(job):
        return job  # two clicks ask for one
    Preflight.objects.filter(pk=job.pk).update(
        **values, state=Preflight.State.WAITING, requested_at=timezone.now(), claimed_until=None,
        tries=0, signals_done=0, signals_total=0, result=None, ready_at=None,
    )  # fmt: skip
    return Preflight.objects.get(pk=job.pk)


def _require_valid(signals: int, multiplier: Decimal, directions: str) -> None:
    faults = []
    if not 1 <= signals <= MOST:
        faults.append(InvalidInputError(Code.FIELD_INVALID, f"1 to {MOST}.", field="signals"))
    if not multiplier.is_finite() or multiplier <= 0:
        faults.append(InvalidInputError(Code.NUMBER_NOT_POSITIVE, field="multiplier"))
    if directions not in Directions.values:
        allowed = f"One of {', '.join(Directions.values)}."
        faults.append(InvalidInputError(Code.FIELD_INVALID, allowed, field="directions"))
    raise_all(faults)


def _is_under_way(job: Preflight) -> bool:
    """Whether a worker runs it, or will soon; one whose worker has died does not stop a new one."""
    until = job.claimed_until
    is_claimed = job.state == Preflight.State.RUNNING and until and until > timezone.now()
    return bool(is_claimed) or job.state == Preflight.State.WAITING


def preflights_of(user: User) -> QuerySet[Preflight]:
    """Return the preflights that the user may see, the newest first."""
    found = Preflight.objects.select_related("feed", "connection").defer(
        "connection__sealed_credentials"
    )
    if not user.is_operator:
        found = found.filter(Q(connection__user=user) | Q(connection__admin=user))
    return found.order_by("-requested_at", "-pk")
