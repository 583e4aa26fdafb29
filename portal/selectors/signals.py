"""Signals, and what one tenant's accounts did with them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from analytics.orders.archived import archived_of, received_signals, text_of
from analytics.orders.deciding_exits import RANK, deciding
from analytics.orders.explanations import Explanation, explain, slippage_cost
from analytics.orders.figures import with_figures
from analytics.orders.last_signals import last_received
from analytics.orders.money import currency_of
from analytics.orders.timeline import Step, timeline
from common.web.formatting import SHARES, STATES, number
from execution.changes.changeable_orders import may_be_cancelled, may_be_changed
from execution.changes.forms import change_line
from execution.models import ArchivedOrder, EntryChange, Fill, Order, Status
from portal.selectors.positions import PositionView, positions_of
from positions.selectors import with_prices
from signals.models import Action, Signal
from signals.selectors import feeds_with_signals, signals_for
from users.models import User

NEWEST_FIRST = ("-published_at", "-pk")
NEEDS_ATTENTION = (Status.UNKNOWN, Status.FAILED, Status.REJECTED)


@dataclass(frozen=True, slots=True)
class SignalSummary:
    """A signal in a list, with its results on the tenant's accounts."""

    signal: Signal
    shares: Counter[str]

    @property
    def accounts(self) -> int:
        return sum(self.shares.values())

    @property
    def is_settled(self) -> bool:
        """Whether its orders can no longer change on their own."""
        return not (self.shares["working"] or self.shares["unknown"])

    @property
    def parts(self) -> list[tuple[str, int]]:
        return [(share, self.shares[share]) for share in SHARES if self.shares[share]]

    @property
    def breakdown(self) -> str:
        """The parts, `2 filled + 1 skipped`; of a MODIFY, which has no orders, what it changes."""
        if self.signal.action == Action.MODIFY:
            return f"changes S-{self.signal.refers_to_id}; no order of its own"
        return " + ".join(f"{number(count)} {share}" for share, count in self.parts)


def published_to(user: User) -> QuerySet[Signal]:
    """Return the published signals that the tenant's accounts were candidates of, newest first."""
    return _published(user, received_signals(Order.objects.filter(connection__user=user), user))


def last_published_to(user: User, count: int) -> list[Signal]:
    """Return the newest of them, without reading all that the tenant's accounts ever traded."""
    received = last_received(user.pk, count)
    if received is None:
        return list(published_to(user)[:count])
    by_id = Signal.objects.filter(pk__in=received).order_by()
    moves = Signal.objects.filter(_received_by(user), action=Action.MODIFY)
    moves = moves.filter(feed__in=feeds_with_signals(user))
    if len(received) == count:  # what modified an older one may be newer than these
        oldest = by_id.order_by("published_at").values("published_at")[:1]
        moves = moves.filter(published_at__gte=Subquery(oldest))
    found = signals_for(user).filter(pk__in=by_id.values("pk").union(moves.order_by().values("pk")))
    return list(found.filter(published_at__isnull=False).order_by(*NEWEST_FIRST)[:count])


def _received_by(user: User) -> Q:
    """Return the condition that a signal refers to one that the tenant's accounts received."""
    entry_of = {"connection__user": user, "signal": OuterRef("refers_to")}
    entries = Order.objects.filter(leg__startswith="entry", **entry_of)
    return Q(Exists(entries)) | Q(Exists(ArchivedOrder.objects.filter(**entry_of)))


def _published(user: User, received: QuerySet[Any]) -> QuerySet[Signal]:
    """Return the signals that were received and what modified them. received: ids of signals."""
    moves = Signal.objects.filter(action=Action.MODIFY, refers_to__in=received)
    either = received.union(moves.order_by().values("pk"))
    found = signals_for(user).filter(pk__in=either, published_at__isnull=False)
    return found.order_by(*NEWEST_FIRST)


def signal_summaries(user: User, signals: Sequence[Signal]) -> list[SignalSummary]:
    """Count what became of each, in one statement, or two if any of them is old."""
    shares: dict[int, Counter[str]] = {signal.pk: Counter() for signal in signals}
    written = _written_at_publication(user, signals)
    archived = archived_of(signals).filter(connection__user=user)
    for signal_id, status in (
        *written.values_list("signal_id", "status"),
        *archived.order_by().values_list("signal_id", "status"),
    ):
        if signal_id is not None:
            shares[signal_id][STATES[status].share] += 1
    return [SignalSummary(signal, shares[signal.pk]) for signal in signals]


