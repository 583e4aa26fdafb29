"""The core model on accounts that do not close by ticket or that net positions."""

from typing import Any

import pytest

from brokers.types import ExitSafety
from connections.models import AccountSnapshot
from tests.execution.core_machine import Core, arguments, model_arguments
from tests.execution.interleavings import TIMEOUT, explore

__all__ = ["model_arguments"]


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize(
    ("safety", "mode"),
    [  # hedging accounts are the test above
        (safety, mode)
        for safety in ExitSafety
        for mode in ("NETTING", "HEDGING")
        if (safety, mode) != (ExitSafety.TICKET, "HEDGING")
    ],
)
def test_no_exit_ever_reverses_a_position(
    model_arguments: dict[str, Any], safety: ExitSafety, mode: str
) -> None:
    """The same events on accounts that do not close by ticket or that net positions."""
    AccountSnapshot.objects.update(position_mode=mode)
    arguments.update(safety=safety, netting=mode == "NETTING")
    explore(Core, interleavings=5)
