"""Kill switches that affect a tenant, with texts for the banner."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet

from connections.models import ExecutionConnection, KillSwitch, Subscription
from connections.services import earlier_providers
from users.models import User


class SwitchRow(NamedTuple):
    """A kill switch, and the names of what it halts, as far as the tenant may see it."""

    id: int
    scope: str
    mode: str
    reason: str
    set_at: datetime
    set_by_id: int | None
    broker_type: str
    pair: str
    feed_id: int | None
    feed_name: str | None
    feed_owner_id: int | None
    connection_name: str | None


SWITCH_COLUMNS = SwitchRow._fields
_NAMES = {
    "feed_name": F("feed__name"),
    "feed_owner_id": F("feed__owner_id"),
    "connection_name": F("connection__name"),
}
_WIDEST_FIRST = ("ALL", "BROKER_TYPE", "SYMBOL", "USER", "FEED", "CONNECTION")


@dataclass(frozen=True, slots=True)
class Halt:
    """One kill switch that is set. is_mine: the tenant set it and can release it.

    is_earlier_providers: who owned the feed before set it, so that its owner cannot release it.
    """

    switch: SwitchRow
    is_mine: bool
    is_earlier_providers: bool = False

    @property
    def is_total(self) -> bool:
        return self.switch.mode == "HALTED"

    @property
    def is_everything_of_mine(self) -> bool:
        return self.is_mine and self.switch.scope == "USER"

    @property
    def title(self) -> str:
        """`You paused everything`, `An operator halted the feed Kiwi Carry`."""
        verb = "halted" if self.is_total else "paused"
        return f"{self._who} {verb} {self._what}"

    @property
    def who_releases(self) -> str:
        """Who can release it, if the tenant cannot."""
        who = "Its provider or an operator" if self._is_providers else "Only an operator"
        return "" if self.is_mine else f"{who} can release it."

    @property
    def _is_providers(self) -> bool:
        owner_id = self.switch.feed_owner_id
        return owner_id is not None and owner_id == self.switch.set_by_id

    @property
    def _who(self) -> str:
        if self.is_mine:
            return "You"
        if self.is_earlier_providers:
            return "An earlier provider"
        return "Its provider" if self._is_providers else "An operator"

    @property
    def _what(self) -> str:
        if self.switch.scope == "FEED" and self.switch.feed_name is not None:
            return f"the feed {self.switch.feed_name}"
        if self.switch.scope == "CONNECTION" and self.switch.connection_name is not None:
            return f"the account {self.switch.connection_name}"
        if self.switch.scope == "USER":
            return "everything" if self.is_mine else "all your accounts"
        if self.switch.broker_type:
            return f"all {self.switch.broker_type} accounts"
        if self.switch.pair:
            return f"trading in {self.switch.pair}"
        return "all trading here"


def halts_affecting(user: User) -> list[Halt]:
    """Return the kill switches that affect a tenant now, the widest scope first."""
    return as_halts(user, (SwitchRow(*row) for row in affecting(user).values_list(*SWITCH_COLUMNS)))


def as_halts(user: User, switches: Iterable[SwitchRow]) -> list[Halt]:
    """Return these kill switches for a tenant, the widest scope first."""
    in_order = sorted(switches, key=lambda switch: (_WIDEST_FIRST.index(switch.scope), switch.id))
    others = {
        switch.set_by_id
        for switch in in_order
        if switch.scope == "FEED" and switch.set_by_id not in (None, user.pk, switch.feed_owner_id)
    }
    earlier = earlier_providers(others) if others else frozenset()
    return [
        Halt(switch, switch.set_by_id == user.pk, switch.set_by_id in earlier)
        for switch in in_order
    ]


def affecting(user: User) -> QuerySet[Any]:
    """Return the kill switches that affect a tenant now, with SWITCH_COLUMNS."""
    taken = Subscription.objects.filter(connection__user=user, archived_at=None).values("feed")
    types = ExecutionConnection.objects.filter(user=user, archived_at=None).values("type")
    concern = Q(scope__in=("ALL", "SYMBOL")) | Q(user=user) | Q(connection__user=user)
    concern |= Q(scope="BROKER_TYPE", broker_type__in=types)
    found = KillSwitch.objects.filter(
        concern | Q(feed__in=taken) | Q(feed__owner=user), released_at=None
    )
    return found.order_by().annotate(**_NAMES)
