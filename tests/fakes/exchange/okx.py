"""OKX's v5 REST API, as far as used. Replies to orders only acknowledge them.

Source: okx.com/docs-v5; the shapes as ccxt 4.5.90 reads them.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.exchange.model import Funding
from tests.fakes.exchange.venue import Order, Position, RejectedError, Trade, Venue

CODES = {
    "symbol": ("51001", "Instrument ID doesn't exist."),
    "lot": ("51121", "Order quantity must be a multiple of the lot size."),
    "market_lot": ("51202", "Market order quantity exceeds the maximum"),
    "notional": ("51020", "Your order should meet or exceed the minimum order amount."),
    "money": ("51008", "Order failed. Insufficient USDT balance in account."),
    "duplicate": ("51016", "Client order ID already exists."),
    "closed": ("51022", "Contract suspended."),
    "disabled": ("51024", "Trading account is suspended."),
    "leverage": ("59102", "Leverage exceeds the maximum limit."),
    "flat": ("51169", "Order failed because you don't have any positions to reduce."),
    "mode": ("51000", "Parameter posSide error"),
    "trigger": ("51280", "SL trigger price can not be higher than the last price"),
    "conditional": ("51103", "The number of pending orders exceeds the limit."),
    "algo_duplicate": ("51065", "algoClOrdId already exists."),
    "no_amend": ("51503", "Your order has already been filled or canceled."),
    "no_cancel": ("51400", "Cancellation failed as the order has been filled or canceled."),
}
TOP = {
    "key": ("50111", "Invalid OK-ACCESS-KEY"),
    "password": ("50105", "Request header OK-ACCESS-PASSPHRASE incorrect."),
    "signature": ("50113", "Invalid Sign"),
    "clock": ("50102", "Timestamp request expired"),
    "expired": ("50036", "expTime is earlier than the system time."),
    "no_order": ("51603", "Order does not exist"),
}
ALGO_STATES = {"CANCELED": "canceled", "EXPIRED": "order_failed", "FILLED": "effective"}
STATES = {
    "NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled",
    "CANCELED": "canceled", "EXPIRED": "canceled",
}  # fmt: skip


class Okx:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        venue.reserves_for_levels = False  # "will not freeze your free margin in advance"

    def kind(self, method: str, path: str) -> str:
        name = path.removeprefix("/api/v5/trade/")
        if method == "POST" and name in ("order", "amend-order", "order-algo", "amend-algos"):
            return "order"
        return "cancel" if name in ("cancel-order", "cancel-algos") else "read"

    def answer(
        self, method: str, path: str, query: str, body: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        params = {key: values[0] for key, values in parse_qs(query).items()}
        sent = json.loads(body) if body else {}
        params |= sent[0] if isinstance(sent, list) else sent  # one line each
        try:
            if not path.startswith(("/api/v5/public/", "/api/v5/market/")):
                full = f"{path}?{query}" if query else path
                self._authenticate(f"{method}{full}{body}", headers)
            words = path.removeprefix("/api/v5/").replace("/", "_").replace("-", "_")
            handler = getattr(self, f"_{method.lower()}_{words}")
            return 200, {"code": "0", "msg": "", "data": handler(params)}
        except RejectedError as error:
            if error.reason in TOP:
                code, message = TOP[error.reason]
                return 200, {"code": code, "msg": message, "data": []}
            code, message = CODES[error.reason]
            line = {
                "clOrdId": params.get("clOrdId", ""),
                "ordId": "",
                "sCode": code,
                "sMsg": message,
            }
            return 200, {"code": "1", "msg": "All operations failed", "data": [line]}

    def _authenticate(self, signed: str, headers: Mapping[str, str]) -> None:
        venue, sent = self._venue, headers.get("OK-ACCESS-TIMESTAMP", "")
        if headers.get("OK-ACCESS-KEY") != venue.key:
            raise RejectedError("key")
        if headers.get("OK-ACCESS-PASSPHRASE") != venue.password:
            raise RejectedError("password")
        digest = hmac.new(venue.secret.encode(), f"{sent}{signed}".encode(), hashlib.sha256)
        if base64.b64encode(digest.digest()).decode() != headers.get("OK-ACCESS-SIGN"):
            raise RejectedError("signature")
        if abs(datetime.fromisoformat(sent).timestamp() * 1000 - venue.now()) > 30_000:
            raise RejectedError("clock")
        if int(headers.get("expTime", 2**62)) < venue.now():
            raise RejectedError("expired")

    # ---- public ---------------------------------------------------------------------------
    def _get_public_time(self, _: Mapping[str, Any]) -> Any:
        return [{"ts": str(self._venue.now())}]

    def _get_public_instruments(self, _: Mapping[str, Any]) -> Any:
        found = []
        for name, market in self._venue.listed.items():
            swap = self._venue.derivatives
            found.append({
                "instId": name, "instType": "SWAP" if swap else "SPOT",
                "state": market.state or "live",
                "baseCcy": "" if swap else market.base, "quoteCcy": "" if swap else market.quote,
                "settleCcy": market.quote if swap else "",
                "ctVal": f"{market.contract_size:f}" if swap else "",
                "ctMult": "1" if swap else "", "ctValCcy": market.base if swap else "",
                "ctType": "linear" if swap else "", "tickSz": f"{market.tick:f}",
                "lotSz": f"{market.step:f}", "minSz": f"{market.min_amount or market.step:f}",
                "maxLmtSz": "100000",
                "maxMktSz": f"{market.max_market:f}" if swap else "1000000",  # on spot USDT
                "uly": f"{market.base}-{market.quote}" if swap else "",
                "instFamily": f"{market.base}-{market.quote}" if swap else "",
                "lever": "100", "listTime": "1606468572000", "expTime": "", "alias": "",
            })  # fmt: skip
        return found

    def _get_market_tickers(self, _: Mapping[str, Any]) -> Any:
        return [self._ticker(name) for name in self._venue.prices]

    def _get_market_ticker(self, params: Mapping[str, Any]) -> Any:
        return [self._ticker(params["instId"])]

    def _ticker(self, name: str) -> Any:
        bid, ask = self._venue.best_bid_ask(name)
        return {"instId": name, "last": str(self._venue.prices[name]), "bidPx": bid,
                "askPx": ask, "ts": str(self._venue.now())}  # fmt: skip

    # ---- the account ----------------------------------------------------------------------
    def _get_account_config(self, _: Mapping[str, Any]) -> Any:
        mode = "long_short_mode" if self._venue.hedged else "net_mode"
        perm = ["read_only", *(["trade"] if self._venue.can_trade else []),
                *(["withdraw"] if self._venue.may_withdraw else [])]  # fmt: skip
        return [{"posMode": mode, "uid": self._venue.uid, "acctLv": "2", "perm": ",".join(perm)}]

    def _get_account_balance(self, _: Mapping[str, Any]) -> Any:
        details = [
            {"ccy": name, "eq": f"{amount + self._profit(name):f}", "cashBal": f"{amount:f}",
             "availEq": f"{max(Decimal(0), amount - self._margin()):f}",
             "availBal": f"{max(Decimal(0), amount):f}", "frozenBal": "0"}
            for name, amount in self._venue.balances.items()
        ]  # fmt: skip
        return [{"uTime": str(self._venue.now()), "totalEq": "0", "details": details}]

    def _margin(self) -> Decimal:
        return self._venue.margin() if self._venue.derivatives else Decimal(0)

    def _profit(self, currency: str) -> Decimal:
        """The open profit in a currency, which counts as equity."""
        if not self._venue.derivatives:
            return Decimal(0)
        return sum((
            self._open_profit(name, position_side, held)
            for (name, position_side), held in self._venue.positions.items()
            if self._venue.markets[name].quote == currency
        ), Decimal(0))  # fmt: skip

    def _open_profit(self, name: str, position_side: str, held: Position) -> Decimal:
        direction, size = (
            -1 if position_side == "SHORT" else 1,
            self._venue.markets[name].contract_size,
        )
        return (self._venue.prices[name] - held.entry) * held.amount * direction * size

    def _get_account_positions(self, _: Mapping[str, Any]) -> Any:
        found = []
        for (name, position_side), held in self._venue.positions.items():
            if held.amount:
                price, profit = (
                    self._venue.prices[name],
                    self._open_profit(name, position_side, held),
                )
                found.append({
                    "instId": name, "instType": "SWAP", "pos": f"{held.amount:f}",
                    "posSide": _pos_side(position_side),
                    "mgnMode": self._venue.margin_mode(name),
                    "avgPx": f"{held.entry:f}", "upl": f"{profit:f}", "uplRatio": "0",
                    "lever": "10", "markPx": str(price), "last": str(price), "imr": "0", "mmr": "0",
                    "notionalUsd": "0", "liqPx": "", "margin": "", "mgnRatio": "1", "ccy": "USDT",
                    "cTime": str(self._venue.now()), "uTime": str(self._venue.now()), "posId": "1",
                    "posCcy": "",
                })  # fmt: skip
        return found

    def _get_account_leverage_info(self, params: Mapping[str, Any]) -> Any:
        """The leverage of a mode, of which each has its own."""
        name, mode = params["instId"], params["mgnMode"]
        return [{"instId": name, "mgnMode": mode, "posSide": "net",
                 "lever": str(self._venue.leverage(f"{name} {mode}"))}]  # fmt: skip

    def _post_account_set_leverage(self, params: Mapping[str, Any]) -> Any:
        name, mode = params["instId"], params["mgnMode"]
        self._venue.set_leverage(f"{name} {mode}", int(params["lever"]))
        return [{"instId": name, "mgnMode": mode, "posSide": "net", "lever": params["lever"]}]

    # ---- orders ---------------------------------------------------------------------------
    def _take_mode(self, params: Mapping[str, Any], cid: str) -> None:
        """Keep the mode that an order names, of which each has positions of its own. Raises
        RejectedError for an exit in another mode than that of what is open."""
        venue, name, mode = self._venue, params["instId"], params["tdMode"]
        venue.named_modes[cid] = mode
        is_held = any(key[0] == name and held.amount for key, held in venue.positions.items())
        if params.get("reduceOnly"):
            if is_held and venue.margin_mode(name) != mode:
                raise RejectedError("flat")
        elif not is_held:
            venue.margin_modes[name] = mode

    def _post_trade_order(self, params: Mapping[str, Any]) -> Any:
        if self._venue.derivatives:
            self._take_mode(params, params.get("clOrdId", ""))
        kind = params["ordType"]
        times = {"ioc": "IOC", "fok": "FOK"}
        position_side = {"long": "LONG", "short": "SHORT"}.get(params.get("posSide", ""), "BOTH")
        if not self._venue.derivatives and kind == "market":
            assert params["tgtCcy"] == "base_ccy", "the amount would be read as money"
        order = self._venue.place(
            params["instId"], params["side"].upper(), "MARKET" if kind == "market" else "LIMIT",
            Decimal(params["sz"]), Decimal(params["px"]) if params.get("px") else None,
            tif=times.get(kind, "GTC"), cid=params.get("clOrdId", ""),
            reduce_only=bool(params.get("reduceOnly")), position_side=position_side,
        )  # fmt: skip
        return [{"clOrdId": order.cid, "ordId": str(order.number), "sCode": "0", "sMsg": "",
                 "tag": "", "ts": str(order.time_ms)}]  # fmt: skip

    def _post_trade_cancel_order(self, params: Mapping[str, Any]) -> Any:
        try:
            order = self._venue.cancel(self._find(params))
        except RejectedError as error:
            raise RejectedError("no_cancel") from error
        return [{"clOrdId": order.cid, "ordId": str(order.number), "sCode": "0", "sMsg": ""}]

    def _post_trade_amend_order(self, params: Mapping[str, Any]) -> Any:
        amount, price = (
            Decimal(params[name]) if name in params else None for name in ("newSz", "newPx")
        )
        try:
            order = self._venue.amend(self._find(params), amount, price)
        except RejectedError as error:
            reason = "no_amend" if error.reason == "no_order" else error.reason
            raise RejectedError(reason) from error
        return [{"clOrdId": order.cid, "ordId": str(order.number), "sCode": "0", "sMsg": ""}]

    # ---- algo orders: stops and targets, with ids of their own ------------------------------
    def _post_trade_order_algo(self, params: Mapping[str, Any]) -> Any:
        if not self._venue.derivatives:
            return [self._algo_line(self._spot_level(params))]
        assert params["ordType"] == "conditional"
        assert params["reduceOnly"] is True, "it could open a position"
        self._take_mode(params, params["algoClOrdId"])
        leg = "sl" if "slTriggerPx" in params else "tp"
        assert params[f"{leg}OrdPx"] == "-1", "not at market"
        side = params["side"].upper()
        try:
            order = self._venue.place(
                params["instId"], side, "MARKET", Decimal(params["sz"]),
                cid=params["algoClOrdId"], reduce_only=True, refuses_reached=True,
                trigger=Decimal(params[f"{leg}TriggerPx"]), rises=(side == "BUY") is (leg == "sl"),
            )  # fmt: skip
        except RejectedError as error:
            is_known = error.reason == "duplicate"
            raise RejectedError("algo_duplicate" if is_known else error.reason) from error
        return [self._algo_line(order)]

    def _spot_level(self, params: Mapping[str, Any]) -> Order:
        """Accept a level of spot, or two in one algo order; return the order with its name."""
        assert params["tdMode"] == "cash"
        assert params["side"] == "sell"
        legs = [leg for leg in ("sl", "tp") if f"{leg}TriggerPx" in params]
        assert params["ordType"] == ("oco" if len(legs) == 2 else "conditional")
        assert all(params[f"{leg}OrdPx"] == "-1" for leg in legs), "not at market"
        levels = [
            (params["algoClOrdId"] if leg == legs[0] else "", Decimal(params[f"{leg}TriggerPx"]),
             leg == "tp")
            for leg in legs
        ]  # fmt: skip
        amount = Decimal(params["sz"])
        try:
            if len(levels) == 2:
                return self._venue.place_pair(params["instId"], "SELL", amount, *levels)[0]
            ((cid, trigger, rises),) = levels
            return self._venue.place(
                params["instId"], "SELL", "MARKET", amount, cid=cid, trigger=trigger, rises=rises,
                refuses_reached=True,
            )  # fmt: skip
        except RejectedError as error:
            is_known = error.reason == "duplicate"
            raise RejectedError("algo_duplicate" if is_known else error.reason) from error

    def _named(self, order: Order) -> Order:
        """Return the order that has the name of its algo order: of a pair the stop."""
        pair = (one for one in self._venue.orders if order.pair and one.pair == order.pair)
        return next(pair, order)

    def _algo_line(self, order: Order) -> Any:
        return {"algoId": f"9{order.number}", "algoClOrdId": order.cid, "sCode": "0", "sMsg": ""}

    def _post_trade_amend_algos(self, params: Mapping[str, Any]) -> Any:
        order = self._algo(params)
        leg = "Sl" if order and (order.side == "BUY") is order.rises else "Tp"
        try:
            order = self._venue.amend(
                order if order and order.is_untriggered else None,
                Decimal(params["newSz"]), None, Decimal(params[f"new{leg}TriggerPx"]),
                refuses_reached=True,
            )  # fmt: skip
        except RejectedError as error:
            reason = "no_amend" if error.reason == "no_order" else error.reason
            raise RejectedError(reason) from error
        return [self._algo_line(order)]

    def _post_trade_cancel_algos(self, params: Mapping[str, Any]) -> Any:
        try:
            return [self._algo_line(self._venue.cancel(self._algo(params)))]
        except RejectedError as error:
            raise RejectedError("no_cancel") from error

    def _algo(self, params: Mapping[str, Any]) -> Order | None:
        number = params.get("algoId", "")[1:]  # without the 9 that `_algo_line` puts before it
        order = self._venue.find(None, params.get("algoClOrdId", ""), number)
        return order if order and order.is_level else None

    def _get_trade_order_algo(self, params: Mapping[str, Any]) -> Any:
        order = self._algo(params)
        if order is None:
            raise RejectedError("no_order")
        return [self._algo_order(order)]

    def _get_trade_orders_algo_pending(self, params: Mapping[str, Any]) -> Any:
        assert params["ordType"] == (
            "conditional" if self._venue.derivatives else "conditional,oco"
        )
        found = [
            order
            for order in self._venue.orders[::-1]
            if order.is_level and order.is_untriggered and not self._venue.hides_levels
            and self._named(order) is order
            and params.get("instId") in (None, order.symbol)
            and order.number < int(params.get("after", f"9{10**9}")[1:])
        ]  # fmt: skip
        return [self._algo_order(order) for order in found[: int(params.get("limit", 100))]]

    def _algo_order(self, order: Order) -> Any:
        pair = [one for one in self._venue.orders if order.pair and one.pair == order.pair]
        levels = {"slTriggerPx": "", "slOrdPx": "", "tpTriggerPx": "", "tpOrdPx": ""}
        for one in pair or [order]:
            levels |= {f"{_leg(one)}TriggerPx": str(one.trigger), f"{_leg(one)}OrdPx": "-1"}
        named, order = order, next((one for one in pair if one.is_triggered), order)
        return {
            **levels, "actualSide": _leg(order) if order.is_triggered else "",
            "instId": order.symbol, "instType": "SWAP" if self._venue.derivatives else "SPOT",
            "ordType": "oco" if pair else "conditional",
            "algoId": f"9{named.number}", "algoClOrdId": named.cid, "clOrdId": "",
            "ordId": str(order.number) if order.is_triggered else "",
            "side": order.side.lower(), "posSide": _pos_side(order.position_side),
            "sz": str(order.amount), "actualSz": f"{order.filled:f}" if order.filled else "",
            "state": "effective" if order.filled else ALGO_STATES.get(order.status, "live"),
            "reduceOnly": "true", "tdMode": "cross", "cTime": str(order.time_ms),
        }  # fmt: skip

    def _get_trade_order(self, params: Mapping[str, Any]) -> Any:
        order = self._find(params)
        if order is None:
            raise RejectedError("no_order")
        return [self._order(order)]

    def _find(self, params: Mapping[str, Any]) -> Order | None:
        return self._venue.find(
            params["instId"], params.get("clOrdId", ""), params.get("ordId", "")
        )

    def _get_trade_orders_pending(self, params: Mapping[str, Any]) -> Any:
        found = [
            order
            for order in self._venue.orders[::-1]
            if order.is_open and not order.is_untriggered
            and order.number < int(params.get("after", 2**62))
        ]  # fmt: skip
        return [self._order(order) for order in found[: int(params.get("limit", 100))]]

    def _order(self, order: Order) -> Any:
        kind = {"IOC": "ioc", "FOK": "fok"}.get(order.tif, "limit")
        return {
            "instId": order.symbol, "instType": "SWAP" if self._venue.derivatives else "SPOT",
            "ordId": str(order.number), "clOrdId": "" if order.is_level else order.cid,
            "algoClOrdId": self._named(order).cid if order.is_level else "",
            "px": str(order.price or ""), "sz": str(order.amount), "side": order.side.lower(),
            "state": STATES[order.status],
            "ordType": "market" if order.type == "MARKET" else kind, "fee": "0", "feeCcy": "USDT",
            "accFillSz": f"{order.filled:f}", "avgPx": f"{order.average:f}" if order.filled else "",
            "cTime": str(order.time_ms), "uTime": str(order.time_ms),
            "fillTime": str(order.time_ms),
            "reduceOnly": str(order.reduce_only).lower(), "tgtCcy": "base_ccy", "tdMode": "cross",
            "posSide": _pos_side(order.position_side), "ccy": "",
            "lever": "", "category": "normal", "fillPx": "", "fillSz": "", "tradeId": "",
            **order.why,
        }  # fmt: skip

    def _get_trade_fills(self, params: Mapping[str, Any]) -> Any:
        start, end = int(params.get("begin", 0)), int(params.get("end", 2**62))
        found = self._venue.find_trades(params.get("instId"), params.get("ordId", ""), start, end)
        found = [trade for trade in found if trade.number < int(params.get("after", 2**62))]
        return [self._trade(trade) for trade in found[::-1][: int(params.get("limit", 100))]]

    _get_trade_fills_history = _get_trade_fills

    def _get_account_bills_archive(self, params: Mapping[str, Any]) -> Any:
        if params.get("type") != "8":
            return []
        start, end = int(params.get("begin", 0)), int(params.get("end", 2**62))
        older_than = int(params.get("after", 2**62))
        found = self._venue.find_fundings(start, end)[::-1]
        found = [one for one in found if _bill_id(one) < older_than]
        newest = found[: int(params.get("limit", 100))]
        return [
            {"bal": "1", "balChg": f"{one.amount:f}", "billId": str(_bill_id(one)), "ccy": "USDT",
             "instId": one.symbol, "instType": "SWAP", "mgnMode": "cross", "pnl": f"{one.amount:f}",
             "posBal": "0", "posBalChg": "0", "subType": "174" if one.amount > 0 else "173",
             "sz": f"{one.quantity:f}", "ts": str(one.time_ms), "type": "8"}
            for one in newest
        ]  # fmt: skip

    def _trade(self, trade: Trade) -> Any:
        order = trade.order
        return {
            "instId": order.symbol, "instType": "SWAP" if self._venue.derivatives else "SPOT",
            "tradeId": str(trade.number), "ordId": str(order.number),
            "clOrdId": "" if order.is_level else order.cid,
            "billId": str(trade.number), "side": order.side.lower(), "execType": "T",
            "fillPx": str(trade.price), "fillSz": str(trade.amount), "fee": f"{-trade.fee:f}",
            "feeCcy": trade.fee_currency, "ts": str(trade.time_ms), "fillTime": str(trade.time_ms),
            "posSide": _pos_side(order.position_side), "tag": "",
            "fillPnl": f"{trade.realized:f}",
        }  # fmt: skip


def _leg(order: Order) -> str:
    return "sl" if (order.side == "BUY") is order.rises else "tp"


def _pos_side(position_side: str) -> str:
    return "net" if position_side == "BOTH" else position_side.lower()


def _bill_id(one: Funding) -> int:
    """Ids of bills increase with their time."""
    return one.time_ms * 10**6 + one.number % 10**6
