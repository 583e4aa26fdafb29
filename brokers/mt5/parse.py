"""Convert the terminal's rows to our types. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.mt5.constants import (
    AccountKind,
    DealEntry,
    DealKind,
    Filling,
    MarginMode,
    OrderKind,
    OrderState,
    Reason,
)
from brokers.mt5.lots import Lots, cost, decimal, level
from brokers.mt5.order_ids import OrderIds, is_ours
from brokers.mt5.reader import Reader
from brokers.types import (
    AccountState,
    BrokerCashFlow,
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
from brokers.unreadable_rows import UNREADABLE_ROWS
from common.reason_codes import Code

TYPES: dict[int, tuple[Side, OrderType]] = {
    OrderKind.BUY: (Side.BUY, OrderType.MARKET),
    OrderKind.SELL: (Side.SELL, OrderType.MARKET),
    OrderKind.BUY_LIMIT: (Side.BUY, OrderType.LIMIT),
    OrderKind.SELL_LIMIT: (Side.SELL, OrderType.LIMIT),
    OrderKind.BUY_STOP: (Side.BUY, OrderType.STOP),
    OrderKind.SELL_STOP: (Side.SELL, OrderType.STOP),
    OrderKind.BUY_STOP_LIMIT: (Side.BUY, OrderType.STOP_LIMIT),
    OrderKind.SELL_STOP_LIMIT: (Side.SELL, OrderType.STOP_LIMIT),
}
KINDS = {what: OrderKind(kind) for kind, what in TYPES.items()}
TRADES = frozenset({OrderKind.BUY, OrderKind.SELL})  # deals of other types are money, not trades
# What trading costs or earns is none: 4 charge, 7 to 11 commissions, 12 interest, 15 and 16
# dividends, 17 tax.
CASH_FLOWS = frozenset(DealKind)
CAUSES: dict[int, CloseCause] = {
    Reason.SL: CloseCause.STOP_LOSS,
    Reason.TP: CloseCause.TAKE_PROFIT,
    Reason.SO: CloseCause.STOP_OUT,
}
# Of what the package sends, also if a person changes it later: the reason is who placed an order.
OURS = frozenset({Reason.EXPERT})
BY_SERVER = frozenset({Reason.ROLLOVER, Reason.VMARGIN, Reason.SPLIT, Reason.CORPORATE_ACTION})
ORDERED = frozenset(Reason) - BY_SERVER  # by a person, a program, a level or a stop out
ENDED: dict[int, tuple[ReportKind, Code | None]] = {
    OrderState.CANCELED: (ReportKind.CANCELLED, None),
    OrderState.PARTIAL: (ReportKind.CANCELLED, None),  # in history: the rest was taken away
    OrderState.REJECTED: (ReportKind.REJECTED, Code.REJECTED_BY_BROKER),
    OrderState.EXPIRED: (ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED),
}
WITH_REASON = frozenset(kind for kind, _ in ENDED.values())
IMMEDIATE = dict.fromkeys((OrderKind.BUY_LIMIT, OrderKind.SELL_LIMIT), (Filling.FOK, Filling.IOC))


def mode_of(account_info: Any) -> PositionMode:
    hedging = account_info.margin_mode == MarginMode.RETAIL_HEDGING
    return PositionMode.HEDGING if hedging else PositionMode.NETTING


def account(account_info: Any, at: datetime, *, trading_allowed: bool) -> AccountState:
    """Read an account's balance, equity and margins."""
    return AccountState(
        account=str(account_info.login),
        currency=account_info.currency,
        balance=decimal(account_info.balance),
        equity=decimal(account_info.equity),
        margin_used=decimal(account_info.margin),
        free_margin=decimal(account_info.margin_free),
        leverage=Decimal(account_info.leverage),
        position_mode=mode_of(account_info),
        time=at,
        trading_allowed=trading_allowed,
        demo=account_info.trade_mode == AccountKind.DEMO,
    )


def levels_of(row: Any) -> HeldLevels:
    """Return the levels of a position or order, as the terminal shows them."""
    return HeldLevels(level(row.sl), level(row.tp))


