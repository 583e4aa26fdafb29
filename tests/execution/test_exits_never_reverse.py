"""The core model on accounts that net positions."""

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
@pytest.mark.parametrize("safety", ExitSafety)
def test_no_exit_ever_reverses_a_netted_position(
    model_arguments: dict[str, Any], safety: ExitSafety
) -> None:
    AccountSnapshot.objects.update(position_mode="NETTING")
    arguments.update(safety=safety, netting=True)
    explore(Core, interleavings=5)
