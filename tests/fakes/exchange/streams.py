"""The websockets of the fake exchanges: what each answers to a client, and what it pushes.

Sources: the protocols as ccxt 4.5.90 (pro) speaks them, and the messages in its comments.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from tests.fakes.exchange.bybit import Bybit
from tests.fakes.exchange.okx import Okx
from tests.fakes.exchange.venue import Order, Trade, Venue

SIDES = {"BUY": "Buy", "SELL": "Sell"}


class Stream(Protocol):
    """One client's connection. account: set once its key was accepted and it subscribed to its
    orders; symbols: whose prices it follows."""

    account: Venue | None
    symbols: set[str]

    def __init__(self, accounts: Mapping[str, Venue], path: str, query: str) -> None: ...

    def answer(self, text: str) -> list[Any]:
        """Return what to send after a message of the client's: JSON, or text."""
        ...

    def order_news(self, order: Order, trade: Trade | None) -> Any: ...

    def price_news(self, venue: Venue, symbol: str) -> Any: ...

    def key_expired(self) -> Any:
        """Return what is sent when the listen key or token has expired; None: nothing."""
        ...


class _Base:
    def __init__(self, accounts: Mapping[str, Venue], path: str, query: str) -> None:
        self.account: Venue | None = None
        self.symbols: set[str] = set()
        self._accounts = accounts
        self._venue = next(iter(accounts.values()))

    def key_expired(self) -> Any:
        return None

    def _account_of(self, key: str) -> Venue | None:
        venue = self._accounts.get(key)
        return None if venue is None or venue.refuses_streams else venue


class BinanceStream(_Base):
    """Spot: signed subscription at /ws-api/v3. Futures: /private/ws with a listen key."""

    def __init__(self, accounts: Mapping[str, Venue], path: str, query: str) -> None:
        super().__init__(accounts, path, query)
        if listen_key := parse_qs(query).get("listenKey"):
            holders = (one for one in accounts.values() if one.listen_key == listen_key[0])
            self.account = next(holders, None)  # of an expired key there is never any news

    def answer(self, text: str) -> list[Any]:
        message = json.loads(text)
        if message["method"] == "SUBSCRIBE":
            self.symbols |= {one.partition("@")[0].upper() for one in message["params"]}
            return [{"result": None, "id": message["id"]}]
        assert message["method"] == "userDataStream.subscribe.signature"
        params = message["params"]
        venue, signature = self._account_of(params["apiKey"]), params.pop("signature")
        signed = "&".join(f"{name}={params[name]}" for name in sorted(params))
        if venue is not None and not _is_current(venue, int(params["timestamp"])):
            error = {"code": -1021, "msg": "Timestamp is outside of the recvWindow."}
            return [{"id": message["id"], "status": 400, "error": error}]
        if venue is None or not _is_signed(venue.secret, signed, signature):
            error = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
            return [{"id": message["id"], "status": 401, "error": error}]
        self.account = venue
        return [{"id": message["id"], "status": 200, "result": {"subscriptionId": 0}}]

    def order_news(self, order: Order, trade: Trade | None) -> Any:
        assert self.account is not None
        kind = "TRADE" if trade else "NEW" if order.is_open else order.status
        shared = {
            "s": order.symbol, "c": order.cid, "S": order.side, "o": order.type, "f": order.tif,
            "q": str(order.amount), "p": str(order.price or 0), "x": kind, "X": order.status,
            "i": order.number, "l": str(trade.amount if trade else 0), "z": f"{order.filled:f}",
            "L": str(trade.price if trade else 0), "n": str(trade.fee if trade else 0),
            "N": trade.fee_currency if trade else None, "t": trade.number if trade else -1,
            "T": self.account.now(), "m": False,
        }  # fmt: skip
        now = self.account.now()
        if self.account.derivatives:
            changed = {**shared, "ap": f"{order.average:f}", "R": order.reduce_only,
                       "ps": order.position_side, "rp": "0"}  # fmt: skip
            return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": now, "o": changed}
        event = {**shared, "e": "executionReport", "E": now, "O": order.time_ms,
                 "Z": f"{order.cost:f}", "r": "NONE", "g": -1, "C": ""}  # fmt: skip
        return {"subscriptionId": 0, "event": event}

    def price_news(self, venue: Venue, symbol: str) -> Any:
        bid, ask = venue.best_bid_ask(symbol)
        news = {"u": venue.now(), "s": symbol, "b": bid, "B": "1", "a": ask, "A": "1"}
        if venue.derivatives:
            news |= {"e": "bookTicker", "E": venue.now(), "T": venue.now()}
        return news

    def key_expired(self) -> Any:
        assert self.account is not None
        now = self.account.now()
        if self.account.derivatives:
            return {"e": "listenKeyExpired", "E": now, "listenKey": "gone"}
        return {"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": now}}