def position(read: Reader, row: Any) -> BrokerPosition:
    """Read a position. Its id is the identifier: the ticket may change overnight."""
    return BrokerPosition(
        broker_position_id=str(row.identifier),
        symbol=row.symbol,
        side=Side.BUY if row.type == OrderKind.BUY else Side.SELL,
        quantity=decimal(row.volume) * read.units(row),
        entry_price=decimal(row.price_open),
        levels=levels_of(row),
        client_order_id=read.order_ids.resolve(row.magic, row.comment),
        opened_at=read.when(row.time_msc),
    )


def working_order(read: Reader, row: Any) -> BrokerOrder | None:
    """Read a working order; None for a close-by order, in which two positions close each other."""
    if row.type not in TYPES:
        return None
    side, order_type = TYPES[row.type]
    units, price = read.units(row), decimal(row.price_open)
    limit = level(row.price_stoplimit) if order_type is OrderType.STOP_LIMIT else price
    return BrokerOrder(
        broker_order_id=str(row.ticket),
        symbol=row.symbol,
        side=side,
        order_type=order_type,
        quantity=decimal(row.volume_initial) * units,
        filled=(decimal(row.volume_initial) - decimal(row.volume_current)) * units,
        limit_price=limit if order_type.has_limit_price else None,
        stop_price=price if order_type.has_stop_price else None,
        stop_loss=level(row.sl),
        take_profit=level(row.tp),
        client_order_id=read.order_ids.resolve(row.magic, row.comment),
        broker_position_id=str(row.position_id) if row.position_id else "",
        placed_at=read.when(row.time_setup_msc),
    )


def is_order_of(row: Any, client_order_id: str, magic: int) -> bool:
    """Whether an order is the one that we sent under this id.

    What the broker or the owner did to our position may carry its magic number and comment too.
    """
    if row.reason not in OURS:
        return False
    return bool(row.magic == magic or (row.magic == 0 and row.comment == client_order_id))


def is_trade(deal: Any) -> bool:
    """Whether a deal executed anything: others are money, or corrections without a volume."""
    return deal.type in TRADES and decimal(deal.volume) > 0


def is_by_server(deal: Any) -> bool:
    """Whether the server made a deal automatically. A reason that is not known yet counts as such:
    what we have sent has one of `OURS`."""
    return deal.reason not in ORDERED


def execution(read: Reader, deal: Any) -> Execution:
    """Read a deal. Raises ReadFailed if the server's time zone is not known yet."""
    return Execution(
        broker_fill_id=str(deal.ticket),
        quantity=read.lots(deal.symbol).base(deal.volume),
        price=decimal(deal.price),
        time=read.utc(deal.time_msc / 1000),
        commission=-(cost(deal.commission) + cost(deal.fee)),  # a cost is negative there
        commission_currency=read.currency,
        swap=cost(deal.swap),  # below 0: charged, as ours
    )


def cash_flow(read: Reader, deal: Any) -> BrokerCashFlow | None:
    """Read a deposit or withdrawal; None for a trade, and for what trading costs or earns.

    Raises ReadFailed if the server's time zone is not known yet."""
    if deal.type not in CASH_FLOWS or not deal.profit:
        return None
    return BrokerCashFlow(
        reference=str(deal.ticket),
        amount=decimal(deal.profit),
        time=read.utc(deal.time_msc / 1000),
        is_credit=deal.type == DealKind.CREDIT,
    )


def order_reports(
    read: Reader, client_order_id: str, order: Any, deals: Sequence[Any], *, is_open: bool
) -> list[OrderReport]:
    """Return all reports of one order. is_open: it is in the list of open orders.

    Deals arrive later than their order: an ended order with missing deals is reported as accepted,
    with the deals that have arrived, so that it is looked up again.
    """
    # These are deals of an order that we sent, so an unknown reason is ours; among all deals of an
    # account (`deal_reports`) one with our magic number may also be the server's.
    trades = [deal for deal in deals if is_trade(deal) and deal.reason not in BY_SERVER]
    fills = tuple(execution(read, deal) for deal in trades)
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
            detail=_why(order, client_order_id) if kind in WITH_REASON else "",
        )

    reports = [] if fills and not is_open else [report(ReportKind.ACCEPTED)]
    if fills:
        reports.append(report(ReportKind.FILLED, None, fills))
    end = None if is_open else _end_of(order, read.lots(order.symbol), fills)
    if end is None:
        return reports
    if end[0] is ReportKind.REJECTED and not fills:
        return [report(*end)]
    return [*reports, report(*end)]


