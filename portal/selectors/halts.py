"""Kill switches that affect a tenant, with texts for the banner."""

from dataclasses import dataclass

from django.db.models import Q

from connections.models import ExecutionConnection, KillSwitch, Subscription
from users.models import User


@dataclass(frozen=True, slots=True)
class Halt:
    """One kill switch that is set. is_mine: the tenant set it and can release it."""

    switch: KillSwitch
    is_mine: bool

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
    def _who(self) -> str:
        feed = self.switch.feed
        if self.is_mine:
            return "You"
        return "Its provider" if feed and feed.owner_id == self.switch.set_by_id else "An operator"

    @property
    def _what(self) -> str:
        if self.switch.scope == "FEED" and self.switch.feed:
            return f"the feed {self.switch.feed.name}"
        if self.switch.scope == "CONNECTION" and self.switch.connection:
            return f"the account {self.switch.connection.name}"
        if self.switch.scope == "USER":
            return "everything" if self.is_mine else "all your accounts"
        if self.switch.broker_type:
            return f"all {self.switch.broker_type} accounts"
        if self.switch.pair:
            return f"trading in {self.switch.pair}"
        return "all trading here"


def halts_affecting(user: User) -> list[Halt]:
    """Return the kill switches that affect a tenant now, the widest scope first."""
    taken = Subscription.objects.filter(connection__user=user, archived_at=None).values("feed")
    types = ExecutionConnection.objects.filter(user=user, archived_at=None).values("type")
    concern = Q(scope__in=("ALL", "SYMBOL")) | Q(user=user) | Q(connection__user=user)
    concern |= Q(scope="BROKER_TYPE", broker_type__in=types)
    found = KillSwitch.objects.filter(
        concern | Q(feed__in=taken) | Q(feed__owner=user), released_at=None
    ).select_related("feed", "connection")
    order = ["ALL", "BROKER_TYPE", "SYMBOL", "USER", "FEED", "CONNECTION"]
    switches = sorted(
        found.defer("connection__sealed_credentials"),
        key=lambda switch: (order.index(switch.scope), switch.pk),
    )
    return [Halt(switch, switch.set_by_id == user.pk) for switch in switches]
