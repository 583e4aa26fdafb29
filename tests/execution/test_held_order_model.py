"""Slices, stop rules, OCO pairs and trailing buys that the engine holds, in any interleaving."""

from typing import Any

import pytest

from tests.execution.interleavings import TIMEOUT
from tests.execution.order_machine import explore_orders


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
def test_held_orders_are_sent_once_whatever_happens(
    routed_world: dict[str, Any],
) -> None:
    explore_orders(routed_world, "held")
