"""Kraken's spot REST API, as far as used. Replies to orders only acknowledge them.

Source: docs.kraken.com/api; the shapes as ccxt 4.5.90 reads them.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.exchange.venue import Order, RejectedError, Trade, Venue

CODES = {
    "symbol": "EQuery:Unknown asset pair",
    "lot": "EGeneral:Invalid arguments:volume",
    "notional": "EOrder:Cost minimum not met",
    "money": "EOrder:Insufficient funds",
    "duplicate": "EOrder:Duplicate cl_ord_id",
    "closed": "EService:Market in cancel_only mode",
    "disabled": "EGeneral:Permission denied",
    "key": "EAPI:Invalid key",
    "signature": "EAPI:Invalid signature",
    "clock": "EAPI:Invalid nonce",
    "deadline": "EService:Deadline elapsed",
    "far": "EGeneral:Invalid arguments:deadline",
    "arguments": "EGeneral:Invalid arguments",
    "trigger": "EGeneral:Invalid arguments:price",
    "expiry": "EGeneral:Invalid arguments:expiretm",
    "no_order": "EOrder:Unknown order",
}
STATES = {
    "NEW": "open", "PARTIALLY_FILLED": "open", "FILLED": "closed", "CANCELED": "canceled",
    "EXPIRED": "expired",
}  # fmt: skip


class Kraken:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._nonce = 0

    def kind(self, method: str, path: str) -> str:
        return {
            "/0/private/AddOrder": "order", "/0/private/AmendOrder": "order",
            "/0/private/CancelOrder": "cancel",
        }.get(path, "read")  # fmt: skip

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        params = {key: values[0] for key, values in parse_qs(f"{query}&{body}").items()}
        try:
            if path.startswith("/0/private/"):
                self._authenticate(path, body, params, headers)
            handler = getattr(self, f"_{path.rpartition('/')[2].lower()}")
            return 200, {"error": [], "result": handler(params)}
        except RejectedError as error:
            return 200, {"error": [CODES[error.reason]]}

    def _authenticate(
        self, path: str, body: str, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:
        if headers.get("API-Key") != self._venue.key:
            raise RejectedError("key")
        inner = hashlib.sha256(f"{params['nonce']}{body}".encode()).digest()
        secret = base64.b64decode(self._venue.secret)
        expected = base64.b64encode(
            hmac.new(secret, path.encode() + inner, hashlib.sha512).digest()
        )
        if expected.decode() != headers.get("API-Sign"):
            raise RejectedError("signature")
        if int(params["nonce"]) <= self._nonce:
            raise RejectedError("clock")
        self._nonce = int(params["nonce"])

    # ---- public ---------------------------------------------------------------------------
    def _time(self, _: Mapping[str, str]) -> Any:
        return {"unixtime": self._venue.now() // 1000, "rfc1123": ""}

    def _assetpairs(self, _: Mapping[str, str]) -> Any:
        return {
            name: {
                "altname": name, "wsname": "XBT/USDT", "aclass_base": "currency", "base": "XXBT",
                "aclass_quote": "currency", "quote": "USDT", "lot": "unit", "lot_decimals": 3,
                "pair_decimals": 1, "cost_decimals": 5, "lot_multiplier": 1, "leverage_buy": [],
                "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
                "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
                "ordermin": f"{market.step:f}", "costmin": f"{market.min_cost:f}",
                "tick_size": f"{market.tick:f}", "status": market.state or "online",
            }
            for name, market in self._venue.listed.items()
        }  # fmt: skip

    def _ticker(self, _: Mapping[str, str]) -> Any:
        return {name: self._prices(name) for name in self._venue.prices}

    def _prices(self, name: str) -> Any:
        p, (bid, ask) = str(self._venue.prices[name]), self._venue.best_bid_ask(name)
        return {"a": [ask or "0", "1", "1"], "b": [bid or "0", "1", "1"], "c": [p, "1"],
                "v": ["1", "1"], "p": [p, p], "t": [1, 1], "l": [p, p], "h": [p, p],
                "o": p}  # fmt: skip

    def _getwebsocketstoken(self, _: Mapping[str, str]) -> Any:
        return {"token": self._venue.listen_key, "expires": 900}

    # ---- the account ----------------------------------------------------------------------
    def _balanceex(self, _: Mapping[str, str]) -> Any:
        names, earning = {"BTC": "XXBT"}, {"BTC": "XBT.F"}
        return {
            (earning.get(name, f"{name}.F") if name in self._venue.earning
             else names.get(name, name)): {"balance": f"{amount:f}", "hold_trade": "0"}
            for name, amount in self._venue.balances.items()
        }  # fmt: skip

    # ---- orders ---------------------------------------------------------------------------
    def _addorder(self, params: Mapping[str, str]) -> Any:
        self._check_deadline(params)
        is_stop_limit, price = params["ordertype"] == "stop-loss-limit", params.get("price")
        limit = params.get("price2") if is_stop_limit else price
        tif, expires = params.get("timeinforce", "GTC"), int(params.get("expiretm", 0))
        if (tif == "GTD") is not bool(expires):
            raise RejectedError("expiry")
        default = "fciq" if params["type"] == "buy" else "fcib"
        if "fcib" in params.get("oflags", default):
            self._venue.quiet_base_fees.add(params.get("cl_ord_id", ""))
        order = self._venue.place(
            params["pair"], params["type"].upper(),
            "LIMIT" if is_stop_limit else params["ordertype"].upper(),
            Decimal(params["volume"]), Decimal(limit) if limit else None,
            tif=tif, cid=params.get("cl_ord_id", ""), expires_ms=expires * 1000,
            trigger=Decimal(price) if is_stop_limit and price else None,
        )  # fmt: skip
        kind = f"stop loss {price} -> limit {limit}" if is_stop_limit else params["ordertype"]
        description = f"{params['type']} {params['volume']} {params['pair']} @ {kind}"
        return {"descr": {"order": description}, "txid": [str(order.number)]}

    def _check_deadline(self, params: Mapping[str, str]) -> None:
        if "deadline" in params:
            until = datetime.fromisoformat(params["deadline"]).timestamp() * 1000
            if until < self._venue.now():
                raise RejectedError("deadline")
            if until > self._venue.now() + 60_000:
                raise RejectedError("far")

    def _amendorder(self, params: Mapping[str, str]) -> Any:
        self._check_deadline(params)
        order = self._venue.find(None, params.get("cl_ord_id", ""), params.get("txid", ""))
        amount, price = params.get("order_qty"), params.get("limit_price")
        self._venue.amend(
            order, Decimal(amount) if amount else None, Decimal(price) if price else None
        )
        return {"amend_id": "TJSMEH-AA67V-YUSQ6O"}

    def _cancelorder(self, params: Mapping[str, str]) -> Any:
        self._venue.cancel(
            self._venue.find(None, params.get("cl_ord_id", ""), params.get("txid", ""))
        )
        return {"count": 1}

    def _openorders(self, params: Mapping[str, str]) -> Any:
        return {"open": self._list_orders(params, is_open=True)}

    def _closedorders(self, params: Mapping[str, str]) -> Any:
        found = self._list_orders(params, is_open=False)
        return {"closed": found, "count": len(found)}

    def _queryorders(self, params: Mapping[str, str]) -> Any:
        numbers = params["txid"].split(",")
        if len(numbers) > 20:
            raise RejectedError("arguments")
        found = [self._venue.find(None, "", number) for number in numbers]
        return {str(order.number): self._order(order) for order in found if order}

    def _list_orders(self, params: Mapping[str, str], *, is_open: bool) -> Any:
        cid = params.get("cl_ord_id", "")
        if self._venue.hidden_lookups > 0:
            self._venue.hidden_lookups -= 1
            return {}
        found = [order for order in self._venue.orders if order.is_open is is_open]
        found = [order for order in found if not cid or order.cid == cid]
        return {str(order.number): self._order(order) for order in found}

    def _order(self, order: Order) -> Any:
        trades = self._venue.find_trades(number=str(order.number))
        return {
            "refid": None, "userref": None, "cl_ord_id": order.cid,
            "status": STATES[order.status], "opentm": order.time_ms / 1000, "starttm": 0,
            "expiretm": order.expires_ms / 1000,
            "descr": {"pair": order.symbol, "type": order.side.lower(),
                      "ordertype": "stop-loss-limit" if order.trigger else order.type.lower(),
                      "price": str(order.trigger or order.price or 0),
                      "price2": str(order.price) if order.trigger else "0",
                      "leverage": "none", "order": "", "close": ""},
            "vol": str(order.amount), "vol_exec": f"{order.filled:f}", "cost": f"{order.cost:f}",
            "fee": "0", "price": f"{order.average:f}", "stopprice": "0", "limitprice": "0",
            "misc": "", "oflags": "fciq", "trades": [f"T{trade.number}" for trade in trades],
            **order.why,
        }  # fmt: skip

    def _querytrades(self, params: Mapping[str, str]) -> Any:
        trade_ids = params.get("txid", "").split(",")
        if trade_ids == [""] or len(trade_ids) > 20:
            raise RejectedError("arguments")
        found = [trade for trade in self._venue.trades if f"T{trade.number}" in trade_ids]
        return {f"T{trade.number}": self._trade(trade) for trade in found}

    def _tradeshistory(self, params: Mapping[str, str]) -> Any:
        start = int(float(params.get("start", 0)) * 1000)
        end = int(float(params.get("end", 2**40)) * 1000)
        found = self._venue.find_trades(start=start + 1, end=end)  # the start is exclusive
        left_out = int(params.get("ofs", 0))
        newest = found[::-1][left_out : left_out + 50]
        return {"trades": {f"T{trade.number}": self._trade(trade) for trade in newest},
                "count": len(found)}  # fmt: skip

    def _trade(self, trade: Trade) -> Any:
        order = trade.order
        return {
            "ordertxid": str(order.number), "pair": order.symbol, "time": trade.time_ms / 1000,
            "type": order.side.lower(), "ordertype": order.type.lower(), "price": str(trade.price),
            "cost": f"{trade.amount * trade.price:f}", "fee": f"{trade.fee:f}",
            "vol": str(trade.amount), "margin": "0", "misc": "", "trade_id": trade.number,
            "maker": False,
        }  # fmt: skip
