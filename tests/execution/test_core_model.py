"""The core against random interleavings: a stateful hypothesis model.

`make explore` runs longer. Real PostgreSQL, committed transactions, no sleeps.
"""

from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from brokers.types import ExitSafety
from connections.models import Instrument
from tests.execution.core_machine import KIND, Core, arguments, model_arguments
from tests.execution.interleavings import TIMEOUT, explore

__all__ = ["model_arguments"]


class CappedOrders(Core):
    """The same events, with positions of 100 and a largest order of 45, which changes."""

    @initialize(kind=KIND)
    def begin(self, kind: str) -> None:
        super().begin(kind)
        self.model.trade(self.model.processes[0], ["fill"], False)
        self.change_maximum(D(45))

    @rule(maximum=st.sampled_from([D(1000), D(45), D(45)]))
    def change_maximum(self, maximum: D) -> None:
        Instrument.objects.update(quantity_max=maximum)
        self.model.broker.maximum = maximum


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
def test_core_invariants_hold_in_every_interleaving(model_arguments: dict[str, Any]) -> None:
    explore(Core, interleavings=30)


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("safety", [None, ExitSafety.CANCEL_FIRST])
def test_positions_above_the_largest_order_are_closed_in_every_interleaving(
    model_arguments: dict[str, Any], safety: ExitSafety | None
) -> None:
    arguments.update(safety=safety)
    explore(CappedOrders, interleavings=15)
