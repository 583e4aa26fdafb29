"""Two exits of a whole position, at accounts that do not check: either of two safeguards suffices.

The first is the reservation: the second exit is not created. The second is the claim, which checks
which other exits of the position are in flight. Without both the position is reversed,
which proves that the cases with one of them do not pass by chance.
"""

from collections.abc import Callable, Sequence

import pytest

from brokers.types import ExitSafety
from connections.models import AccountSnapshot
from execution.exits import orders as exits
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position
from execution.submission import claim_sql
from positions import row_locks
from positions.models import ExecutionPosition
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.model import ExecutionModel
from tests.execution.netting_model import NettingModel
from tests.faults.disabled_guards import ignore_other_exits, ignore_reservations

UNCHECKED_BY_BROKER = [ExitSafety.CANCEL_FIRST, ExitSafety.OCA]


@pytest.fixture
def model(
    transactional_db: None,
    runtime: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> ExecutionModel:
    """One account with one position; removed safeguards are restored afterwards."""
    for module, name in [
        (row_locks, "LOCK_WITH_FREE_QUANTITY"),
        (exits, "LOAD"),
        (exits, "WRITE"),
        (claim_sql, "EXITS"),
    ]:
        monkeypatch.setattr(module, name, getattr(module, name))
    factories.instrument()
    account = factories.account(make.feed())
    AccountSnapshot.objects.update(position_mode="NETTING")
    return ExecutionModel(broker, [account], account.subscriptions.get().feed)


def close_twice(model: ExecutionModel, safety: ExitSafety) -> NettingModel:
    """Open, close twice before any claim, and return the quantity that the broker then holds."""
    nets = model.broker.nets = NettingModel(safety, netting=True)
    model.publish("one")
    trade(model)
    position = ExecutionPosition.objects.get()
    for _ in range(2):
        model.request(close_position, position.pk)
    for _ in range(3):
        trade(model)
    return nets


def trade(model: ExecutionModel) -> None:
    """Claim, send, apply reports and refresh positions; a second passes."""
    process = model.processes[0]
    model.claim(process, slice(None))
    while process.claimed:
        model.send(process, 0, "fill")
    model.write_reports(process, False, False)
    model.sweep("guard")
    model.pass_time(1.1)


@pytest.mark.parametrize("safety", UNCHECKED_BY_BROKER)
@pytest.mark.parametrize(
    ("disabled", "written"),
    [([], 1), ([ignore_other_exits], 1), ([ignore_reservations], 2)],
    ids=["both", "only the reservation", "only the claim"],
)
def test_either_safeguard_closes_a_position_once(
    model: ExecutionModel,
    safety: ExitSafety,
    disabled: Sequence[Callable[[], None]],
    written: int,
) -> None:
    for remove_safeguard in disabled:
        remove_safeguard()
    nets = close_twice(model, safety)
    outcomes = [(o.status, o.reason) for o in model.orders() if o.position_id]
    assert outcomes == [("FILLED", ""), ("CANCELLED", "NOTHING_TO_CLOSE")][:written]
    assert list(nets.held.values()) == [0]
    model.check()


@pytest.mark.parametrize("safety", UNCHECKED_BY_BROKER)
def test_position_is_reversed_without_both_safeguards(
    model: ExecutionModel, safety: ExitSafety
) -> None:
    ignore_reservations()
    ignore_other_exits()
    nets = close_twice(model, safety)
    assert list(nets.held.values()) == [-100]
    assert len(nets.reversed) == 1
