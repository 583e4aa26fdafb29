"""A tenant's working orders: what waits to be sent, what is held, and what rests at brokers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from analytics.orders.end_times import EntryEnd, end_of
from analytics.orders.explanations import Explanation, explain
from analytics.orders.money import with_currency
from common.clocks import market_now
from common.fields import AmountField
from common.money import divide
from common.operational.current import settings_now
from common.reason_codes import Code
from common.units import Unit, size_of
from common.web.list_filters import by_account_and_pair
from connections.models import Instrument
from execution.changes.changeable_orders import CHANGEABLE, may_be_cancelled, may_be_changed
from execution.models import HELD, LIVE, NOT_ENDED, Order, Status
from prices.models import LatestQuote
from signals.models import OrderType
from signals.symbols import slippage_unit
from users.models import User

KINDS: dict[str, tuple[str, Q]] = {
    "entries": ("Entries", Q(position__isnull=True)),
    "exits": ("Exits", Q(position__isnull=False)),
    "broker": ("At the broker", Q(status__in=LIVE)),
    "held": ("Held for a trigger or a condition", Q(HELD, status=Status.PENDING)),
    "waiting": ("Waiting to be sent", Q(status=Status.PENDING) & ~HELD),
}


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """One working order for display; it must come from `with_market`."""

    order: Any

    @property
    def explanation(self) -> Explanation:
        """What it waits for, since when and until when at most."""
        return explain(self.order)

    @property
    def price(self) -> Decimal | None:
        """The price that it waits for; None: the next one."""
        order = self.order
        trigger = getattr(order, "trigger", None)
        level = trigger.level if trigger is not None and order.status == Status.PENDING else None
        found: Decimal | None = order.stop_price or order.limit_price or level
        return found

    @property
    def market(self) -> Decimal | None:
        """The price of now on its side; None: not known."""
        found: Decimal | None = self.order.market_ask if self.order.side == "BUY" else (
            self.order.market_bid
        )  # fmt: skip
        return found

    @property
    def unit(self) -> Unit:
        """The unit of its distance to the market."""
        return slippage_unit(self.order.pair)

    @property
    def distance(self) -> Decimal | None:
        """How far the market is from its price; None: not known, or it has no price."""
        price, market, pip = self.price, self.market, self.order.known_pip
        if price is None or market is None or not pip:
            return None
        return divide(abs(price - market), size_of(self.unit, price=market, pip=pip, tick=pip))

    @property
    def is_priced_late(self) -> bool:
        """Whether the price of now is older than five minutes of market time."""
        at = self.order.market_time
        return at is not None and market_now() - at > timedelta(minutes=5)

    @property
    def end(self) -> EntryEnd | None:
        """Until when it works; None: without an end."""
        return end_of(self.order)

    @property
    def longest_wait(self) -> str:
        """How long it waits at most if it is not sent yet, as a sentence; empty: it was sent."""
        order = self.order
        if order.status != Status.PENDING:
            return ""
        if not order.is_entry:
            return "It waits until it can be sent or its position is closed; there is no limit."
        if order.awaits_condition or order.reason == Code.AWAITING_TRIGGER or order.signal is None:
            return "" if self.end else "It waits without an end."
        preset = order.connection.preset
        if preset is None:
            return ""
        most = timedelta(seconds=preset.max_signal_age_seconds)
        if order.order_type == OrderType.MARKET:
            most = min(
                most, timedelta(seconds=settings_now().execution.market_entry_max_age_seconds)
            )
        begins = order.retried_at or order.signal.published_at
        return f"It is sent by {begins + most:%H:%M:%S} UTC or not at all." if begins else ""

    @property
    def can_cancel(self) -> bool:
        """Whether it may be cancelled and no cancel is requested."""
        return may_be_cancelled(self.order)

    @property
    def can_change(self) -> bool:
        """Whether its price, quantity, levels or end may be changed."""
        return may_be_changed(self.order)


def working_orders(user: User) -> QuerySet[Order]:
    """Return a tenant's orders that have not ended, the newest first."""
    return Order.objects.filter(NOT_ENDED, connection__user=user).order_by("-pk")


def filtered(found: QuerySet[Order], filters: Mapping[str, str]) -> QuerySet[Order]:
    """Return the orders that an address names by `account`, `pair`, `feed` and `kind`.

    By default all; an unknown name finds none.
    """
    found = by_account_and_pair(found, filters)
    if feed := filters.get("feed", "").replace("\0", ""):
        found = found.filter(signal__feed__slug=feed)
    if kind := filters.get("kind"):
        found = found.filter(KINDS[kind][1]) if kind in KINDS else found.none()
    return found


def with_market(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Add to orders what `WorkingOrder` shows: the market of now and the rows around them."""
    quotes = LatestQuote.objects.filter(
        data_connection_id=OuterRef("connection__data_connection_id"), symbol=OuterRef("pair")
    )
    listed = Instrument.objects.filter(
        book=OuterRef("connection__instrument_book"), pair=OuterRef("pair"), is_preferred=True
    )
    return (
        with_currency(orders)
        .select_related(
            "connection__snapshot", "connection__preset", "signal__feed", "trigger", "position"
        )
        .defer("connection__sealed_credentials")
        .annotate(
            market_bid=Subquery(quotes.values("bid")[:1]),
            market_ask=Subquery(quotes.values("ask")[:1]),
            market_time=Subquery(quotes.values("time")[:1]),
            known_pip=Coalesce(
                F("pip"), Subquery(listed.values("pip")[:1]), output_field=AmountField()
            ),
        )
    )


def cancellable_entries(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Return those of these orders that *cancel all* cancels: entries, never exits."""
    return orders.filter(position__isnull=True, pending_action="", status__in=CHANGEABLE)


def needs_attention_first(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Order by what a person has to look at: orders of unknown outcome come first."""
    unknown = Case(When(status=Status.UNKNOWN, then=Value(0)), default=Value(1))
    return orders.order_by(unknown, "-pk")
