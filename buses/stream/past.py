"""What a stream has missed: read again for one user, up to where the new events begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q

from buses.envelope import Envelope
from buses.sources import SOURCES, Source, read
from buses.stream.hub import Item, Wanted
from buses.stream.place import Place
from connections.models import ExecutionConnection
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of

PAGE = 500
MOST_ROWS = 200_000  # of one source, of all users: more is read from the tables of the API


class TooOldError(Exception):
    """The place is of an earlier epoch, or too much has happened since."""


def require_recent(place: Place, start: Place) -> None:
    """Raise TooOldError for a place that cannot be caught up from."""
    if place.epoch != start.epoch:
        raise TooOldError("The database was restored since then.")
    if any(start.read[name] - place.read[name] > MOST_ROWS for name in start.read):
        raise TooOldError("Too much has happened since then.")


def missed(user: User, wanted: Wanted, place: Place, start: Place) -> Iterator[list[Item]]:
    """Yield what happened between two places, a page at a time, each in its own transaction."""
    for source in SOURCES:
        last, upto = place.read[source.name], start.read[source.name]
        while last < upto:
            with on_behalf_of(user):
                ids = _ids(source, user, last, upto)
                with for_all_tenants():  # an event's feed, epoch and so on are not its tenant's
                    made = read(source, ids)
            before = place.text()
            last = ids[-1] if len(ids) == PAGE else upto
            place = place.at(source.name, last)
            mine = [one for one in made if isinstance(one, Envelope) and wanted(one)]
            items = [Item(before, event) for event in mine[:-1]]
            yield items + [Item(place.text(), event) for event in mine[-1:]]


def _ids(source: Source, user: User, after: int, upto: int) -> list[int]:
    found: Any = source.model._default_manager.filter(pk__gt=after, pk__lte=upto)
    if not user.is_operator:
        found = found.filter(_mine(source, user))
    return list(found.order_by("pk").values_list("pk", flat=True)[:PAGE])


def _mine(source: Source, user: User) -> Q:
    """Return the condition of a tenant's rows; row security has it, too."""
    if source.name == "outbox":
        return Q(user_id=user.pk)
    if source.name == "announcements":
        return Q(pk__in=())
    own = ExecutionConnection.objects.filter(user=user).values_list("pk", flat=True)
    return Q(connection_id__in=list(own))
