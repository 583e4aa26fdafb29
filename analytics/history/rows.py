"""A tenant's history: signals, orders and closed trades, newest first, searched and paged by key.

Each page is read from the indexes that begin with the account, one short read for each account,
so that a page costs the same among a million rows; of signals, whose order no index has, a page
costs the more the more signals the accounts have received. Pages are cut by the last row's key, not
by an offset: by the time that the list shows and filters, then by the number. Numbers alone are not
in its order: a trade is numbered when it opens, a signal when it is drafted. A search for text
reads the accounts' rows until the page is full.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from analytics.orders.archived import may_be_archived
from analytics.results.exports import Row, fees_text
from common.web.list_filters import before_row
from connections.models import ExecutionConnection
from execution.models import ArchivedOrder, Order, Status
from positions.models import CloseReason, ExecutionPosition
from signals.models import Action, Signal
from users.models import User
from users.tenancy import for_all_tenants, on_behalf_of

CHUNK = 500  # rows of an export that are in memory
MOST_TEXT = 60
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """What is searched for. since, until: days in UTC, both included.

    pair: a part of it, as in all lists. before: the last key seen. before_at: its time; None: it is
    read.
    """

    text: str = ""
    pair: str = ""
    account: UUID | None = None
    feed: int | None = None
    state: str = ""
    since: date | None = None
    until: date | None = None
    before: int | None = None
    before_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """One of the tables. states: what its filter of states offers; columns: of an export.

    time: the column by which it is in order.
    """

    name: str
    columns: tuple[str, ...]
    states: tuple[str, ...]
    time: str
    _ids: Callable[[User, HistoryFilter, int], list[int]] = field(repr=False)
    _read: Callable[[Sequence[int]], list[Row]] = field(repr=False)

    def page(self, user: User, wanted: HistoryFilter, *, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` rows by column, each with its `key` for the next page."""
        ids = self._ids(user, wanted, limit)
        with for_all_tenants():  # names of feeds that the user has left; the ids are the user's
            rows = self._read(ids)
        columns = ("key", *self.columns)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def all_rows(self, user: User, wanted: HistoryFilter) -> Iterator[dict[str, Any]]:
        """Return all rows. It is read after the request's transaction, and opens its own."""
        while True:
            with on_behalf_of(user):
                chunk = self.page(user, wanted, limit=CHUNK)
            yield from chunk
            if len(chunk) < CHUNK:
                return
            last = chunk[-1]
            wanted = replace(wanted, before=last["key"], before_at=last[self.time])


def _accounts(user: User, wanted: HistoryFilter) -> list[UUID]:
    mine = ExecutionConnection.objects.filter(user=user)
    if wanted.account is not None:
        mine = mine.filter(pk=wanted.account)
    return list(mine.values_list("pk", flat=True))


