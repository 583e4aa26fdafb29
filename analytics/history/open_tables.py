"""A tenant's open positions and working orders as tables for download, row by row.

They have what the portal's lists show, of all rows and not of a page. Prices are those of the
moment at which a row is read, each with its time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from analytics.orders.working import WorkingOrder, filtered, with_market, working_orders
from analytics.results.exports import CHUNK, Row
from common.money import plain, to_stored
from common.web.list_filters import by_account_and_pair
from connections.models import ExecutionConnection
from execution.models import NOT_ENDED, Order
from positions.figures import PositionFigures, open_targets
from positions.models import ExecutionPosition
from positions.selectors import protection, with_prices
from signals.effective_levels import Targets, targets_by_signal
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of


@dataclass(frozen=True, slots=True)
class OpenTable:
    name: str
    columns: tuple[str, ...]
    _find: Callable[[User, Mapping[str, str]], QuerySet[Any]] = field(repr=False)
    _read: Callable[[Sequence[int]], list[Row]] = field(repr=False)

    def rows(self, user: User, filters: Mapping[str, str]) -> Iterator[Row]:
        """Return the header, then each row of the user's own, the newest first.

        It is read after the request's transaction, and opens its own for each part. The keys are
        read first; what ends before its part is read is left out.
        """
        yield self.columns
        with on_behalf_of(user):
            found = self._find(user, filters).order_by()  # sorted, it may walk through ended rows
            ids = sorted(found.values_list("pk", flat=True), reverse=True)
        for start in range(0, len(ids), CHUNK):
            with on_behalf_of(user), for_all_tenants():  # feeds that the user has left
                chunk = self._read(ids[start : start + CHUNK])
            yield from chunk


def _find_positions(user: User, filters: Mapping[str, str]) -> QuerySet[ExecutionPosition]:
    mine = ExecutionPosition.objects.filter(connection__user=user)
    return by_account_and_pair(mine.open(), filters)


def _positions(ids: Sequence[int]) -> list[Row]:
    found = ExecutionPosition.objects.open().filter(pk__in=ids)
    found = found.select_related("connection__snapshot", "signal__feed")
    found = found.defer("connection__sealed_credentials").order_by("-pk")
    read = list(with_prices(found))
    targets = targets_by_signal({row.signal_id for row in read})
    return [_position(row, targets[row.signal_id]) for row in read]


def _position(p: Any, targets: Targets) -> Row:
    figures = PositionFigures(p, p.current_price, None, p.connection.account_currency)
    return (
        f"P-{p.pk}", p.opened_at, *_account(p.connection), p.signal.feed.name, f"S-{p.signal_id}",
        p.pair, p.symbol, p.side, p.quantity, p.opened_quantity, p.reserved, p.entry_price,
        p.current_price, p.price_time, p.unrealized_pnl, p.connection.account_currency,
        p.sl, _distance(figures, p.sl, is_stop=True),
        " ".join(plain(target.price) for target in open_targets(p, targets)),
        _distance(figures, p.tp, is_stop=False), str(figures.unit),
        protection(p)[1], p.unprotected_since, p.unprotected_reason, p.seconds_without_stop,
        p.exit_blocker, p.close_at, p.exit_condition_text,
    )  # fmt: skip


def _account(connection: ExecutionConnection) -> tuple[str, str]:
    return connection.name, "yes" if connection.type == "paper" else "no"


def _distance(figures: PositionFigures, level: Decimal | None, *, is_stop: bool) -> Decimal | None:
    if level is None or figures.price is None or not figures.position.pip:
        return None
    distance = figures.level(level, is_stop=is_stop).distance
    return None if distance is None else to_stored(distance)


def _find_orders(user: User, filters: Mapping[str, str]) -> QuerySet[Order]:
    return filtered(working_orders(user), filters)


def _orders(ids: Sequence[int]) -> list[Row]:
    found = with_market(Order.objects.filter(NOT_ENDED, pk__in=ids)).order_by("-pk")
    return [_order(WorkingOrder(row)) for row in found]


def _order(one: WorkingOrder) -> Row:
    o, explanation, end, distance = one.order, one.explanation, one.end, one.distance
    return (
        f"O-{o.pk}", o.created_at, *_account(o.connection),
        o.signal.feed.name if o.signal else "", f"S-{o.signal_id}" if o.signal_id else "",
        f"P-{o.position_id}" if o.position_id else "", o.pair, o.symbol, o.side, o.order_type,
        o.leg, o.quantity, o.filled_quantity, one.price, one.market, o.market_time,
        None if distance is None else to_stored(distance), str(one.unit), o.status,
        explanation.code, f"{explanation.brief} {one.longest_wait}".strip(),
        end.at if end else None, ("BROKER" if end.by_broker else "ENGINE") if end else "",
        o.client_order_id or "", o.broker_order_id,
    )  # fmt: skip


OPEN_TABLES = {
    table.name: table
    for table in (
        OpenTable(
            "open-positions",
            ("position", "opened_at", "account", "paper", "feed", "signal", "pair", "symbol",
             "side", "quantity", "opened_quantity", "being_closed", "entry_price",
             "current_price", "price_time", "unrealized_pnl", "currency", "stop_loss",
             "stop_distance", "targets", "target_distance", "distance_unit", "protection",
             "unprotected_since", "unprotected_reason", "unprotected_seconds", "exit_blocker",
             "close_at", "closes_besides"),
            _find_positions,
            _positions,
        ),
        OpenTable(
            "working-orders",
            ("order", "created_at", "account", "paper", "feed", "signal", "position", "pair",
             "symbol", "side", "order_type", "leg", "quantity", "filled_quantity", "price",
             "market_price", "market_time", "distance", "distance_unit", "state", "reason",
             "explanation", "valid_until", "ended_by", "client_order_id", "broker_order_id"),
            _find_orders,
            _orders,
        ),
    )
}  # fmt: skip
"""The tables, by their name in addresses and files."""
