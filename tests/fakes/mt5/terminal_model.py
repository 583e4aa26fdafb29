"""The fake terminal and its trade server: accounts, symbols, the current login, faults."""

import threading
import time
from typing import Any

from tests.fakes.mt5.account_model import BUY, CANCELED, HEDGING, SELL, SPECIFIED, AccountModel
from tests.fakes.mt5.symbols import listed

DEAL, PENDING, SLTP, MODIFY, REMOVE = 1, 5, 6, 7, 8
RETURN = 2
REQUEST_CANCEL = 9  # of an order: its state
REQUEST_OR_INSTANT = (0, 1)
FINE = (1, "Success")
BUYS = (0, 2, 4, 6)
BUY_STOP_LIMIT, SELL_STOP_LIMIT = STOP_LIMITS = (6, 7)
ORDER_FLAGS = {2: 2, 3: 2, 4: 4, 5: 4, 6: 8, 7: 8}  # of a symbol's `order_mode`, by order type


class TerminalModel:
    """All state that stays when a client disconnects."""

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
        self.gap: dict[str, Any] | None = None  # a quote that arrives before the next order
        self.removes_later = False  # as at an exchange: the order works until `end_order`
        self.accepted_fillings: list[int] | None = None  # whatever the symbols' data say
        self.sent: list[dict[str, Any]] = []  # requests of `order_send`, accepted or not

    def now(self) -> int:
        return int((time.time() + self.zone_seconds + self.skew_seconds) * 1000)

    # ---- the package's functions ----------------------------------------------------------
    def initialize(self, path: Any = None, **keywords: Any) -> bool:
        return self._log_in(int(keywords["login"]), keywords) if "login" in keywords else True

    def login(self, login: int, **keywords: Any) -> bool:
        return self._log_in(login, keywords)

    def _log_in(self, login: int, keywords: dict[str, Any]) -> bool:
        account = self.accounts.get(login)
        server = keywords.get("server")
        if (
            account is None
            or keywords.get("password") != account.password
            or server not in (None, account.server)
        ):
            self.error = (-6, "Terminal: Authorization failed")
            return False
        self.current = account
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
        account = self.current
        if account is None:
            self.error = (-10004, "No IPC connection")
            return None
        margin = self._used_margin(account)
        return {
            "login": account.login, "trade_mode": 0, "leverage": account.leverage,
            "limit_orders": 200, "margin_so_mode": 0, "trade_allowed": account.may_trade,
            "trade_expert": account.may_expert, "margin_mode": account.margin_mode,
            "currency_digits": 2, "fifo_close": False, "balance": account.balance,
            "credit": account.credit, "profit": 0.0, "equity": account.balance + account.credit,
            "margin": margin, "margin_free": account.balance + account.credit - margin,
            "margin_level": 0.0, "margin_so_call": 50.0, "margin_so_so": 30.0,
            "margin_initial": 0.0, "margin_maintenance": 0.0, "assets": 0.0,
            "liabilities": 0.0, "commission_blocked": 0.0, "name": "A. Double",
            "server": account.server, "currency": "USD", "company": "Double",
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
        symbol = self.symbols.get(name)
        if symbol is None or not symbol["visible"]:
            self.error = (-4, "Terminal: Not found")
            return None
        if self.ticking:
            self.ticks[name] = max(self.now(), self.ticks[name] + 1)
        at = self.ticks[name]
        return {
            "time": at // 1000, "bid": symbol["bid"], "ask": symbol["ask"], "last": 0.0,
            "volume": 0, "time_msc": at, "flags": 6, "volume_real": 0.0,
        }  # fmt: skip

    def orders_total(self) -> int:
        self._account().expire()
        return len(self._account().orders)

    def orders_get(self, ticket: int = 0) -> list[dict[str, Any]]:
        self._account().expire()
        return [one for one in self._account().orders if ticket in (0, one["ticket"])]

    def positions_total(self) -> int:
        return len(self._account().positions)

    def positions_get(self, ticket: int = 0) -> list[dict[str, Any]]:
        return [one for one in self._account().positions if ticket in (0, one["ticket"])]

    def history_orders_total(self, begin: int, end: int) -> int:
        return len(self.history_orders_get(begin, end))

    def history_orders_get(
        self, begin: int = 0, end: int = 2**40, *, ticket: int = 0, position: int = 0
    ) -> list[dict[str, Any]]:
        self._account().expire()
        return [
            one
            for one in (self._account().history if self._account().history_loaded else ())
            if begin <= one["time_done"] <= end and ticket in (0, one["ticket"])
        ]

    def history_deals_total(self, begin: int, end: int) -> int:
        return len(self.history_deals_get(begin, end))

    def history_deals_get(
        self, begin: int = 0, end: int = 2**40, *, ticket: int = 0, position: int = 0
    ) -> list[dict[str, Any]]:
        """ticket: of an order; position: an identifier."""
        account = self._account()
        return [
            one
            for one in ((account.opening, *account.deals) if account.history_loaded else ())
            if begin <= one["time"] <= end
            and ticket in (0, one["order"])
            and position in (0, one["position_id"])
            and one["ticket"] not in account.late
        ]

    def order_calc_margin(self, kind: int, name: str, volume: float, price: float) -> float:
        return self._margin(name, volume)

    def order_check(self, request: dict[str, Any]) -> dict[str, Any]:
        code = self._rejection(request)
        return {
            "retcode": code, "balance": 0.0, "equity": 0.0, "profit": 0.0, "margin": 0.0,
            "margin_free": 0.0, "margin_level": 0.0, "comment": "Done" if not code else "No",
            "request": request,
        }  # fmt: skip

    def quote(self, name: str, bid: float, ask: float) -> None:
        """Set a price and execute the working orders and levels that it reaches."""
        self.symbols[name].update(bid=bid, ask=ask)
        self.ticks[name] = self.now()
        for account in self.accounts.values():
            account.quote(name, bid, ask)

    def order_send(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.gap is not None:
            moved, self.gap = self.gap, None
            self.quote(**moved)
        self.sent.append(request)
        if code := self._rejection(request):
            return self.result(request, code)
        self._account().accepted.append(request)
        return {
            DEAL: self._deal, PENDING: self._place, SLTP: self._set_levels, MODIFY: self._modify,
            REMOVE: self._remove,
        }[request["action"]](request)  # fmt: skip

    def result(
        self, request: dict[str, Any], code: int, order: int = 0, deal: int = 0, volume: float = 0.0
    ) -> dict[str, Any]:
        comment = {10009: "Request executed", 10008: "Order placed"}.get(code, "no")
        return {
            "retcode": code, "deal": deal, "order": order, "volume": volume, "price": 0.0,
            "bid": 0.0, "ask": 0.0, "comment": comment, "request_id": 1, "retcode_external": 0,
            "request": request,
        }  # fmt: skip

    # ---- the server's rules ---------------------------------------------------------------
    def _account(self) -> AccountModel:
        assert self.current is not None
        return self.current

    def _margin(self, name: str, volume: float) -> float:
        symbol = self.symbols[name]
        return float(
            volume * symbol["trade_contract_size"] * symbol["bid"] / self._account().leverage
        )

    def _used_margin(self, account: AccountModel) -> float:
        held = [one for one in account.positions if one["symbol"] in self.symbols]
        return sum(self._margin(one["symbol"], one["volume"]) for one in held)

    def _rejection(self, request: dict[str, Any]) -> int:
        """Return the code of the first reason against a request, or 0."""
        if not self.algo_trading or self.api_disabled:
            return 10027
        if not self.connected:
            return 10031
        action = request["action"]
        if action in (REMOVE, MODIFY):
            found = [one for one in self._account().orders if one["ticket"] == request["order"]]
            return self._freeze_rejection(found[0], "price_open") if found else 10013
        if self.market_closed:
            return 10018
        if action == SLTP:
            held = [p for p in self._account().positions if p["ticket"] == request["position"]]
            if not held:
                return 10036
            return self._freeze_rejection(held[0], "sl", "tp") or self._stops_rejection(request)
        return self._new_order_rejection(request)

    def _freeze_rejection(self, row: dict[str, Any], *names: str) -> int:
        """Return the code if the price is too near to one of the row's prices, or 0."""
        symbol = self.symbols[row["symbol"]]
        is_position = "sl" in names
        buys = row["type"] in BUYS
        market = symbol["bid"] if buys == is_position else symbol["ask"]
        least = symbol["trade_freeze_level"] * symbol["point"] - 1e-9
        near = [name for name in names if row[name] and abs(row[name] - market) < least]
        return 10029 if near and symbol["trade_freeze_level"] else 0

    def _new_order_rejection(self, request: dict[str, Any]) -> int:
        symbol, account = self.symbols.get(request["symbol"]), self._account()
        if symbol is None:
            return 10013
        if bad := self._mode_rejection(request, symbol["trade_mode"]):
            return bad
        volume, step = request["volume"], symbol["volume_step"]
        even = abs(volume / step - round(volume / step)) < 1e-6
        if not (symbol["volume_min"] <= volume <= symbol["volume_max"] and even):
            return 10014
        filling = request["type_filling"]
        if self.accepted_fillings is not None:
            return 0 if filling in self.accepted_fillings else 10030
        if request["action"] == DEAL and symbol["trade_exemode"] in (2, 3):
            allowed = {0: symbol["filling_mode"] & 1, 1: symbol["filling_mode"] & 2}
            allowed[2] = symbol["trade_exemode"] == 3
            if not allowed[filling]:
                return 10030
        at_once = request["action"] == PENDING and filling != RETURN
        may = symbol["trade_exemode"] == 3 and symbol["filling_mode"] & (1, 2, 0)[filling]
        if at_once and not may:
            return 10030
        ticket = request.get("position", 0)
        if ticket and account.margin_mode == HEDGING:
            held = [p for p in account.positions if p["ticket"] == ticket]
            if not held:
                return 10036
            return 10038 if volume > held[0]["volume"] + 1e-9 else 0
        if bad := (
            self._type_rejection(request, symbol)
            or self._price_rejection(request, symbol)
            or self._stops_rejection(request)
        ):
            return bad
        needed = 0.0 if ticket else self._margin(request["symbol"], self._added_volume(request))
        return 10019 if self._used_margin(account) + needed > account.balance else 0

    def _mode_rejection(self, request: dict[str, Any], mode: int) -> int:
        """Return the code if the account or the symbol's trade mode forbids a request, or 0."""
        if not (self._account().may_trade and self._account().may_expert) or mode == 0:
            return 10017
        if request.get("position", 0) or self._added_volume(request) <= 0:
            return 0
        is_buy = request["type"] in BUYS
        return {1: 0 if is_buy else 10042, 2: 10043 if is_buy else 0, 3: 10044}.get(mode, 0)

    def _added_volume(self, request: dict[str, Any]) -> float:
        """Return by how many lots an order increases the position."""
        account, sign = self._account(), 1 if request["type"] in BUYS else -1
        if account.margin_mode == HEDGING:
            return float(request["volume"])
        theirs = [p for p in account.positions if p["symbol"] == request["symbol"]]
        held = sum(p["volume"] if p["type"] == BUY else -p["volume"] for p in theirs)
        return float(max(0.0, abs(held + sign * request["volume"]) - abs(held)))

    def _type_rejection(self, request: dict[str, Any], symbol: dict[str, Any]) -> int:
        """Return the code if the symbol has no such pending order or lifetime, or 0."""
        if request["action"] != PENDING:
            return 0
        if not symbol["order_mode"] & ORDER_FLAGS[request["type"]]:
            return 10035
        lifetime = request.get("type_time", 0)
        if not symbol["expiration_mode"] & (1 << lifetime):
            return 10022
        is_over = lifetime == SPECIFIED and request.get("expiration", 0) <= self.now() // 1000
        return 10022 if is_over else 0

    def _price_rejection(self, request: dict[str, Any], symbol: dict[str, Any]) -> int:
        """Return the code if a working order's price is already passed, or 0.

        An exchange accepts such limit orders.
        """
        if request["action"] != PENDING:
            return 0
        at, kind = request["price"], request["type"]
        passed = {
            2: at >= symbol["ask"],
            3: at <= symbol["bid"],
            4: at <= symbol["ask"],
            5: at >= symbol["bid"],
            6: at <= symbol["ask"],
            7: at >= symbol["bid"],
        }
        is_exchange = symbol["trade_exemode"] == 3
        if kind in STOP_LIMITS:
            # The limit order is placed when the market is at the stop: the same rule holds then.
            limit = request.get("stoplimit", 0.0)
            is_beyond = limit >= at if kind == BUY_STOP_LIMIT else limit <= at
            if not limit or (is_beyond and not is_exchange):
                return 10015
        limit_at_exchange = kind in (2, 3) and is_exchange
        return 10015 if not at or (passed[kind] and not limit_at_exchange) else 0

    def _stops_rejection(self, request: dict[str, Any]) -> int:
        """Return the code if a level is on the wrong side or too near to the price, or 0."""
        symbol = self.symbols[request["symbol"]]
        least = symbol["trade_stops_level"] * symbol["point"] - 1e-9
        held = [p for p in self._account().positions if p["ticket"] == request.get("position")]
        kind = held[0]["type"] if request["action"] == SLTP else request["type"]
        sign = 1 if kind in BUYS else -1
        at_market = symbol["bid"] if sign > 0 else symbol["ask"]
        own = request.get("stoplimit") or request.get("price", 0.0)
        price = own if request["action"] == PENDING else at_market
        stop, target = request.get("sl", 0.0), request.get("tp", 0.0)
        wrong = (stop and (price - stop) * sign < least) or (
            target and (target - price) * sign < least
        )
        return 10016 if wrong else 0

    def _deal(self, request: dict[str, Any]) -> dict[str, Any]:
        account, symbol = self._account(), self.symbols[request["symbol"]]
        price = symbol["ask"] if request["type"] == BUY else symbol["bid"]
        assert request["type"] in (BUY, SELL)
        tolerance = request["deviation"] * symbol["point"] + 1e-9
        reads_deviation = symbol["trade_exemode"] in REQUEST_OR_INSTANT
        if reads_deviation and abs(price - request["price"]) > tolerance:
            return self.result(request, 10004)
        order = account.order(request)
        deals = account.execute(order, price, account.fill_share)
        whole = account.fill_share == 1.0
        done = 10009 if whole else 10010
        return self.result(request, done, order["ticket"], deals[-1], order["volume_initial"])

    def _place(self, request: dict[str, Any]) -> dict[str, Any]:
        account, symbol = self._account(), self.symbols[request["symbol"]]
        order = account.order(request)
        account.orders.append(order)
        kind, at = request["type"], request["price"]
        if (kind == 2 and at >= symbol["ask"]) or (kind == 3 and at <= symbol["bid"]):
            price = symbol["ask"] if kind == 2 else symbol["bid"]
            keep_rest = request["type_filling"] == RETURN
            account.execute(order, price, account.fill_share, keep_rest=keep_rest)
        elif request["type_filling"] != RETURN and symbol["trade_exemode"] == 3:
            account.end(order, CANCELED)
        return self.result(request, 10009, order["ticket"])

    def _set_levels(self, request: dict[str, Any]) -> dict[str, Any]:
        for position in self._account().positions:
            if position["ticket"] == request["position"]:
                wanted = {"sl": request["sl"], "tp": request["tp"]}
                if {name: position[name] for name in wanted} == wanted:
                    return self.result(request, 10025)
                stripped = self._account().drop_levels
                position.update(dict.fromkeys(wanted, 0.0) if stripped else wanted)
        return self.result(request, 10009)

    def _modify(self, request: dict[str, Any]) -> dict[str, Any]:
        for order in self._account().orders:
            if order["ticket"] == request["order"]:
                order.update(sl=request["sl"], tp=request["tp"], price_open=request["price"])
                order.update(price_stoplimit=request.get("stoplimit", 0.0))
        return self.result(request, 10009, request["order"])

    def _remove(self, request: dict[str, Any]) -> dict[str, Any]:
        account = self._account()
        for order in [one for one in account.orders if one["ticket"] == request["order"]]:
            if self.removes_later:
                order["state"] = REQUEST_CANCEL
                return self.result(request, 10008, request["order"])
            account.end(order, CANCELED)
        return self.result(request, 10009, request["order"])
