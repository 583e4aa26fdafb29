"""What each exchange does with client order ids, look-ups and late requests: data, with its source.

Sources: `ccxt` is the source of ccxt 4.5.90, read 2026-11-20 (method names in its file of the
exchange). `docs` is the exchange's own reference, read that day: Binance's spot repository and
Bybit's (both of July 2026), Binance's futures "Query Order", Kraken's "Client Order Identifiers"
and rate limits; OKX's in copies. What is marked `remembered` was not read again there.
An exchange that is not here works by ccxt's unified names alone: its orders cannot be looked up by
our id, so an unknown outcome is left to people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class Lookup(StrEnum):
    """How an order is found by our client order id."""

    BY_SYMBOL = "BY_SYMBOL"  # one call, which requires the symbol
    REALTIME_HISTORY = "REALTIME_HISTORY"  # two lists, no symbol
    OPEN_CLOSED = "OPEN_CLOSED"  # two lists, no symbol
    NONE = "NONE"


class Envelope(StrEnum):
    """How an exchange writes a refusal."""

    BINANCE = "BINANCE"  # {"code": -2010, "msg": "..."}
    BYBIT = "BYBIT"  # {"retCode": 110007, "retMsg": "..."}
    OKX = "OKX"  # {"code": "1", "data": [{"sCode": "51008", "sMsg": "..."}]}
    KRAKEN = "KRAKEN"  # {"error": ["EOrder:Insufficient funds"]}
    CCXT = "CCXT"  # only what ccxt makes of it


class LevelApi(StrEnum):
    """How stops and targets of positions are placed and listed."""

    ORDERS = "ORDERS"  # conditional orders among the others
    OKX_ALGO = "OKX_ALGO"  # algo orders, with ids and lists of their own
    BINANCE_ALGO = "BINANCE_ALGO"
    BINANCE_OCO = "BINANCE_OCO"  # spot: a stop among the others, or an order list of both levels


class Paging(StrEnum):
    """How an exchange continues a list after a full page."""

    NONE = "NONE"
    CURSOR = "CURSOR"  # Bybit: by a token that comes with the page
    OLDER = "OLDER"  # OKX: `after`, the id of the oldest entry of the page
    NEWER = "NEWER"  # Binance: `fromId`; a page holds the oldest, and no time is given then
    NUMBER = "NUMBER"  # Binance's income: `page`, from 1 on
    TIME = "TIME"  # Kraken: `end`, and `ofs` newest left out (unread_trades.py)


class FundingApi(StrEnum):
    """Where funding of perpetuals is listed, for ccxt's fetchFundingHistory."""

    INCOME = "INCOME"  # Binance
    EXECUTIONS = "EXECUTIONS"  # Bybit
    BILLS = "BILLS"  # OKX


class MarginApi(StrEnum):
    """Where margin mode and leverage of perpetuals are."""

    SYMBOL = "SYMBOL"  # Binance: both are each symbol's
    ACCOUNT = "ACCOUNT"  # Bybit: the mode is the account's, the leverage each symbol's
    ORDER = "ORDER"  # OKX: each order names its mode, and each mode of a symbol has a leverage