def _written_at_publication(user: User, signals: Sequence[Signal]) -> QuerySet[Order]:
    """Return an order for each account: its entry, or of the exits of a CLOSE the one that decides.

    The later exits of an OPEN are left out.
    """
    opens = [signal.pk for signal in signals if signal.action == Action.OPEN]
    closes = [signal for signal in signals if signal.action == Action.CLOSE]
    exits = _exits_from(user, [signal.refers_to_id for signal in closes])
    entries = Order.objects.entries().filter(connection__user=user, signal__in=opens, leg="entry")
    return entries.order_by().union(deciding(exits.filter(signal__in=closes)), all=True)


def _exits_from(user: User, opened: Sequence[int | None]) -> QuerySet[Order]:
    """Return the exits from the tenant's positions that these signals have opened.

    The only way to them is by these positions: an order's own account would lead the planner to all
    that it ever traded, and the signal alone to all of its followers.
    """
    found = Order.objects.filter(position__connection__user=user, position__signal__in=opened)
    return found.order_by()


def _orders_of(user: User, signal: Signal) -> QuerySet[Order]:
    """Return all that a signal caused, its later exits included.

    The ids are read first: joined, the planner may read all that the accounts ever traded.
    """
    entries = Order.objects.entries().filter(connection__user=user, signal=signal).order_by()
    exits = _exits_from(user, [signal.refers_to_id or signal.pk]).filter(signal=signal)
    ids = entries.values_list("pk", flat=True).union(exits.values_list("pk", flat=True))
    return Order.objects.filter(pk__in=list(ids))


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    """What one account did with the signal: an order of it, with its fills and position.

    position_view: None also if an earlier one has it. is_counted: False for further orders of an
    account, which are slices of its entry or exits of one CLOSE.
    """

    order: Order
    fills: list[Fill]
    position_view: PositionView | None
    is_counted: bool = True

    @property
    def explanation(self) -> Explanation:
        return explain(self.order)

    @property
    def steps(self) -> list[Step]:
        return timeline(self.order, self.fills)

    @property
    def cost(self) -> Decimal | None:
        return slippage_cost(self.order)

    @property
    def currency(self) -> str:
        """The currency of its account; empty if it was never read."""
        return currency_of(self.order)

    @property
    def can_cancel(self) -> bool:
        """Whether it is still working and no cancel is requested."""
        return may_be_cancelled(self.order)

    @property
    def can_change(self) -> bool:
        """Whether its price or quantity may be changed."""
        return may_be_changed(self.order)

    @property
    def last_change(self) -> str:
        """Its open change, else its last one, as a sentence."""
        changes: list[EntryChange] = list(self.order.changes.all())
        changes.sort(key=lambda one: not one.is_open)  # else the newest stays the first
        return change_line(next(iter(changes), None))


@dataclass(slots=True)
class SignalHistory:
    """A signal on all of a tenant's accounts."""

    signal: Signal
    outcomes: list[AccountOutcome] = field(default_factory=list)
    exits: list[AccountOutcome] = field(default_factory=list)
    archived: list[ArchivedOrder] = field(default_factory=list)

    @property
    def summary(self) -> SignalSummary:
        shares = Counter(one.explanation.state.share for one in self.outcomes if one.is_counted)
        shares.update(STATES[order.status].share for order in self.archived)
        return SignalSummary(self.signal, shares)

    @property
    def archived_texts(self) -> list[str]:
        """What became of each order in the archive."""
        return [text_of(order) for order in self.archived]

    @property
    def ack_ms(self) -> float | None:
        known = [ms for one in self.outcomes if (ms := one.order.ack_ms) is not None]
        return median(known) if known else None

    @property
    def worst(self) -> AccountOutcome | None:
        """The fill with the largest slippage, better or worse."""
        measured = [one for one in self.outcomes if one.order.slippage_pips is not None]
        return max(measured, key=lambda one: abs(one.order.slippage_pips or 0), default=None)

    @property
    def position_views(self) -> list[PositionView]:
        """Each position once, although it may have several exits."""
        return [one.position_view for one in self.outcomes if one.position_view]

    @property
    def results(self) -> list[tuple[str, bool, Decimal]]:
        """(currency, is paper, result so far): realized, plus what is open at the last price.

        Paper twins are left out.
        """
        sums: dict[tuple[str, bool], Decimal] = {}
        for view in self.position_views:
            if view.is_twin:
                continue
            key = view.currency, view.is_paper
            unrealized = view.position.unrealized_pnl if view.position.is_open else None
            sums[key] = sums.get(key, Decimal(0)) + view.net + (unrealized or 0)
        return [(*key, sums[key]) for key in sorted(sums, key=lambda key: (key[1], key[0]))]


