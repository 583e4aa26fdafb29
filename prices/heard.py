"""What a source's broker has told: which of it is a price of now, and how the source fares by that.

A price is stored only while its broker proves that it stands: by telling it, or by answering when
it has been silent about it for a while. Whatever the broker's clock says, a price is of when it
came; one that the broker itself calls old (a closed market) is none.
"""

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from brokers.masking import storable, without_secrets
from brokers.messages import Quote
from common.clocks import machine_time, market_now
from common.codes import Code
from prices.buffer import MOST_OF_A_PAIR, squeezed, what_is_wrong
from prices.clock import Lead
from prices.fares import Fares, why_silent

DEAD_SECONDS = 45.0  # a price that was not proved for so long is none
OLD = timedelta(minutes=15)  # further back no clock is that anybody trades by


class Heard:
    """Prices of some pairs. The loop puts them in; the rest is for the owner's thread."""

    def __init__(self, symbols: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        """symbols: the broker's own, by canonical pair. credentials: what no word may contain."""
        self.symbols = dict(symbols)
        self.told: dict[str, float] = {}  # when a pair's price was proved to stand
        self.told_at = 0.0  # and any's
        self.last: dict[str, Quote] = {}  # as the broker told it
        self._credentials = credentials
        self._lock, self._came = threading.Lock(), list[Quote]()
        self._clock = Lead()
        self._since, self._odd_at = machine_time(), float("-inf")
        self._wrong: tuple[Code, str] | None = None

    def due(self) -> list[Quote]:
        """Return what came since the last call, in order."""
        with self._lock:
            came, self._came = self._came, []
        return came

    def fares(self) -> Fares:
        """Return how the source fares now."""
        now, symbols, told = machine_time(), self.symbols, dict(self.told)
        missing = tuple(pair for pair in symbols if now - told.get(pair, 0.0) > DEAD_SECONDS)
        code, words = self._wrong or (None, "")
        waited = now - self._since > DEAD_SECONDS
        if code is None and waited and len(missing) == len(symbols):
            code, words = why_silent(self.last)
        return Fares(self.told_at, code, words, missing)

    def add(self, more: Mapping[str, str]) -> None:
        """Take prices of these pairs, too. Called by one thread; others see all of them or none."""
        self.symbols = {**self.symbols, **more}

    def take(self, quote: Quote) -> bool:
        """Keep a price that makes sense. Returns whether it did and is one of now."""
        if (wrong := what_is_wrong(quote, self.symbols)) is not None:
            self._odd_at = machine_time()
            self.fail(Code.PRICE_NONSENSE, wrong)
            return False
        now, machine = market_now(), machine_time()
        before, self.last[quote.symbol] = self.last.get(quote.symbol), quote
        if before is not None and (before.bid, before.ask) != (quote.bid, quote.ask):
            self._clock.see(quote.time - now, machine)  # it has moved: it is of now
        if now + self._clock.ahead - quote.time > OLD:
            return False
        self.told[quote.symbol] = self.told_at = machine
        if self._wrong is not None and not self._is_odd():
            self._wrong = None
        with self._lock:
            self._came.append(replace(quote, time=now))
            if len(self._came) > MOST_OF_A_PAIR * (len(self.symbols) + 1):
                self._came = squeezed(self._came)
        return True

    def fail(self, code: Code, detail: str) -> None:
        """Note what is wrong, until a price comes."""
        said = without_secrets(f"{code.sentence} {detail}".strip(), self._credentials)
        self._wrong = code, storable(said)

    def _is_odd(self) -> bool:
        """Whether nonsense was told lately: good prices of other pairs do not hide it."""
        return machine_time() - self._odd_at < DEAD_SECONDS