class Total(StrEnum):
    """What ccxt's `total` of a derivatives account is."""

    EQUITY = "EQUITY"
    WALLET = "WALLET"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange's rules.

    id_name: the parameter of a new order that carries our client order id. cancel_name: that of a
    cancel. id_length, id_letters: what it takes. horizon: how far back absence proves something,
    from the shortest memory (an order cancelled without a fill). expires_seconds: the exchange
    itself refuses an order that arrives later than this; 0: it has no such option.
    stop_limits: on which markets, 'spot' and 'swap', a stop-limit order is an order like others,
    found and cancelled by our id before and after its trigger. trigger_name: ccxt's parameter of
    its stop price. gtd: the nearest expiry that it takes, by market; missing: it has none.
    levels: on which markets stops and targets rest there, and how: on perpetuals as orders that
    only reduce, on spot as a pair that cancels each other. amends_levels: their price and quantity
    are changed in place.
    amends: on which markets a limit order is changed in place, by our id, and keeps both its ids.
    Binance replaces a spot order by another one, and so did Kraken's older call: not used.
    amends_whole: a change states price, quantity and the exchange's id, whatever stays.
    order_streams: on which markets a private websocket announces changes of orders
    (`stream_messages.py` reads its messages). watches_prices: ccxt's method for the bids and asks
    of many symbols by websocket. stream_options: ccxt's options of its websockets.
    """

    name: str
    id_name: str = "clientOrderId"
    cancel_name: str = "clientOrderId"
    id_length: int = 18
    id_letters: str = "a-z0-9"
    lookup: Lookup = Lookup.NONE
    envelope: Envelope = Envelope.CCXT
    swap: bool = True
    total: Total = Total.EQUITY
    horizon: timedelta | None = None
    swap_horizon: timedelta | None = None
    fills_horizon: timedelta | None = None
    fills_page: int = 100
    fills_paging: Paging = Paging.NONE
    fills_span: timedelta | None = None  # the longest time that one question may cover
    fills_by_symbol: bool = False
    fills_of_all: bool = False  # all the same, one request lists them of all symbols
    swap_fills: Sequence[Mapping[str, Any]] = ({},)  # parameters, if one request does not list all
    recent_fills: str = ""  # ccxt's method for what was executed within RECENT, where it has one
    open_page: int = 0  # how many open orders one answer holds at most; 0: all
    open_paging: Paging = Paging.NONE
    positions_page: int = 0  # how many positions one answer holds at most; 0: all
    positions_paging: Paging = Paging.NONE
    expires_seconds: float = 0.0
    one_at_a_time: bool = False
    unique_ids: bool = False  # an id that it has ever taken is refused
    names_time_in_force: bool = True  # in the orders that it reports
    earning_suffix: str = ""  # of a currency's further balance, which is traded like the first
    order_states: Mapping[str, str] = field(default_factory=dict)  # in place of ccxt's word for one
    demo: bool = False  # its sandbox is what ccxt calls demo trading
    prices_at_once: str = "fetch_tickers"  # ccxt's call for the bids and asks of many symbols
    price: str = "fetch_ticker"  # and of one
    stop_limits: frozenset[str] = frozenset()
    trigger_name: str = "triggerPrice"
    names_trigger_direction: bool = False
    trigger_params: Mapping[str, str] = field(default_factory=dict)  # which price triggers
    refuses_reached_stop: bool = False  # a stop price that the market has reached
    gtd: Mapping[str, timedelta] = field(default_factory=dict)
    expiry_name: str = ""  # parameter of the expiry
    expiry_in_ms: bool = False  # else in seconds
    amends: frozenset[str] = frozenset()
    amends_whole: bool = False
    levels: Mapping[str, LevelApi] = field(default_factory=dict)
    amends_levels: bool = False
    margin: MarginApi | None = None
    funding: FundingApi | None = None
    funding_horizon: timedelta | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    order_params: Mapping[str, str] = field(default_factory=dict)  # of every order
    order_streams: frozenset[str] = frozenset()
    watches_prices: str = ""
    stream_options: Mapping[str, Any] = field(default_factory=dict)

    def lookup_horizon(self, market: str) -> timedelta | None:
        """How far back `find_order` is sure for 'spot' or 'swap'; None: it cannot look up."""
        return self.swap_horizon if market == "swap" else self.horizon


EXPIRES_SECONDS = 5.0
PINGS = {"ws": {"keepAlive": 10_000}}
"""ccxt's options: ping each ten seconds; after twice that without an answer the stream is lost."""
LAG_SECONDS = 2.0  # how long an accepted order may take to be seen by a look-up
ARRIVES_SECONDS = EXPIRES_SECONDS + LAG_SECONDS  # after the write an absence proves nothing so long
RECENT = timedelta(days=2, hours=23)

