"""Batches of quotes fire held orders as an oracle does, quote by quote."""

from dataclasses import dataclass
from decimal import Decimal as D
from random import Random
from typing import Any

import pytest

from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.trigger_monitor import TriggerMonitor
from signals.models import Feed
from tests.execution import factories
from tests.execution.monitoring.held_orders import (
    held,
    market_and_limit_only,
    monitor,
    quotes_of,
    source,
)

__all__ = ["market_and_limit_only", "monitor"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]


@dataclass
class Oracle:
    """One trigger, judged quote by quote. Prices in pips."""

    kind: str
    side: str
    level: D
    distance: D = D(0)
    activation: D | None = None
    best: D | None = None

    def fires(self, bid: D, ask: D) -> bool:
        """Return whether this quote fires it."""
        price, sign = (ask, 1) if self.side == "BUY" else (bid, -1)
        if self.kind == "STOP":
            return (price - self.level) * sign >= 0
        if self.kind == "IF_TOUCHED":
            return (price - self.level) * sign <= 0
        if self.activation is not None:
            if (price - self.activation) * sign > 0:
                return False
            self.activation = None
        if self.best is None or (price - self.best) * sign < 0:
            self.best = price
        return (price - self.best) * sign >= self.distance


def _random_trigger(random: Random, bid: D, ask: D) -> tuple[dict[str, Any], Oracle]:
    """Return the fields of a random entry that is not reached yet, and its oracle."""
    side = random.choice(["BUY", "SELL"])
    sign, touch = (1, ask) if side == "BUY" else (-1, bid)
    away = D(random.randint(1, 40)) / 10_000
    fields: dict[str, Any] = {"direction": side, "sl": D("0.5") if sign == 1 else D(2)}
    kind = random.choice(["STOP", "IF_TOUCHED", "TRAILING_STOP", "TRAILING_STOP"])
    if kind != "TRAILING_STOP":
        level = touch + away * sign * (1 if kind == "STOP" else -1)
        return fields | {"order_type": kind, "stop_price": level}, Oracle(kind, side, level)
    activation = touch - away * sign if random.random() < 0.5 else None
    distance = D(random.randint(1, 40)) / 10_000
    fields |= {"order_type": kind, "trail_distance": distance, "activation_price": activation}
    best = None if activation is not None else touch
    return fields, Oracle(kind, side, touch, distance, activation, best)


@pytest.mark.parametrize("seed", range(4))
def test_batches_fire_what_their_quotes_would_one_by_one(
    alice: ExecutionConnection, feed: Feed, seed: int
) -> None:
    """Triggers are armed between batches; another process takes over; some batches fail once."""
    random = Random(seed)
    monitor, bid, judged = TriggerMonitor(), D("1.1"), 0
    waiting: dict[int, Oracle] = {}
    for number in range(40):
        for _ in range(random.randint(0, 2)):
            factories.quote(alice, bid)
            fields, oracle = _random_trigger(random, bid, bid + D("0.0001"))
            waiting[held(feed, **fields).pk] = oracle
        steps = [D(random.randint(-12, 12)) / 10_000 for _ in range(random.randint(1, 6))]
        bids = [bid := bid + step for step in steps]
        expected = sorted(
            pk
            for pk, oracle in waiting.items()
            if any(oracle.fires(price, price + D("0.0001")) for price in bids)
        )
        fired = monitor.process_quotes(source(alice), quotes_of(*bids, seconds=number))
        assert fired == expected, f"batch {number}: {bids}"
        waiting = {pk: oracle for pk, oracle in waiting.items() if pk not in fired}
        judged += len(fired)
        Order.objects.filter(pk__in=fired).update(status="CANCELLED")
        if random.random() < 0.2:
            monitor = TriggerMonitor()
    assert judged > 10


def test_each_quote_of_a_new_process_counts(alice: ExecutionConnection, feed: Feed) -> None:
    """Those of its first batch have other times."""
    factories.quote(alice, D("1.1"))
    order = held(feed, order_type="STOP", stop_price=D("1.2"))
    quotes = [*quotes_of("1.21", seconds=-0.2), *quotes_of("1.199", seconds=-0.1)]
    assert TriggerMonitor().process_quotes(source(alice), quotes) == [order.pk]


def test_quote_of_before_the_clock_was_set_back_hides_no_later_one(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.quote(alice, D("1.1"))
    order = held(feed, order_type="STOP", stop_price=D("1.2"))
    monitor = TriggerMonitor()
    assert monitor.process_quotes(source(alice), quotes_of("1.1", seconds=3600)) == []
    assert monitor.process_quotes(source(alice), quotes_of("1.21")) == [order.pk]
