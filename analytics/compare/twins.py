"""A live subscription and its paper twin side by side: each signal, the sums, both equities.

The caller passes a twin of the reader's own. The feed of a subscription that has ended may be
hidden from its former subscriber; what it did on their accounts is theirs.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, QuerySet

from analytics.compare.twin_parts import PARTS, ZERO, Difference, Trade, difference_of, parts_of
from analytics.orders.explanations import Explanation, explain
from analytics.orders.figures import with_figures
from analytics.results.exports import Row
from common.clocks import market_now
from common.money import to_stored
from common.units import unit_label
from common.web.formatting import number, signed
from connections.models import (
    ExecutionConnection,
    Instrument,
    Subscription,
    SubscriptionTwin,
)
from connections.selectors import has_live_sizes
from connections.trading_day import rule_of, trading_date
from execution.models import Order, RouteState
from positions.models import ExecutionPosition
from signals.models import Action, Signal
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of


@dataclass(frozen=True, slots=True)
class Side:
    """What one side made of a signal. order: its entry; None: the signal did not reach it.

    exit_price: the average of what is closed. slippage: in `unit`, + is worse. latency: from the
    order's creation to its fill, milliseconds, of market entries. trade: None without a fill.
    """

    order: Order | None
    explanation: Explanation | None
    trade: Trade | None
    exit_price: Decimal | None
    last_closed_at: datetime | None

    @property
    def account(self) -> ExecutionConnection | None:
        """The account that has the entry: of a route the chosen one."""
        return self.order.connection if self.order else None

    @property
    def quantity(self) -> Decimal | None:
        return self.trade.quantity if self.trade else None

    @property
    def entry_price(self) -> Decimal | None:
        return self.trade.entry_price if self.trade else None

    @property
    def slippage(self) -> Decimal | None:
        return self.order.slippage_pips if self.order else None

    @property
    def unit(self) -> str:
        return self.order.slippage_unit if self.order else ""

    @property
    def latency(self) -> Decimal | None:
        order = self.order
        if order is None or order.filled_at is None or order.order_type != "MARKET":
            return None
        return Decimal((order.filled_at - order.created_at).total_seconds() * 1000).quantize(
            Decimal(1)
        )

    @property
    def execution(self) -> str:
        """Slippage and time to the fill for people: `+0.4 pips 120 ms`; empty: not known."""
        parts = []
        if self.slippage is not None:
            parts.append(f"{signed(self.slippage, 1)} {unit_label(self.unit)}")
        if self.latency is not None:
            parts.append(f"{number(self.latency)} ms")
        return " ".join(parts)

    @property
    def costs(self) -> Decimal | None:
        return self.trade.costs if self.trade else None

    @property
    def net(self) -> Decimal | None:
        return self.trade.net if self.trade else None

    @property
    def state(self) -> str:
        """The state of its entry in a word; empty: the signal did not reach it."""
        return self.explanation.state.word if self.explanation else ""

    @property
    def code(self) -> str:
        return self.explanation.code if self.explanation else ""


@dataclass(frozen=True, slots=True)
class ComparedSignal:
    """One signal on both accounts."""

    signal: Signal
    live: Side
    twin: Side

    @property
    def parts(self) -> dict[str, Decimal]:
        """The difference by part, not rounded."""
        return parts_of(self.live.trade, self.twin.trade)

    @property
    def difference(self) -> Decimal | None:
        """What the live account made more; None if neither traded it."""
        if self.live.trade is None and self.twin.trade is None:
            return None
        live, twin = self.live.trade, self.twin.trade
        return (live.net if live else ZERO) - (twin.net if twin else ZERO)


@dataclass(frozen=True, slots=True)
class EquityDay:
    """The end of a trading day: the balance at the start and what trades have made since."""

    day: date
    live: Decimal
    twin: Decimal


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a twin. until: market time; what closed until then is counted.

    has_live_sizes: whether all traded pairs have the lot steps of the live broker on paper, too.
    """

    link: SubscriptionTwin
    signals: list[ComparedSignal]
    difference: Difference
    equity: list[EquityDay]
    has_live_sizes: bool
    until: datetime

    @property
    def traded(self) -> tuple[int, int]:
        """How many signals the live account and the twin have traded."""
        return (
            sum(1 for one in self.signals if one.live.trade),
            sum(1 for one in self.signals if one.twin.trade),
        )


