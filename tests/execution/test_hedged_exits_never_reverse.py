"""The core model on hedging accounts that do not close by ticket: test_core_model.py has others."""

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
@pytest.mark.parametrize("safety", [safety for safety in ExitSafety if safety != ExitSafety.TICKET])
def test_no_exit_ever_reverses_a_hedged_position(
    model_arguments: dict[str, Any], safety: ExitSafety
) -> None:
    AccountSnapshot.objects.update(position_mode="HEDGING")
    arguments.update(safety=safety, netting=False)
    explore(Core, interleavings=5)