def _why(order: Any, client_order_id: str) -> str:
    """Return the server's words about an order's end ("[no money]"), beside our own comment."""
    return str(order.comment).replace(client_order_id, "").strip()


def _end_of(
    order: Any, lots: Lots, fills: Sequence[Execution]
) -> tuple[ReportKind, Code | None] | None:
    """Return how an order of the history ended; None: filled, or its deals are not whole yet."""
    ordered, filled = lots.base(order.volume_initial), sum(fill.quantity for fill in fills)
    executed = ordered - lots.base(order.volume_current)
    state = order.state
    if state == OrderState.FILLED and 0 < filled == executed < ordered:
        state = OrderState.PARTIAL  # as some brokers' gateways write it: the rest was taken away
    if filled < executed or state not in ENDED:
        return None
    kind, code = ENDED[state]
    if kind is ReportKind.CANCELLED and order.type_filling in IMMEDIATE.get(order.type, ()):
        code = Code.NO_PRICE_WITHIN_LIMIT
    return kind, code


def deal_reports(
    read: Reader, deals: Sequence[Any], entry_of: Callable[[int], str]
) -> list[OrderReport]:
    """Return executions as reports, one for each order and position. entry_of: returns the entry's
    client order id of a position ('' if unknown). One order closes two positions by each other.

    It omits entries that are not ours, what the server made (`server_deals`), and closes in a
    symbol that is not listed any more, which must not fail the read: of ours the comparison finds
    them. It also omits orders of ours with an unknown id: a look-up by id finds them, and they must
    not be reported as external.
    """
    groups: dict[tuple[int, int], list[Any]] = {}
    for deal in deals:
        if is_trade(deal) and not is_by_server(deal):
            group = deal.order or -deal.ticket, deal.position_id
            groups.setdefault(group, []).append(deal)
    return [
        reports for group in groups.values() if (reports := _group_report(read, group, entry_of))
    ]


def _group_report(
    read: Reader, deals: Sequence[Any], entry_of: Callable[[int], str]
) -> OrderReport | None:
    first = deals[0]
    is_sent_by_us = first.reason in OURS
    name = read.order_ids.resolve(first.magic, first.comment) if is_sent_by_us else ""
    if (
        name
        and not first.magic
        and first.entry != DealEntry.IN
        and name == entry_of(first.position_id)
    ):
        name = ""  # an exit of others with the entry's comment: our exits have their own
    is_sent_by_us = is_sent_by_us and (bool(name) or is_ours(first.magic))
    if (is_sent_by_us and not name) or (not is_sent_by_us and first.entry == DealEntry.IN):
        return None
    client_order_id = name or entry_of(first.position_id)
    if not is_of_known_size(read, first, client_order_id):
        return None
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=read.connection_id,
        client_order_id=client_order_id,
        broker_order_id=str(first.order) if first.order else "",
        broker_position_id=str(first.position_id),
        fills=tuple(execution(read, deal) for deal in deals),
        close_cause=None if is_sent_by_us else CAUSES.get(first.reason, CloseCause.EXTERNAL),
    )


def is_of_known_size(read: Reader, deal: Any, client_order_id: str) -> bool:
    """Whether it is known how much a lot of a deal's symbol is; one of ours is noted if not.

    Raises ReadFailed."""
    if read.lists(deal.symbol):
        return True
    if client_order_id:
        name = f"{deal.ticket} in {deal.symbol}"
        UNREADABLE_ROWS.note(read.connection_id, "execution", name, "its symbol is not listed")
    return False


def entry_client_order_id(order_ids: OrderIds, deals: Sequence[Any]) -> str:
    """Return the client order id of the order that opened a position; '' if it was not ours."""
    opened = [deal for deal in deals if is_trade(deal) and deal.entry == DealEntry.IN]
    found: Mapping[str, None] = {
        name: None
        for deal in opened
        if deal.reason in OURS and (name := order_ids.resolve(deal.magic, deal.comment))
    }
    return next(iter(found), "")
