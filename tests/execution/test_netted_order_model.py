"""Joined entries, slices, stop rules and own terms on a netting account, in any interleaving."""

from typing import Any

import pytest

from tests.execution.interleavings import TIMEOUT
from tests.execution.order_machine import explore_orders


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("world", ["netted"])
def test_orders_of_every_kind_are_sent_once_whatever_happens(
    routed_world: dict[str, Any], world: str
) -> None:
    explore_orders(routed_world, world)
