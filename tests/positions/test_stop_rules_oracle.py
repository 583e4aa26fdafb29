"""Rules over the recorded payrolls market, against a slow oracle that looks at each quote.

The oracle knows no batches, indexes or next prices: at each quote it asks where the stop would be
by the definition in docs/trailing.md. It counts in whole tenths of a pip.
"""

from dataclasses import dataclass, replace
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

import prices
from positions.stop_rules import judge
from prices.recordings import read_quotes
from tests.positions.test_stop_rules import position, settled

RECORDING = Path(prices.__file__).parent / "data" / "quotes-2014-05-02-nonfarm-2h.csv.gz"
POINTS = 100_000


@dataclass
class Oracle:
    """A position in points, as for a buy; the stop rises only."""

    entry: int
    stop: int
    best: int
    profit: int | None
    offset: int
    distance: int | None
    step: int
    activation: int | None

    def see(self, price: int) -> None:
        """Take one quote, and move the stop as often as the definition says."""
        self.best = max(self.best, price)
        levels = []
        is_reached = self.profit is not None and self.best - self.entry >= self.profit
        if is_reached and self.entry + self.offset > self.stop:
            levels.append(self.entry + self.offset)
        is_active = self.activation is None or self.best - self.entry >= self.activation
        behind = None if self.distance is None else self.best - self.distance
        if behind is not None and is_active and behind - self.stop >= self.step:
            levels.append(behind)
        self.stop = max([self.stop, *levels])


def walk(side: str) -> list[int]:
    """Return each price of EUR/USD at which a position could be closed, as for a buy."""
    sign = 1 if side == "BUY" else -1
    return [
        sign * int((quote.bid if side == "BUY" else quote.ask) * POINTS)
        for quote in read_quotes(RECORDING)
        if quote.symbol == "EUR/USD"
    ]


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize(
    ("profit", "offset", "distance", "step", "activation"),
    [
        (100, 10, None, 10, None),
        (None, 0, 50, 10, None),
        (None, 0, 80, 25, 120),
        (60, 0, 90, 30, 100),
        (150, 20, 200, 50, 0),
    ],
)
def test_stop_equals_the_oracles_after_each_quote(
    side: str, profit: int | None, offset: int, distance: int | None, step: int,
    activation: int | None,
) -> None:  # fmt: skip
    prices_seen = walk(side)
    sign = 1 if side == "BUY" else -1
    assert len(prices_seen) > 4_000
    moves = 0
    worst = prices_seen.index(min(prices_seen))  # from there the profit is largest
    for start in (*range(0, len(prices_seen), len(prices_seen) // 4), worst):
        first = prices_seen[start]
        oracle = Oracle(first, first - 500, first, profit, offset, distance, step, activation)

        def price(points: int) -> D:
            return D(sign * points) / POINTS

        def pips(points: int | None) -> D | None:
            return None if points is None else D(points) / 10

        fields: dict[str, Any] = {
            "side": side, "entry_price": price(first), "sl": price(first - 500),
            "at_broker": False, "break_even_profit": pips(profit),
            "break_even_offset": pips(offset) if profit else None,
            "trailing_distance": pips(distance), "trailing_step": pips(step),
            "trailing_activation": pips(activation),
        }  # fmt: skip
        one, acts_at = position(**fields), None
        for seen in prices_seen[start:]:
            oracle.see(seen)
            # As the monitor does: only prices at which the rule acts are judged.
            if acts_at is None or sign * price(seen) >= acts_at:
                found = judge(replace(one, wait=0.0), best=price(seen), last=price(seen))
                moves += found.stop is not None
                one = settled(one, found)
                acts_at = D("Infinity") if found.next_price is None else sign * found.next_price
            assert one.sl == price(oracle.stop)
    assert moves > 0
