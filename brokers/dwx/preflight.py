"""What is looked at before a command leaves: nothing has been sent while this fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from decimal import Decimal

from brokers.base import NotSent, Rejected
from brokers.dwx import parse, prices
from brokers.dwx.client import DwxClient
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.parse import Snapshot, Ticket
from brokers.dwx.terminal_state import HistoryNeededError
from brokers.types import (
    CancelRequest,
    ChangeRequest,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from brokers.worst_price import is_worse_than
from common.reason_codes import Code


def check_account_mode(client: DwxClient) -> None:
    """Raise Rejected for an entry on an account that is not known to hedge, or seen not to."""
    if client.by_deals and not client.spec.settings.get("hedging"):
        raise Rejected(
            Code.HEDGING_NEEDED, "The setting `hedging` does not confirm a hedging account."
        )
    if client.terminal.unsupported is not None:
        raise Rejected(client.terminal.unsupported.code, client.terminal.unsupported.detail)


async def check_levels(
    client: DwxClient, symbol: str, side: Side, at: Decimal | None, *levels: Decimal | None
) -> None:
    """Raise Rejected for a stop or target (in this order) on the wrong side of a price; None: the
    one in the files, if it is there. Only for a terminal whose own refusal has no details."""
    if not client.by_deals:
        return
    if at is None:
        bid, ask = (await prices.written_prices(client)).get(symbol, (Decimal(0), Decimal(0)))
        at = ask if side is Side.BUY else bid
    for level, sign in zip(levels, (side.sign, -side.sign), strict=True):
        if at and level is not None and (at - level) * sign <= 0:
            raise Rejected(Code.STOPS_INVALID, f"{level} is on the wrong side of {at}")


async def check_worst_price(client: DwxClient, request: OrderRequest) -> None:
    """Raise Rejected where the terminal's price is beyond a market order's worst one, or unknown.

    The fill itself cannot be bounded: a command has no such field, the expert advisor's own
    slippage counts with instant execution only (docs.mql4.com/trading/OrderSend: requote), and a
    limit order on the other side of the price is refused (book.mql4.com/appendix/limits)."""
    if request.worst_price is None or request.order_type is not OrderType.MARKET:
        return
    bid, ask = (await prices.written_prices(client)).get(request.symbol, (Decimal(0), Decimal(0)))
    now = ask if request.side is Side.BUY else bid
    if not now:
        raise Rejected(Code.SLIPPAGE_LIMIT, f"the terminal has no price of {request.symbol} yet")
    if is_worse_than(now, request.worst_price, request.side):
        detail = f"the price is {now:f}, and {request.worst_price:f} the worst that may be paid"
        raise Rejected(Code.SLIPPAGE_LIMIT, detail)


def order_type_word(request: OrderRequest) -> str:
    """The expert advisor's word for an order's side and type. Raises Rejected."""
    if (word := parse.TYPES.get((request.side, request.order_type))) is None:
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{request.order_type} is none of its words")
    return word


def expiration(client: DwxClient, request: OrderRequest) -> int:
    """The end of a GTD order in seconds of the server's time; 0: none. Raises Rejected."""
    tif, end = request.time_in_force, request.expires_at
    if tif is TimeInForce.GTC and end is None:
        return 0
    if tif is not TimeInForce.GTD or end is None or client.by_deals:
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"the expert advisor has no {tif} orders")
    if request.order_type is OrderType.MARKET:
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, "a market order does not wait")
    return int(client.zone.server(end).replace(tzinfo=UTC).timestamp())


def named_price(request: OrderRequest) -> Decimal | None:
    """The price that an order names; None at market. Raises Rejected."""
    market = request.order_type is OrderType.MARKET
    named = request.limit_price if request.order_type is OrderType.LIMIT else request.stop_price
    prices = (None if market else named, request.stop_loss, request.take_profit)
    if (named is None and not market) or any(p is not None and not p > 0 for p in prices):
        raise Rejected(Code.PRICE_INVALID, "an order needs its price, and prices are above zero")
    if not parse.OURS.fullmatch(request.client_order_id):
        raise Rejected(Code.REJECTED_BY_BROKER, "not a client order id")
    return prices[0]


@contextmanager
def as_not_sent() -> Iterator[None]:
    """Before anything has left, a terminal that cannot be used means NotSent."""
    try:
        yield
    except TerminalUnavailableError as error:
        raise NotSent(error.code, error.detail) from error
    except HistoryNeededError as error:
        raise NotSent(Code.NOT_CONNECTED, str(error)) from error


def current_ticket(books: Mt4Reports, position: str, client_order_id: str) -> Ticket:
    """The present ticket of a position, by the first one's number, or of an order where that is
    not known. Raises Rejected."""
    for one in sorted(books.snapshot.tickets, key=lambda one: not one.is_position):
        named = books.position_id(one) == position
        if named if position else client_order_id and parse.is_order(one, client_order_id):
            return one
    raise Rejected(Code.NO_POSITION, "The terminal holds no such position.")


def position_name(position: str, client_order_id: str) -> str:
    """A position's id, or that of what an entry opens on MetaTrader 5 where it is not known."""
    return position or f"m{parse.magic_of(client_order_id)}"


def waiting_ticket(snapshot: Snapshot, request: CancelRequest | ChangeRequest) -> Ticket | None:
    """The ticket of the order that a request means; of one that was filled in part what waits."""
    for one in sorted(snapshot.tickets, key=lambda one: one.is_position):
        named = request.broker_order_id == str(one.number)
        if named or parse.is_order(one, request.client_order_id):
            return one
    return None


def is_part_filled(snapshot: Snapshot, number: int) -> bool:
    """Whether an order waits whose ticket is a position's as well: MetaTrader 5 only."""
    own = [one.is_position for one in snapshot.tickets if one.number == number]
    return any(own) and not all(own)
