"""A stop that the terminal has confirmed and no longer shows: seen by the next poll, by the whole
way from the terminal to the position."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from execution.models import ExecutionLog
from execution.monitoring.level_monitor import scan_levels
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.trading_process import until
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.test_audit import LOGIN, alice, engine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
__all__ = ["alice", "engine"]


def position() -> ExecutionPosition:
    return ExecutionPosition.objects.get()


def test_dropped_level_is_placed_again_without_reconciliation(
    engine: TradingRuntime, alice: ExecutionConnection, venue: FakeTerminal
) -> None:
    factories.signal(Feed.objects.get(), sl=D("1.09000"))
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.09000")).exists())
    alice.health.refresh_from_db()
    compared = alice.health.reconciled_at
    ticket = int(position().broker_position_id)
    venue.control("levels", login=LOGIN, ticket=ticket, sl=0.0, tp=0.0)
    until(lambda: venue.state(LOGIN)["positions"][0]["sl"] == 1.09)
    until(lambda: position().broker_sl == D("1.09000"))
    alice.health.refresh_from_db()
    assert alice.health.reconciled_at == compared
    assert ExecutionLog.objects.filter(code="STOP_DROPPED").count() == 1


def test_level_dropped_repeatedly_is_monitored_and_reported(
    engine: TradingRuntime, alice: ExecutionConnection, venue: FakeTerminal
) -> None:
    factories.signal(Feed.objects.get(), sl=D("1.09000"))
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.09000")).exists())
    venue.configure_account(LOGIN, drop_levels=True)
    ticket = int(position().broker_position_id)
    venue.control("levels", login=LOGIN, ticket=ticket, sl=0.0, tp=0.0)
    until(lambda: ExecutionPosition.objects.filter(levels_given_up=True).exists())
    assert (position().broker_sl, position().stop_guardian) == (None, "ENGINE")
    until(lambda: ExecutionPosition.objects.filter(unprotected_alerted=True).exists())
    factories.quote(alice, "1.08000", "1.08010")
    assert len(scan_levels()) == 1