def twins_of(user: User) -> QuerySet[SubscriptionTwin]:
    """Return the twins of a user's own subscriptions, running and ended, the newest first.

    For operators those of all users.
    """
    related = (
        "subscription__connection__preset", "subscription__feed", "connection", "twin",
    )  # fmt: skip
    found = SubscriptionTwin.objects.all()
    mine = found if user.is_operator else found.filter(subscription__connection__user=user)
    return mine.select_related(*related).order_by("-pk")


def own_subscription(user: User, pk: int) -> Subscription | None:
    """Return a user's own subscription, also one that has ended, but not that of a twin."""
    mine = Subscription.objects.filter(pk=pk, connection__user=user, twin_of=None)
    with for_all_tenants():
        found: Subscription | None = mine.select_related("connection", "feed").first()
    return found


def compare(link: SubscriptionTwin) -> Comparison:
    """Return the comparison of a twin: all signals that were published while it ran."""
    with for_all_tenants():
        signals = list(_signals(link))
        live = _sides(_entries(link.subscription.connection_id), signals)
        twin = _sides(_entries(link.connection_id), signals)
        compared = [ComparedSignal(one, live[one.pk], twin[one.pk]) for one in signals]
        sized = _has_live_sizes(link, {one.currency_pair for one in signals})
    pairs = [(one.live.trade, one.twin.trade) for one in compared]
    difference = difference_of(pairs, link.currency)
    return Comparison(
        link, compared, difference, _equity(link, compared), sized, market_now()
    )  # fmt: skip


def csv_rows(link_id: int | None, user: User) -> Iterator[Row]:
    """Return one line for each signal, its header first, in a transaction of its own."""
    yield (
        "signal", "published_at", "pair", "side", *(
            f"{whose}_{name}"
            for whose in ("live", "twin")
            for name in (
                "state", "reason", "quantity", "entry_price", "exit_price", "slippage",
                "slippage_unit", "latency_ms", "gross", "costs", "net",
            )
        ), "difference", *(f"difference_{name}" for name in PARTS), "live_account",
    )  # fmt: skip
    if link_id is None:
        return
    with on_behalf_of(user):
        comparison = compare(twins_of(user).get(pk=link_id))
    for one in comparison.signals:
        yield (
            one.signal.number, one.signal.published_at, one.signal.currency_pair,
            one.signal.direction, *_cells(one.live), *_cells(one.twin), one.difference,
            *(one.parts.get(name, ZERO) for name in PARTS),
            one.live.account.name if one.live.account else "",
        )  # fmt: skip


def _cells(side: Side) -> Row:
    trade = side.trade
    return (
        side.state, side.code, side.quantity, side.entry_price, side.exit_price, side.slippage,
        side.unit, side.latency, trade.gross if trade else None, trade.costs if trade else None,
        trade.net if trade else None,
    )  # fmt: skip


def _entries(*connection_ids: UUID) -> QuerySet[Order]:
    """Return the entries of accounts' own subscriptions: on the accounts of a route, too.

    A routed signal has an entry for each account that was tried; all but one are MOVED.
    """
    own = Q(connection__in=connection_ids, routed_from=None) | Q(routed_from__in=connection_ids)
    return Order.objects.filter(own, leg="entry")


def _signals(link: SubscriptionTwin) -> Iterable[Signal]:
    """Return the entries of the feed that were published while the twin ran, newest first."""
    published = Signal.objects.published().filter(
        feed_id=link.subscription.feed_id, action=Action.OPEN, published_at__gte=link.started_at
    )
    if link.ended_at is not None:
        published = published.filter(published_at__lt=link.ended_at)
    reached = _entries(link.subscription.connection_id, link.connection_id)
    mine = published.filter(pk__in=reached.values("signal_id"))
    return mine.order_by("-published_at", "-pk")


def _sides(entries: QuerySet[Order], signals: Iterable[Signal]) -> dict[int, Side]:
    """Return what was made of each of these signals by these entries."""
    ids = [one.pk for one in signals]
    tried = with_figures(entries.filter(signal__in=ids)).select_related("signal", "connection")
    tried = tried.defer("connection__sealed_credentials")
    orders: dict[int | None, Order] = {}
    accounts: set[tuple[UUID, int | None]] = set()
    for one in tried:
        accounts.add((one.connection_id, one.signal_id))
        if one.route_state != RouteState.MOVED:
            orders[one.signal_id] = one
    held: dict[int, list[ExecutionPosition]] = {}
    where = {connection_id for connection_id, _ in accounts}
    for position in ExecutionPosition.objects.filter(connection__in=where, signal__in=ids):
        if (position.connection_id, position.signal_id) in accounts:
            held.setdefault(position.signal_id, []).append(position)
    exits = _exit_prices([one.pk for found in held.values() for one in found])
    bought = _entry_prices(accounts)
    return {
        pk: _side(orders.get(pk), held.get(pk, []), bought.get(pk), exits.get(pk)) for pk in ids
    }