BINANCE = Exchange(
    name="binance",
    # ccxt createOrderRequest: newClientOrderId. docs spot "New order" and futures "New Order":
    # ^[\.A-Z\:/a-z0-9_-]{1,36}$, unique among open orders only; once the first is closed the same
    # id is accepted again.
    id_name="newClientOrderId",
    # ccxt cancelOrder: origClientOrderId.
    cancel_name="origClientOrderId",
    id_length=36,
    id_letters=r"\.A-Z\:/a-z0-9_-",
    # ccxt fetchOrder: origClientOrderId, symbol required (features.fetchOrder.symbolRequired).
    lookup=Lookup.BY_SYMBOL,
    envelope=Envelope.BINANCE,
    # ccxt parseBalanceCustom, linear: total is marginBalance.
    total=Total.EQUITY,
    # docs spot errors -2026: what ended without a fill is archived after 90 days.
    horizon=timedelta(days=89),
    # ccxt features.fetchClosedOrders.daysBackCanceled 3; docs futures "Query Order": not found when
    # cancelled or expired without a fill and older than 3 days.
    swap_horizon=timedelta(days=2, hours=12),
    fills_horizon=timedelta(days=80),
    # ccxt features.fetchMyTrades: limit 1000, untilDays 1 (spot) and 7 (linear), symbolRequired.
    fills_page=1000,
    # ccxt fetchMyTrades: fromId "cannot be sent with startTime or endTime". remembered, "Account
    # trade list": from startTime or fromId on, the oldest first.
    fills_paging=Paging.NEWER,
    fills_span=timedelta(hours=23),
    fills_by_symbol=True,
    # docs spot "Enums", order status: PENDING_NEW waits for the other order of a list,
    # PENDING_CANCEL is being cancelled. ccxt has no word for the one, "canceling" for the other.
    order_states={"PENDING_NEW": "open", "PENDING_CANCEL": "open"},
    # docs "Timing security": a request later than timestamp + recvWindow is refused (-1021).
    expires_seconds=EXPIRES_SECONDS,
    # ccxt sign: "testnet/sandbox mode is not supported for futures anymore".
    demo=True,
    # ccxt: ticker/24hr has no bid and ask on futures, ticker/bookTicker has.
    price="fetch_bids_asks",
    prices_at_once="fetch_bids_asks",
    # docs spot "New order": STOP_LOSS_LIMIT, whose `stopPrice` must not be reached (-2010 "would
    # trigger immediately"). On futures ccxt sends conditional orders to the algo endpoints: other
    # objects, with ids and look-ups of their own.
    stop_limits=frozenset({"spot"}),
    refuses_reached_stop=True,
    # docs futures "New Algo Order" (clientAlgoId unique among open ones), "Query Algo Order"
    # (actualOrderId; without a fill for 3 days, else 90), "Event Algo Order Update" (statuses);
    # ccxt: algoOrder, openAlgoOrders, allAlgoOrders. No request changes one.
    # docs spot "New order": STOP_LOSS with stopPrice is a market order when triggered, and keeps
    # its ids. "New Order list - OCO": a TAKE_PROFIT above a STOP_LOSS, each with a client order
    # id; the activation of one cancels the other. "Cancel Order list": cancelling one of them
    # cancels both. "Symbol filters": MAX_NUM_ALGO_ORDERS, 5 of a symbol; its `orderTypes` in
    # exchangeInfo state which it takes. No request changes a trigger.
    levels={"swap": LevelApi.BINANCE_ALGO, "spot": LevelApi.BINANCE_OCO},
    # remembered, futures "New Order": timeInForce GTD with goodTillDate, in ms but whole seconds,
    # more than 600 s ahead. Spot has no GTD.
    gtd={"swap": timedelta(minutes=11)},
    expiry_name="goodTillDate",
    expiry_in_ms=True,
    # ccxt editContractOrder: PUT fapi/v1/order. docs futures "Modify Order": limit orders only, by
    # orderId, with quantity and price; the same orderId and clientOrderId. quantity includes what
    # has filled; if that is not less, the rest is cancelled. Spot's cancelReplace is another order.
    amends=frozenset({"swap"}),
    amends_whole=True,
    # ccxt fetchMarginMode: fapi/v1/symbolConfig, with marginType and leverage. setMarginMode:
    # marginType (-4046: it is so already; refused while a position or order is open).
    margin=MarginApi.SYMBOL,
    # docs futures "Get Income History": the last three months, 1000 of a page.
    funding=FundingApi.INCOME,
    funding_horizon=timedelta(days=80),
    # ccxt pro watchOrders: spot subscribes at the websocket API with a signature, futures connect
    # with a listen key, renewed each 20 minutes. docs "Web Socket Streams": bookTicker is real
    # time; at most five messages a second of ours, pings count.
    order_streams=frozenset({"spot", "swap"}),
    watches_prices="watch_bids_asks",
    # ccxt pro: else it reads the positions at each connection, which are not used here.
    stream_options={**PINGS, "watchPositions": {"fetchPositionsSnapshot": False}},
    options={
        "recvWindow": int(EXPIRES_SECONDS * 1000),
        # ccxt fetchOpenOrders refuses to ask for all symbols without this: it weighs 40 to 80.
        "warnOnFetchOpenOrdersWithoutSymbol": False,
        # ccxt fetchMarkets asks for margin pairs too, with the key, for nothing that we trade.
        "fetchMargins": False,
    },
)

