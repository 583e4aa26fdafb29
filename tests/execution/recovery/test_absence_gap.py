"""The gap between two look-ups that find nothing is a setting."""

import pytest

from connections.models import ExecutionConnection
from execution.models import Order
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.operational import set_setting

pytestmark = pytest.mark.usefixtures("inline_commits", "alice")


@pytest.mark.parametrize(("gap", "status"), [(200, "UNKNOWN"), (20, "FAILED")])
def test_second_look_up_counts_after_the_gap_of_the_setting(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, gap: int, status: str
) -> None:
    set_setting("execution.absence_gap_seconds", gap)
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    factories.pass_time(60)
    sweeps.mark_orphaned_unknown("another")
    for _ in range(2):
        sweeps.query_unknown_orders(runtime.dispatcher)
        factories.pass_time(31)
    assert Order.objects.get().status == status
