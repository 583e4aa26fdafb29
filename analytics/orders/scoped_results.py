"""What became of the orders of a scoped action: done, ended before, and what still waits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db.models import Count
from django.utils import timezone
from django.utils.safestring import SafeString

from analytics.orders.archived import count_archived
from analytics.orders.explanations import Explanation, explain
from analytics.orders.figures import with_figures
from common.web.badges import state_badge
from execution.models import Order, PendingAction, ScopedAction, Status

MAX_LINES = 200
RECENT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One order. waits: not ended. next_try: when it is tried again, if that is known."""

    order: Order
    explanation: Explanation
    waits: bool
    next_try: datetime | None

    @property
    def badge(self) -> SafeString:
        return state_badge(self.order.status)


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries by what became of them.

    cancelled: nothing filled. filled: wholly or in part, before the cancellation took effect.
    waiting: their brokers have not answered.
    """

    cancelled: int = 0
    filled: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Exits:
    """Positions that were to be closed, each of which may need several exits.

    waiting: one of these has not ended. left_open: all have ended, and something is still open.
    closed: the others.
    """

    closed: int = 0
    left_open: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class ScopedResult:
    """positions: how many were to be closed. lines: those that wait first, at most MAX_LINES; more:
    how many are left out."""

    action: ScopedAction
    entries: Entries
    exits: Exits
    positions: int
    lines: list[ResultLine] = field(default_factory=list)
    more: int = 0

    @property
    def is_waiting(self) -> bool:
        """Whether something has not ended."""
        return bool(self.entries.waiting or self.exits.waiting)

    @property
    def ended_before(self) -> int | None:
        """Entries that had ended between the question and the answer; None: no page asked."""
        shown = self.action.shown_entries
        if shown is None or not self.action.cancels_entries:
            return None
        return max(0, shown - len(self.action.cancelled))

    @property
    def more_positions(self) -> int:
        """How many more positions were to be closed than the question named; below 0: fewer."""
        shown = self.action.shown_positions
        if shown is None or not self.action.closes_positions:
            return 0
        return self.positions - shown


def positions_of_exits(exit_ids: Sequence[int]) -> int:
    """Return of how many positions these exits are: one may need several."""
    orders = Order.objects.filter(pk__in=exit_ids)
    further = orders.aggregate(n=Count("pk") - Count("position_id", distinct=True))["n"]
    return len(exit_ids) - int(further)


def scoped_result(action: ScopedAction) -> ScopedResult:
    """Return what became of the action's orders until now."""
    ids = [*action.cancelled, *action.ended, *action.exits]
    found = with_figures(Order.objects.filter(pk__in=ids)).select_related(
        "connection", "signal", "trigger", "position"
    )
    orders = sorted(
        found.defer("connection__sealed_credentials"),
        key=lambda order: (order.done_at is not None, order.pk),
    )
    exits, archived = set(action.exits), count_archived(ids, since=action.at)
    entries = _entries(order for order in orders if order.pk not in exits)
    return ScopedResult(
        action,
        replace(entries, cancelled=entries.cancelled + archived),  # those ended without a fill
        _exits(order for order in orders if order.pk in exits),
        positions_of_exits(action.exits),
        [_line(order) for order in orders[:MAX_LINES]],
        max(0, len(orders) - MAX_LINES) + archived,
    )


def refresh_seconds(result: ScopedResult) -> int:
    """Return how often a page shows the result again; 0: it does not change any more."""
    if not result.is_waiting:
        return 0
    return 2 if timezone.now() - result.action.at < RECENT else 15


def _entries(orders: Iterable[Order]) -> Entries:
    filled = cancelled = waiting = 0
    for order in orders:
        if order.done_at is None:
            waiting += 1
        elif order.filled_quantity:
            filled += 1
        else:
            cancelled += 1
    return Entries(filled=filled, cancelled=cancelled, waiting=waiting)


def _exits(orders: Iterable[Order]) -> Exits:
    by_position: dict[int | None, list[Order]] = {}
    for order in orders:
        by_position.setdefault(order.position_id, []).append(order)
    closed = left_open = waiting = 0
    for exits in by_position.values():
        position = exits[0].position
        if any(one.done_at is None for one in exits):
            waiting += 1
        elif position is not None and position.is_open:
            left_open += 1
        else:
            closed += 1
    return Exits(closed=closed, left_open=left_open, waiting=waiting)


def _line(order: Order) -> ResultLine:
    waits = order.done_at is None
    is_tried = order.status == Status.PENDING or order.pending_action != PendingAction.NONE
    is_later = order.due_at is not None and order.due_at > timezone.now()
    return ResultLine(
        order, explain(order), waits, order.due_at if waits and is_tried and is_later else None
    )
