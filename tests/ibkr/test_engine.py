"""End to end: a published signal, our engine, ib_async's client, a fake TWS, and back."""

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from functools import partial
from pathlib import Path

import pytest
from django.db.models import F

from brokers import registry
from brokers.ibkr.timing import Timing
from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, HealthStatus
from execution.base.reconciliation_requests import request_reconciliation
from execution.models import AccountSyncState, Fill, Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.brisk_jobs import brisk_jobs
from tests.execution.trading_process import running, until
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.factories import ACCOUNT
from tests.operational import set_setting

__all__ = ["brisk_jobs"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alice")]
SECONDS = 60.0
BRISK = {"first_delay": 0.1, "min_retry_delay": 0.1, "client_id_delay": 0.2, "settle": 0.2}


@pytest.fixture
def tws(tmp_path: Path) -> Iterator[TwsProcess]:
    tws = TwsProcess(tmp_path / "tws.jsonl")
    tws.do("quote", "EURUSD", "1.1000", "1.1002")
    yield tws
    tws.close()


@pytest.fixture
def engine(
    transactional_db: None, brisk_jobs: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process that also holds sessions and polls for due orders. Its adapter is as
    patient as ever with the gateway, which lists at once what it has accepted."""
    monkeypatch.setattr("brokers.ibkr.adapter.Timing", partial(Timing, **BRISK))
    registry.clear_cache()
    set_setting("networks.broker_networks", (ipaddress.ip_network("127.0.0.0/8"),))
    with running("execution+sessions", SECONDS) as present:
        yield present
    registry.clear_cache()


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


@pytest.fixture
def alice(
    feed: Feed, tws: TwsProcess, engine: trading_runtime.TradingRuntime
) -> ExecutionConnection:
    """An account at the gateway whose connection test has passed."""
    where = {"host": "127.0.0.1", "port": tws.port, "symbols": ["EURUSD"], "timezone": "UTC"}
    preset = make.preset(sizing_mode="FIXED", fixed_quantity=D(20000), max_signal_age_seconds=600)
    row = make.connection(
        type="ibkr", account=ACCOUNT, settings=where, sealed_credentials=None, preset=preset,
        health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    make.subscription(row, feed)
    factories.quote(row, "1.10000", "1.10020")
    until(lambda: row.lane in engine.lanes.held())
    failed = [one for one in run_test(row.pk) if one.result == "fail"]
    assert failed == []
    until(lambda: ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None)
    return row


def test_signal_is_filled_protected_and_closed(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    signal = factories.signal(feed, [("1.12000", "1")], sl=D("1.09000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.quantity, position.connection_id) == (D(20000), alice.pk)
    until(lambda: ExecutionPosition.objects.get().unprotected_since is None)

    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    state = tws.until(lambda state: D(next(iter(state["positions"].values()))) == 0)
    live = [one for one in state["orders"] if one["status"] in ("Submitted", "PreSubmitted")]
    assert live == []  # stop and target ended with it
    assert len(state["received"]) == len(set(state["received"])) == 4


def test_position_is_closed_in_its_contract_after_the_symbol_map_changed(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    signal = factories.signal(feed, [("1.12000", "1")], sl=D("1.09000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    until(lambda: ExecutionPosition.objects.get().unprotected_since is None)
    tws.do("quote", "USDJPY", "150.00", "150.02")
    yen = {"secType": "CASH", "symbol": "USD", "currency": "JPY", "exchange": "IDEALPRO"}
    alice.settings = {**alice.settings, "symbols": {"EURUSD": yen}}
    alice.save(update_fields=["settings"])

    factories.close_signal(signal)
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    (held,) = tws.state()["positions"].items()
    assert held[0].endswith(":12087792")
    assert D(held[1]) == 0


def test_broker_initiated_exit_is_applied(feed: Feed, tws: TwsProcess) -> None:
    """The stop at the broker closes the position: reported by TWS, notified and applied."""
    factories.signal(feed, [("1.12000", "1")], sl=D("1.09000"))
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    tws.do("quote", "EURUSD", "1.0890", "1.0892")
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert Order.objects.exclude(leg="entry").filter(status="FILLED").count() == 1


def test_commissions_that_came_to_no_process_are_booked_by_the_next(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """Entry and stop are executed, the process ends, and their commissions come."""
    tws.do("turn", "commissions", False)
    factories.signal(feed, sl=D("1.09000"))
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.09000")).exists())
    tws.do("quote", "EURUSD", "1.0890", "1.0892")
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    before = ExecutionPosition.objects.get()
    assert (before.commission, before.close_reason) == (0, "sl")
    trading_runtime.stop_runtime()
    tws.until(lambda state: not state["clients"])
    tws.do("turn", "commissions", True)
    with running("execution+sessions", SECONDS):
        until(lambda: ExecutionPosition.objects.get().commission == D("2.5"))
        compare(alice)
        compare(alice)
    after = ExecutionPosition.objects.get()
    assert (after.commission, after.net_result) == (D("2.5"), before.realized_pnl - D("2.5"))
    assert (after.realized_pnl, after.closed_at) == (before.realized_pnl, before.closed_at)
    assert sorted(Fill.objects.values_list("commission", "commission_currency", "revision")) == [
        (D("1.25"), "USD", 0), (D("1.25"), "USD", 0),
    ]  # fmt: skip
    assert [order.commission for order in Order.objects.all()] == [D("1.25"), D("1.25")]
    assert factories.drift_items() == []


def test_gateway_restart_loses_nothing(feed: Feed, tws: TwsProcess) -> None:
    tws.do("fault", "accept and cut")
    factories.signal(feed, sl=D("1.09000"))
    tws.until(lambda state: state["received"])
    tws.kill()
    tws.start()
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    (entry,) = Order.objects.filter(leg="entry")
    assert tws.state()["received"].count(entry.client_order_id) == 1


def test_position_is_unprotected_until_its_dropped_stop_is_placed_again(
    feed: Feed, tws: TwsProcess
) -> None:
    """The entry is filled, and its stop is dropped without a report."""
    tws.do("turn", "drops_levels", True)
    signal = factories.signal(feed, sl=D("1.09000"))
    until(lambda: ExecutionPosition.objects.filter(unprotected_since__isnull=False).exists())
    since = F("unprotected_since") - timedelta(seconds=5)  # so long ago
    ExecutionPosition.objects.update(unprotected_since=since)
    until(lambda: ExecutionPosition.objects.filter(unprotected_alerted=True).exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.broker_sl, position.stop_guardian) == (None, "ENGINE")
    tws.do("turn", "drops_levels", False)
    until(lambda: ExecutionPosition.objects.get().broker_sl == D("1.09000"))
    until(lambda: ExecutionPosition.objects.get().unprotected_since is None)
    position.refresh_from_db()
    assert position.unprotected_seconds >= 5
    live = [one for one in tws.state()["orders"] if one["status"] in ("Submitted", "PreSubmitted")]
    assert [one["ref"] for one in live] == [f"{position_entry(position)}:sl"]


def compare(of: ExecutionConnection) -> None:
    """Request a reconciliation of the account and wait for it."""
    request_reconciliation([of.pk])
    until(lambda: AccountSyncState.objects.get(connection=of).reconcile_requested_at is None)


def position_entry(of: ExecutionPosition) -> str:
    return str(Order.objects.get(signal=of.signal, leg="entry").client_order_id)