def _side(
    order: Order | None,
    positions: list[ExecutionPosition],
    entry_price: Decimal | None,
    exit_price: Decimal | None,
) -> Side:
    closed = [one.closed_at for one in positions if one.closed_at is not None]
    trade = _trade(positions, entry_price)
    return Side(
        order, explain(order) if order else None, trade, exit_price if trade else None,
        max(closed, default=None) if len(closed) == len(positions) else None,
    )  # fmt: skip


def _trade(positions: list[ExecutionPosition], entry_price: Decimal | None) -> Trade | None:
    """Return a signal's trade: one position, or those of its slices on a hedging account.

    entry_price: of all that was entered. A position has that of the lots that remained.
    """
    quantity = sum((one.opened_quantity for one in positions), ZERO)
    if not quantity or entry_price is None:
        return None
    rated = sum((one.opened_quantity * one.conversion_rate for one in positions), ZERO)
    return Trade(
        sign=1 if positions[0].side == "BUY" else -1,
        quantity=quantity,
        entry_price=entry_price,
        rate=to_stored(rated / quantity),
        gross=sum((one.realized_pnl for one in positions), ZERO),
        costs=sum((one.commission - one.swap for one in positions), ZERO),
        is_closed=all(one.closed_at is not None for one in positions),
    )


def _entry_prices(accounts: Iterable[tuple[UUID, int | None]]) -> Mapping[int, Decimal]:
    """Return the average price of all entries of these accounts' signals, by the signal."""
    pairs = set(accounts)
    entries = Order.objects.entries().filter(
        connection__in={connection_id for connection_id, _ in pairs},
        signal__in={signal_id for _, signal_id in pairs},
    )
    found = _averages(
        (signal_id, quantity, price)
        for connection_id, signal_id, quantity, price in entries.values_list(
            "connection_id", "signal_id", "filled_quantity", "avg_fill_price"
        )
        if (connection_id, signal_id) in pairs
    )
    return {pk: to_stored(price) for pk, price in found.items()}


def _exit_prices(position_ids: list[int]) -> Mapping[int, Decimal]:
    """Return the average price of what was closed of these positions, by the signal."""
    exits = Order.objects.filter(position__in=position_ids)
    found = _averages(exits.values_list("position__signal_id", "filled_quantity", "avg_fill_price"))
    return {pk: price.quantize(Decimal("1e-10")) for pk, price in found.items()}


def _averages(executed: Iterable[tuple[int | None, Decimal, Decimal | None]]) -> dict[int, Decimal]:
    """Return the average price by signal of what orders have filled."""
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for signal_id, quantity, price in executed:
        if signal_id is not None and quantity and price is not None:
            total, worth = found.get(signal_id, (ZERO, ZERO))
            found[signal_id] = (total + quantity, worth + quantity * price)
    return {signal_id: worth / total for signal_id, (total, worth) in found.items()}


def _equity(link: SubscriptionTwin, compared: Iterable[ComparedSignal]) -> list[EquityDay]:
    """Return both equities by trading day: each begins with the opening balance of the twin.

    So they show the trades of this feed alone: nothing else that the live account does.
    """
    rule = rule_of(link.subscription.connection.preset)
    made: dict[date, list[Decimal]] = {}
    for one in compared:
        for at, side in enumerate((one.live, one.twin)):
            if side.trade is not None and side.last_closed_at is not None:
                day = made.setdefault(trading_date(side.last_closed_at, rule), [ZERO, ZERO])
                day[at] += side.trade.net
    live = twin = link.opening_balance
    days = [EquityDay(trading_date(link.started_at, rule), live, twin)]
    for at_end, (by_live, by_twin) in sorted(made.items()):
        live, twin = live + by_live, twin + by_twin
        days.append(EquityDay(at_end, live, twin))
    return days


def _has_live_sizes(link: SubscriptionTwin, pairs: Iterable[str]) -> bool:
    """Whether the twin's instruments are sized as the live ones. False before they are read."""
    books = (link.connection.instrument_book, link.subscription.connection.instrument_book)
    paper, live = (
        {
            one.pair: one
            for one in Instrument.objects.filter(book=book, pair__in=pairs, is_preferred=True)
        }
        for book in books
    )
    return all(
        pair in paper and has_live_sizes(paper[pair], live[pair]) for pair in live
    )  # fmt: skip