BYBIT = Exchange(
    name="bybit",
    # ccxt createOrderRequest: clientOrderId becomes orderLinkId; docs v5 "Place Order": at most 36
    # characters of letters, digits, - and _, "always unique" for derivatives, spot too.
    id_name="clientOrderId",
    # ccxt cancelOrderRequest passes orderLinkId through.
    cancel_name="orderLinkId",
    id_length=36,
    id_letters="A-Za-z0-9_-",
    # docs v5 /order/realtime (openOnly: open ones, or the 500 last closed), /order/history; both by
    # orderLinkId. ccxt's fetchOrder warns of exactly that for a unified account.
    lookup=Lookup.REALTIME_HISTORY,
    envelope=Envelope.BYBIT,
    # ccxt parseBalance: total is walletBalance.
    total=Total.WALLET,
    # ccxt features.fetchClosedOrders.daysBackCanceled 1.
    horizon=timedelta(hours=20),
    swap_horizon=timedelta(hours=20),
    fills_horizon=timedelta(days=700),
    # ccxt features.fetchMyTrades: limit 100, daysBack 730, untilDays 7.
    fills_page=100,
    # docs v5 "Get Trade History": newest first, nextPageCursor.
    fills_paging=Paging.CURSOR,
    fills_span=timedelta(days=6, hours=23),
    # ccxt parseTrade guesses the market of a symbol that spot and perpetuals share. docs v5 "Get
    # Trade History": category is required, symbol is not; each line is parsed again as of ours.
    fills_by_symbol=True,
    fills_of_all=True,
    # ccxt fetchMyTrades asks for execType Trade alone, fetchMyLiquidations for BustTrade (a
    # liquidation) at the same address; docs v5 "Enums": AdlTrade is auto-deleveraging,
    # Delivery a contract that expired or was delisted.
    swap_fills=({}, *({"execType": kind} for kind in ("BustTrade", "AdlTrade", "Delivery"))),
    # docs v5 "Enums", orderStatus: spot's word for cancelled after a partial execution. ccxt calls
    # it closed; its leavesQty is 0 then, so a market buy's numbers do not show what is missing.
    order_states={"PartiallyFilledCanceled": "canceled"},
    # ccxt features.fetchOpenOrders: limit 50, and nextPageCursor.
    open_page=50,
    open_paging=Paging.CURSOR,
    # docs v5 "Get Position Info": at most 200 of a page, nextPageCursor; ccxt reads one page.
    positions_page=200,
    positions_paging=Paging.CURSOR,
    # docs "Integration Guidance": server_time - recv_window <= timestamp (10002).
    expires_seconds=EXPIRES_SECONDS,
    unique_ids=True,
    # ccxt createOrderRequest: a conditional order of perpetuals is created like others, with
    # triggerPrice and triggerDirection. docs v5 "Get Open & Closed Orders": a unified account's
    # list has all kinds. A price that is reached is refused (110092, 110093). Spot conditional
    # orders need an orderFilter, and we have no proof that they keep their id: not used.
    stop_limits=frozenset({"swap"}),
    names_trigger_direction=True,
    # docs v5 "Place Order": triggerBy LastPrice, IndexPrice or MarkPrice.
    trigger_params={"triggerBy": "LastPrice"},
    refuses_reached_stop=True,
    # ccxt editOrder: v5/order/amend by orderLinkId. remembered, "Amend Order": price and quantity,
    # which is all of the order; the answer only states that the request was taken.
    amends=frozenset({"spot", "swap"}),
    # docs v5 "Place Order": triggerPrice makes a conditional order, 10 for each symbol (110009);
    # reduceOnly, and closeOnTrigger so that a lack of margin does not cancel it when it triggers.
    # "Amend Order": triggerPrice and qty by orderLinkId. ccxt fetchOpenOrders: trigger asks for
    # orderFilter StopOrder; without it all kinds are listed. Spot: "Place Order" takes a tpslOrder
    # or StopOrder, but no OcoOrder, and no page states that the order which a trigger makes keeps
    # the orderLinkId: not used.
    levels={"swap": LevelApi.ORDERS},
    amends_levels=True,
    # ccxt setMarginMode of a unified account: v5/account/set-margin-mode, for all symbols at once;
    # v5/account/info has marginMode. fetchLeverage: v5/position/list, also of an empty position.
    margin=MarginApi.ACCOUNT,
    # docs v5 "Get Trade History": execType Funding; two years, 7 days of a request, limit 100.
    funding=FundingApi.EXECUTIONS,
    # ccxt pro watchOrders: v5/private, topic order of all categories, after a signed auth. Its
    # pings are messages of ours, each 18 s. watchBidsAsks: orderbook.1.
    order_streams=frozenset({"spot", "swap"}),
    watches_prices="watch_bids_asks",
    funding_horizon=timedelta(days=80),
    # ccxt createOrderRequest: on an account that is not unified, the amount of a spot market buy is
    # taken as money. Set here, so that ccxt neither requests nor guesses it; the connection test
    # checks it.
    options={
        "recvWindow": int(EXPIRES_SECONDS * 1000),
        "enableUnifiedMargin": False,
        "enableUnifiedAccount": True,
        "unifiedMarginStatus": 6,
    },
)

