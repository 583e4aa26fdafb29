"""Bybit's v5 REST API, as far as used. Replies to orders only acknowledge them.

Source: bybit-exchange.github.io/docs/v5; the shapes as ccxt 4.5.90 reads them.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.exchange.model import Funding
from tests.fakes.exchange.venue import Order, Position, RejectedError, Trade, Venue

CODES = {
    "symbol": (10001, "params error: symbol invalid"),
    "lot": (10001, "Qty invalid"),
    "market_lot": (10001, "The number of contracts exceeds maximum limit allowed: too large"),
    "notional": (110094, "Order does not meet minimum order value"),
    "money": (110007, "ab not enough for new order"),
    "duplicate": (110072, "OrderLinkedID is duplicate"),
    "closed": (110066, "No trading is allowed at the current time"),
    "disabled": (10024, "The product or service you are seeking to access is not available to you"),
    "same_margin": (110026, "Cross/isolated margin mode is not modified"),
    "held": (3400045, "Set margin mode failed"),
    "leverage": (110013, "cannot set leverage due to risk limit"),
    "flat": (110017, "current position is zero, cannot fix reduce-only order qty"),
    "mode": (10001, "position idx not match position mode"),
    "key": (10003, "API key is invalid."),
    "signature": (10004, "Error sign, please check your signature generation algorithm."),
    "clock": (10002, "invalid request, please check your server timestamp or recv_window param."),
    "conditional": (110009, "The number of stop orders exceeds the maximum allowable limit"),
    "falling": (110093, "expect Falling, but trigger_price >= current"),
    "trigger": (110092, "expect Rising, but trigger_price <= current"),
    "expiry": (10001, "Params Error"),
    "same": (
        10001,
        "The order remains unchanged as the parameters entered match the existing ones.",
    ),
    "no_order": (110001, "order not exists or too late to cancel"),
}
SPOT = {
    "symbol": (170121, "Invalid symbol."),
    "money": (170131, "Insufficient balance."),
    "duplicate": (170141, "Duplicate clientOrderId."),
    "market_lot": (170136, "Order quantity exceeded upper limit."),
    "notional": (170140, "Order value exceeded lower limit."),
    "no_order": (170213, "Order does not exist."),
}
STATES = {
    "NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled",
    "CANCELED": "Cancelled", "EXPIRED": "Cancelled", "REJECTED": "Rejected",
}  # fmt: skip
INDEX = {"BOTH": 0, "LONG": 1, "SHORT": 2}


class Bybit:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def kind(self, method: str, path: str) -> str:
        return {
            "/v5/order/create": "order", "/v5/order/amend": "order", "/v5/order/cancel": "cancel",
        }.get(path, "read")  # fmt: skip

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        params = {key: values[0] for key, values in parse_qs(query).items()}
        params |= json.loads(body) if body else {}
        try:
            if not path.startswith("/v5/market/"):
                self._authenticate(query or body, headers)
            handler = getattr(
                self, "_" + path.removeprefix("/v5/").replace("/", "_").replace("-", "_")
            )
            return 200, self._envelope(handler(params))
        except RejectedError as error:
            code, message = {**CODES, **({} if self._venue.derivatives else SPOT)}[error.reason]
            return 200, {**self._envelope({}), "retCode": code, "retMsg": message}

    def _envelope(self, result: Any) -> dict[str, Any]:
        return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {},
                "time": self._venue.now()}  # fmt: skip

    def _authenticate(self, signed: str, headers: Mapping[str, str]) -> None:
        venue, sent = self._venue, headers.get("X-BAPI-TIMESTAMP", "0")
        window = headers.get("X-BAPI-RECV-WINDOW", "5000")
        if headers.get("X-BAPI-API-KEY") != venue.key:
            raise RejectedError("key")
        text = f"{sent}{venue.key}{window}{signed}"
        expected = hmac.new(venue.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, headers.get("X-BAPI-SIGN", "")):
            raise RejectedError("signature")
        if not int(sent) - 1000 < venue.now() <= int(sent) + int(window):
            raise RejectedError("clock")

    # ---- public ---------------------------------------------------------------------------
    def _market_time(self, _: Mapping[str, Any]) -> Any:
        now = self._venue.now()
        return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}

    def _market_instruments_info(self, _: Mapping[str, Any]) -> Any:
        found = []
        for name, market in self._venue.listed.items():
            step = f"{market.step:f}"
            instrument: dict[str, Any] = {
                "symbol": name, "baseCoin": market.base, "quoteCoin": market.quote,
                "status": market.state or "Trading",
                "priceFilter": {"tickSize": f"{market.tick:f}"},
            }  # fmt: skip
            lot = {"minOrderQty": step, "maxOrderQty": "9000"}
            most = f"{market.max_market:f}"
            if self._venue.derivatives:
                least = f"{market.min_cost:f}"
                instrument |= {"contractType": "LinearPerpetual", "settleCoin": market.quote,
                        "launchTime": "1584230400000", "deliveryTime": "0", "priceScale": "1",
                        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100"},
                        "lotSizeFilter": {**lot, "qtyStep": step, "maxMktOrderQty": most,
                                          "minNotionalValue": least}}  # fmt: skip
            else:
                instrument |= {"lotSizeFilter": {**lot, "basePrecision": step,
                                          "maxMarketOrderQty": most,
                                          "quotePrecision": "0.0000001",
                                          "minOrderAmt": f"{market.min_cost:f}",
                                          "maxOrderAmt": "4000000"}}  # fmt: skip
            found.append(instrument)
        return {"category": "linear", "list": found, "nextPageCursor": ""}

    def _market_tickers(self, _: Mapping[str, Any]) -> Any:
        found = []
        for name, price in self._venue.prices.items():
            bid, ask = self._venue.best_bid_ask(name)
            found.append({"symbol": name, "lastPrice": str(price), "bid1Price": bid,
                          "bid1Size": "1", "ask1Price": ask, "ask1Size": "1",
                          **self._of_derivatives()})  # fmt: skip
        return {"category": "linear" if self._venue.derivatives else "spot", "list": found}

    # ---- the account ----------------------------------------------------------------------
    def _user_query_api(self, _: Mapping[str, Any]) -> Any:
        return {
            "userID": int(self._venue.uid),
            "uta": 1,
            "readOnly": 0 if self._venue.can_trade else 1,
            "permissions": {
                "Spot": ["SpotTrade"],
                "Wallet": ["Withdraw"] if self._venue.may_withdraw else [],
            },
        }

    def _account_wallet_balance(self, _: Mapping[str, Any]) -> Any:
        coins = [
            {"coin": name, "walletBalance": f"{amount:f}", "locked": "0", "equity": f"{amount:f}",
             "totalOrderIM": "0", "totalPositionIM": f"{self._venue.margin():f}",
             "availableToWithdraw": ""}
            for name, amount in self._venue.balances.items()
        ]  # fmt: skip
        return {"list": [{"accountType": "UNIFIED", "coin": coins}]}

    def _position_list(self, params: Mapping[str, Any]) -> Any:
        """Open positions, page by page; for a named symbol also an empty one."""
        found = []
        sides = ("LONG", "SHORT") if self._venue.hedged else ("BOTH",)
        flat = {(params.get("symbol", ""), side): Position() for side in sides}
        for (name, position_side), held in {**flat, **self._venue.positions}.items():
            if held.amount or params.get("symbol") == name:
                price, direction = self._venue.prices[name], -1 if position_side == "SHORT" else 1
                is_long = held.amount * direction > 0
                found.append({
                    "symbol": name, "side": "Buy" if is_long else "Sell",
                    "size": f"{abs(held.amount):f}", "avgPrice": f"{held.entry:f}",
                    "positionIdx": INDEX[position_side], "markPrice": str(price),
                    "leverage": str(self._venue.leverage(name)),
                    "positionValue": f"{abs(held.amount) * price:f}", "positionIM": "0",
                    "unrealisedPnl": f"{(price - held.entry) * held.amount * direction:f}",
                    "createdTime": str(self._venue.now()), "updatedTime": str(self._venue.now()),
                })  # fmt: skip
        start, size = int(params.get("cursor") or 0), int(params.get("limit", 20))
        page = found[start : start + size]
        cursor = str(start + size) if page else ""  # also if nothing follows
        return {"category": "linear", "list": page, "nextPageCursor": cursor}

    def _account_info(self, _: Mapping[str, Any]) -> Any:
        """The margin mode of the account: that of its symbols."""
        modes = {"cross": "REGULAR_MARGIN", "isolated": "ISOLATED_MARGIN"}
        named = modes[self._venue.margin_mode(next(iter(self._venue.markets)))]
        return {"marginMode": named, "unifiedMarginStatus": 6, "updatedTime": "1697078946000"}

    def _account_set_margin_mode(self, params: Mapping[str, Any]) -> Any:
        modes = {"REGULAR_MARGIN": "cross", "ISOLATED_MARGIN": "isolated"}
        for name in self._venue.markets:
            self._venue.set_margin_mode(name, modes[params["setMarginMode"]])
        return {"reasons": []}

    def _position_set_leverage(self, params: Mapping[str, Any]) -> Any:
        assert params["buyLeverage"] == params["sellLeverage"]
        self._venue.set_leverage(params["symbol"], int(params["buyLeverage"]))
        return {}

    # ---- orders ---------------------------------------------------------------------------
    def _order_create(self, params: Mapping[str, Any]) -> Any:
        if not self._venue.derivatives and params["orderType"] == "Market":
            assert params["marketUnit"] == "baseCoin", "the amount would be read as money"
        position_side = {1: "LONG", 2: "SHORT"}.get(int(params.get("positionIdx", 0)), "BOTH")
        trigger = params.get("triggerPrice")
        reduces = bool(params.get("reduceOnly"))
        rises = params.get("triggerDirection") == 1
        if trigger is not None:
            assert self._venue.derivatives, "not used on spot"
            is_stop = rises is (params["side"] == "Buy")
            assert is_stop or reduces, "a take-profit, not a stop"
            assert params.get("closeOnTrigger", False) is reduces, "it may lack margin"
        order = self._checked(
            rises, self._venue.place,
            params["symbol"], params["side"].upper(), params["orderType"].upper(),
            Decimal(params["qty"]),
            Decimal(params["price"]) if "price" in params else None,
            tif=params.get("timeInForce", "GTC"),
            cid=params.get("orderLinkId", ""), reduce_only=reduces,
            position_side=position_side, refuses_reached=True,
            trigger=Decimal(trigger) if trigger else None, rises=rises if trigger else None,
        )  # fmt: skip
        return {"orderId": str(order.number), "orderLinkId": order.cid}

    def _checked(
        self, ascending: bool, call: Callable[..., Order], *given: Any, **named: Any
    ) -> Order:
        """Call the venue; a reached trigger has a code for each direction."""
        try:
            return call(*given, **named)
        except RejectedError as error:
            raise RejectedError(
                "falling" if error.reason == "trigger" and not ascending else error.reason
            ) from error

    def _order_cancel(self, params: Mapping[str, Any]) -> Any:
        order = self._venue.find(
            params["symbol"], params.get("orderLinkId", ""), str(params.get("orderId", ""))
        )
        done = self._venue.cancel(order)
        return {"orderId": str(done.number), "orderLinkId": done.cid}

    def _order_amend(self, params: Mapping[str, Any]) -> Any:
        order = self._venue.find(params["symbol"], params["orderLinkId"])
        amount, price, trigger = (
            Decimal(params[name]) if name in params else None
            for name in ("qty", "price", "triggerPrice")
        )
        rises = bool(order and order.rises)
        if order is not None and order.is_open:
            pairs = ((amount, order.amount), (price, order.price), (trigger, order.trigger))
            if all(asked in (None, present) for asked, present in pairs):
                raise RejectedError("same")
        done = self._checked(
            rises, self._venue.amend, order, amount, price, trigger, refuses_reached=True
        )
        return {"orderId": str(done.number), "orderLinkId": done.cid}

    def _order_realtime(self, params: Mapping[str, Any]) -> Any:
        """Open orders, or with openOnly=1 those that ended last."""
        return self._orders(params, is_open=str(params.get("openOnly", "0")) == "0")

    def _order_history(self, params: Mapping[str, Any]) -> Any:
        """Ended orders; the list may be late (`history_lags`)."""
        if self._venue.history_lags:
            return {"list": [], "nextPageCursor": "", "category": "linear"}
        return self._orders(params, is_open=False)

    def _orders(self, params: Mapping[str, Any], *, is_open: bool) -> Any:
        cid = params.get("orderLinkId", "")
        if cid:
            order = self._venue.find(None, cid)
            found = [order] if order else []
        else:
            found = list(self._venue.orders)
        found = [order for order in found if order.is_open is is_open]
        symbol, kind = params.get("symbol"), params.get("orderFilter")
        found = [
            order
            for order in found
            if symbol in (None, order.symbol)
            and not (self._venue.hides_levels and order.is_untriggered)
            and (kind is None or order.is_untriggered is (kind == "StopOrder"))
        ]
        start, size = int(params.get("cursor") or 0), int(params.get("limit", 20))
        end = start + size if start + size < len(found) else None
        return {"list": [self._order(order) for order in found[start:end]],
                "nextPageCursor": str(end or ""), "category": "linear"}  # fmt: skip

    def _of_derivatives(self) -> dict[str, str]:
        """Keys that spot's answers lack; ccxt distinguishes the markets by them."""
        own = {"createType": "CreateByUser", "tpslMode": "", "openInterestValue": "1"}
        return own if self._venue.derivatives else {}

    def _order(self, order: Order) -> Any:
        return {
            **self._of_derivatives(),
            "orderId": str(order.number), "orderLinkId": order.cid, "symbol": order.symbol,
            "price": str(order.price or 0), "qty": str(order.amount), "side": order.side.title(),
            "orderStatus": self._state(order), "avgPrice": f"{order.average:f}",
            "leavesQty": f"{order.amount - order.filled if order.is_open else 0:f}",
            "cumExecQty": f"{order.filled:f}",
            "cumExecValue": f"{order.cost:f}", "cumExecFee": "0", "timeInForce": order.tif,
            "orderType": order.type.title(), "createdTime": str(order.time_ms),
            "updatedTime": str(order.time_ms), "reduceOnly": order.reduce_only,
            "positionIdx": INDEX[order.position_side],
            "stopOrderType": "Stop" if order.trigger else "",
            "triggerPrice": str(order.trigger or ""),
            "triggerDirection": 0 if order.rises is None else 1 if order.rises else 2,
            "closeOnTrigger": order.is_level,
            **order.why,
        }  # fmt: skip

    def _state(self, order: Order) -> str:
        state = "Untriggered" if order.is_untriggered else STATES[order.status]
        is_partly = state == "Cancelled" and order.filled and not self._venue.derivatives
        return "PartiallyFilledCanceled" if is_partly else state  # "only spot has" this one

    def _execution_list(self, params: Mapping[str, Any]) -> Any:
        start, end = int(params.get("startTime", 0)), int(params.get("endTime", 2**62))
        found = self._venue.find_trades(
            params.get("symbol"), str(params.get("orderId", "")), start, end
        )
        kind = str(params.get("execType", ""))  # empty: all kinds
        lines = [self._trade(trade) for trade in found if kind in ("", trade.kind)]
        if kind == "Funding":
            lines = [self._funding(one) for one in self._venue.find_fundings(start, end)]
        first, size = int(params.get("cursor") or 0), int(params.get("limit", 50))
        newest = lines[::-1][first : first + size]
        cursor = str(first + size) if len(newest) == size else ""  # also if nothing follows
        return {"list": newest, "nextPageCursor": cursor, "category": "linear"}

    def _funding(self, one: Funding) -> Any:
        return {
            "symbol": one.symbol, "orderType": "UNKNOWN", "orderLinkId": "", "orderId": "x",
            "execTime": str(one.time_ms), "feeCurrency": "", "feeRate": "0.0001",
            "execType": "Funding", "side": "Sell", "execFee": f"{-one.amount:f}",  # a cost there
            "execId": f"f-{one.number}", "execQty": f"{one.quantity:f}", "execPrice": "50000",
            "execValue": "1", "closedSize": "0", "isMaker": False, "leavesQty": "0",
        }  # fmt: skip

    def _trade(self, trade: Trade) -> Any:
        order = trade.order
        return {
            **self._of_derivatives(), "symbol": order.symbol,
            "orderId": str(order.number), "orderLinkId": order.cid,
            "side": order.side.title(), "execId": f"e-{trade.number}",
            "execPrice": str(trade.price), "execQty": str(trade.amount), "execType": trade.kind,
            "execValue": f"{trade.amount * trade.price:f}", "execFee": f"{trade.fee:f}",
            "feeCurrency": trade.fee_currency, "execTime": str(trade.time_ms), "isMaker": False,
            "orderType": order.type.title(),
            "closedSize": str(trade.amount) if trade.closed else "0",
        }  # fmt: skip
