"""What an exit waits for at its broker is done at once, not at the next run of a periodic job."""

import pytest

from brokers.types import ExitSafety
from execution import services
from execution.job_table import jobs_of_role
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)
NEVER = 3600
JOB = "levels and positions"


@pytest.fixture
def job(broker: FakeBroker, runtime: TradingRuntime) -> None:
    """The job of a process for exits, whose interval never ends."""
    [job] = (one for one in jobs_of_role("exits", exits_only=True) if one.name == JOB)
    runtime.start_background_jobs([job._replace(seconds=NEVER)])


def sells(broker: FakeBroker) -> bool:
    return any(name == "submit" for name, _ in broker.calls)


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("native_stops", [False, True])
def test_exit_does_not_wait_for_the_interval_of_the_job(
    feed: Feed, broker: FakeBroker, native_stops: bool
) -> None:
    """As on spot: the levels are removed once the position could be read, and it is read again."""
    broker.nets = NettingModel(ExitSafety.CANCEL_FIRST, netting=True)
    settings = {"native_stops": native_stops}
    factories.account(feed, settings=settings, snapshot_position_mode="NETTING")
    position = factories.filled(factories.signal(feed))
    factories.apply(*broker.news.values())
    broker.calls.clear()
    [exit_order] = close_position(position.pk)
    services.execute([exit_order], urgent=True)
    until(lambda: sells(broker))
    called = [name for name, _ in broker.calls]
    assert called == [*(["positions", "modify"] if native_stops else []), "positions", "submit"]