OKX = Exchange(
    name="okx",
    # ccxt createOrderRequest: clOrdId. docs "Place order": at most 32 case-sensitive letters and
    # digits; no hyphen. Its uniqueness is checked among open orders.
    id_name="clOrdId",
    cancel_name="clOrdId",
    id_length=32,
    id_letters="A-Za-z0-9",
    # ccxt fetchOrder: clOrdId, symbol required.
    lookup=Lookup.BY_SYMBOL,
    envelope=Envelope.OKX,
    # ccxt parseTradingBalance: total is eq.
    total=Total.EQUITY,
    # ccxt features.fetchClosedOrders.daysBackCanceled 0.0833: two hours.
    horizon=timedelta(hours=1, minutes=45),
    swap_horizon=timedelta(hours=1, minutes=45),
    # ccxt features.fetchMyTrades: limit 100, daysBack 90.
    fills_horizon=timedelta(days=85),
    fills_page=100,
    # ccxt fetchMyTrades: after a billId, what is older.
    fills_paging=Paging.OLDER,
    # ccxt features.fetchOpenOrders: limit 100; fetchOpenOrders: after an ordId, what is older.
    open_page=100,
    open_paging=Paging.OLDER,
    # remembered, "Get transaction details (last 3 days)": at once; ccxt's, of 3 months, lags.
    # ccxt's fetchMyTrades knows the second only.
    recent_fills="privateGetTradeFills",
    # ccxt editOrder: trade/amend-order by clOrdId. remembered, "Amend order": newSz includes what
    # has filled; the answer only states that the request was taken, so the order is read.
    amends=frozenset({"spot", "swap"}),
    # ccxt: trade/order-algo, amend-algos, cancel-algos, orders-algo-pending, order-algo by
    # algoClOrdId. remembered, "Place algo order": conditional with slTriggerPx or tpTriggerPx,
    # OrdPx -1 is at market; "Get order details": algoClOrdId is that of the algo order that made
    # the order, whose own clOrdId is empty.
    # docs in copies, "Place algo order": tdMode cash on spot, "oco" with both triggers; such an
    # order "will not freeze your free margin in advance". "Algo order details": actualSide, tp or
    # sl, is what triggered; ordType conditional and oco are listed together. "Amend algo order":
    # an older copy has it for futures and perpetuals only, so it is not used on spot.
    levels={"swap": LevelApi.OKX_ALGO, "spot": LevelApi.OKX_ALGO},
    amends_levels=True,
    # ccxt createOrderRequest: tdMode is its option defaultMarginMode, else cross. fetchLeverage:
    # account/leverage-info of a mode; setLeverage: account/set-leverage with mgnMode.
    margin=MarginApi.ORDER,
    # ccxt: account/bills-archive, three months, type 8. remembered: begin and end in ms, limit 100.
    funding=FundingApi.BILLS,
    funding_horizon=timedelta(days=80),
    # ccxt pro watchOrders: ws/v5/private, channel orders of any instrument type, after a signed
    # login. A stop or target that triggers makes an order of this channel. watchBidsAsks: tickers.
    order_streams=frozenset({"spot", "swap"}),
    watches_prices="watch_bids_asks",
    # docs "Order expiry": header expTime, refused afterwards; not part of the signature.
    expires_seconds=EXPIRES_SECONDS,
    # ccxt createOrder sends a batch of one by default, whose partial success (code 2) raises
    # nothing; the single endpoint accepts or fails.
    options={"createOrder": "privatePostTradeOrder"},
)