def _positions(user: User, opened_by: Signal) -> dict[object, PositionView]:
    """Return the positions that a signal has opened, without reading it with each of them.

    By their ids, and by account and leg.
    """
    found = positions_of(user).filter(signal=opened_by).select_related(None)
    rows = list(with_prices(found.select_related("connection__snapshot", "stop_rule")))
    for row in rows:
        row.signal = opened_by
    views: dict[object, PositionView] = {}
    for row in rows:
        views[row.pk] = views[row.connection_id, row.entry_leg] = PositionView(row)
    return views


def signal_history(user: User, signal: Signal) -> SignalHistory:
    """Read what each of the tenant's accounts did, in five statements, or six if it is old."""
    all_orders = _read_orders(user, signal)
    fills: dict[int, list[Fill]] = {}
    for fill in Fill.objects.filter(order__in=all_orders).order_by("pk"):
        fills.setdefault(fill.order_id, []).append(fill)
    views = _positions(user, signal.refers_to or signal)
    counted, shown = _counted(all_orders), set[int]()

    def outcome_of(order: Order) -> AccountOutcome:
        view = _view_of(order, views)
        if view is not None and view.position.pk in shown:
            view = None
        if view is not None:
            shown.add(view.position.pk)
        return AccountOutcome(order, fills.get(order.pk, []), view, order.pk in counted)

    all_orders.sort(key=_place)
    own = [one for one in all_orders if one.is_entry or signal.action != Action.OPEN]
    exits = [one for one in all_orders if one not in own]
    archived = archived_of([signal]).filter(connection__user=user).select_related("connection")
    return SignalHistory(
        signal,
        [outcome_of(order) for order in own],
        [outcome_of(order) for order in exits],
        list(archived.order_by("pk")),
    )


def _read_orders(user: User, signal: Signal) -> list[Any]:
    """Return all that a signal caused, by account, with what its page shows of them."""
    orders = with_figures(_orders_of(user, signal)).annotate(exit_rank=RANK)
    related = orders.select_related("connection__snapshot", "trigger").defer(
        "connection__sealed_credentials"
    )
    found: list[Any] = list(related.prefetch_related("changes").order_by("connection__name", "pk"))
    for order in found:
        order.signal = signal
    return found


def _counted(orders: Iterable[Any]) -> set[int]:
    """Return the ids of the entries, without later slices, and of each account's deciding exit."""
    found = {order.pk for order in orders if order.is_entry and not order.is_slice}
    exits = [order for order in orders if not order.is_entry]
    exits.sort(key=lambda order: (order.exit_rank, order.pk))
    deciding_ones: dict[Any, int] = {}
    for order in exits:
        deciding_ones.setdefault(order.connection_id, order.pk)
    return found | set(deciding_ones.values())


def _view_of(order: Order, views: Mapping[object, PositionView]) -> PositionView | None:
    """Return the position that an order closes, or that its leg has opened."""
    if order.position_id is not None:
        return views.get(order.position_id)
    is_added = order.is_slice and order.position_leg != order.leg
    return None if is_added else views.get((order.connection_id, order.position_leg))


def _place(order: Order) -> int:
    """What needs a person's attention comes first, then what was filled."""
    if order.status in NEEDS_ATTENTION:
        return STATES[order.status].rank
    return 10 if order.filled_quantity else 20
