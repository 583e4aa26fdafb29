"""How far back a broker looks orders up counts when its answer has come, not when it was asked."""

from typing import Any

import pytest

from common.db.sql import rows
from common.reason_codes import Code
from connections.session_lanes import held_lanes_parameters
from execution.dispatch.background_calls import BackgroundCall, CallResult
from execution.models import DriftItem, Order
from execution.recovery import sweeps
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution import factories
from tests.stopped_clock import StoppedClock

pytestmark = pytest.mark.usefixtures("inline_commits", "alice")
DAY = 24 * 3600  # the fake broker's horizon


def asked(feed: Feed, age: float) -> sweeps.LookUpRow:
    """Claim the look-up of an order that was sent so many seconds ago."""
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    factories.pass_time(age)
    sweeps.mark_orphaned_unknown("another")
    claim: dict[str, Any] = {"first": 1, "longest": 1, "claim": 30, "worker_id": ""}
    (row,) = rows(sweeps.CLAIM_LOOKUPS, {**claim, **held_lanes_parameters()})
    return row


def answered_with_nothing(row: sweeps.LookUpRow) -> None:
    async def call() -> None: ...

    about = BackgroundCall(("look-up", row.id), row, call, lambda done: None)
    sweeps.apply_lookup_results([CallResult(about, None)])


@pytest.mark.parametrize(
    ("age", "absences"),
    [(DAY - 15, 0), (DAY - 25, 1)],  # midnight at the broker came meanwhile, or not yet
)
def test_absence_counts_while_the_broker_would_still_list_the_order(
    feed: Feed, runtime: TradingRuntime, stopped_clock: StoppedClock, age: int, absences: int
) -> None:
    row = asked(feed, age)
    stopped_clock.pass_time(20)
    answered_with_nothing(row)
    assert Order.objects.get().absence_confirmations == absences
    kinds = list(DriftItem.objects.values_list("kind", flat=True))
    assert kinds == ([] if absences else [Code.LOOKUP_WINDOW_EXCEEDED])