KRAKEN = Exchange(
    name="kraken",
    # ccxt orderRequest: clientOrderId becomes cl_ord_id. docs "Spot Client Order Identifiers": a
    # UUID or free text of at most 18 characters, unique among open orders.
    id_name="clientOrderId",
    cancel_name="clientOrderId",
    id_length=18,
    id_letters="A-Za-z0-9_-",
    # ccxt fetchOrder sends clientOrderId as `userref` (a number), so it is not used; openOrders and
    # closedOrders filter by cl_ord_id.
    lookup=Lookup.OPEN_CLOSED,
    envelope=Envelope.KRAKEN,
    # ccxt: kraken is spot only (futures are another exchange, krakenfutures).
    swap=False,
    # remembered: "Get Closed Orders" names no end; this is what we rely on.
    horizon=timedelta(days=14),
    fills_horizon=timedelta(days=80),
    fills_page=50,
    # docs "Get Trades History": "50 results are returned at a time, the most recent by default";
    # ccxt fetchMyTrades: start is exclusive, end inclusive, ofs how many to leave out.
    fills_paging=Paging.TIME,
    # remembered, "Add Order": `deadline` (RFC 3339), 500 ms to 60 s ahead.
    expires_seconds=EXPIRES_SECONDS,
    # remembered: a nonce that is not greater than the last one is refused: none may overtake.
    # Between processes the key's own nonce window helps (ten seconds; a key for us alone).
    one_at_a_time=True,
    # docs "Get Closed Orders": no time in force is in the answer.
    names_time_in_force=False,
    # ccxt orderRequest: a limit order with stopLossPrice becomes stop-loss-limit, `price` its
    # trigger and `price2` its limit. An order like others, in the same lists.
    stop_limits=frozenset({"spot"}),
    trigger_name="stopLossPrice",
    # remembered, "Add Order": timeinforce GTD with expiretm, in seconds.
    gtd={"spot": timedelta(0)},
    # remembered, "Get Account Balance": what earns in Kraken's rewards is listed as XBT.F beside
    # XXBT, and stays available for trading.
    earning_suffix=".F",
    expiry_name="expiretm",
    # ccxt pro watchOrders: ws-auth v2, channel executions, with a token that REST issues.
    # watchBidsAsks: ticker, event_trigger bbo.
    order_streams=frozenset({"spot"}),
    watches_prices="watch_bids_asks",
    # ccxt editOrder: AmendOrder by cl_ord_id. docs "Amend Order": in place, both ids stay, no
    # cancel and no new order; order_qty includes what has filled. The answer has no order.
    amends=frozenset({"spot"}),
    # docs "Add Order": fcib (the fee in the base currency) is the default of a sale, fciq that of a
    # purchase. "Get Trades History" states fees in the quote currency alone, and a fee in the base
    # would be missing from other positions in the coin.
    order_params={"oflags": "fciq"},
)

CHECKED: Mapping[str, Exchange] = {one.name: one for one in (BINANCE, BYBIT, OKX, KRAKEN)}


def rules(name: str) -> Exchange:
    """Return an exchange's rules; those of ccxt's unified names for one that we did not check."""
    return CHECKED.get(name) or Exchange(name=name)
