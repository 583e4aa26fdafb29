"""The load: one signal per second to all accounts, moving prices, and actions of tenants."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from tests.faults.chaos.stack_environment import CONNECTIONS, StackEnvironment
from tests.faults.process_fleet import OperatorFailedError
from tests.faults.servers import Database

EVERY = 1.0
MOST_OPEN = 8  # signals; an account may hold 20 positions
PRICE_EVERY = 6.0
BASE, SPREAD, STEP = Decimal("1.10000"), Decimal("0.00010"), Decimal("0.00050")
QUOTES = """
UPDATE connections_dataconnection SET settings =
  jsonb_build_object('quotes', jsonb_build_object('EUR/USD', jsonb_build_array(%s::text, %s::text)))
"""
HELD = """
SELECT id, side FROM positions_executionposition WHERE quantity > reserved
ORDER BY random() LIMIT %s
"""


@dataclass(slots=True)
class LoadCounts:
    """The number of actions by kind."""

    opened: int = 0
    modified: int = 0
    closed: int = 0
    clicks: int = 0
    prices: int = 0
    refused: int = 0  # the publisher got an error and retried

    @property
    def signals(self) -> int:
        return self.opened + self.modified + self.closed


class Load(threading.Thread):
    """A thread that runs until `stop`. It repeats what fails, as a publisher does."""

    def __init__(
        self, environment: StackEnvironment, seed: int, report_progress: Callable[[str], None]
    ) -> None:
        super().__init__(daemon=True, name="load")
        self.counts = LoadCounts()
        self.published: list[int] = []
        self._environment, self._report_progress = environment, report_progress
        self._rng = random.Random(f"load {seed}")
        self._ended = threading.Event()
        self._burst = 0
        self._open: list[tuple[int, str]] = []
        self._ours = Database(environment.servers.postgres)
        self._bid = BASE
        self._price_due = 0.0

    def stop(self) -> None:
        """Wait until the current turn has ended, then end."""
        self._ended.set()
        self.join(60)

    def run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            self._one_turn()
            due = max(due + EVERY, time.monotonic() - 5 * EVERY)
            while not self._ended.wait(0.05) and not self._burst and time.monotonic() < due:
                pass

    def burst(self, signals: int) -> None:
        """Publish several signals together after the current turn; returns immediately."""
        self._burst = signals

    def _one_turn(self) -> None:
        if self._burst:  # one transaction, so that all of it is in flight together
            self._open_new(count=self._burst, together=True, **self._entry())
            self._burst = 0
        if time.monotonic() >= self._price_due:
            self._move_prices()
        if len(self._open) > MOST_OPEN or (self._open and self._rng.random() < 0.35):
            chosen, _ = self._open[0]
            if self._publish(action="CLOSE", refers_to=chosen):
                self._open.pop(0)
                self.counts.closed += 1
        elif self._open and self._rng.random() < 0.25:
            chosen, direction = self._rng.choice(self._open)
            levels = self._levels(direction)
            if self._publish(action="MODIFY", refers_to=chosen, **levels):
                self.counts.modified += 1
        else:
            self._open_new(**self._entry())
        if self._rng.random() < 0.4:
            self._click()

    def _levels(self, direction: str) -> dict[str, str]:
        """Return a far stop and a mostly near target, so that prices reach some of them."""
        sign = 1 if direction == "BUY" else -1
        stop = self._bid - sign * self._rng.choice((Decimal("0.0050"), Decimal("0.0100")))
        near = (Decimal("0.0010"), Decimal("0.0030"), Decimal("0.0200"))
        target = self._bid + sign * self._rng.choice(near)
        return {"sl": str(stop), "tp": str(target)}

    def _entry(self) -> dict[str, Any]:
        """Return a new signal: mostly at the market, some as limit orders."""
        direction = self._rng.choice(("BUY", "SELL"))
        fields: dict[str, Any] = {"direction": direction, **self._levels(direction)}
        if self._rng.random() < 0.3:
            fields["seconds_valid"] = 30
        if self._rng.random() < 0.15:
            better = self._bid - (1 if direction == "BUY" else -1) * 2 * STEP
            fields |= {"order_type": "LIMIT", "open_price": str(better), "tp": str(self._bid)}
        return fields

    def _open_new(self, **fields: Any) -> None:
        ids = self._publish(**fields)
        self._open += [(signal, fields["direction"]) for signal in ids]
        self.published += ids
        self.counts.opened += len(ids)

    def _publish(self, **fields: Any) -> list[int]:
        ids: list[int] = self._do("publish", feed=CONNECTIONS, **fields) or []
        return ids

    def _click(self) -> None:
        """Close some positions or move one's levels, as tenants do by hand."""
        try:
            held = self._ours.rows(HELD, 10)
        except psycopg.Error:
            return
        if not held:
            return
        self.counts.clicks += 1
        if self._rng.random() < 0.7:
            self._do("close", positions=[row.id for row in held[:8]])
        else:
            self._do("modify", position=held[0].id, **self._levels(held[0].side))

    def _move_prices(self) -> None:
        """Change the source's settings; the prices process reads them within five seconds."""
        self._price_due = time.monotonic() + PRICE_EVERY
        low, high = BASE - 10 * STEP, BASE + 10 * STEP
        moved = self._bid + self._rng.choice((-3, -2, -1, 1, 2, 3)) * STEP
        self._bid = min(max(moved, low), high)
        try:
            self._ours.rows(QUOTES, str(self._bid), str(self._bid + SPREAD))
            self.counts.prices += 1
        except psycopg.Error:
            pass

    def _do(self, what: str, **fields: Any) -> Any:
        assert self._environment.operator is not None
        try:
            return self._environment.operator.do(what, **fields)
        except OperatorFailedError as error:
            self.counts.refused += 1
            self._report_progress(f"  {what} refused: {str(error)[:120]}")
            return None
