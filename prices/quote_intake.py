"""Validate the quotes that a broker sends, and derive the status of their source from them.

A quote counts as current only while the broker confirms it: by sending it, or by returning it when
we query a symbol that was quiet. A quote gets the time at which we received it, whatever the
broker's clock shows; a quote that is old by the broker's own clock (a closed market) is dropped.
A suspect quote, far from the last one, is held back (`held_back.py`).
"""

import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal

from brokers.redaction import storable, without_secrets
from brokers.types import Quote
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from prices.broker_clock import ClockOffset
from prices.held_back import Held, HeldQuotes, Suspects
from prices.quote_buffer import MAX_QUOTES_PER_PAIR, conflated, quote_fault
from prices.stream_status import StreamStatus, stale_reason

CONFIRMATION_SECONDS = 45.0  # a quote that was not confirmed for longer is no longer current
MAX_AGE = timedelta(minutes=15)  # no clock of a trading broker is further behind


class QuoteIntake:
    """The quotes of some pairs. The loop calls `accept` and `fail`, the owner's thread the rest."""

    def __init__(
        self,
        symbols: Mapping[str, str],
        credentials: Mapping[str, str],
        judged: HeldQuotes | None = None,
    ) -> None:
        """symbols: the broker's own, by canonical pair. credentials: removed from every message.

        judged: what an earlier intake of the same source knew (`judged`).
        """
        self.symbols = dict(symbols)
        self.confirmed_at: dict[str, float] = {}  # by pair: when its price was last confirmed
        self.last_confirmed_at = 0.0  # the latest of them
        self.last: dict[str, Quote] = {}  # as the broker sent it
        self._credentials = credentials
        self._lock, self._pending = threading.Lock(), list[Quote]()
        self._clock, self._held = ClockOffset(), judged or HeldQuotes()
        self._since, self._invalid_at = machine_time(), float("-inf")
        self._fault: tuple[Code, str] | None = None

    def take_accepted(self) -> list[Quote]:
        """Remove and return the quotes that count since the last call, in order."""
        with self._lock:
            quotes = [*self._pending, *self._held.released(machine_time(), market_now())]
            self._pending = []
        return quotes

    def expect(self, quotes: Iterable[Quote], ranges: Mapping[str, Decimal] | None = None) -> None:
        """Compare the first quotes with the stored ones of before, and with their range."""
        with self._lock:
            self._held.expect(quotes, ranges)

    def suspects(self) -> Suspects:
        """Return the quotes that are held back, by pair."""
        with self._lock:
            return self._held.suspects()

    def decide(self, opinions: Mapping[str, bool | None], suspects: Mapping[str, Quote]) -> None:
        """Apply what a second source says of suspect quotes, by pair."""
        with self._lock:
            self._pending += self._held.decide(opinions, suspects, market_now(), machine_time())

    def judged(self) -> HeldQuotes:
        """Return what is known of its quotes, for an intake that takes its place."""
        with self._lock:
            return self._held.copy()

    def take_held(self) -> Held:
        """Return how many quotes were held back since the last call, and the last one."""
        with self._lock:
            return self._held.take()

    def status(self) -> StreamStatus:
        """Return the source's status now."""
        now, symbols, confirmed = machine_time(), self.symbols, dict(self.confirmed_at)
        missing = tuple(
            pair for pair in symbols if now - confirmed.get(pair, 0.0) > CONFIRMATION_SECONDS
        )
        code, message = self._fault or (None, "")
        has_waited = now - self._since > CONFIRMATION_SECONDS
        if code is None and has_waited and len(missing) == len(symbols):
            code, message = stale_reason(self.last)
        return StreamStatus(self.last_confirmed_at, code, message, missing)

    def add_symbols(self, symbols: Mapping[str, str]) -> None:
        """Accept these pairs too. Called by one thread; other threads see all of them or none."""
        self.symbols = {**self.symbols, **symbols}

    def accept(self, quote: Quote) -> bool:
        """Queue a valid, current quote, or hold it back. Return whether it was one."""
        if (fault := quote_fault(quote, self.symbols)) is not None:
            self._invalid_at = machine_time()
            self.fail(Code.INVALID_QUOTE, fault)
            return False
        now, machine = market_now(), machine_time()
        before, self.last[quote.symbol] = self.last.get(quote.symbol), quote
        if before is not None and (before.bid, before.ask) != (quote.bid, quote.ask):
            self._clock.observe(quote.time - now, machine)  # the price moved: the quote is current
        if now + self._clock.ahead - quote.time > MAX_AGE:
            return False
        self.confirmed_at[quote.symbol] = self.last_confirmed_at = machine
        if self._fault is not None and not self._had_invalid_quote():
            self._fault = None
        with self._lock:
            arrived = Quote(quote.symbol, quote.bid, quote.ask, now)
            self._pending += self._held.passed(arrived, machine, quote.time)
            if len(self._pending) > MAX_QUOTES_PER_PAIR * (len(self.symbols) + 1):
                self._pending = conflated(self._pending)
        return True

    def fail(self, code: Code, detail: str) -> None:
        """Record an error. The next accepted quote clears it."""
        message = without_secrets(f"{code.sentence} {detail}".strip(), self._credentials)
        self._fault = code, storable(message)

    def _had_invalid_quote(self) -> bool:
        """Whether an invalid quote came recently: valid quotes of other pairs must not hide it."""
        return machine_time() - self._invalid_at < CONFIRMATION_SECONDS
