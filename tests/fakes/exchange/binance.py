"""Binance's REST API: spot (`/api/v3`) and USDS-M futures (`/fapi/v1`, v2, v3), as far as used.

Sources: developers.binance.com, "Spot REST API" and "USDS-Margined Futures"; the shapes as ccxt
4.5.90 reads them.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.exchange.venue import Order, Position, RejectedError, Trade, Venue

CODES = {
    "symbol": (-1121, "Invalid symbol."),
    "lot": (-1013, "Filter failure: LOT_SIZE"),
    "notional": (-1013, "Filter failure: NOTIONAL"),
    "market_lot": (-1013, "Filter failure: MARKET_LOT_SIZE"),
    "money": (-2010, "Account has insufficient balance for requested action."),
    "duplicate": (-2010, "Duplicate order sent."),
    "closed": (-2010, "Market is closed."),
    "disabled": (-2010, "This action is disabled on this account."),
    "same_margin": (-4046, "No need to change margin type."),
    "held": (-4048, "Margin type cannot be changed if there exists position."),
    "leverage": (-4028, "Leverage 125 is not valid"),
    "flat": (-2022, "ReduceOnly Order is rejected."),
    "mode": (-4061, "Order's position side does not match user's setting."),
    "key": (-2015, "Invalid API-key, IP, or permissions for action."),
    "signature": (-1022, "Signature for this request is not valid."),
    "clock": (-1021, "Timestamp for this request is outside of the recvWindow."),
    "no_order": (-2013, "Order does not exist."),
    "no_cancel": (-2011, "Unknown order sent."),
    "trigger": (-2010, "Stop price would trigger immediately."),
    "band": (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    "conditional": (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
    "level_type": (-2010, "Stop loss orders are not supported for this symbol."),
    "pair_type": (-1158, "Order type not supported in OCO."),
    "pair_side": (-1197, "A stop loss order in a sell OCO must be below."),
    "expiry": (-1102, "Mandatory parameter 'goodTillDate' was not sent, was empty or malformed."),
    "same": (-5027, "No need to modify the order."),
    "combination": (-1128, "Combination of optional parameters invalid."),
    "span": (-1127, "More than 24 hours between startTime and endTime."),
}
DERIVATIVES = {
    "market_lot": (-4005, "Quantity greater than max quantity."),
    "money": (-2019, "Margin is insufficient."),
    "duplicate": (-4116, "ClientOrderId is duplicated."),
    "notional": (-4164, "Order's notional must be no smaller than 5"),
    "closed": (-4140, "Invalid symbol status for opening position."),
    "trigger": (-2021, "Order would immediately trigger."),
    "conditional": (-4045, "Reach max stop order limit."),
}
ALGO_STATES = {"CANCELED": "CANCELED", "EXPIRED": "REJECTED"}
PUBLIC = ("exchangeInfo", "time", "ticker/24hr", "ticker/bookTicker", "ping")


class Binance:
    """Spot or futures, depending on what the venue trades."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def kind(self, method: str, path: str) -> str:
        if path.endswith(("/order", "/algoOrder", "/orderList/oco")):
            return {"POST": "order", "PUT": "order", "DELETE": "cancel"}.get(method, "read")
        return "time" if path.endswith("/time") else "read"

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        name = path.split("/", 3)[3]
        if path == "/api/v3/account" and self._venue.derivatives:
            name = "spot_account"
        params = {key: values[0] for key, values in parse_qs(f"{query}&{body}").items()}
        try:
            if name == "listenKey":  # futures: the key alone, no signature
                if headers.get("X-MBX-APIKEY") != self._venue.key or self._venue.refuses_streams:
                    raise RejectedError("key")
            elif name not in PUBLIC:
                self._authenticate(query or body, params, headers)
            handler = getattr(self, f"_{method.lower()}_{name.replace('/', '_').lower()}", None)
            return (404, {}) if handler is None else (200, handler(params))
        except RejectedError as error:
            known = {**CODES, **(DERIVATIVES if self._venue.derivatives else {})}
            code, message = known[error.reason]
            return (401 if error.reason == "key" else 400), {"code": code, "msg": message}

    def _authenticate(
        self, signed: str, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        if headers.get("X-MBX-APIKEY") != self._venue.key:
            raise RejectedError("key")
        text, _, signature = signed.rpartition("&signature=")
        expected = hmac.new(self._venue.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            raise RejectedError("signature")
        sent, now = int(params["timestamp"]), self._venue.now()
        if not sent - 1000 < now <= sent + int(params.get("recvWindow", 5000)):
            raise RejectedError("clock")

    # ---- public ---------------------------------------------------------------------------
    def _get_time(self, _: Mapping[str, str]) -> Any:
        return {"serverTime": self._venue.now()}

    def _get_exchangeinfo(self, _: Mapping[str, str]) -> Any:
        return {"timezone": "UTC", "serverTime": self._venue.now(), "rateLimits": [],
                "symbols": [self._market(name) for name in self._venue.listed]}  # fmt: skip

    def _market(self, name: str) -> Any:
        market = self._venue.markets[name]
        step, tick = f"{market.step:f}", f"{market.tick:f}"
        notional = {"filterType": "NOTIONAL", "minNotional": f"{market.min_cost:f}"}
        kind: dict[str, Any] = {"isSpotTradingAllowed": True, "permissions": ["SPOT"]}
        if self._venue.derivatives:
            notional = {"filterType": "MIN_NOTIONAL", "notional": f"{market.min_cost:f}"}
            kind = {"contractType": "PERPETUAL", "marginAsset": market.quote, "pair": name,
                    "onboardDate": 1569398400000, "deliveryDate": 4133404800000}  # fmt: skip
        lot = {
            "minQty": f"{market.min_amount or market.step:f}",
            "maxQty": "9000",
            "stepSize": step,
        }
        return {
            **kind, "symbol": name, "status": market.state or "TRADING",
            "baseAsset": market.base, "quoteAsset": market.quote,
            "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8,
            "quotePrecision": 8, "isMarginTradingAllowed": False,
            "orderTypes": ["LIMIT", "MARKET"] if self._venue.derivatives else [
                "LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", *self._venue.takes_levels],
            "ocoAllowed": not self._venue.derivatives,
            "timeInForce": ["GTC", "IOC", "FOK"] + ["GTD"] * self._venue.derivatives,
            "permissionSets": [["SPOT"]],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000",
                 "tickSize": tick},
                {"filterType": "LOT_SIZE", **lot},
                {"filterType": "MARKET_LOT_SIZE", **lot, "maxQty": f"{market.max_market:f}"},
                notional,
            ],
        }  # fmt: skip

    def _get_ticker_24hr(self, _: Mapping[str, str]) -> Any:
        return [
            {"symbol": name, "lastPrice": str(price), "closeTime": self._venue.now()}
            for name, price in self._venue.prices.items()
        ]

    def _get_ticker_bookticker(self, params: Mapping[str, str]) -> Any:
        if "symbol" in params:
            return self._top(params["symbol"])
        names = json.loads(params["symbols"]) if "symbols" in params else self._venue.markets
        return [self._top(name) for name in names]

    def _top(self, name: str) -> Any:
        bid, ask = (price or "0.00000000" for price in self._venue.best_bid_ask(name))
        answer = {"symbol": name, "bidPrice": bid, "bidQty": "1", "askPrice": ask, "askQty": "1"}
        return {**answer, "time": self._venue.now()} if self._venue.derivatives else answer

    def _post_listenkey(self, _: Mapping[str, str]) -> Any:
        return {"listenKey": self._venue.listen_key}

    _put_listenkey = _post_listenkey

    # ---- the account ----------------------------------------------------------------------
    def _get_spot_account(self, _: Mapping[str, str]) -> Any:
        """What the key of a futures account may read of its spot account."""
        if not self._venue.may_read_spot:
            raise RejectedError("key")
        return {"canTrade": True, "accountType": "SPOT", "balances": [],
                "uid": int(self._venue.uid)}  # fmt: skip

    def _get_account(self, _: Mapping[str, str]) -> Any:
        venue = self._venue
        if not venue.derivatives:
            return {
                "uid": int(venue.uid),
                "canTrade": venue.can_trade, "accountType": "SPOT", "updateTime": venue.now(),
                "balances": [{"asset": name, "free": f"{amount - venue.locked(name):f}",
                              "locked": f"{venue.locked(name):f}"}
                             for name, amount in venue.balances.items()],
            }  # fmt: skip
        wallet, profit = venue.balances.get("USDT", Decimal(0)), self._profit()
        return {
            "canTrade": venue.can_trade, "multiAssetsMargin": False,
            "assets": [{"asset": "USDT", "walletBalance": f"{wallet:f}",
                        "unrealizedProfit": f"{profit:f}", "marginBalance": f"{wallet + profit:f}",
                        "initialMargin": "0", "maintMargin": "0",
                        "crossWalletBalance": f"{wallet:f}",
                        "availableBalance": f"{wallet - venue.margin():f}",
                        "updateTime": venue.now()}],
            "positions": [],
        }  # fmt: skip

    def _profit(self) -> Decimal:
        return sum((self._profit_of(key, held) for key, held in self._held()), Decimal(0))

    def _profit_of(self, key: tuple[str, str], held: Position) -> Decimal:
        return (self._venue.prices[key[0]] - held.entry) * held.amount * self._sign(key)

    def _sign(self, key: tuple[str, str]) -> int:
        """The sign of a side; in one-way mode amounts are signed already."""
        return -1 if key[1] == "SHORT" else 1

    def _held(self) -> list[tuple[tuple[str, str], Position]]:
        return [(key, held) for key, held in self._venue.positions.items() if held.amount]

    def _get_positionside_dual(self, _: Mapping[str, str]) -> Any:
        return {"dualSidePosition": self._venue.hedged}

    def _get_positionrisk(self, _: Mapping[str, str]) -> Any:
        venue = self._venue
        return [
            {"symbol": key[0], "positionSide": key[1],
             "positionAmt": f"{self._sign(key) * held.amount:f}",
             "entryPrice": f"{held.entry:f}", "breakEvenPrice": f"{held.entry:f}",
             "markPrice": str(venue.prices[key[0]]),
             "unRealizedProfit": f"{self._profit_of(key, held):f}", "liquidationPrice": "0",
             "isolatedMargin": "0",
             "notional": f"{self._sign(key) * held.amount * venue.prices[key[0]]:f}",
             "marginAsset": "USDT", "isolatedWallet": "0", "initialMargin": "0",
             "maintMargin": "0", "positionInitialMargin": "0", "openOrderInitialMargin": "0",
             "adl": 0, "bidNotional": "0", "askNotional": "0", "updateTime": venue.now()}
            for key, held in self._held()
        ]  # fmt: skip

    def _get_symbolconfig(self, params: Mapping[str, str]) -> Any:
        venue, modes = self._venue, {"cross": "CROSSED", "isolated": "ISOLATED"}
        return [
            {"symbol": name, "marginType": modes[venue.margin_mode(name)],
             "leverage": venue.leverage(name), "isAutoAddMargin": False,
             "maxNotionalValue": "1000000"}
            for name in venue.markets if params.get("symbol", name) == name
        ]  # fmt: skip

    def _post_margintype(self, params: Mapping[str, str]) -> Any:
        modes = {"CROSSED": "cross", "ISOLATED": "isolated"}
        self._venue.set_margin_mode(params["symbol"], modes[params["marginType"]])
        return {"code": 200, "msg": "success"}

    def _post_leverage(self, params: Mapping[str, str]) -> Any:
        self._venue.set_leverage(params["symbol"], int(params["leverage"]))
        return {"leverage": int(params["leverage"]), "maxNotionalValue": "1000000",
                "symbol": params["symbol"]}  # fmt: skip

    def _get_leveragebracket(self, _: Mapping[str, str]) -> Any:
        return [
            {"symbol": name, "brackets": [
                {"bracket": 1, "initialLeverage": 100, "notionalCap": 1000000, "notionalFloor": 0,
                 "maintMarginRatio": 0.005, "cum": 0}]}
            for name in self._venue.markets
        ]  # fmt: skip

    # ---- orders ---------------------------------------------------------------------------
    def _post_order(self, params: Mapping[str, str]) -> Any:
        tif, expires_ms = params.get("timeInForce", "GTC"), int(params.get("goodTillDate", 0))
        if tif == "GTD" and expires_ms <= self._venue.now() + 600_000:
            raise RejectedError("expiry")
        if params["type"] in ("STOP_LOSS", "TAKE_PROFIT"):
            return self._order(self._spot_level(params))
        is_stop_limit = params["type"] == "STOP_LOSS_LIMIT"
        if is_stop_limit is not ("stopPrice" in params) or (tif == "GTD") is not bool(expires_ms):
            raise RejectedError("expiry")  # a mandatory parameter is missing, or one too many
        order = self._venue.place(
            params["symbol"], params["side"], "LIMIT" if is_stop_limit else params["type"],
            Decimal(params["quantity"]),
            Decimal(params["price"]) if "price" in params else None,
            tif=params.get("timeInForce", "GTC"), cid=params["newClientOrderId"],
            reduce_only=params.get("reduceOnly") == "true",
            position_side=params.get("positionSide", "BOTH"),
            trigger=Decimal(params["stopPrice"]) if is_stop_limit else None,
            expires_ms=expires_ms, refuses_reached=True,
        )  # fmt: skip
        answer = self._order(order)
        if not self._venue.derivatives:
            answer["fills"] = [
                {"price": str(trade.price), "qty": str(trade.amount),
                 "commission": f"{trade.fee:f}", "commissionAsset": trade.fee_currency,
                 "tradeId": trade.number}
                for trade in self._venue.find_trades(number=str(order.number))
            ]  # fmt: skip
        return answer

    def _put_order(self, params: Mapping[str, str]) -> Any:
        """Modify Order of futures: the order keeps both ids; below what has filled it ends."""
        order = self._find(params)
        amount, price = Decimal(params["quantity"]), Decimal(params["price"])
        if not self._venue.derivatives or order is None or params["side"] != order.side:
            raise RejectedError("no_order")
        if order.is_open and (amount, price) == (order.amount, order.price):
            raise RejectedError("same")
        if order.is_open and 0 < amount <= order.filled:
            return self._order(self._venue.cancel(order))
        return self._order(self._venue.amend(order, amount, price))

    def _spot_level(self, params: Mapping[str, str]) -> Order:
        self._check_level_type(params["type"])
        return self._venue.place(
            params["symbol"], params["side"], "MARKET", Decimal(params["quantity"]),
            cid=params["newClientOrderId"], trigger=Decimal(params["stopPrice"]),
            rises=(params["side"] == "BUY") is (params["type"] == "STOP_LOSS"),
            refuses_reached=True,
        )  # fmt: skip

    def _check_level_type(self, kind: str) -> None:
        assert not self._venue.derivatives, "an algo order there"
        if kind not in self._venue.takes_levels:
            raise RejectedError("level_type")

    def _post_orderlist_oco(self, params: Mapping[str, str]) -> Any:
        kinds = {place: params[f"{place}Type"] for place in ("above", "below")}
        if set(kinds.values()) != {"STOP_LOSS", "TAKE_PROFIT"}:
            raise RejectedError("pair_type")
        if (kinds["below"] == "STOP_LOSS") is not (params["side"] == "SELL"):
            raise RejectedError("pair_side")
        for kind in kinds.values():
            self._check_level_type(kind)
        pair = self._venue.place_pair(
            params["symbol"], params["side"], Decimal(params["quantity"]),
            *((params[f"{place}ClientOrderId"], Decimal(params[f"{place}StopPrice"]),
               place == "above") for place in ("above", "below")),
        )  # fmt: skip
        return self._order_list(pair)

    def _order_list(self, pair: list[Order]) -> Any:
        return {
            "orderListId": pair[0].pair, "contingencyType": "OCO", "symbol": pair[0].symbol,
            "listStatusType": "EXEC_STARTED", "listOrderStatus": "EXECUTING",
            "listClientOrderId": f"list-{pair[0].pair}", "transactionTime": pair[0].time_ms,
            "orders": [{"symbol": one.symbol, "orderId": one.number, "clientOrderId": one.cid}
                       for one in pair],
            "orderReports": [self._order(one) for one in pair],
        }  # fmt: skip

    def _delete_order(self, params: Mapping[str, str]) -> Any:
        try:
            done = self._venue.cancel(self._find(params))
            pair = [one for one in self._venue.orders if done.pair and one.pair == done.pair]
            return self._order_list(pair) if pair else self._order(done)
        except RejectedError as error:
            raise RejectedError("no_cancel") from error

    def _get_order(self, params: Mapping[str, str]) -> Any:
        order = self._find(params)
        if order is None:
            raise RejectedError("no_order")
        return self._order(order)

    def _find(self, params: Mapping[str, str]) -> Order | None:
        cid, number = params.get("origClientOrderId", ""), params.get("orderId", "")
        if number:  # it prevails if both are named
            cid = ""
        order = self._venue.find(params["symbol"], cid, number)
        return None if cid and order and self._is_algo(order) else order  # an algo order's id

    def _is_algo(self, order: Order) -> bool:
        return self._venue.derivatives and order.is_level

    def _get_openorders(self, params: Mapping[str, str]) -> Any:
        found = [order for order in self._venue.orders if order.is_open]
        found = [order for order in found if params.get("symbol") in (None, order.symbol)]
        if self._venue.hides_levels:
            found = [order for order in found if not order.is_level]
        return [self._order(order) for order in found if not self._is_algo(order)]

    # ---- algo orders: stops and targets of futures, with ids of their own ---------------------
    def _post_algoorder(self, params: Mapping[str, str]) -> Any:
        assert params["algoType"] == "CONDITIONAL"
        assert params["reduceOnly"] == "true", "it could open a position"
        is_stop = {"STOP_MARKET": True, "TAKE_PROFIT_MARKET": False}[params["type"]]
        return self._algo_order(
            self._venue.place(
                params["symbol"], params["side"], "MARKET", Decimal(params["quantity"]),
                cid=params["clientAlgoId"], reduce_only=True, refuses_reached=True,
                trigger=Decimal(params["triggerPrice"]), rises=(params["side"] == "BUY") is is_stop,
            )
        )  # fmt: skip

    def _algo(self, params: Mapping[str, str]) -> Order | None:
        number = params.get("algoId", "")[1:]  # without the 7 that `_algo_order` puts before it
        order = self._venue.find(None, params.get("clientAlgoId", ""), number)
        return order if order and order.is_level else None

    def _delete_algoorder(self, params: Mapping[str, str]) -> Any:
        order = self._algo(params)
        try:
            done = self._venue.cancel(order if order and order.is_untriggered else None)
        except RejectedError as error:
            raise RejectedError("no_cancel") from error
        return {"algoId": int(f"7{done.number}"), "clientAlgoId": done.cid, "code": "200",
                "msg": "success"}  # fmt: skip

    def _get_algoorder(self, params: Mapping[str, str]) -> Any:
        order = self._algo(params)
        if order is None:
            raise RejectedError("no_order")
        return self._algo_order(order)

    def _get_openalgoorders(self, params: Mapping[str, str]) -> Any:
        found = [order for order in self._venue.orders if order.is_level and order.is_untriggered]
        found = [order for order in found if params.get("symbol") in (None, order.symbol)]
        return [] if self._venue.hides_levels else [self._algo_order(order) for order in found]

    def _get_allalgoorders(self, params: Mapping[str, str]) -> Any:
        start, end = int(params["startTime"]), int(params["endTime"])
        if end - start >= 7 * 86_400_000:
            raise RejectedError("span")
        return [
            self._algo_order(order)
            for order in self._venue.orders
            if order.is_level and order.symbol == params["symbol"] and start <= order.time_ms <= end
        ]

    def _algo_order(self, order: Order) -> Any:
        is_stop = (order.side == "BUY") is order.rises
        waits = "NEW" if order.is_untriggered else "FINISHED"
        return {
            "algoId": int(f"7{order.number}"), "clientAlgoId": order.cid,
            "algoType": "CONDITIONAL", "symbol": order.symbol, "side": order.side,
            "orderType": "STOP_MARKET" if is_stop else "TAKE_PROFIT_MARKET",
            "positionSide": order.position_side, "timeInForce": "GTC",
            "quantity": str(order.amount), "triggerPrice": str(order.trigger), "price": "0.00",
            "algoStatus": waits if order.filled else ALGO_STATES.get(order.status, waits),
            "actualOrderId": str(order.number) if order.is_triggered else "",
            "actualPrice": f"{order.average:f}", "workingType": "CONTRACT_PRICE",
            "closePosition": False, "reduceOnly": True, "createTime": order.time_ms,
            "updateTime": order.time_ms, "triggerTime": 0, "goodTillDate": 0,
        }  # fmt: skip

    def _order(self, order: Order) -> dict[str, Any]:
        return {
            "symbol": order.symbol, "orderId": order.number, "orderListId": order.pair or -1,
            "clientOrderId": f"algo-{order.number}" if self._is_algo(order) else order.cid,
            "transactTime": order.time_ms, "time": order.time_ms,
            "updateTime": order.time_ms, "price": str(order.price or 0),
            "origQty": str(order.amount),
            "executedQty": str(order.filled), "cummulativeQuoteQty": f"{order.cost:f}",
            "cumQuote": f"{order.cost:f}", "avgPrice": f"{order.average:f}",
            "status": order.status, "timeInForce": order.tif,
            "type": self._type(order),
            "stopPrice": str(order.trigger or 0),
            "side": order.side, "reduceOnly": order.reduce_only,
            "positionSide": order.position_side,
            "workingTime": order.time_ms, "isWorking": True,
            **order.why,
        }  # fmt: skip

    def _type(self, order: Order) -> str:
        if order.trigger is None or self._is_algo(order):
            return order.type
        if not order.is_level:
            return "STOP_LOSS_LIMIT"
        return "STOP_LOSS" if order.rises is (order.side == "BUY") else "TAKE_PROFIT"

    def _get_mytrades(self, params: Mapping[str, str]) -> Any:
        start, end = int(params.get("startTime", 0)), int(params.get("endTime", 2**62))
        if "startTime" in params and "endTime" in params and end - start > 86_400_000:
            raise RejectedError("span")
        if "fromId" in params and ("startTime" in params or "endTime" in params):
            raise RejectedError("combination")
        found = self._venue.find_trades(params["symbol"], params.get("orderId", ""), start, end)
        found = [trade for trade in found if trade.number >= int(params.get("fromId", 0))]
        return [self._trade(trade) for trade in found[: int(params.get("limit", 500))]]

    _get_usertrades = _get_mytrades

    def _get_income(self, params: Mapping[str, str]) -> Any:
        start, end = int(params.get("startTime", 0)), int(params.get("endTime", 2**62))
        size, number = int(params.get("limit", 100)), int(params.get("page", 1))
        found = self._venue.find_fundings(start, end)[(number - 1) * size : number * size]
        if params.get("incomeType") != "FUNDING_FEE":
            return []
        return [
            {"symbol": one.symbol, "incomeType": "FUNDING_FEE", "income": f"{one.amount:f}",
             "asset": "USDT", "time": one.time_ms, "info": "FUNDING_FEE", "tranId": one.number,
             "tradeId": ""}
            for one in found
        ]  # fmt: skip

    def _trade(self, trade: Trade) -> Any:
        buys = trade.order.side == "BUY"
        return {
            "symbol": trade.order.symbol, "id": trade.number, "orderId": trade.order.number,
            "price": str(trade.price), "qty": str(trade.amount),
            "quoteQty": f"{trade.amount * trade.price:f}", "commission": f"{trade.fee:f}",
            "commissionAsset": trade.fee_currency, "time": trade.time_ms, "isBuyer": buys,
            "buyer": buys, "side": trade.order.side, "isMaker": False, "maker": False,
            "positionSide": trade.order.position_side, "realizedPnl": f"{trade.realized:f}",
        }  # fmt: skip
