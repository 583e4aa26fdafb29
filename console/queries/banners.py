"""Banners: kill switches that are set, and broker hosts that do not respond."""

from dataclasses import dataclass

from connections.models import Epoch, HostCircuit, KillSwitch
from signals.models import Signal


@dataclass(frozen=True, slots=True)
class KillSwitchBanner:
    """One kill switch that is set."""

    switch: KillSwitch

    @property
    def is_total(self) -> bool:
        return self.switch.mode == "HALTED"

    @property
    def epoch(self) -> Epoch | None:
        """The epoch that it belongs to, if any; it is released with it."""
        epoch: Epoch | None = getattr(self.switch, "epoch", None)
        return epoch

    @property
    def scope(self) -> str:
        """What it stops, such as `feed Kiwi Carry` or `everything`."""
        switch = self.switch
        if switch.feed:
            return f"feed {switch.feed.name}"
        if switch.user:
            return f"all accounts of {switch.user.get_username()}"
        if switch.connection:
            return f"the connection {switch.connection.name}"
        if switch.broker_type:
            return f"all {switch.broker_type} accounts"
        if switch.pair:
            return switch.pair
        return "everything"

    def concerns(self, signal: Signal) -> bool:
        """Return whether it stops a signal on all accounts."""
        switch = self.switch
        if switch.scope == KillSwitch.Scope.SYMBOL:
            return switch.pair == signal.currency_pair
        return switch.scope == KillSwitch.Scope.ALL or switch.feed_id == signal.feed_id

    @property
    def title(self) -> str:
        if self.epoch:
            return f"Epoch {self.epoch.number}: the database was restored, exits only"
        word = "nothing is sent" if self.is_total else "exits only"
        return f"Kill switch: {self.scope}, {word}"


def kill_switch_banners() -> list[KillSwitchBanner]:
    """Return the kill switches that are set, the widest scope first."""
    found = KillSwitch.objects.filter(released_at__isnull=True).select_related(
        "feed", "user", "connection", "set_by", "epoch"
    )
    order = ["ALL", "BROKER_TYPE", "SYMBOL", "FEED", "USER", "CONNECTION"]
    return [KillSwitchBanner(k) for k in sorted(found, key=lambda k: (order.index(k.scope), -k.pk))]


def unreachable_hosts() -> list[HostCircuit]:
    """Return the broker hosts whose circuit breaker is open, the longest first."""
    return list(HostCircuit.objects.filter(opened_at__isnull=False).order_by("opened_at"))
