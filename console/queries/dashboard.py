"""The dashboard's figures, from few queries, none of which scans a large table.

Orders of finished signals are found by their signal, live ones by partial indexes, recent ones from
the end of the primary key: the page costs the same with a thousand orders as with millions.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count

from analytics.orders.archived import archived_of
from common.clocks import market_clock, market_now
from common.db.sql import rows
from common.web.formatting import SHARES, STATES, age
from connections.models import HostCircuit
from connections.selectors import not_twin_sql
from console.charts import Segment, segments
from console.queries import audit_verdict, banners, latency, system_status, trading_status
from execution.models import RouteState
from signals.models import Signal
from users.mails.account_mails import MailStatus, mail_status

LAST_SIGNALS = 7
RECENT_SIGNALS = 200  # the last published signals are among the newest rows


@dataclass(slots=True)
class SignalLine:
    """One signal's candidates by state."""

    signal: Signal
    shares: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))

    @property
    def candidates(self) -> int:
        return self.signal.candidate_count or 0

    @property
    def found(self) -> int:
        """The number of candidates that have an order; it must equal `candidates`."""
        return sum(self.shares.values())

    @property
    def adds_up(self) -> bool:
        return self.found == self.candidates

    @property
    def ended(self) -> int:
        return self.shares["cancelled"] + self.shares["expired"]

    @property
    def bar(self) -> list[Segment]:
        return segments(self.shares)

    @property
    def bar_label(self) -> str:
        parts = ", ".join(f"{count:,} {share}" for share, count in self.shares.items() if count)
        return f"{self.signal.number}: {parts or 'no candidates'}"


@dataclass(frozen=True, slots=True)
class Accounted:
    """The last signals, and whether each of their candidates is in exactly one state."""

    lines: list[SignalLine]

    @property
    def total(self) -> SignalLine:
        together = SignalLine(Signal(candidate_count=sum(line.candidates for line in self.lines)))
        for line in self.lines:
            for share, count in line.shares.items():
                together.shares[share] += count
        return together

    @property
    def missing(self) -> int:
        return sum(max(line.candidates - line.found, 0) for line in self.lines)

    @property
    def extra(self) -> int:
        return sum(max(line.found - line.candidates, 0) for line in self.lines)


# Of a candidate only one row counts: that of its first slice, on the account of its route that has
# it. LIKE is the condition of the index `one_entry`.
_COUNTS = f"""
SELECT signal_id, status, count(*) AS count FROM execution_order
WHERE signal_id = ANY(%(ids)s) AND leg = 'entry' AND leg::text LIKE 'entry%%'
  AND route_state <> 'MOVED' AND {not_twin_sql("connection_id")}
GROUP BY signal_id, status
"""


def accounted(signals: list[Signal]) -> Accounted:
    """Count the candidates of these signals by state, with one index range each."""
    lines = {signal.pk: SignalLine(signal) for signal in signals}
    archived = archived_of(signals).exclude(route_state=RouteState.MOVED).order_by()
    for signal_id, status, count in [
        *((row.signal_id, row.status, row.count) for row in rows(_COUNTS, {"ids": list(lines)})),
        *archived.values_list("signal_id", "status").annotate(count=Count("pk")),
    ]:
        lines[signal_id].shares[STATES[status].share] += count
    return Accounted(list(lines.values()))


def last_signals(count: int = LAST_SIGNALS) -> list[Signal]:
    """Return the last published OPEN signals, newest first."""
    recent = Signal.objects.published().filter(action="OPEN").select_related("feed")
    newest = sorted(
        recent.order_by("-pk")[:RECENT_SIGNALS], key=lambda s: (s.published_at, s.pk), reverse=True
    )
    return newest[:count]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything on the page; each part is one panel."""

    trading: trading_status.TradingStatus
    market_at: datetime | None
    banners: list[banners.KillSwitchBanner]
    unreachable_hosts: list[HostCircuit]
    mail: MailStatus
    accounted: Accounted
    latency: latency.Latency
    audit: audit_verdict.AuditVerdict | None
    connections: system_status.Connections
    leases: list[system_status.Lease]
    beat: list[system_status.ScheduledJob]

    @property
    def running(self) -> str:
        """One sentence on which processes run."""
        dead = [lease for lease in self.leases if not lease.alive]
        if not self.leases:
            return "No process has registered yet: start the workers."
        if dead:
            return f"The leases of {len(dead)} of {len(self.leases)} processes have expired."
        return f"All {len(self.leases)} processes renew their leases."


def dashboard() -> Dashboard:
    """Read all panels of the dashboard."""
    trading = trading_status.trading_status()
    return Dashboard(
        trading=trading,
        market_at=market_now() if market_clock() else None,
        banners=banners.kill_switch_banners(),
        unreachable_hosts=banners.unreachable_hosts(),
        mail=mail_status(),
        accounted=accounted(last_signals()),
        latency=latency.recent(),
        audit=audit_verdict.last_verdict(),
        connections=system_status.connections(),
        leases=system_status.leases(),
        beat=system_status.scheduled_jobs(trading.at),
    )


def context() -> dict[str, Any]:
    """Return the context of the dashboard's templates."""
    return {"board": dashboard(), "shares": SHARES, "age": age}
