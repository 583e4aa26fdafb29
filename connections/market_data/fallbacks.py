"""Which sources stand in for a source that is silent, and where it counts who stands in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from django.db import transaction
from django.db.models import Q, QuerySet

from common.db.sql import run
from common.errors import ConflictError, InvalidInputError
from common.permissions import Right, require
from common.reason_codes import Code
from connections.market_data.compatibility import LIVE_KINDS, lock_shared_source
from connections.models import DataConnection
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL
from users.models import User

LONGEST_CHAIN = 5


def chain_of(source_id: int, next_of: Mapping[int, int]) -> tuple[int, ...]:
    """Return the fallbacks of a source, the first choice first. Pure.

    next_of: the fallback of each source that has one. A circle ends where it begins.
    """
    chain: list[int] = []
    found = next_of.get(source_id)
    while found is not None and found != source_id and found not in chain:
        chain.append(found)
        found = next_of.get(found) if len(chain) < LONGEST_CHAIN else None
    return tuple(chain)


def fallback_chains(source_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Return the active fallbacks of these sources, the first choice first, in one query.

    A fallback that is neither shared nor of the source's owner ends the chain: its user may have
    been changed since it was chosen, and no tenant's source may move the prices of others.
    """
    if not (wanted := list(source_ids)):
        return {}
    with_fallback = DataConnection.objects.filter(fallback__isnull=False)
    values = "id", "user_id", "fallback_id", "fallback__user_id", "fallback__is_active"
    next_of, owners, active = dict[int, int](), dict[int, int | None](), set[int]()
    for pk, owner_id, fallback_id, fallback_owner_id, is_active in with_fallback.values_list(
        *values
    ):
        next_of[pk] = fallback_id
        owners |= {pk: owner_id, fallback_id: fallback_owner_id}
        active |= {fallback_id} if is_active else set()
    chains = {pk: permitted(pk, chain_of(pk, next_of), owners) for pk in wanted}
    return {pk: tuple(one for one in chain if one in active) for pk, chain in chains.items()}


def permitted(
    source_id: int, chain: Sequence[int], owners: Mapping[int, int | None]
) -> tuple[int, ...]:
    """Return a chain up to the first source that is neither shared nor of the owner. Pure.

    owners: of each source; None: it is shared.
    """
    usable = None, owners.get(source_id)
    return tuple(takewhile(lambda one: owners.get(one) in usable, chain))


def pairs_stood_in_for(source_ids: Iterable[int]) -> dict[int, list[str]]:
    """Return the pairs that each of these sources must have ready as a fallback, in two queries.

    These are the pairs that the active sources follow whose fallback it is. Sources that are the
    fallback of none are left out.
    """
    rows = DataConnection.objects.filter(fallback__isnull=False).select_related("health")
    primaries = {source.pk: source for source in rows.filter(is_active=True)}
    chains, found = fallback_chains(primaries), dict[int, list[str]]()
    wanted = set(source_ids)
    for pk, source in primaries.items():
        for fallback_id in wanted.intersection(chains[pk]):
            found.setdefault(fallback_id, []).extend(followed_pairs(source))
    return found


def followed_pairs(source: DataConnection) -> list[str]:
    """Return the pairs that a source follows: only these may have the prices of a fallback."""
    health = getattr(source, "health", None)
    return source.pushed_symbols or (list(health.pairs) if health is not None else [])


def possible_fallbacks(source: DataConnection) -> QuerySet[DataConnection]:
    """Return the sources that may stand in for one: live ones of its owner and shared ones.

    For a shared source only shared ones: no tenant's source may move the prices of all.
    """
    owners = Q(user=None) if source.user_id is None else Q(user=None) | Q(user=source.user_id)
    return DataConnection.objects.filter(owners, kind__in=LIVE_KINDS).exclude(pk=source.pk)


@transaction.atomic
def set_fallback(source_id: int, fallback_id: int | None, *, by: User | None) -> bool:
    """Choose the source that stands in while one is silent or suspect; None: none does.

    Returns False if it was so already. Raises NotAllowedError; ConflictError STATE_CONFLICT if the
    source is a recording; InvalidInputError FIELD_INVALID for a fallback that may not be chosen.
    """
    if fallback_id is not None:
        lock_shared_source(fallback_id)
    source = DataConnection.objects.select_for_update(no_key=True, of=("self",)).get(pk=source_id)
    require(by, Right.PRICES, owner_id=source.user_id)
    if source.fallback_id == fallback_id:
        return False
    if fallback_id is not None:
        check_fallback(source, fallback_id)
    source.fallback_id = fallback_id
    source.save(update_fields=["fallback"])
    return True


def check_fallback(source: DataConnection, fallback_id: int) -> None:
    """Raise ConflictError or InvalidInputError if a source may not have this fallback."""
    if source.kind not in LIVE_KINDS:
        detail = "Recorded and constant quotes have no fallback."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    if not possible_fallbacks(source).filter(pk=fallback_id).exists():
        detail = (
            "Choose another source whose prices come from a broker or are pushed: yours or a shared"
            " one; for a shared source, a shared one."
        )
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="fallback")


# ---- what is used now ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FallbackChange:
    """Pairs of a source that got the prices of a fallback (began), or their own again."""

    source_id: int
    fallback_id: int
    pairs: Sequence[str]
    began: bool


_CHANGE = f"""
{INSERT_EVENTS_SQL}
SELECT %s, d.user_id, NULL, NULL, NULL, jsonb_build_object(
  'source', d.id, 'name', d.name, 'fallback', f.id, 'fallback_name', f.name,
  'pairs', to_jsonb(%s::text[]))
FROM connections_dataconnection d JOIN connections_dataconnection f ON f.id = %s
WHERE d.id = %s
"""


# Names and pairs are for pages: the prices process keeps what it uses itself.
_SHOW = """
UPDATE connections_sourcehealth SET on_fallback = %s::text[],
  fallback_names = left((SELECT coalesce(string_agg(f.name, ', ' ORDER BY f.id), '')
    FROM connections_dataconnection f WHERE f.id = ANY(%s::bigint[])), 220)
WHERE source_id = %s
"""


def show_fallback_use(source_id: int, used: Mapping[str, int]) -> None:
    """Store for pages and metrics which pairs of a source have the prices of which fallback.

    used: only pairs that have a price of now, or whose market is closed. A source without a status
    follows no pair, and so uses none.
    """
    run(_SHOW, (sorted(used), sorted(set(used.values())), source_id))


def has_no_price_sql(source: str, pair: str) -> str:
    """Return SQL for whether a source is on, and its fallback has no price of a pair that uses it.

    Both are expressions. The pair of a closed market needs none.
    """
    return f"""EXISTS (SELECT FROM connections_dataconnection d
  LEFT JOIN connections_sourcehealth h ON h.source_id = d.id
  WHERE d.id = {source} AND d.is_active AND {pair} <> ALL(coalesce(h.on_fallback, '{{}}')))"""


def record_fallback_changes(changes: Iterable[FallbackChange]) -> None:
    """Write an event for each change. In the caller's transaction."""
    for change in changes:
        kind = EventKind.PRICES_ON_FALLBACK if change.began else EventKind.PRICES_ON_PRIMARY
        pairs = sorted(change.pairs)
        run(_CHANGE, (kind.value, pairs, change.fallback_id, change.source_id))
