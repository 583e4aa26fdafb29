"""End to end: a position with a fraction of a share, which the account may not order any more."""

from decimal import Decimal as D
from typing import Any

import pytest

from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, HealthStatus
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.runtime import trading_runtime
from execution.tasks import enqueue
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.factories import ACCOUNT
from tests.ibkr.test_engine import engine, feed, tws
from tests.until import until

__all__ = ["engine", "feed", "tws"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def account(
    feed: Feed, tws: TwsProcess, engine: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """An account that may order fractions of shares."""
    tws.do("quote", "AAPL", "180.00", "180.02")
    tws.do("turn", "takes_fractions", True)
    settings = {
        "host": "127.0.0.1", "port": tws.port, "symbols": ["AAPL"], "timezone": "UTC",
        "fractional_shares": True,
    }  # fmt: skip
    preset = make.preset(sizing_mode="FIXED", fixed_quantity=D("10.5"), max_signal_age_seconds=600)
    row = make.connection(
        type="ibkr", account=ACCOUNT, settings=settings, sealed_credentials=None, preset=preset,
        health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    make.subscription(row, feed)
    factories.quote(row, "180.00", "180.02", pair="AAPL/USD")
    until(lambda: row.lane in engine.lanes.held())
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None)
    return row


def test_whole_shares_are_closed_and_the_fraction_stays_with_its_reason(
    account: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    signal = factories.signal(feed, currency_pair="AAPL/USD", sl=D(150))
    until(lambda: ExecutionPosition.objects.filter(quantity=D("10.5")).exists())
    tws.do("turn", "takes_fractions", False)
    account.settings = {**account.settings, "fractional_shares": False}
    account.save(update_fields=["settings"])
    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.filter(quantity=D("0.5")).exists())

    def is_stated() -> bool:
        factories.pass_time(60)
        enqueue(scan_levels())
        position: Any = with_prices(ExecutionPosition.objects.all()).get()
        ended = Order.objects.filter(status="CANCELLED", reason="EXIT_BELOW_MINIMUM")
        return str(position.exit_blocker) == "EXIT_BELOW_MINIMUM" and ended.exists()

    until(is_stated)
    (delayed,) = factories.events("exit.delayed")
    assert delayed["code"] == "EXIT_BELOW_MINIMUM"
    count = Order.objects.count()
    factories.pass_time(1000)
    assert (scan_levels(), Order.objects.count()) == ([], count)
    filled = Order.objects.exits().exclude(filled_quantity=0)
    assert [order.filled_quantity for order in filled] == [D(10)]
