"""Stops at brokers, slices, stop rules and own terms, in any interleaving."""

from typing import Any

import pytest

from tests.execution.interleavings import TIMEOUT
from tests.execution.order_machine import explore_orders


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
def test_native_orders_are_sent_once_whatever_happens(
    routed_world: dict[str, Any],
) -> None:
    explore_orders(routed_world, "native")
