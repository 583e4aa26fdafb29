"""The exchanges' words into ours. Pure; what it cannot read raises ValueError.

It reads ccxt's unified structures, made with `number=str`, so that no price passes through a float.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any

from brokers.crypto import order_ends
from brokers.crypto.market_steps import amount_step, price_tick
from brokers.price_rounding import PriceGrid, step_at
from brokers.types import (
    MAX_FILL_ID_LENGTH,
    BrokerOrder,
    BrokerPosition,
    CloseCause,
    Execution,
    Instrument,
    OrderReport,
    OrderType,
    Quote,
    ReportKind,
    Side,
)
from common.reason_codes import Code

ENDED = {
    "canceled": ReportKind.CANCELLED,
    "expired": ReportKind.EXPIRED,
    "rejected": ReportKind.REJECTED,
}
ALIVE = frozenset({"open", "closed", *ENDED})
BY_EXCHANGE = frozenset({"BustTrade", "AdlTrade", "Delivery"})  # Bybit's own closings
MAX_NUMBER = Decimal(10) ** 15  # "no maximum"
# Bybit's maximum of a market order, on perpetuals and on spot; ccxt does not read it.
MARKET_MAXIMA = ("maxMktOrderQty", "maxMarketOrderQty")


def number(value: Any) -> Decimal:
    """Read a finite number. Raises ValueError."""
    try:
        found = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"not a number: {value!r}") from error
    if not found.is_finite():
        raise ValueError(f"not a number: {value!r}")
    return found


def optional_number(value: Any, otherwise: Decimal = Decimal(0)) -> Decimal:
    """Read a number that may be missing."""
    return otherwise if value is None or value == "" else number(value)


def moment(milliseconds: Any) -> datetime:
    """Read a time, aware UTC. Raises ValueError."""
    seconds, rest = divmod(int(number(milliseconds)), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def quote(ticker: Mapping[str, Any], pair: str, now: datetime) -> Quote | None:
    """Read the best bid and ask; None: one side of the book is empty. Raises ValueError."""
    bid, ask = optional_number(ticker.get("bid")), optional_number(ticker.get("ask"))
    if bid <= 0 or ask <= 0:
        return None
    milliseconds = ticker.get("timestamp")
    return Quote(symbol=pair, bid=bid, ask=ask, time=moment(milliseconds) if milliseconds else now)


# ---- markets --------------------------------------------------------------------------------
def contract_size(market: Mapping[str, Any]) -> Decimal:
    """Base units in one of ccxt's amounts: a contract's size, 1 on spot. Raises ValueError for one
    of nothing: what is held of it would count as closed."""
    if not market.get("contract"):
        return Decimal(1)
    size = optional_number(market.get("contractSize"), Decimal(1))
    if size <= 0:
        raise ValueError(f"{market.get('symbol')} has contracts of {size}")
    return size


def instrument(market: Mapping[str, Any]) -> Instrument:
    """Read a market. Quantities in base units; ccxt counts contracts. Raises ValueError."""
    size = contract_size(market)
    minimum_amount = _limits(market, "amount").get("min")
    step, grid = amount_step(market) * size, price_tick(market)
    tick = step_at(Decimal(1), grid)  # where it depends on the price, that of one unit of money
    minimum = max(optional_number(minimum_amount) * size, step)
    is_spot = bool(market.get("spot"))  # a derivative's rest can be closed however small it is
    exponent = tick.normalize().as_tuple().exponent
    return Instrument(
        symbol=market["symbol"],
        pair=f"{market['base']}/{market['quote']}",
        digits=max(0, -int(exponent)),
        pip=tick,
        quantity_min=minimum,
        quantity_step=step,
        quantity_max=_max_amount(market) * size,
        contract_size=size,
        tick=tick,
        worth_min=min_notional(market),
        close_min=minimum if is_spot else Decimal(0),
        close_worth_min=min_notional(market) if is_spot else Decimal(0),
        price_steps=grid.steps if isinstance(grid, PriceGrid) else (),
    )


def _limits(market: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return (market.get("limits") or {}).get(name) or {}


def _max_amount(market: Mapping[str, Any]) -> Decimal:
    """Return the largest amount of every order. Exits are market orders, for which exchanges take
    less: what a limit order has opened must be closable. ccxt: Binance's MARKET_LOT_SIZE is
    `limits.market`; OKX's maxMktSz counts contracts, but on spot money."""
    info = market.get("info") or {}
    lot = info.get("lotSizeFilter") or {}
    stated = [_limits(market, name).get("max") for name in ("amount", "market")]
    stated += [lot.get(name) for name in MARKET_MAXIMA]
    if market.get("contract"):
        stated.append(info.get("maxMktSz"))
    maxima = [found for found in map(optional_number, stated) if found > 0]  # 0: none
    return min(maxima, default=MAX_NUMBER)


