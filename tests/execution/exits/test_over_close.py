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

LOOKS_NOT = [ExitSafety.CANCEL_FIRST, ExitSafety.OCA]


@pytest.fixture
def world(
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


def close_twice(world: ExecutionModel, safety: ExitSafety) -> NettingModel:
    """Open, close twice before any claim, and return the quantity that the broker then holds."""
    nets = world.broker.nets = NettingModel(safety, netting=True)
    world.publish("one")
    trade(world)
    position = ExecutionPosition.objects.get()
    for _ in range(2):
        world.ask(close_position, position.pk)
    for _ in range(3):
        trade(world)
    return nets


def trade(world: ExecutionModel) -> None:
    """Claim, send, apply reports and refresh positions; a second passes."""
    process = world.processes[0]
    world.claim(process, slice(None))
    while process.hand:
        world.send(process, 0, "fill")
    world.flush(process, False, False)
    world.sweep("guard")
    world.pass_time(1.1)


@pytest.mark.parametrize("safety", LOOKS_NOT)
@pytest.mark.parametrize(
    ("taken_away", "written"),
    [([], 1), ([ignore_other_exits], 1), ([ignore_reservations], 2)],
    ids=["both lines", "the reservation alone", "the claim alone"],
)
def test_either_safeguard_closes_a_position_once(
    world: ExecutionModel,
    safety: ExitSafety,
    taken_away: Sequence[Callable[[], None]],
    written: int,
) -> None:
    for deed in taken_away:
        deed()
    nets = close_twice(world, safety)
    outcomes = [(o.status, o.reason) for o in world.orders() if o.position_id]
    assert outcomes == [("FILLED", ""), ("CANCELLED", "NOTHING_TO_CLOSE")][:written]
    assert list(nets.held.values()) == [0]
    world.check()


@pytest.mark.parametrize("safety", LOOKS_NOT)
def test_position_is_reversed_without_both_safeguards(
    world: ExecutionModel, safety: ExitSafety
) -> None:
    ignore_reservations()
    ignore_other_exits()
    nets = close_twice(world, safety)
    assert list(nets.held.values()) == [-100]
    assert len(nets.reversed) == 1
