"""An account at a fake broker, traded by a running engine, and what has reached the broker."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal as D
from typing import Any

from brokers.account_capabilities import Capabilities
from brokers.types import PositionMode
from conformance.harness import Harness, JournalEntry
from conformance.registry import CheckFailed
from connections.models import AccountSnapshot, ExecutionConnection, Instrument, SourceHealth
from connections.selectors import spec_for
from execution.models import Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.conformance.engine.background import BackgroundLoop
from tests.conformance.engine.prices import OtherProcess, RecordedPrices
from tests.execution import factories
from tests.execution.trading_process import until

SECONDS = 60.0
UNIT = D("0.001")  # of the first price: the unit of a path's prices


@dataclass
class EngineAccount:
    """An account that a running engine trades for one feed.

    first: the first bid. recorded: its prices, if its broker sends none.
    """

    harness: Harness
    loop: BackgroundLoop
    row: ExecutionConnection
    feed: Feed
    instrument: Instrument
    other: OtherProcess
    recorded: RecordedPrices | None
    first: D = D(0)

    @property
    def can(self) -> Capabilities:
        """What the account supports."""
        return self.harness.adapter.capabilities(spec_for(self.row))

    @property
    def is_netted(self) -> bool:
        """Whether the account has one position for each symbol."""
        snapshot = AccountSnapshot.objects.get(connection=self.row)
        return snapshot.position_mode == PositionMode.NETTING

    @property
    def quantity(self) -> D:
        """The quantity of each entry: a quarter of the stage's, so that all fit into its money."""
        step = self.instrument.quantity_step
        return D(self.harness.quantity / 4 // step * step)

    @property
    def tick(self) -> D:
        """The smallest step of a price."""
        return self.harness.tick or D(1).scaleb(-self.instrument.digits)

    def price(self, units: D | int | str) -> D:
        """Return the bid at this place of the path, on the symbol's grid."""
        price = self.first * (1 + UNIT * D(units))
        return (price / self.tick).quantize(D(1)) * self.tick

    def distance(self, units: D | int | str) -> D:
        """Return a distance in quote currency, on the symbol's grid."""
        return (self.first * UNIT * D(units) / self.tick).quantize(D(1)) * self.tick

    def move(self, units: D | int | str) -> None:
        """Move the broker's price. The engine gets it through the broker's own stream."""
        self.loop.run(self.harness.move(1 + UNIT * D(units)))
        if self.recorded is not None:
            self.recorded.publish(self.loop.run(self.harness.quote()))

    def await_price(self, units: D | int | str) -> None:
        """Return when the engine has judged the price at this place of the path."""
        near = self.distance("0.25")
        self.until(
            lambda: abs((self.judged() or D(0)) - self.price(units)) <= near,
            f"the engine did not get the price at {units}: {self._source_text()}",
        )

    def judged(self) -> D | None:
        """Return the last bid that the engine has judged."""
        return self.other.judged.get((self.row.data_connection_id or 0, self.instrument.pair))

    def _source_text(self) -> str:
        """Describe the account's price source."""
        source = self.row.data_connection
        health = SourceHealth.objects.filter(pk=source).values_list("error_code", "error")
        return f"{self.judged()} {list(health)}" if source else "it has none"

    def publish(self, **fields: Any) -> Signal:
        """Publish a buy at market without levels; fields replace the signal's."""
        usual = {"currency_pair": self.instrument.pair, "sl": None}
        return factories.signal(self.feed, **{**usual, **fields})

    def arrivals(self, signal: Signal) -> list[JournalEntry]:
        """Return the entries of a signal in the broker's journal, in its order."""
        ids = Order.objects.filter(signal=signal, leg__startswith="entry").values_list(
            "client_order_id", flat=True
        )
        stems = {one[:-1] for one in ids if one}
        return [one for one in self.journal() if one.client_order_id[:-1] in stems]

    def journal(self) -> Sequence[JournalEntry]:
        """Return the orders that the broker accepted."""
        return self.loop.run(self.harness.journal())

    def stops(self) -> Sequence[D]:
        """Return the stops that the broker holds now."""
        return self.loop.run(self.harness.stops())

    def held(self) -> D:
        """Return what the broker holds of the symbol, signed."""

        reading = self.harness.adapter.positions(spec_for(self.row))
        loop = trading_runtime.get_runtime().dispatcher.loop
        found = asyncio.run_coroutine_threadsafe(reading, loop).result(SECONDS)
        return sum(
            (one.side.sign * one.quantity for one in found if one.symbol == self.harness.symbol),
            D(0),
        )

    def position(self, signal: Signal) -> ExecutionPosition:
        """Return the signal's position. Raises CheckFailed if it has none, or two."""
        found = list(ExecutionPosition.objects.filter(signal=signal))
        if len(found) != 1:
            raise CheckFailed(f"{len(found)} positions instead of one")
        return found[0]

    def until(self, is_so: Callable[[], object], otherwise: str) -> None:
        """Wait for a condition. Raises CheckFailed with `otherwise` if it does not come."""
        try:
            until(is_so, seconds=SECONDS)
        except AssertionError as error:
            raise CheckFailed(otherwise) from error