class BybitStream(_Base):
    """v5/private with a signed auth, v5/public/… without."""

    def answer(self, text: str) -> list[Any]:
        message = json.loads(text)
        reply = {"success": True, "ret_msg": "", "conn_id": "c", "op": message["op"],
                 "req_id": message.get("req_id", "")}  # fmt: skip
        match message["op"]:
            case "ping":
                return [{**reply, "ret_msg": "pong"}]
            case "auth":
                return [self._auth(message["args"], reply)]
        for topic in message["args"]:
            if topic.startswith("orderbook.1."):
                self.symbols.add(topic.rpartition(".")[2])
        if "order" in message["args"]:
            assert self._authenticated is not None
            self.account = self._authenticated
        return [reply]

    _authenticated: Venue | None = None

    def _auth(self, arguments: list[Any], reply: dict[str, Any]) -> Any:
        key, expires, signature = arguments
        venue = self._account_of(key)
        is_late = venue is not None and not _is_current(venue, int(expires) - 10_000)
        if (
            venue is None
            or is_late
            or not _is_signed(venue.secret, f"GET/realtime{expires}", signature)
        ):
            del reply["req_id"]
            return {**reply, "success": False, "ret_msg": "error:USVC1111",
                    "request": {"op": "auth", "args": arguments}}  # fmt: skip
        self._authenticated = venue
        return reply

    def order_news(self, order: Order, trade: Trade | None) -> Any:
        assert self.account is not None
        category = "linear" if self.account.derivatives else "spot"
        line = {**Bybit(self.account)._order(order), "category": category}
        return {"id": "1", "topic": "order", "creationTime": self.account.now(), "data": [line]}

    def price_news(self, venue: Venue, symbol: str) -> Any:
        bid, ask = venue.best_bid_ask(symbol)
        data = {"s": symbol, "b": [[bid, "1"]] if bid else [], "a": [[ask, "1"]] if ask else [],
                "u": venue.now(), "seq": venue.now()}  # fmt: skip
        return {"topic": f"orderbook.1.{symbol}", "type": "snapshot", "ts": venue.now(),
                "data": data, "cts": venue.now()}  # fmt: skip


class OkxStream(_Base):
    """ws/v5/private with a signed login, ws/v5/public without."""

    _authenticated: Venue | None = None

    def answer(self, text: str) -> list[Any]:
        if text == "ping":
            return ["pong"]
        message = json.loads(text)
        if message["op"] == "login":
            return [self._login(message["args"][0])]
        replies: list[Any] = []
        for wanted in message["args"]:
            replies.append({"event": "subscribe", "arg": wanted, "connId": "c"})
            if wanted["channel"] == "orders":
                assert self._authenticated is not None
                self.account = self._authenticated
            else:
                self.symbols.add(wanted["instId"])
        return replies

    def _login(self, line: Mapping[str, str]) -> Any:
        venue, text = self._account_of(line["apiKey"]), f"{line['timestamp']}GET/users/self/verify"
        if venue is None or line["passphrase"] != venue.password:
            return {"event": "error", "msg": "Invalid apiKey", "code": "60005", "connId": "c"}
        if not _is_current(venue, int(line["timestamp"]) * 1000, 30_000):
            return {"event": "error", "msg": "Timestamp expired", "code": "60006", "connId": "c"}
        digest = hmac.new(venue.secret.encode(), text.encode(), hashlib.sha256).digest()
        if base64.b64encode(digest).decode() != line["sign"]:
            return {"event": "error", "msg": "Invalid sign", "code": "60007", "connId": "c"}
        self._authenticated = venue
        return {"event": "login", "msg": "", "code": "0", "connId": "c"}

    def order_news(self, order: Order, trade: Trade | None) -> Any:
        assert self.account is not None
        argument = {"channel": "orders", "instType": "ANY", "uid": self.account.uid}
        return {"arg": argument, "data": [Okx(self.account)._order(order)]}

    def price_news(self, venue: Venue, symbol: str) -> Any:
        bid, ask = venue.best_bid_ask(symbol)
        line = {"bids": [[bid, "1", "0", "1"]] if bid else [], "seqId": venue.now(),
                "asks": [[ask, "1", "0", "1"]] if ask else [], "ts": str(venue.now())}  # fmt: skip
        return {"arg": {"channel": "bbo-tbt", "instId": symbol}, "data": [line]}


