"""Several actors close one position at the same time, once stops are cancelled (race.py)."""

import pytest

from brokers.types import ExitSafety
from connections.models import ExecutionConnection
from tests.execution.exits.race import account, run_races
from tests.execution.fake_broker import FakeBroker

__all__ = ["account"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("safety", "mode"),
    [(ExitSafety.CANCEL_FIRST, "NETTING"), (ExitSafety.CANCEL_FIRST, "HEDGING")],
    ids=str,
)
def test_position_is_closed_once_in_every_order_of_events(
    account: ExecutionConnection, broker: FakeBroker, safety: ExitSafety, mode: str
) -> None:
    run_races(account, broker, safety, mode)
