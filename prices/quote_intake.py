"""What a source's broker has told: which of it is a price of now, and how the source fares by that.

A price is stored only while its broker proves that it stands: by telling it, or by answering when
it has been silent about it for a while. Whatever the broker's clock says, a price is of when it
came; one that the broker itself calls old (a closed market) is none.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from brokers.redaction import storable, without_secrets
from brokers.types import Quote
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from prices.broker_clock import ClockOffset
from prices.quote_buffer import MAX_QUOTES_PER_PAIR, conflated, quote_fault
from prices.stream_status import StreamStatus, stale_reason

CONFIRMATION_SECONDS = 45.0  # a price that was not proved for so long is none
MAX_AGE = timedelta(minutes=15)  # further back no clock is that anybody trades by


class QuoteIntake:
    """Prices of some pairs. The loop puts them in; the rest is for the owner's thread."""

    def __init__(self, symbols: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        """symbols: the broker's own, by canonical pair. credentials: what no word may contain."""
        self.symbols = dict(symbols)
        self.confirmed_at: dict[str, float] = {}  # when a pair's price was proved to stand
        self.last_confirmed_at = 0.0  # and any's
        self.last: dict[str, Quote] = {}  # as the broker told it
        self._credentials = credentials
        self._lock, self._pending = threading.Lock(), list[Quote]()
        self._clock = ClockOffset()
        self._since, self._invalid_at = machine_time(), float("-inf")
        self._fault: tuple[Code, str] | None = None

    def due(self) -> list[Quote]:
        """Return what came since the last call, in order."""
        with self._lock:
            came, self._pending = self._pending, []
        return came

    def status(self) -> StreamStatus:
        """Return how the source fares now."""
        now, symbols, confirmed = machine_time(), self.symbols, dict(self.confirmed_at)
        missing = tuple(
            pair for pair in symbols if now - confirmed.get(pair, 0.0) > CONFIRMATION_SECONDS
        )
        code, message = self._fault or (None, "")
        waited = now - self._since > CONFIRMATION_SECONDS
        if code is None and waited and len(missing) == len(symbols):
            code, message = stale_reason(self.last)
        return StreamStatus(self.last_confirmed_at, code, message, missing)

    def add(self, more: Mapping[str, str]) -> None:
        """Take prices of these pairs, too. Called by one thread; others see all of them or none."""
        self.symbols = {**self.symbols, **more}

    def accept(self, quote: Quote) -> bool:
        """Keep a price that makes sense. Returns whether it did and is one of now."""
        if (wrong := quote_fault(quote, self.symbols)) is not None:
            self._invalid_at = machine_time()
            self.fail(Code.INVALID_QUOTE, wrong)
            return False
        now, machine = market_now(), machine_time()
        before, self.last[quote.symbol] = self.last.get(quote.symbol), quote
        if before is not None and (before.bid, before.ask) != (quote.bid, quote.ask):
            self._clock.observe(quote.time - now, machine)  # it has moved: it is of now
        if now + self._clock.ahead - quote.time > MAX_AGE:
            return False
        self.confirmed_at[quote.symbol] = self.last_confirmed_at = machine
        if self._fault is not None and not self._had_invalid_quote():
            self._fault = None
        with self._lock:
            self._pending.append(replace(quote, time=now))
            if len(self._pending) > MAX_QUOTES_PER_PAIR * (len(self.symbols) + 1):
                self._pending = conflated(self._pending)
        return True

    def fail(self, code: Code, detail: str) -> None:
        """Note what is wrong, until a price comes."""
        message = without_secrets(f"{code.sentence} {detail}".strip(), self._credentials)
        self._fault = code, storable(message)

    def _had_invalid_quote(self) -> bool:
        """Whether nonsense was told lately: good prices of other pairs do not hide it."""
        return machine_time() - self._invalid_at < CONFIRMATION_SECONDS