def min_notional(market: Mapping[str, Any]) -> Decimal:
    """Return the smallest notional that the market takes, in quote currency; 0 if none is given."""
    return optional_number(_limits(market, "cost").get("min"))


# ---- orders ---------------------------------------------------------------------------------
_BINANCE = {
    "autoclose-": CloseCause.STOP_OUT, "adl_autoclose": CloseCause.STOP_OUT,
    "settlement_autoclose-": CloseCause.EXPIRY,
}  # fmt: skip
"""How Binance names the orders that it makes itself: liquidation, deleveraging, and the settlement
of a contract that is delivered or delisted."""
_BYBIT = {
    "BustTrade": CloseCause.STOP_OUT, "AdlTrade": CloseCause.STOP_OUT,
    "Delivery": CloseCause.EXPIRY,
}  # fmt: skip
_OKX = {
    **dict.fromkeys(map(str, (*range(100, 108), *range(125, 129))), CloseCause.STOP_OUT),
    "112": CloseCause.EXPIRY, "113": CloseCause.EXPIRY,
}  # fmt: skip


def cause_of(trade: Mapping[str, Any], client_order_id: str) -> CloseCause:
    """Return why a close was executed that nothing of ours ordered: by the exchange itself, as far
    as it states that (`execType` of Bybit, `subType` of OKX), else by the owner."""
    for start, cause in _BINANCE.items():
        if client_order_id.startswith(start):
            return cause
    info = trade.get("info") or {}
    found = _BYBIT.get(str(info.get("execType"))) or _OKX.get(str(info.get("subType")))
    return found or CloseCause.EXTERNAL


def execution(trade: Mapping[str, Any], size: Decimal, *, spot_base: str = "") -> Execution:
    """Read one trade. size: base units in one of ccxt's amounts. Raises ValueError.

    spot_base: on spot the coin that is traded: a fee in it is taken out of what was bought. Trade
    ids repeat across symbols, and a trade with oneself has two sides.
    """
    fee = trade.get("fee") or {}
    is_taken = bool(spot_base) and fee.get("currency") == spot_base and trade["side"] == "buy"
    return Execution(
        broker_fill_id=_fill_id(trade),
        quantity=number(trade["amount"]) * size,
        price=number(trade["price"]),
        time=moment(trade["timestamp"]),
        commission=optional_number(fee.get("cost")),
        commission_currency=str(fee.get("currency") or ""),
        fee_in_base=optional_number(fee.get("cost")) if is_taken else Decimal(0),
    )


def _fill_id(trade: Mapping[str, Any]) -> str:
    """Return a trade's id that no other has; of a long one its digest: Bybit's ids of orders and
    trades have 36 characters each, and some of its symbols 25."""
    name = ":".join(str(trade[part]) for part in ("symbol", "order", "id", "side"))
    return name if len(name) <= MAX_FILL_ID_LENGTH else sha256(name.encode()).hexdigest()


def executions(
    trades: Iterable[Mapping[str, Any]], market: Mapping[str, Any]
) -> tuple[Execution, ...]:
    """Read trades of one market. One of nothing, as some exchanges list them for what is less than
    their smallest unit, is left out. Raises ValueError."""
    size = contract_size(market)
    base = str(market["base"]) if market.get("spot") else ""
    return tuple(
        execution(trade, size, spot_base=base) for trade in trades if number(trade["amount"])
    )


