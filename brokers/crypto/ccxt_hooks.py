"""What we change in ccxt's exchange classes: who may ask when, and what is kept of an answer.

ccxt's own throttle and its retries are off (`client.py`).
"""

import importlib
import time
from collections.abc import Mapping
from typing import Any

from brokers.crypto import codes
from brokers.crypto.exchange_clock import ExchangeClock
from brokers.crypto.exchanges import EXPIRES_SECONDS, Dialect, rules
from brokers.crypto.guarded_call import current_call
from brokers.crypto.priority_lock import PriorityLock
from brokers.crypto.rate_limits import AccountRateLimits
from brokers.crypto.response import is_whole, retry_after


class HookedExchange:
    """Before one of ccxt's classes. budgets, turn: of the account; turn: where requests must not
    overtake each other. clock: the exchange's, by which its requests say when they were made."""

    budgets: AccountRateLimits
    clock: ExchangeClock
    lock: PriorityLock | None = None
    id: str
    options: dict[str, Any]

    def __del__(self) -> None:
        """The session is not ccxt's to close: no warning about it."""

    async def fetch2(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: Any = None,
        config: Any = None,
    ) -> Any:
        """Every request of ccxt's passes here, before it is signed: it waits for the budgets.

        Raises NotSent RATE_LIMITED.
        """
        flight = current_call()
        request: tuple[Any, ...] = (api, method, path, params or {}, config or {})
        cost = self.calculate_rate_limiter_cost(*request)  # type: ignore[attr-defined]
        await self.budgets.admit(float(cost), flight)
        ask = super().fetch2  # type: ignore[misc]
        if self.lock is None:
            return await ask(path, api, method, params or {}, config or {})
        async with self.lock.taken(urgent=flight is not None and flight.urgent):
            return await ask(path, api, method, params or {}, config or {})

    def milliseconds(self) -> int:
        """What ccxt dates requests with."""
        return self.clock.now_ms()

    def incrementing_nonce(self) -> int:
        """Kraken wants each request of a key to have a greater number. Microseconds instead of
        ccxt's milliseconds, whose count runs ahead of the clock and shuts out our next process."""
        last = int(self.options.get("lastNonce") or 0)
        self.options["lastNonce"] = nonce = max(last + 1, time.time_ns() // 1000)
        return nonce

    def sign(self, path: str, *rest: Any, **named: Any) -> Any:
        """Add the header by which OKX refuses an order that is too old; it is not signed."""
        request = super().sign(path, *rest, **named)  # type: ignore[misc]
        if current_call() is not None and self.id == "okx" and path == "trade/order":
            request["headers"]["expTime"] = str(expires_ms(self.clock))
        return request

    def handle_errors(self, code: int, *rest: Any) -> Any:
        """Raise ccxt's errors, and BadResponse for an answer without the exchange's envelope: ccxt
        would read it as an empty account. An address that is asked to be silent is."""
        # rest: reason, url, method, headers, body, what was read of it, request headers and body
        dialect = rules(self.id).dialect
        self._back_off(dialect, code, rest[3])
        super().handle_errors(code, *rest)  # type: ignore[misc]
        path = str(rest[1]).partition("?")[0]
        if code < 300 and not is_whole(dialect, path, rest[5]):
            raise importlib.import_module("ccxt").BadResponse(f"{self.id} {rest[4]}")

    def _back_off(self, dialect: Dialect, code: int, headers: Mapping[str, str] | None) -> None:
        usual = codes.ADDRESS_BACKOFFS.get(dialect, codes.DEFAULT_BACKOFFS).get(code)
        if usual is not None:
            self.budgets.back_off(retry_after(headers or {}) or usual, everybody=True)

    def on_rest_response(self, code: int, *rest: Any) -> Any:
        """Keep the answer to a call that changes something beside it: ccxt's errors lose parts of
        it, and its own `last_http_response` is shared between calls."""
        # rest: reason, url, method, response headers, response body, request headers and body
        flight = current_call()
        if flight is not None and rest[2] != "GET":
            flight.status, flight.body = code, rest[4]
        return super().on_rest_response(code, *rest)  # type: ignore[misc]


def expires_ms(clock: ExchangeClock) -> int:
    """Until when an exchange may take what leaves now, by its own clock."""
    return clock.now_ms() + int(EXPIRES_SECONDS * 1000)
