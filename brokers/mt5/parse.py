"""What the terminal tells, in our words. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.base import ReadFailed
from brokers.messages import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CloseCause,
    Execution,
    HeldLevels,
    OrderReport,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
)
from brokers.mt5.constants import AccountKind, Entry, Filling, Kind, MarginMode, Reason, State
from brokers.mt5.lots import Lots, decimal, level
from brokers.mt5.names import Names, is_ours
from common.codes import Code

TYPES: dict[int, tuple[Side, OrderType]] = {
    Kind.BUY: (Side.BUY, OrderType.MARKET),
    Kind.SELL: (Side.SELL, OrderType.MARKET),
    Kind.BUY_LIMIT: (Side.BUY, OrderType.LIMIT),
    Kind.SELL_LIMIT: (Side.SELL, OrderType.LIMIT),
    Kind.BUY_STOP: (Side.BUY, OrderType.STOP),
    Kind.SELL_STOP: (Side.SELL, OrderType.STOP),
    Kind.BUY_STOP_LIMIT: (Side.BUY, OrderType.STOP),
    Kind.SELL_STOP_LIMIT: (Side.SELL, OrderType.STOP),
}
KINDS = {what: Kind(kind) for kind, what in TYPES.items() if kind < Kind.BUY_STOP_LIMIT}
TRADES = frozenset({Kind.BUY, Kind.SELL})  # deals of other types are money, not trades
CAUSES: dict[int, CloseCause] = {
    Reason.SL: CloseCause.STOP_LOSS,
    Reason.TP: CloseCause.TAKE_PROFIT,
}
NOT_BY_US = frozenset({Reason.CLIENT, Reason.MOBILE, Reason.WEB, Reason.SL, Reason.TP, Reason.SO})
ENDED: dict[int, tuple[ReportKind, Code | None]] = {
    State.CANCELED: (ReportKind.CANCELLED, None),
    State.PARTIAL: (ReportKind.CANCELLED, None),  # in history: the rest was taken away
    State.REJECTED: (ReportKind.REJECTED, Code.REJECTED_BY_BROKER),
    State.EXPIRED: (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED),
}
AT_ONCE = dict.fromkeys((Kind.BUY_LIMIT, Kind.SELL_LIMIT), (Filling.FOK, Filling.IOC))


@dataclass(frozen=True, slots=True)
class Reader:
    """How one account's numbers, names and times are read."""

    connection_id: str
    lots: Callable[[str], Lots]
    utc: Callable[[float], datetime]
    names: Names
    currency: str = ""

    def when(self, milliseconds: int) -> datetime | None:
        """A time that may be left out where the server's zone is not known yet."""
        try:
            return self.utc(milliseconds / 1000)
        except ReadFailed:
            return None


def mode_of(info: Any) -> PositionMode:
    hedging = info.margin_mode == MarginMode.RETAIL_HEDGING
    return PositionMode.HEDGING if hedging else PositionMode.NETTING


def account(info: Any, at: datetime, *, trading_allowed: bool) -> AccountState:
    return AccountState(
        account=str(info.login),
        currency=info.currency,
        balance=decimal(info.balance),
        equity=decimal(info.equity),
        margin_used=decimal(info.margin),
        free_margin=decimal(info.margin_free),
        leverage=Decimal(info.leverage),
        position_mode=mode_of(info),
        time=at,
        trading_allowed=trading_allowed,
        demo=info.trade_mode != AccountKind.REAL,
    )


def levels_of(row: Any) -> HeldLevels:
    """Return what the terminal shows that a position has."""
    return HeldLevels(level(row.sl), level(row.tp))


def position(read: Reader, row: Any) -> BrokerPosition:
    """Its number is the identifier, which all its deals carry; the ticket may change overnight."""
    return BrokerPosition(
        broker_position_id=str(row.identifier),
        symbol=row.symbol,
        side=Side.BUY if row.type == Kind.BUY else Side.SELL,
        quantity=read.lots(row.symbol).base(row.volume),
        entry_price=decimal(row.price_open),
        levels=levels_of(row),
        client_order_id=read.names.read(row.magic, row.comment),
        opened_at=read.when(row.time_msc),
    )


def resting(read: Reader, row: Any) -> BrokerOrder | None:
    """None: it is no order in our sense (two positions closing each other)."""
    if row.type not in TYPES:
        return None
    side, order_type = TYPES[row.type]
    lots, price = read.lots(row.symbol), decimal(row.price_open)
    two_prices = row.type in (Kind.BUY_STOP_LIMIT, Kind.SELL_STOP_LIMIT)
    limit = level(row.price_stoplimit) if two_prices else price
    return BrokerOrder(
        broker_order_id=str(row.ticket),
        symbol=row.symbol,
        side=side,
        order_type=order_type,
        quantity=lots.base(row.volume_initial),
        filled=lots.base(row.volume_initial) - lots.base(row.volume_current),
        limit_price=limit if two_prices or order_type is OrderType.LIMIT else None,
        stop_price=price if order_type is OrderType.STOP else None,
        stop_loss=level(row.sl),
        take_profit=level(row.tp),
        client_order_id=read.names.read(row.magic, row.comment),
        broker_position_id=str(row.position_id) if row.position_id else "",
        placed_at=read.when(row.time_setup_msc),
    )