class KrakenStream(_Base):
    """v2: executions with a token that REST has issued, ticker without."""

    _names: Mapping[str, str] = {}

    def answer(self, text: str) -> list[Any]:
        message = json.loads(text)
        if message.get("method") == "ping":
            return [{"method": "pong", "req_id": message.get("req_id")}]
        params, number = message["params"], message["req_id"]
        reply = {"method": "subscribe", "success": True, "req_id": number,
                 "result": {"channel": params["channel"]}}  # fmt: skip
        if params["channel"] == "ticker":
            self.symbols |= set(self._venue.markets)
            return [reply]
        found = [one for one in self._accounts.values() if one.listen_key == params["token"]]
        if not found or found[0].refuses_streams:
            return [{"method": "subscribe", "success": False, "req_id": number,
                     "error": "ESession:Invalid session(s)"}]  # fmt: skip
        self.account = found[0]
        return [reply, {"channel": "executions", "type": "snapshot", "data": [], "sequence": 1}]

    def order_news(self, order: Order, trade: Trade | None) -> Any:
        assert self.account is not None
        market = self.account.markets[order.symbol]
        line = {
            "order_id": str(order.number), "cl_ord_id": order.cid,
            "symbol": f"{market.base}/{market.quote}", "side": order.side.lower(),
            "order_qty": float(order.amount), "cum_qty": float(order.filled),
            "cum_cost": float(order.cost), "order_type": order.type.lower(),
            "exec_type": "trade" if trade else "new" if order.is_open else order.status.lower(),
            "order_status": "new" if order.is_open else order.status.lower(),
            "timestamp": "2026-01-01T00:00:00.000000Z",
        }  # fmt: skip
        if trade:
            line |= {"exec_id": f"T{trade.number}", "trade_id": trade.number,
                     "last_qty": float(trade.amount), "last_price": float(trade.price),
                     "cost": float(trade.amount * trade.price), "liquidity_ind": "t",
                     "fees": [{"asset": trade.fee_currency, "qty": float(trade.fee)}]}  # fmt: skip
        return {"channel": "executions", "type": "update", "data": [line], "sequence": 2}

    def price_news(self, venue: Venue, symbol: str) -> Any:
        bid, ask = venue.best_bid_ask(symbol)
        market = venue.markets[symbol]
        line = {"symbol": f"{market.base}/{market.quote}", "bid": float(bid or 0), "bid_qty": 1.0,
                "ask": float(ask or 0), "ask_qty": 1.0, "last": float(venue.prices[symbol]),
                "volume": 1.0, "vwap": 1.0, "low": 1.0, "high": 1.0, "change": 0.0,
                "change_pct": 0.0}  # fmt: skip
        return {"channel": "ticker", "type": "update", "data": [line]}


def _is_current(venue: Venue, dated_ms: int, window_ms: int = 5_000) -> bool:
    return abs(venue.now() - dated_ms) <= window_ms


def _is_signed(secret: str, text: str, signature: str) -> bool:
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


STREAMS: Mapping[str, type[Stream]] = {
    "Binance": BinanceStream, "Bybit": BybitStream, "Okx": OkxStream, "Kraken": KrakenStream,
}  # fmt: skip
