"""The fake terminal and its trade server: accounts, symbols, who is logged in, faults on demand."""

import threading
import time
from typing import Any

from tests.fakes.mt5.account_model import BUY, CANCELED, HEDGING, SELL, AccountModel
from tests.fakes.mt5.symbols import listed

DEAL, PENDING, SLTP, MODIFY, REMOVE = 1, 5, 6, 7, 8
RETURN = 2
REQUEST_OR_INSTANT = (0, 1)
FINE = (1, "Success")
BUYS = (0, 2, 4, 6)


class TerminalModel:
    """Everything that outlives a client."""

    def __init__(self) -> None:
        self.zone_seconds, self.skew_seconds = 0.0, 0.0
        self.connected = self.algo_trading = self.ticking = True
        self.api_disabled = self.market_closed = False
        self.ping_microseconds, self.path = 32_000, "C:\\mt5"
        self.symbols = {one["name"]: one for one in listed()}
        self.accounts = {
            login: AccountModel(login, mode, self.now)
            for login, mode in ((1001, 2), (1002, 0), (1003, 2))
        }
        self.current: AccountModel | None = None
        self.ticks = {name: self.now() for name in self.symbols}
        self.faults: list[dict[str, Any]] = []
        self.error: tuple[int, str] = FINE
        self.released = threading.Event()
        self.holding = threading.Event()
        self.calls: list[str] = []
        self.gap: dict[str, Any] | None = None  # a quote that overtakes the next order
        self.spent: list[float] = []  # seconds in the package: [n + 1] is of call n

    def now(self) -> int:
        return int((time.time() + self.zone_seconds + self.skew_seconds) * 1000)

    # ---- the package's functions ----------------------------------------------------------
    def initialize(self, path: Any = None, **words: Any) -> bool:
        return self._log_in(int(words["login"]), words) if "login" in words else True

    def login(self, login: int, **words: Any) -> bool:
        return self._log_in(login, words)

    def _log_in(self, login: int, words: dict[str, Any]) -> bool:
        books = self.accounts.get(login)
        server = words.get("server")
        if (
            books is None
            or words.get("password") != books.password
            or server not in (None, books.server)
        ):
            self.error = (-6, "Terminal: Authorization failed")
            return False
        self.current = books
        return True

    def version(self) -> list[Any]:
        return [500, 5200, "20 Nov 2026"]

    def terminal_info(self) -> dict[str, Any]:
        return {
            "community_account": False, "community_connection": False, "connected": self.connected,
            "dlls_allowed": False, "trade_allowed": self.algo_trading,
            "tradeapi_disabled": self.api_disabled, "email_enabled": False, "ftp_enabled": False,
            "notifications_enabled": False, "mqid": False, "build": 5200, "maxbars": 100_000,
            "codepage": 0, "ping_last": self.ping_microseconds, "community_balance": 0.0,
            "retransmission": 0.0, "company": "Double", "name": "MetaTrader 5",
            "language": "English", "path": self.path, "data_path": "C:\\mt5",
            "commondata_path": "C:\\common",
        }  # fmt: skip

    def account_info(self) -> dict[str, Any] | None:
        books = self.current
        if books is None:
            self.error = (-10004, "No IPC connection")
            return None
        margin = self._used(books)
        return {
            "login": books.login, "trade_mode": 0, "leverage": books.leverage, "limit_orders": 200,
            "margin_so_mode": 0, "trade_allowed": books.may_trade,
            "trade_expert": books.may_expert, "margin_mode": books.margin_mode,
            "currency_digits": 2, "fifo_close": False, "balance": books.balance, "credit": 0.0,
            "profit": 0.0, "equity": books.balance, "margin": margin,
            "margin_free": books.balance - margin, "margin_level": 0.0, "margin_so_call": 50.0,
            "margin_so_so": 30.0, "margin_initial": 0.0, "margin_maintenance": 0.0, "assets": 0.0,
            "liabilities": 0.0, "commission_blocked": 0.0, "name": "A. Double",
            "server": books.server, "currency": "USD", "company": "Double",
        }  # fmt: skip

    def symbols_total(self) -> int:
        return len(self.symbols)

    def symbols_get(self) -> list[dict[str, Any]]:
        return list(self.symbols.values())

    def symbol_info(self, name: str) -> dict[str, Any] | None:
        if name not in self.symbols:
            self.error = (-4, "Terminal: Not found")
        return self.symbols.get(name)

    def symbol_select(self, name: str, enable: bool = True) -> bool:
        if name in self.symbols:
            self.symbols[name]["visible"] = self.symbols[name]["select"] = enable
        return name in self.symbols

    def symbol_info_tick(self, name: str) -> dict[str, Any] | None:
        one = self.symbols.get(name)
        if one is None or not one["visible"]:
            self.error = (-4, "Terminal: Not found")
            return None
        if self.ticking:
            self.ticks[name] = max(self.now(), self.ticks[name] + 1)
        at = self.ticks[name]
        return {
            "time": at // 1000, "bid": one["bid"], "ask": one["ask"], "last": 0.0, "volume": 0,
            "time_msc": at, "flags": 6, "volume_real": 0.0,
        }  # fmt: skip

    def orders_total(self) -> int:
        return len(self._books().orders)

    def orders_get(self, ticket: int = 0) -> list[dict[str, Any]]:
        return [one for one in self._books().orders if ticket in (0, one["ticket"])]

    def positions_total(self) -> int:
        return len(self._books().positions)

    def positions_get(self, ticket: int = 0) -> list[dict[str, Any]]:
        return [one for one in self._books().positions if ticket in (0, one["ticket"])]

    def history_orders_total(self, begin: int, end: int) -> int:
        return len(self.history_orders_get(begin, end))

    def history_orders_get(
        self, begin: int = 0, end: int = 2**40, *, ticket: int = 0, position: int = 0
    ) -> list[dict[str, Any]]:
        return [
            one
            for one in self._books().history
            if begin <= one["time_done"] <= end and ticket in (0, one["ticket"])
        ]

    def history_deals_total(self, begin: int, end: int) -> int:
        return len(self.history_deals_get(begin, end))

    def history_deals_get(
        self, begin: int = 0, end: int = 2**40, *, ticket: int = 0, position: int = 0
    ) -> list[dict[str, Any]]:
        """ticket: of an order; position: an identifier."""
        books = self._books()
        return [
            one
            for one in books.deals
            if begin <= one["time"] <= end
            and ticket in (0, one["order"])
            and position in (0, one["position_id"])
            and one["ticket"] not in books.late
        ]

    def order_calc_margin(self, kind: int, name: str, volume: float, price: float) -> float:
        return self._margin(name, volume)

    def order_check(self, request: dict[str, Any]) -> dict[str, Any]:
        code = self._refusal(request)
        return {
            "retcode": code, "balance": 0.0, "equity": 0.0, "profit": 0.0, "margin": 0.0,
            "margin_free": 0.0, "margin_level": 0.0, "comment": "Done" if not code else "No",
            "request": request,
        }  # fmt: skip

    def quote(self, name: str, bid: float, ask: float) -> None:
        """The market moves: waiting orders and levels see it."""
        self.symbols[name].update(bid=bid, ask=ask)
        self.ticks[name] = self.now()
        for books in self.accounts.values():
            books.quote(name, bid, ask)

    def order_send(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.gap is not None:
            moved, self.gap = self.gap, None
            self.quote(**moved)
        if code := self._refusal(request):
            return self.result(request, code)
        self._books().accepted.append(request)
        return {
            DEAL: self._deal, PENDING: self._pend, SLTP: self._levels, MODIFY: self._change,
            REMOVE: self._remove,
        }[request["action"]](request)  # fmt: skip

    def result(
        self, request: dict[str, Any], code: int, order: int = 0, deal: int = 0, volume: float = 0.0
    ) -> dict[str, Any]:
        words = {10009: "Request executed", 10008: "Order placed"}.get(code, "no")
        return {
            "retcode": code, "deal": deal, "order": order, "volume": volume, "price": 0.0,
            "bid": 0.0, "ask": 0.0, "comment": words, "request_id": 1, "retcode_external": 0,
            "request": request,
        }  # fmt: skip

    # ---- the server's rules ---------------------------------------------------------------
    def _books(self) -> AccountModel:
        assert self.current is not None
        return self.current

    def _margin(self, name: str, volume: float) -> float:
        one = self.symbols[name]
        return float(volume * one["trade_contract_size"] * one["bid"] / self._books().leverage)

    def _used(self, books: AccountModel) -> float:
        held = [one for one in books.positions if one["symbol"] in self.symbols]
        return sum(self._margin(one["symbol"], one["volume"]) for one in held)

    def _refusal(self, request: dict[str, Any]) -> int:
        """The first reason against a request, 0 if there is none."""
        if not self.algo_trading or self.api_disabled:
            return 10027
        if not self.connected:
            return 10031
        action = request["action"]
        if action in (REMOVE, MODIFY):
            there = any(one["ticket"] == request["order"] for one in self._books().orders)
            return 0 if there else 10013
        if self.market_closed:
            return 10018
        if action == SLTP:
            there = any(one["ticket"] == request["position"] for one in self._books().positions)
            return (self._stops(request) if there else 10036) or 0
        return self._new(request)

    def _new(self, request: dict[str, Any]) -> int:
        one, books = self.symbols.get(request["symbol"]), self._books()
        if one is None:
            return 10013
        if bad := self._mode(request, one["trade_mode"]):
            return bad
        volume, step = request["volume"], one["volume_step"]
        even = abs(volume / step - round(volume / step)) < 1e-6
        if not (one["volume_min"] <= volume <= one["volume_max"] and even):
            return 10014
        filling = request["type_filling"]
        if request["action"] == DEAL and one["trade_exemode"] in (2, 3):
            allowed = {0: one["filling_mode"] & 1, 1: one["filling_mode"] & 2}
            allowed[2] = one["trade_exemode"] == 3
            if not allowed[filling]:
                return 10030
        at_once = request["action"] == PENDING and filling != RETURN
        may = one["trade_exemode"] == 3 and one["filling_mode"] & (1, 2, 0)[filling]
        if at_once and not may:
            return 10030
        ticket = request.get("position", 0)
        if ticket and books.margin_mode == HEDGING:
            held = [p for p in books.positions if p["ticket"] == ticket]
            if not held:
                return 10036
            return 10038 if volume > held[0]["volume"] + 1e-9 else 0
        if bad := self._level(request, one) or self._stops(request):
            return bad
        needed = 0.0 if ticket else self._margin(request["symbol"], self._added(request))
        return 10019 if self._used(books) + needed > books.balance else 0

    def _mode(self, request: dict[str, Any], mode: int) -> int:
        """What the account and the symbol's trade mode have against a request."""
        if not (self._books().may_trade and self._books().may_expert) or mode == 0:
            return 10017
        if request.get("position", 0) or self._added(request) <= 0:
            return 0
        is_buy = request["type"] in BUYS
        return {1: 0 if is_buy else 10042, 2: 10043 if is_buy else 0, 3: 10044}.get(mode, 0)

    def _added(self, request: dict[str, Any]) -> float:
        """How many lots an order adds to what is held."""
        books, sign = self._books(), 1 if request["type"] in BUYS else -1
        if books.margin_mode == HEDGING:
            return float(request["volume"])
        theirs = [p for p in books.positions if p["symbol"] == request["symbol"]]
        held = sum(p["volume"] if p["type"] == BUY else -p["volume"] for p in theirs)
        return float(max(0.0, abs(held + sign * request["volume"]) - abs(held)))

    def _level(self, request: dict[str, Any], one: dict[str, Any]) -> int:
        """A waiting order whose price was passed already; an exchange's limits may be beyond it."""
        if request["action"] != PENDING:
            return 0
        at, kind = request["price"], request["type"]
        passed = {
            2: at >= one["ask"],
            3: at <= one["bid"],
            4: at <= one["ask"],
            5: at >= one["bid"],
        }
        limit_at_exchange = kind in (2, 3) and one["trade_exemode"] == 3
        return 10015 if not at or (passed[kind] and not limit_at_exchange) else 0

    def _stops(self, request: dict[str, Any]) -> int:
        """Stop and target must lie on their sides of the price, the stops level away."""
        one = self.symbols[request["symbol"]]
        least = one["trade_stops_level"] * one["point"] - 1e-9
        held = [p for p in self._books().positions if p["ticket"] == request.get("position")]
        kind = held[0]["type"] if request["action"] == SLTP else request["type"]
        sign = 1 if kind in BUYS else -1
        at_market = one["bid"] if sign > 0 else one["ask"]
        price = request["price"] if request["action"] == PENDING else at_market
        stop, target = request.get("sl", 0.0), request.get("tp", 0.0)
        wrong = (stop and (price - stop) * sign < least) or (
            target and (target - price) * sign < least
        )
        return 10016 if wrong else 0

    def _deal(self, request: dict[str, Any]) -> dict[str, Any]:
        books, one = self._books(), self.symbols[request["symbol"]]
        price = one["ask"] if request["type"] == BUY else one["bid"]
        assert request["type"] in (BUY, SELL)
        room = request["deviation"] * one["point"] + 1e-9
        reads_deviation = one["trade_exemode"] in REQUEST_OR_INSTANT
        if reads_deviation and abs(price - request["price"]) > room:
            return self.result(request, 10004)
        order = books.order(request)
        deals = books.execute(order, price, books.fill_share)
        whole = books.fill_share == 1.0
        done = 10009 if whole else 10010
        return self.result(request, done, order["ticket"], deals[-1], order["volume_initial"])

    def _pend(self, request: dict[str, Any]) -> dict[str, Any]:
        books, one = self._books(), self.symbols[request["symbol"]]
        order = books.order(request)
        books.orders.append(order)
        kind, at = request["type"], request["price"]
        if (kind == 2 and at >= one["ask"]) or (kind == 3 and at <= one["bid"]):
            price = one["ask"] if kind == 2 else one["bid"]
            rests = request["type_filling"] == RETURN
            books.execute(order, price, books.fill_share, rests=rests)
        elif request["type_filling"] != RETURN:
            books.end(order, CANCELED)
        return self.result(request, 10009, order["ticket"])

    def _levels(self, request: dict[str, Any]) -> dict[str, Any]:
        for position in self._books().positions:
            if position["ticket"] == request["position"]:
                wanted = {"sl": request["sl"], "tp": request["tp"]}
                if {name: position[name] for name in wanted} == wanted:
                    return self.result(request, 10025)
                stripped = self._books().strips_levels
                position.update(dict.fromkeys(wanted, 0.0) if stripped else wanted)
        return self.result(request, 10009)

    def _change(self, request: dict[str, Any]) -> dict[str, Any]:
        for order in self._books().orders:
            if order["ticket"] == request["order"]:
                order.update(sl=request["sl"], tp=request["tp"], price_open=request["price"])
        return self.result(request, 10009, request["order"])

    def _remove(self, request: dict[str, Any]) -> dict[str, Any]:
        books = self._books()
        for order in [one for one in books.orders if one["ticket"] == request["order"]]:
            books.end(order, CANCELED)
        return self.result(request, 10009, request["order"])