def _number(text: str, prefix: str) -> int | None:
    """Return the number of `S-2041` or `2041`; None for other text."""
    digits = text.upper().removeprefix(f"{prefix}-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else None


def _days(wanted: HistoryFilter, column: str) -> Q:
    q = Q()
    if wanted.since is not None:
        q &= Q(**{f"{column}__gte": datetime.combine(wanted.since, time(), UTC)})
    if wanted.until is not None:
        after = wanted.until + timedelta(days=1)
        q &= Q(**{f"{column}__lt": datetime.combine(after, time(), UTC)})
    return q


def _of_signal(wanted: HistoryFilter, prefix: str) -> Q:
    """Return what the feed and the text demand of a signal."""
    q = Q(**{f"{prefix}feed_id": wanted.feed}) if wanted.feed is not None else Q()
    if text := wanted.text:
        found = Q(**{f"{prefix}trade_plan_id": text}) | Q(**{f"{prefix}strategy_id": text})
        found |= Q(**{f"{prefix}note__icontains": text})
        if (number := _number(text, "S")) is not None:
            found |= Q(**{f"{prefix}pk": number})
        q &= found
    return q


def _after_key(wanted: HistoryFilter, column: str, known: Callable[[int], datetime | None]) -> Q:
    """Return what follows the last key seen, in the order of a time. known: the time of a key.

    A key that is not the user's has no time, and nothing follows it.
    """
    if wanted.before is None:
        return Q()
    at = wanted.before_at or known(wanted.before)
    if at is None:
        return Q(pk__in=())
    return before_row(column, at, wanted.before)


def _newest(queries: Sequence[QuerySet[Any]], limit: int, *by: str) -> list[int]:
    """Return the newest keys of all accounts: each has its own short read by its own index.

    by: the columns that make the order, the newest last; the last one is the key.
    """
    if not queries:
        return []
    newest = [f"-{column}" for column in by]
    parts = [query.order_by(*newest).values_list(*by)[:limit] for query in queries]
    if len(parts) == 1:
        return [row[-1] for row in parts[0]]
    return [row[-1] for row in parts[0].union(*parts[1:], all=True).order_by(*newest)[:limit]]


def _order_ids(user: User, wanted: HistoryFilter, limit: int) -> list[int]:
    q = _days(wanted, "created_at")
    q &= Q(pk__lt=wanted.before) if wanted.before is not None else Q()
    q &= Q(pair__icontains=wanted.pair) if wanted.pair else Q()
    q &= Q(status=wanted.state) if wanted.state else Q()
    if wanted.feed is not None:
        q &= Q(signal__feed_id=wanted.feed)
    if text := wanted.text:
        found = Q(client_order_id=text) | Q(broker_order_id=text) | Q(reason=text.upper())
        number = _number(text, "O")
        found |= Q(pk=number) if number is not None else Q()
        q &= found | _of_signal(HistoryFilter(text=text), "signal__")
    accounts = _accounts(user, wanted)
    base = Order.objects.filter(q)
    ids = _newest([base.filter(connection=pk) for pk in accounts], limit, "pk")
    if len(ids) == limit:  # else the page may go back to the first order
        oldest = Order.objects.filter(pk=ids[-1]).values_list("created_at", flat=True).first()
        if not may_be_archived(oldest):
            return ids
    archived = ArchivedOrder.objects.filter(q)
    ids += _newest([archived.filter(connection=pk) for pk in accounts], limit, "pk")
    return sorted(ids, reverse=True)[:limit]


def _orders(ids: Sequence[int]) -> list[Row]:
    related = ("signal__feed", "connection__snapshot")
    found = Order.objects.filter(pk__in=ids).select_related(*related)
    rows: dict[int, Row] = {
        o.pk: (
            o.pk, f"O-{o.pk}", o.created_at, o.connection.name, _s(o.signal_id),
            o.signal.feed.name if o.signal else "", o.pair, o.side, o.order_type, o.leg,
            o.quantity, o.limit_price, o.stop_price, o.filled_quantity, o.avg_fill_price,
            o.slippage_pips, o.slippage_unit if o.slippage_pips is not None else "", o.commission,
            o.connection.account_currency, o.status, o.reason, o.detail, o.broker_order_id,
            o.signal.trade_plan_id if o.signal else "",
        )
        for o in found
    }  # fmt: skip
    if len(rows) < len(ids):
        archived = ArchivedOrder.objects.filter(pk__in=ids).select_related(*related)
        rows |= {order.pk: _archived_order(order) for order in archived}
    return [rows[pk] for pk in sorted(rows, reverse=True)]


def _archived_order(o: ArchivedOrder) -> Row:
    """Return the same of an order in the archive, which has its detail; it never filled."""
    return (
        o.pk, f"O-{o.pk}", o.created_at, o.connection.name, _s(o.signal_id), o.signal.feed.name,
        o.pair, o.side, o.order_type, o.leg, o.quantity, o.limit_price, o.stop_price, ZERO, None,
        None, "", ZERO, o.connection.account_currency, o.status, o.reason,
        "its row is in the archive", o.broker_order_id, o.signal.trade_plan_id,
    )  # fmt: skip


def _trade_ids(user: User, wanted: HistoryFilter, limit: int) -> list[int]:
    accounts = _accounts(user, wanted)
    q = Q(closed_at__isnull=False) & _days(wanted, "closed_at")
    q &= _after_key(wanted, "closed_at", lambda pk: _closing_time(user, pk))
    q &= Q(pair__icontains=wanted.pair) if wanted.pair else Q()
    q &= Q(close_reason=wanted.state) if wanted.state else Q()
    q &= Q(signal__feed_id=wanted.feed) if wanted.feed is not None else Q()
    if text := wanted.text:
        number = _number(text, "P")
        found = Q(broker_position_id=text) | (Q(pk=number) if number is not None else Q(pk=None))
        q &= found | _of_signal(HistoryFilter(text=text), "signal__")
    base = ExecutionPosition.objects.filter(q)
    return _newest([base.filter(connection=pk) for pk in accounts], limit, "closed_at", "pk")


def _closing_time(user: User, pk: int) -> datetime | None:
    """Return when a trade of the user's closed; if a correction has opened it again, that time."""
    found = ExecutionPosition.objects.filter(pk=pk, connection__user=user)
    times = found.values_list("closed_at", "last_activity_at").first()
    return None if times is None else times[0] or times[1]


def _trades(ids: Sequence[int]) -> list[Row]:
    found = ExecutionPosition.objects.filter(pk__in=ids)
    found = found.select_related("signal__feed", "connection__snapshot")
    return [
        (
            p.pk, f"P-{p.pk}", p.closed_at, p.opened_at, p.connection.name, _s(p.signal_id),
            p.signal.feed.name, p.pair, p.side, p.opened_quantity, p.entry_price, p.close_reason,
            p.net_result, p.commission, p.swap, p.connection.account_currency,
            fees_text(p.unconverted_fees), p.signal.trade_plan_id,
        )
        for p in found.order_by("-closed_at", "-pk")
    ]  # fmt: skip


def _signal_ids(user: User, wanted: HistoryFilter, limit: int) -> list[int]:
    q = Q(published_at__isnull=False) & _days(wanted, "published_at") & _of_signal(wanted, "")
    q &= Q(currency_pair__icontains=wanted.pair) if wanted.pair else Q()
    q &= Q(action=wanted.state) if wanted.state else Q()
    accounts = _accounts(user, wanted)
    sent = Order.objects.filter(connection__in=accounts).values("signal_id")
    archived = ArchivedOrder.objects.filter(connection__in=accounts).values("signal_id")
    mine = Signal.objects.filter(pk__in=sent.order_by().union(archived.order_by()))

    def publication(pk: int) -> datetime | None:
        found: datetime | None = mine.filter(pk=pk).values_list("published_at", flat=True).first()
        return found

    with for_all_tenants():  # of feeds that the user has left, too: the orders are the user's
        q &= _after_key(wanted, "published_at", publication)
        return _newest([mine.filter(q)], limit, "published_at", "pk")


def _signals(ids: Sequence[int]) -> list[Row]:
    found = Signal.objects.filter(pk__in=ids).select_related("feed")
    return [
        (
            s.pk, f"S-{s.pk}", s.published_at, s.feed.name, s.action, s.currency_pair, s.direction,
            s.order_type, s.open_price, s.stop_price, s.sl,
            " ".join(f"{price.normalize():f}" for price in s.target_prices), s.valid_until,
            s.cancelled_at, s.strategy_id, s.trade_plan_id, s.note,
        )
        for s in found.order_by("-published_at", "-pk")
    ]  # fmt: skip


def _s(signal_id: int | None) -> str:
    return f"S-{signal_id}" if signal_id else ""


HISTORY = {
    table.name: table
    for table in (
        HistoryTable(
            "signals",
            ("signal", "published_at", "feed", "action", "pair", "side", "order_type",
             "open_price", "stop_price", "stop_loss", "targets", "valid_until", "cancelled_at",
             "strategy_id", "trade_plan_id", "note"),
            tuple(Action.values),
            "published_at",
            _signal_ids,
            _signals,
        ),
        HistoryTable(
            "orders",
            ("order", "created_at", "account", "signal", "feed", "pair", "side", "order_type",
             "leg", "quantity", "limit_price", "stop_price", "filled_quantity", "price",
             "slippage", "slippage_unit", "commission", "currency", "state", "reason", "detail",
             "broker_order_id", "trade_plan_id"),
            tuple(Status.values),
            "created_at",
            _order_ids,
            _orders,
        ),
        HistoryTable(
            "trades",
            ("position", "closed_at", "opened_at", "account", "signal", "feed", "pair", "side",
             "quantity", "entry_price", "closed_by", "net", "commission", "swap", "currency",
             "fees_not_included", "trade_plan_id"),
            tuple(CloseReason.values),
            "closed_at",
            _trade_ids,
            _trades,
        ),
    )
}  # fmt: skip
