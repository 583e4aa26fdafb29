"""Two exits of all of a position, at accounts that do not look: two lines hold, each of them alone.

The first is the reservation: the second exit is not written. The second is the claim, which asks
what other exits of the position are on their way. With both taken away the position is reversed,
so that the cases with one of them do not pass by luck.
"""

from collections.abc import Callable, Sequence

import pytest

from brokers.types import ExitSafety
from connections.models import AccountSnapshot
from execution.exits import orders as exits
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position
from execution.submission import claim_sql
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
    """One account with one position; what is taken away is back afterwards."""
    for module, name in [(exits, "LOCK"), (exits, "LOAD"), (exits, "WRITE"), (claim_sql, "EXITS")]:
        monkeypatch.setattr(module, name, getattr(module, name))
    factories.instrument()
    account = factories.account(make.feed())
    AccountSnapshot.objects.update(position_mode="NETTING")
    return ExecutionModel(broker, [account], account.subscriptions.get().feed)


def close_twice(world: ExecutionModel, safety: ExitSafety) -> NettingModel:
    """Open, and click twice before anybody claims; return what the broker holds then."""
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
    """Claim, send, hear; positions are read, and a second passes."""
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
def test_a_position_is_closed_once(
    world: ExecutionModel,
    safety: ExitSafety,
    taken_away: Sequence[Callable[[], None]],
    written: int,
) -> None:
    for deed in taken_away:
        deed()
    nets = close_twice(world, safety)
    told = [(o.status, o.reason) for o in world.orders() if o.position_id]
    assert told == [("FILLED", ""), ("CANCELLED", "NOTHING_TO_CLOSE")][:written]
    assert list(nets.held.values()) == [0]
    world.check()


@pytest.mark.parametrize("safety", LOOKS_NOT)
def test_without_both_lines_it_is_reversed(world: ExecutionModel, safety: ExitSafety) -> None:
    ignore_reservations()
    ignore_other_exits()
    nets = close_twice(world, safety)
    assert list(nets.held.values()) == [-100]
    assert len(nets.reversed) == 1
