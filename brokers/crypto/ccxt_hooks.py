"""What we change in ccxt's exchange classes: rate limits, clocks and what is kept of an answer.

ccxt's own throttle and its retries are off (`client.py`).
"""

import importlib
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

from brokers.crypto import codes
from brokers.crypto.exchange_clock import ExchangeClock
from brokers.crypto.exchanges import EXPIRES_SECONDS, Envelope, rules
from brokers.crypto.guarded_call import current_call
from brokers.crypto.priority_lock import PriorityLock
from brokers.crypto.rate_limits import AccountRateLimits
from brokers.crypto.response import is_json, is_whole, retry_after, without_warnings

UNREADABLE = "unreadable"
NO_ENTRY_PRICE = "noEntryPrice"
PROXY_STATUSES = frozenset({407, 511})  # a proxy or a network asks us to log in


class HookedExchange:
    """Mixed in before one of ccxt's classes. lock: set if requests must not overtake each other.
    clock: the exchange's clock, which dates the requests."""

    rate_limits: AccountRateLimits
    clock: ExchangeClock
    lock: PriorityLock | None = None
    id: str
    precisionMode: int
    options: dict[str, Any]
    markets_by_id: dict[str, Any]

    def __del__(self) -> None:
        """Warn of no open session: it is ours, not ccxt's."""

    async def fetch2(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: Any = None,
        config: Any = None,
    ) -> Any:
        """Send a request, after waiting for the rate limits. Called by ccxt before it signs.

        Raises NotSent RATE_LIMITED.
        """
        guarded = current_call()
        request: tuple[Any, ...] = (api, method, path, params or {}, config or {})
        cost = self.calculate_rate_limiter_cost(*request)  # type: ignore[attr-defined]
        await self.rate_limits.admit(float(cost), guarded)
        fetch = super().fetch2  # type: ignore[misc]
        if self.lock is None:
            return await fetch(path, api, method, params or {}, config or {})
        async with self.lock.taken(urgent=guarded is not None and guarded.is_urgent):
            return await fetch(path, api, method, params or {}, config or {})

    def milliseconds(self) -> int:
        """Return the time that ccxt dates requests with."""
        return self.clock.now_ms()

    def incrementing_nonce(self) -> int:
        """Return a number greater than that of the key's last request, as Kraken requires.

        Microseconds, since ccxt's milliseconds run ahead of the clock under load, and Kraken would
        then refuse the requests of our next process."""
        last_nonce = int(self.options.get("lastNonce") or 0)
        self.options["lastNonce"] = nonce = max(last_nonce + 1, time.time_ns() // 1000)
        return nonce

    def sign(self, path: str, *arguments: Any, **keywords: Any) -> Any:
        """Add the header by which OKX refuses an order that is too old; it is not signed."""
        request = super().sign(path, *arguments, **keywords)  # type: ignore[misc]
        if current_call() is not None and self.id == "okx" and path == "trade/order":
            request["headers"]["expTime"] = str(expires_ms(self.clock))
        return request

    def amount_to_precision(self, symbol: str, amount: Any) -> Any:
        """Return an amount as it is, in a call that changes something: it was computed from what
        the engine knows, and ccxt would cut it by what it has loaded, perhaps an hour ago."""
        if current_call() is not None and amount is not None:
            return f"{Decimal(str(amount)):f}"
        return super().amount_to_precision(symbol, amount)  # type: ignore[misc]

    def parse_order(self, order: Any, market: Any = None) -> Any:
        """Read an order; outside of a call that changes something, an invalid one spoils no list:
        UNREADABLE names why."""
        return self._read_row(super().parse_order, order, market)  # type: ignore[misc]

    def parse_trade(self, trade: Any, market: Any = None) -> Any:
        """Read a trade, as `parse_order` does."""
        return self._read_row(super().parse_trade, trade, market)  # type: ignore[misc]

    def parse_position(self, position: Any, market: Any = None) -> Any:
        """Read a position, as `parse_order` does."""
        return self._read_row(super().parse_position, position, market)  # type: ignore[misc]

    def parse_position_risk(self, position: Any, market: Any = None) -> Any:
        """Read a position of Binance, as `parse_order` does."""

        def read(row: Any, of: Any) -> Any:
            if NO_ENTRY_PRICE in row:
                raise ValueError(f"entry price {row[NO_ENTRY_PRICE]!r}")
            return super(HookedExchange, self).parse_position_risk(row, of)  # type: ignore[misc]

        return self._read_row(read, position, market)

    def _read_row(self, read: Callable[[Any, Any], Any], row: Any, market: Any) -> Any:
        try:
            return read(row, market)
        except Exception as error:  # any: ccxt may raise anything for an invalid row
            call = current_call()
            if call is not None and call.may_have_left:
                raise
            digest = sha256(repr(row).encode()).hexdigest()[:12]
            return {
                UNREADABLE: f"{type(error).__name__} {error}", "info": row, "id": digest,
                "symbol": self._symbol_of(row, market), "timestamp": self.milliseconds(),
            }  # fmt: skip

    def _symbol_of(self, row: Any, market: Any) -> str:
        """Return the symbol of a row that ccxt cannot read; '' if it does not state any."""
        if market:
            return str(market["symbol"])
        stated = str(row.get("symbol") or row.get("instId") or "") if isinstance(row, dict) else ""
        listed = self.markets_by_id.get(stated)
        return str(listed[0]["symbol"]) if listed else stated

    def set_markets(self, markets: Any, currencies: Any = None) -> Any:
        """Store loaded markets, each with the meaning of its precision (`market_steps.py`)."""
        loaded = super().set_markets(markets, currencies)  # type: ignore[misc]
        for market in loaded.values():
            market["precisionMode"] = self.precisionMode
        return loaded

    def parse_order_status(self, status: str | None) -> Any:
        """Return ccxt's word for an order's state, where ours differs as `exchanges.py` has it."""
        known = rules(self.id).order_states.get(status or "")
        return known or super().parse_order_status(status)  # type: ignore[misc]

    def handle_errors(
        self, code: int, reason: Any, url: str, method: str, headers: Any, body: str, answer: Any,
        *request: Any,
    ) -> Any:  # fmt: skip
        """Raise ccxt's errors, and BadResponse for an answer without the exchange's envelope: ccxt
        would read it as an empty account. Backs off if the exchange asks for it.

        answer: the parsed body; request: the headers and the body of the request.
        """
        envelope = rules(self.id).envelope
        self._back_off(envelope, code, headers)
        if envelope is Envelope.KRAKEN and isinstance(answer, dict):
            answer["error"] = without_warnings(answer.get("error"))
        super().handle_errors(  # type: ignore[misc]
            code, reason, url, method, headers, body, answer, *request
        )
        if self.id == "binance" and "/positionRisk" in str(url) and isinstance(answer, list):
            keep_positions(answer)
        if code < 300 and not is_whole(envelope, str(url).partition("?")[0], answer):
            raise importlib.import_module("ccxt").BadResponse(f"{self.id} {body}")

    def handle_http_status_code(
        self, code: int, reason: Any, url: str, method: str, body: str
    ) -> Any:
        """Raise ccxt's error for a status without an error of the exchange's own.

        For a proxy's status, and for a page instead of an answer, that is never a refused key: such
        a refusal would end the account's orders, and pause its polls for hours."""
        if code in PROXY_STATUSES or (code == 401 and body.strip() and not is_json(body)):
            detail = f"{self.id} {method} {url} {code} {reason} {body}"
            raise importlib.import_module("ccxt").ExchangeNotAvailable(detail)
        return super().handle_http_status_code(  # type: ignore[misc]
            code, reason, url, method, body
        )

    def _back_off(self, envelope: Envelope, code: int, headers: Mapping[str, str] | None) -> None:
        default = codes.ADDRESS_BACKOFFS.get(envelope, codes.DEFAULT_BACKOFFS).get(code)
        if default is not None:
            self.rate_limits.back_off(retry_after(headers or {}) or default, whole_address=True)

    def on_rest_response(
        self, code: int, reason: Any, url: str, method: str, headers: Any, body: str, *request: Any
    ) -> Any:
        """Store the answer to a call that changes something with that call: ccxt's errors lose
        parts of it, and its `last_http_response` is shared between calls.

        request: the headers and the body of the request.
        """
        guarded = current_call()
        if guarded is not None and method != "GET":
            guarded.status, guarded.body = code, body
        return super().on_rest_response(  # type: ignore[misc]
            code, reason, url, method, headers, body, *request
        )


def keep_positions(rows: list[Any]) -> None:
    """Let ccxt read Binance's open positions whose entry price is missing or invalid: it leaves
    them out, as if they were closed."""
    for row in rows:
        price = row.get("entryPrice")
        if not _is_positive(price) and str(row.get("positionAmt")).strip("-0.") != "":
            row |= {NO_ENTRY_PRICE: price, "entryPrice": "1"}


def _is_positive(value: Any) -> bool:
    try:
        return Decimal(str(value)) > 0
    except ArithmeticError:
        return False


def expires_ms(clock: ExchangeClock) -> int:
    """Return when an exchange stops accepting what is sent now: ms since 1970 by its own clock."""
    return clock.now_ms() + int(EXPIRES_SECONDS * 1000)
