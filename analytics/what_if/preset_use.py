"""What a change of a preset or a subscription meets: what its accounts have open or waiting."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Case, CharField, Count, Q, Value, When

from common.reason_codes import Code
from connections.models import ExecutionConnection, Subscription, TradingPreset
from execution.models import NOT_ENDED, Order, Status
from positions.models import ExecutionPosition

LATER_SLICES, HELD, WAITING, WORKING = "later slices", "held", "waiting", "working"


@dataclass(frozen=True, slots=True)
class PresetUse:
    """What an account with a preset has. Counts of positions and of entries.

    working: at the broker. waiting: not sent yet, to be decided. later_slices: of entries that have
    begun. held: by Fillcast until their price is reached.
    """

    connection_id: UUID
    name: str
    positions: int = 0
    working: int = 0
    waiting: int = 0
    later_slices: int = 0
    held: int = 0

    @property
    def not_sent(self) -> int:
        """Entries that are still to be sent, of every kind."""
        return self.waiting + self.later_slices + self.held

    @property
    def has_any(self) -> bool:
        """Whether anything is open or waits there."""
        return any((self.positions, self.working, self.not_sent))


def uses_of(preset: TradingPreset) -> list[PresetUse]:
    """Return the live accounts that use a preset, by name, in three statements."""
    accounts = list(
        ExecutionConnection.objects.live().filter(preset=preset).order_by("name", "pk")
        .values_list("pk", "name")
    )  # fmt: skip
    return uses_of_accounts(accounts)


def uses_of_subscription(subscription: Subscription) -> list[PresetUse]:
    """Return what its account, and each of its route, has open or waiting of its feed."""
    own = subscription.connection
    routed = subscription.routes.exclude(connection=own).order_by("connection__name", "pk")
    accounts = [(own.pk, own.name), *routed.values_list("connection_id", "connection__name")]
    return uses_of_accounts(accounts, feed_id=subscription.feed_id)


def uses_of_accounts(
    accounts: Sequence[tuple[UUID, str]], *, feed_id: int | None = None
) -> list[PresetUse]:
    """Return what these accounts (id and name) have open or waiting. feed_id: only of this feed."""
    ids = [pk for pk, _ in accounts]
    if not ids:
        return []
    of_feed = Q() if feed_id is None else Q(signal__feed_id=feed_id)
    open_ones = ExecutionPosition.objects.filter(of_feed, connection__in=ids, quantity__gt=0)
    positions = dict(
        open_ones.order_by().values("connection").annotate(n=Count("pk")).values_list(
            "connection", "n"
        )
    )  # fmt: skip
    entries: dict[tuple[UUID, str], int] = {}
    found = (
        Order.objects.filter(of_feed, connection__in=ids, position=None, leg__startswith="entry")
        .filter(NOT_ENDED)
        .order_by()
        .annotate(sort=_SORT)
        .values("connection", "sort")
        .annotate(n=Count("pk"))
    )
    for row in found:
        entries[row["connection"], row["sort"]] = row["n"]
    return [
        PresetUse(
            pk, name, positions.get(pk, 0),
            *(entries.get((pk, sort), 0) for sort in (WORKING, WAITING, LATER_SLICES, HELD)),
        )
        for pk, name in accounts
    ]  # fmt: skip


_SORT = Case(
    When(~Q(status=Status.PENDING), then=Value(WORKING)),
    When(leg__startswith="entry-", then=Value(LATER_SLICES)),
    When(reason=Code.AWAITING_TRIGGER, then=Value(HELD)),
    default=Value(WAITING),
    output_field=CharField(),
)