def total(order: Mapping[str, Any], size: Decimal, now: datetime) -> Execution | None:
    """Return one execution for all that an order without trades has filled, at its average; None
    while that is not stated: exchanges write 0 for an average that they do not have yet."""
    filled = optional_number(order.get("filled")) * size
    if not filled or optional_number(order.get("average")) <= 0:
        return None
    milliseconds = order.get("lastUpdateTimestamp") or order.get("lastTradeTimestamp")
    milliseconds = milliseconds or order.get("timestamp")
    return Execution(
        broker_fill_id=f"{order['symbol']}:{order['id']}:sum",
        quantity=filled,
        price=number(order["average"]),
        time=moment(milliseconds) if milliseconds else now,
        inferred=True,
    )


def reports(
    connection_id: str,
    client_order_id: str,
    order: Mapping[str, Any],
    fills: Sequence[Execution],
    *,
    size: Decimal,
    now: datetime,
    position: str,
    requested: Decimal | None = None,
) -> list[OrderReport]:
    """Return all reports of one order: accepted, its executions, its end. Raises ValueError.

    While trades are missing, the order's sum stands for the rest, until they replace it. An order
    ends when all that it states as filled is reported: until then, and in a state that ccxt has no
    word for, it is at the exchange, and is looked up again.
    requested: base units of our request, None if not known. Exchanges shorten an exit to what is
    open and call it filled; some then state that much as ordered.
    """
    status = order.get("status")
    if not order.get("id"):
        raise ValueError(f"an order without an id, with status {status!r}")

    def report(
        kind: ReportKind, executions: tuple[Execution, ...] = (), code: Code | None = None
    ) -> OrderReport:
        return OrderReport(
            kind=kind,
            connection_id=connection_id,
            client_order_id=client_order_id,
            broker_order_id=str(order["id"]),
            broker_position_id=position if executions else "",
            fills=executions,
            code=code or order_ends.reason(kind, order),
            detail=order_ends.words(order) if kind in ENDED.values() else "",
        )

    executed = sum((fill.quantity for fill in fills), Decimal(0))
    summed = total(order, size, now)
    if summed is not None and summed.quantity > executed:
        fills = [*fills, summed]
    found = [report(ReportKind.FILLED, tuple(fills))] if fills else []
    if optional_number(order.get("filled")) * size > filled_quantity(found):
        return found or [report(ReportKind.ACCEPTED)]  # its executions are not known yet
    if status in ENDED:
        return [*found, report(ENDED[status])]
    if status == "closed" and not fills and states_filled(order):
        return [report(ReportKind.EXPIRED)]  # it ended and nothing was executed
    if status == "closed" and found and _may_be_shortened(order, size, found, requested):
        return [*found, report(ReportKind.CANCELLED, code=Code.EXIT_SHORTENED)]
    if status == "closed" and found and _is_partly_filled(order):
        return [*found, report(ReportKind.CANCELLED)]
    return found or [report(ReportKind.ACCEPTED)]


def filled_quantity(reports: Iterable[OrderReport]) -> Decimal:
    """Return how much of an order its reports show as executed, base units."""
    fills = [fill for report in reports for fill in report.fills]
    summed = max((fill.quantity for fill in fills if fill.inferred), default=Decimal(0))
    return max(summed, sum((fill.quantity for fill in fills if not fill.inferred), Decimal(0)))


def opened_quantity(reports: Iterable[OrderReport]) -> Decimal:
    """Return what an order has bought on spot after fees in the coin, base units; 0 while the
    executions are not complete, because their fees are not known."""
    reports = list(reports)
    fills = [fill for report in reports for fill in report.fills if not fill.inferred]
    if sum((fill.quantity for fill in fills), Decimal(0)) < filled_quantity(reports):
        return Decimal(0)
    return sum((fill.quantity - fill.fee_in_base for fill in fills), Decimal(0))


def states_filled(order: Mapping[str, Any]) -> bool:
    """Whether an exchange states how much of an order was executed: not stated is not nothing."""
    return order.get("filled") not in (None, "")


def has_ended(order: Mapping[str, Any]) -> bool:
    """Whether an order is no longer at the exchange, by the status that the exchange reports."""
    return order.get("status") in ALIVE - {"open"}


