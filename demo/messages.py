"""Turns a group of events into one line with its colour and market time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from common.db.sql import rows
from common.reason_codes import Code
from common.units import unit_label
from common.web.formatting import sentence
from demo.event_feed import Group
from events.context import EventContext
from events.messages import render
from events.messages.parts import FINAL_STATUS
from events.models import EventKind
from positions.close_reasons import close_of
from signals.models import Signal

COLOURS = {
    "signal.published": "bold cyan",
    "order.filled": "green",
    "order.partially_filled": "green",
    "position.closed": "magenta",
    "order.denied": "yellow",
    "order.expired": "yellow",
    "order.cancelled": "yellow",
    "order.rejected": "red",
    "order.failed": "red",
    "order.unknown": "red",
    "connection.error": "red",
    "connection.inactive": "red",
    "connection.recovered": "green",
    "position.unprotected": "bold red",
    "audit.failed": "bold red",
    "kill_switch.changed": "yellow",
    "scheduler.late": "bold red",
}
ENDED = {
    "order.denied": "denied by our rules",
    "order.rejected": "rejected by the broker",
    "order.failed": "never sent",
    "order.cancelled": "cancelled",
    "order.expired": "expired",
    "order.unknown": "without a reply, querying the broker",
}
SKIPPED = """
SELECT reason, count(*) AS n FROM execution_order
WHERE signal_id = %s AND status = 'SKIPPED' GROUP BY reason ORDER BY n DESC, reason
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of output. at: on the market clock."""

    at: datetime
    text: str
    colour: str = ""


class MessageFormatter:
    """Describes groups of events."""

    def __init__(self, to_market: Callable[[datetime], datetime]) -> None:
        """to_market: converts machine time to market time."""
        self._to_market = to_market
        self._signals: dict[int, Signal] = {}

    def line(self, group: Group) -> Line | None:
        """Return the line of a group; None if the lines of other events say the same."""
        describe = self._formatters().get(group.kind, self._other)
        text = describe(group)
        if text is None:
            return None
        colour = COLOURS.get(group.kind, "")
        return Line(self._when(group), f"{self._prefix(group)}{text}", colour)

    def _formatters(self) -> Mapping[str, Callable[[Group], str | None]]:
        return {
            "signal.published": self._published,
            "order.filled": _filled,
            "order.partially_filled": lambda group: f"{len(group.events)} filled in part",
            "position.opened": lambda _: None,  # the line of its fill is enough
            "position.closed": _closed,
            "position.stop_moved": lambda group: (
                f"{len(group.events)} stops moved by break-even or trailing"
            ),
            "slippage.alert": _slipped,
            "connection.error": lambda group: f"{_connections(group)}in error: {group.detail}",
            "connection.inactive": lambda group: f"{_connections(group)}inactive",
            "kill_switch.changed": lambda group: render(_context(group)).title,
            "scheduler.late": lambda group: render(_context(group)).title,
            "scheduler.back": lambda group: render(_context(group)).title,
            "connection.recovered": lambda group: f"{_connections(group)}working again",
        }

    def _prefix(self, group: Group) -> str:
        first = group.events[0]
        is_single = len(group.events) == 1 and first.connection is not None
        account = f" {first.username}'s {first.connection}:" if is_single else ""
        if group.signal_id is None:
            return f"{account} ".lstrip()
        signal = self._signal(group.signal_id)
        if group.kind == "signal.published":
            account = ""
        return f"{signal.number} {signal} ·{account} "

    def _signal(self, signal_id: int) -> Signal:
        if signal_id not in self._signals:
            self._signals[signal_id] = Signal.objects.get(pk=signal_id)
        return self._signals[signal_id]

    def _when(self, group: Group) -> datetime:
        filled = [e.filled_at for e in group.events if e.filled_at is not None]
        if filled and group.kind == "order.filled":
            first: datetime = min(filled)
            return first
        return self._to_market(group.events[0].created_at)

    def _published(self, group: Group) -> str:
        signal = self._signal(group.events[0].signal_id)
        summary = f"published to {signal.candidate_count} accounts"
        if signal.action != "OPEN":
            return summary
        skipped = rows(SKIPPED, (signal.pk,))
        if not skipped:
            return summary
        why = ", ".join(f"{_plain(row.reason)} {row.n}" for row in skipped)
        return f"{summary}, {sum(row.n for row in skipped)} of them skipped ({why})"

    def _other(self, group: Group) -> str:
        number = len(group.events)
        if group.kind in ENDED:
            why = (
                f": {_sentence(group.detail, FINAL_STATUS.get(group.kind, ''))}"
                if group.detail
                else ""
            )
            return f"{number} {ENDED[group.kind]}{why}"
        known = group.kind in EventKind.values
        what = str(EventKind(group.kind).label).lower() if known else group.kind
        detail = f": {_sentence(group.detail)}" if group.detail else ""
        return f"{what}, {number} times{detail}" if number > 1 else f"{what}{detail}"


def _filled(group: Group) -> str | None:
    number, leg = len(group.events), group.detail
    if leg.startswith("tp-"):
        return f"target {leg[3:]} taken on {_accounts(group.events)} accounts{_slippage(group)}"
    if leg == "close":
        parts = _accounts(event for event in group.events if event.is_open)
        return f"a part closed on {parts} accounts" if parts else None
    if leg != "entry":
        return None  # the line of the closed position follows
    fastest = min((e.ms for e in group.events if e.ms is not None), default=None)
    at_once = group.events[0].order_type == "MARKET" and fastest is not None
    first = f", first after {fastest:.0f} ms" if at_once else ""
    return f"{number} filled{first}{_slippage(group)}"


def _closed(group: Group) -> str:
    results = [Decimal(event.payload.get("pnl", 0)) for event in group.events]
    won, lost = sum(r > 0 for r in results), sum(r < 0 for r in results)
    close = close_of(group.detail)
    how = close.phrase if close else group.detail
    return f"{len(group.events)} closed, {how}: {won} won, {lost} lost"


def _slipped(group: Group) -> str:
    worst = max(Decimal(event.payload.get("slippage") or 0) for event in group.events)
    unit = unit_label(group.events[0].payload.get("slippage_unit", ""))
    return f"slippage alert on {_accounts(group.events)} accounts, worst {worst:+.1f} {unit}"


def _slippage(group: Group) -> str:
    known = [e.slippage_pips for e in group.events if e.slippage_pips is not None]
    if not known:
        return ""
    best, worst = min(known), max(known)
    spread = f"{best:+.1f} to " if f"{best:+.1f}" != f"{worst:+.1f}" else ""
    return f", slippage {spread}{worst:+.1f} {unit_label(group.events[0].slippage_unit)}"


def _accounts(events: Iterable[Any]) -> int:
    """Return on how many accounts these are: one may have several orders of one exit request."""
    return len({event.connection_id for event in events})


def _context(group: Group) -> EventContext:
    first = group.events[0]
    ids = (first.id, group.kind, None, first.connection_id, first.signal_id, first.order_id)
    return EventContext(*ids, first.payload, first.created_at)


def _connections(group: Group) -> str:
    number = len(group.events)
    return f"{number} connections " if number > 1 else ""


def _plain(code: str) -> str:
    return code.lower().replace("_", " ")


def _sentence(code: str, status: str = "") -> str:
    if code not in Code.__members__:
        return code
    return f"{sentence(code, status)} ({code})"
