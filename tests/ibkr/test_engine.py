"""End to end: a published signal, our engine, ib_async's client, a fake TWS, and back."""

import ipaddress
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal as D
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from brokers.ibkr import capabilities
from common.errors import ConflictError
from common.reason_codes import Code
from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, HealthStatus
from execution.base.reconciliation_requests import request_reconciliation
from execution.changes.order_changes import change_order
from execution.ids import new_client_order_id
from execution.models import AccountSyncState, BrokerListing, DriftItem, Fill, Order, OrderTrigger
from execution.runtime import trading_runtime
from execution.services import cancel_order
from execution.submission.change_terms import WantedTerms
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.factories import ACCOUNT
from tests.operational import set_setting
from users.models import User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alice")]
SECONDS = 60.0


@pytest.fixture(autouse=True)
def noon_at_tws(monkeypatch: pytest.MonkeyPatch) -> None:
    """TWS lists what happened since midnight, which is never in a test."""
    monkeypatch.setattr(capabilities, "_since_midnight", lambda _: timedelta(hours=12))


@pytest.fixture
def tws(tmp_path: Path) -> Iterator[TwsProcess]:
    tws = TwsProcess(tmp_path / "tws.jsonl")
    tws.do("quote", "EURUSD", "1.1000", "1.1002")
    yield tws
    tws.close()


@pytest.fixture
def engine(transactional_db: None, settings: Any) -> Iterator[trading_runtime.TradingRuntime]:
    """A trading process that also holds sessions and polls for due orders."""
    set_setting("networks.broker_networks", (ipaddress.ip_network("127.0.0.0/8"),))
    set_setting("execution.poll_seconds", 0.4)
    with running("execution+sessions", SECONDS) as present:
        yield present


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