def is_order_of(row: Any, client_order_id: str, magic: int) -> bool:
    """Whether an order is the one that we sent under this id.

    What the broker or the owner did to our position may carry its magic number and comment too.
    """
    if row.reason in NOT_BY_US:
        return False
    return bool(row.magic == magic or (row.magic == 0 and row.comment == client_order_id))


def execution(read: Reader, deal: Any) -> Execution:
    return Execution(
        broker_fill_id=str(deal.ticket),
        quantity=read.lots(deal.symbol).base(deal.volume),
        price=decimal(deal.price),
        time=read.utc(deal.time_msc / 1000),
        commission=-(decimal(deal.commission) + decimal(deal.fee)),  # a cost is negative there
        commission_currency=read.currency,
    )


def order_reports(
    read: Reader, client_order_id: str, order: Any, deals: Sequence[Any], *, rests: bool
) -> list[OrderReport]:
    """Everything that is known of one order. rests: it stands among the open ones.

    Deals come later than their order: one that has ended with deals still missing is told as
    accepted, with those that are there, and is asked about again.
    """
    trades = [deal for deal in deals if deal.type in TRADES]
    fills = tuple(execution(read, deal) for deal in trades)
    lots = read.lots(order.symbol)
    executed = lots.base(order.volume_initial) - lots.base(order.volume_current)
    position_id = order.position_id or (trades[0].position_id if trades else 0)

    def report(
        kind: ReportKind, code: Code | None = None, with_fills: tuple[Execution, ...] = ()
    ) -> OrderReport:
        return OrderReport(
            kind=kind,
            connection_id=read.connection_id,
            client_order_id=client_order_id,
            broker_order_id=str(order.ticket),
            broker_position_id=str(position_id) if position_id else "",
            fills=with_fills,
            code=code,
            detail=order.comment if kind is ReportKind.REJECTED else "",
        )

    told = [] if fills and not rests else [report(ReportKind.ACCEPTED)]
    if fills:
        told.append(report(ReportKind.FILLED, None, fills))
    is_whole = sum((fill.quantity for fill in fills), Decimal(0)) >= executed
    if not rests and is_whole and order.state in ENDED:
        kind, code = ENDED[order.state]
        if kind is ReportKind.CANCELLED and order.type_filling in AT_ONCE.get(order.type, ()):
            code = Code.NO_PRICE_WITHIN_LIMIT
        if kind is ReportKind.REJECTED and not fills:
            return [report(kind, code)]
        told.append(report(kind, code))
    return told


def deal_reports(
    read: Reader, deals: Sequence[Any], entry_of: Callable[[int], str]
) -> list[OrderReport]:
    """Executions as reports, one for each order. entry_of: the entry's client order id of a
    position ('' where nobody knows it).

    What others opened is left out, and an order of ours whose name cannot be read any more: a
    look-up under its name finds it, and nobody may take it for somebody else's.
    """
    groups: dict[int, list[Any]] = {}
    for deal in deals:
        if deal.type in TRADES:
            groups.setdefault(deal.order or -deal.ticket, []).append(deal)
    return [told for group in groups.values() if (told := _of_group(read, group, entry_of))]


def _of_group(
    read: Reader, deals: Sequence[Any], entry_of: Callable[[int], str]
) -> OrderReport | None:
    first = deals[0]
    name = "" if first.reason in NOT_BY_US else read.names.read(first.magic, first.comment)
    if name and not first.magic and first.entry != Entry.IN and name == entry_of(first.position_id):
        name = ""  # somebody else's exit with the comment of what it closes: ours has its own
    by_us = first.reason not in NOT_BY_US and (bool(name) or is_ours(first.magic))
    if (by_us and not name) or (not by_us and first.entry == Entry.IN):
        return None
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=read.connection_id,
        client_order_id=name or entry_of(first.position_id),
        broker_order_id=str(first.order) if first.order else "",
        broker_position_id=str(first.position_id),
        fills=tuple(execution(read, deal) for deal in deals),
        close_cause=None if by_us else CAUSES.get(first.reason, CloseCause.EXTERNAL),
    )


def entry_name(names: Names, deals: Sequence[Any]) -> str:
    """Return the client order id of the order that opened a position; '' if it was not ours."""
    opened = [deal for deal in deals if deal.type in TRADES and deal.entry == Entry.IN]
    found: Mapping[str, None] = {
        name: None
        for deal in opened
        if deal.reason not in NOT_BY_US and (name := names.read(deal.magic, deal.comment))
    }
    return next(iter(found), "")