def _is_partly_filled(order: Mapping[str, Any]) -> bool:
    """Whether less was executed than ordered, by the order's own numbers; False if it has none."""
    amount, filled = order.get("amount"), order.get("filled")
    return bool(amount) and bool(filled) and number(filled) < number(amount)


def _may_be_shortened(
    order: Mapping[str, Any],
    size: Decimal,
    reported: Sequence[OrderReport],
    requested: Decimal | None,
) -> bool:
    """Whether a closed exit may have filled less than we requested, all of which is reported.

    If the request is not known, it may: an end after all of it was filled changes nothing."""
    filled = optional_number(order.get("filled")) * size
    is_complete = filled_quantity(reported) >= filled
    return reduces(order) and is_complete and (requested is None or filled < requested)


def resting(order: Mapping[str, Any], size: Decimal) -> BrokerOrder:
    """Read a working order, also one that is not ours. Raises ValueError."""
    stop = order.get("triggerPrice") or order.get("stopLossPrice") or order.get("takeProfitPrice")
    kind = OrderType.LIMIT
    if stop:
        kind = OrderType.STOP_LIMIT if order.get("price") else OrderType.STOP
    if not stop and order.get("type") == "market":
        kind = OrderType.MARKET
    return BrokerOrder(
        broker_order_id=str(order["id"]),
        symbol=str(order["symbol"]),
        side=side(order["side"]),
        order_type=kind,
        quantity=number(order["amount"]) * size,
        filled=optional_number(order.get("filled")) * size,
        limit_price=number(order["price"]) if order.get("price") else None,
        stop_price=number(stop) if stop else None,
        client_order_id=str(order.get("clientOrderId") or ""),
        placed_at=moment(order["timestamp"]) if order.get("timestamp") else None,
    )


def side(text: Any) -> Side:
    """Read 'buy' or 'sell'. Raises ValueError."""
    return Side(str(text).upper())


# ---- positions ------------------------------------------------------------------------------
def position(read: Mapping[str, Any], size: Decimal) -> BrokerPosition | None:
    """Read a derivatives position, which has its symbol's name: exchanges give none. None: it is
    flat. One whose entry price is not stated is a position all the same. Raises ValueError."""
    quantity = abs(optional_number(read.get("contracts"))) * size
    if not quantity:
        return None
    if read.get("side") not in ("long", "short"):
        raise ValueError(f"side {read.get('side')!r} of a position")
    return BrokerPosition(
        broker_position_id=read["symbol"],
        symbol=read["symbol"],
        side=Side.BUY if read["side"] == "long" else Side.SELL,
        quantity=quantity,
        entry_price=optional_number(read.get("entryPrice")),  # OKX: "" while it computes it
    )


def closes(trade: Mapping[str, Any], *, spot: bool) -> bool:
    """Whether an execution certainly reduced a position.

    On spot, it sold; else, its realised profit or closed size is not 0 (Binance `realizedPnl`,
    Bybit `closedSize`, OKX `fillPnl`). An exit at its entry price realises nothing: see `reduces`,
    which reads the order."""
    if spot:
        return bool(trade["side"] == "sell")
    info = trade.get("info") or {}
    if info.get("execType") in BY_EXCHANGE:
        return True
    milliseconds = (info.get(name) for name in ("realizedPnl", "closedSize", "fillPnl"))
    return any(optional_number(value) != 0 for value in milliseconds)


def reports_closed_size(trade: Mapping[str, Any]) -> bool:
    """Whether an execution states how much it closed, so that its order need not be read (Bybit: of
    a unified account, ccxt's `fetch_order` reads no orders there)."""
    return "closedSize" in (trade.get("info") or {})


def reduces(order: Mapping[str, Any]) -> bool:
    """Whether an order could only take something off a position. Binance: closePosition, too."""
    info = order.get("info") or {}
    return order.get("reduceOnly") is True or str(info.get("closePosition")).lower() == "true"


def of_own_market(exchange: Any, trade: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a trade as of the account's kind of market, the only one that is loaded, where ccxt
    guessed it. exchange: ccxt's object."""
    markets = exchange.markets_by_id.get(trade["info"]["symbol"])
    parsed: Mapping[str, Any] = (
        exchange.parse_trade(trade["info"], markets[0]) if markets else trade
    )
    return parsed