def audited() -> dict[str, Any]:
    """Return the audit's last line; the process of the session reads the account for it."""
    out = StringIO()
    with suppress(SystemExit):
        call_command("audit", "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return found


def test_order_executed_twice_is_dup_in_the_audit(feed: Feed, tws: TwsProcess) -> None:
    """The cache keeps one record per reference; IBKR's order ids distinguish two orders."""
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    found = audited()
    assert (found["counters"]["DUP"], found["judged"], found["not_judged"]) == (0, 1, [])
    order = Order.objects.get()
    tws.do("execute_again", order.client_order_id)
    BrokerListing.objects.update(began_at=None)  # else it is not read again for half a minute
    found = audited()
    assert found["examples"]["DUP"] == [f"order {order.pk}, accepted 2 times"]


def test_unknown_ibkr_order_is_orphan_in_the_audit(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess, settings: Any
) -> None:
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    lost = new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
    tws.do("execute_again", Order.objects.get().client_order_id, lost)
    assert audited()["examples"]["ORPHAN"] == [f"{lost} on connection {alice.pk}"]


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


def test_levels_of_working_entry_cause_no_drift_and_no_adoption(
    alice: ExecutionConnection, feed: Feed
) -> None:
    """One position and one working entry in a contract, each with its own levels."""
    held = factories.signal(feed, [("1.12000", "1")], sl=D("1.09000"))
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.09000")).exists())
    factories.signal(
        feed, [("1.10000", "1")], sl=D("1.04000"), order_type="LIMIT", open_price=D("1.05000")
    )
    until(lambda: Order.objects.filter(leg="entry", status="SUBMITTED").exists())
    compare(alice)
    assert factories.drift_items() == []

    position = ExecutionPosition.objects.get(signal=held)
    item = levels_item(position)
    client = Client()
    client.force_login(User.objects.get(pk=alice.owner_id))
    answer = client.post(f"/api/v1/drift/{item.pk}/adopt/", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT")
    position.refresh_from_db()
    assert (position.sl, position.broker_sl, position.tp) == (D("1.09"), D("1.09"), D("1.12"))


def test_entry_price_of_position_that_overlapped_a_closed_one_is_not_compared(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """IBKR has one average price per contract, which includes the closed position."""
    first = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").count() == 1)
    tws.do("quote", "EURUSD", "1.1200", "1.1202")
    factories.quote(alice, "1.12000", "1.12020")
    second = factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").count() == 2)
    factories.close_signal(first)
    until(lambda: ExecutionPosition.objects.get(signal=first).quantity == 0)
    left = ExecutionPosition.objects.get(signal=second)
    assert (left.quantity, left.entry_price) == (D(20000), D("1.1202"))
    compare(alice)
    kinds = set(DriftItem.objects.exclude(state="RESOLVED").values_list("kind", flat=True))
    assert "PRICE_DIFFERS" not in kinds


TRAILING: dict[str, Any] = {
    "order_type": "TRAILING_STOP", "trail_distance": D("0.005"), "sl": D("1.05"),
}  # fmt: skip


def test_trailing_stop_works_at_tws_and_is_filled_when_the_market_turns(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """It begins at 1.1052, follows the ask down from 1.1002 to 1.0902, and waits at 1.0952."""
    signal = factories.signal(feed, [("1.12000", "1")], **TRAILING)
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    order = Order.objects.get()
    assert (order.stop_price, order.trail_distance) == (D("1.1052"), D("0.005"))
    assert not OrderTrigger.objects.exists()
    tws.do("quote", "EURUSD", "1.0900", "1.0902")
    compare(alice)
    assert factories.drift_items() == []
    with pytest.raises(ConflictError) as refused:
        change_order(order.pk, WantedTerms(quantity=D(30000)))
    assert refused.value.code is Code.CHANGE_UNSUPPORTED
    tws.do("quote", "EURUSD", "1.0960", "1.0962")
    until(lambda: ExecutionPosition.objects.filter(broker_sl=D("1.05")).exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.quantity, position.entry_price) == (D(20000), D("1.0962"))
    order.refresh_from_db()
    assert (order.status, order.slippage_pips) == ("FILLED", None)
    assert tws.state()["received"].count(order.client_order_id) == 1


def test_trailing_stop_filled_beyond_its_stop_loss_is_closed_at_once(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """It follows down to 1.0902, past the stop loss: the stop at the broker executes with it."""
    signal = factories.signal(feed, **TRAILING | {"sl": D("1.095")})
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    tws.do("quote", "EURUSD", "1.0850", "1.0852")
    tws.do("quote", "EURUSD", "1.0904", "1.0906")
    until(lambda: ExecutionPosition.objects.filter(quantity=0, closed_at__isnull=False).exists())
    position = ExecutionPosition.objects.get(signal=signal)
    assert (position.entry_price, position.close_reason) == (D("1.0906"), "sl")
    assert D(next(iter(tws.state()["positions"].values()))) == 0
    compare(alice)
    assert factories.drift_items() == []


def test_trailing_stop_whose_answer_was_lost_is_found_and_can_be_cancelled(
    feed: Feed, tws: TwsProcess
) -> None:
    tws.do("fault", "accept and cut")
    factories.signal(feed, **TRAILING)
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    order = Order.objects.get()
    assert tws.state()["accepted"].count(order.client_order_id) == 1
    cancel_order(order.pk)
    until(lambda: Order.objects.filter(status="CANCELLED").exists())
    tws.do("quote", "EURUSD", "1.2000", "1.2002")
    ended = [one for one in tws.state()["orders"] if one["ref"] == order.client_order_id]
    assert [(one["status"], D(one["filled"])) for one in ended] == [("Cancelled", D(0))]


def test_working_order_that_vanished_is_a_difference_for_a_person(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """It neither ends nor is sent again on its own, also when its cancel finds nothing."""
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09000"), sl=D("1.08000"))
    until(lambda: Order.objects.filter(status="SUBMITTED").exists())
    order = Order.objects.get()
    refs = [order.client_order_id, f"{order.client_order_id}:sl"]
    for ref in refs:
        tws.do("forget", ref)

    def is_missing() -> bool:
        compare(alice)  # not compared while TWS may not list it yet
        return factories.drift_items() == [("ORDER_MISSING", "OPEN")]

    until(is_missing)
    cancel_order(order.pk)
    until(lambda: Order.objects.filter(status="CANCEL_REQUESTED").exists())
    assert is_missing()
    assert tws.state()["received"] == refs


def test_corrected_execution_corrects_the_position(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess
) -> None:
    """A smaller one; one that leaves nothing is for a person."""
    factories.signal(feed)
    until(lambda: Order.objects.filter(status="FILLED").exists())
    tws.do("correct", 1, "1.1002", "15000")
    until(lambda: ExecutionPosition.objects.get().quantity == D(15000))
    compare(alice)
    fill = Fill.objects.get()
    assert (fill.quantity, fill.inferred) == (D(15000), False)
    assert (Order.objects.get().filled_quantity, factories.drift_items()) == (D(15000), [])
    tws.do("correct", 1, "1.1002", "0")
    until(lambda: factories.drift_items() == [("REPORT_PROCESSING_FAILED", "OPEN")])
    assert ExecutionPosition.objects.get().quantity == D(15000)


def compare(of: ExecutionConnection) -> None:
    """Request a reconciliation of the account and wait for it."""
    request_reconciliation([of.pk])
    until(lambda: AccountSyncState.objects.get(connection=of).reconcile_requested_at is None)


def position_entry(of: ExecutionPosition) -> str:
    return str(Order.objects.get(signal=of.signal, leg="entry").client_order_id)


def levels_item(of: ExecutionPosition) -> DriftItem:
    """Create a drift item as a former version did, which knew no levels of single entries."""
    theirs = {"side": "BUY", "quantity": "20000", "entry_price": "1.1002", "stop_loss": None,
              "take_profit": None}  # fmt: skip
    evidence = {"symbol": "EURUSD", "theirs": theirs, "differs": "1.09 1.12 none none",
                "broker_position_id": of.broker_position_id}  # fmt: skip
    return DriftItem.objects.create(
        kind="LEVELS_DIFFER", connection=of.connection, position_id=of.pk,
        key=of.broker_position_id, evidence=evidence,
    )  # fmt: skip
