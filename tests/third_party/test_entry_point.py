"""A third party's package adds a broker without touching this repository, and it trades."""

import asyncio
import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from brokers import registry
from brokers.base import BrokerAdapter, BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.registry import BUILT_IN, adapter_for, broker_types, capabilities_of, form_of
from brokers.types import (
    CloseCause,
    ConnectionSpec,
    OrderReport,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from common.clocks import market_now
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections import services
from connections.account_settings.forms import BrokerTypeForm
from connections.credentials.forms import CredentialsForm
from connections.health import connection_checks
from connections.models import ConnectionHealth, ExecutionConnection
from execution import tasks
from execution.models import AccountSyncState, Order
from execution.reconciliation.reconcile import reconcile_new
from execution.recovery.order_polling import poll
from execution.runtime.trading_runtime import TradingRuntime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.conformance import __main__ as conformance
from tests.conformance import stages
from tests.connections import make
from tests.execution import factories

if TYPE_CHECKING:
    from tiny_broker.conformance.venue import Venue

# ---- the package -------------------------------------------------------------------------------


def test_installed_package_adds_its_broker_type(installed: Path) -> None:
    assert "tiny" in broker_types()
    assert "tiny" not in BUILT_IN
    assert ("tiny", "Tiny") in BrokerTypeForm().fields["type"].choices  # type: ignore[attr-defined]
    assert set(CredentialsForm("tiny").fields) == {"password"}
    assert form_of("tiny") is adapter_for("tiny").form
    spec = ConnectionSpec(connection_id="", account="A1", settings={"host": "x.example.com"})
    assert capabilities_of("tiny", spec) == adapter_for("tiny").capabilities(spec)


def test_removed_package_removes_its_broker_type(installed: Path) -> None:
    """Under its own name: the reader may have installed the example."""
    info = installed / "passing-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(
        "[fillcast.brokers]\npassing = tiny_broker.adapter:create\n"
    )
    importlib.invalidate_caches()
    registry.clear_cache()
    assert "passing" in broker_types()
    shutil.rmtree(info)
    importlib.invalidate_caches()
    registry.clear_cache()
    assert "passing" not in broker_types()
    with pytest.raises(InvalidInputError):
        adapter_for("passing")


def test_broken_package_is_not_offered_and_breaks_no_page(installed: Path) -> None:
    (installed / "tiny_broker" / "adapter.py").write_text("import a_library_that_there_is_not\n")
    assert "tiny" not in dict(BrokerTypeForm().fields["type"].choices)  # type: ignore[attr-defined]
    assert "paper" in dict(BrokerTypeForm().fields["type"].choices)  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        adapter_for("tiny")


def test_package_provides_its_own_conformance_stage(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage and what does not apply to it, of a broker type unknown to this repository."""
    points = (installed / "tiny_broker-1.0.dist-info" / "entry_points.txt").read_text()
    (installed / "acme_broker-1.0.dist-info").mkdir()
    acme = points.replace("tiny = ", "acme = ")
    (installed / "acme_broker-1.0.dist-info" / "entry_points.txt").write_text(acme)
    importlib.invalidate_caches()
    place = stages.reviewed_in("acme")
    assert place == installed / "tiny_broker" / "conformance" / "reviewed.json"
    monkeypatch.setattr("sys.argv", ["conformance", "--adapter", "acme", "--check", "C02"])
    assert conformance.main() == 0
    assert "the example: 0 ok, 0 FAIL, 1 n/a" in capsys.readouterr().out
    place.write_text('{"as it was called before": {"C02": "it rests"}}')
    assert conformance.main() == 1, "what its package has not reviewed"
    monkeypatch.setattr("sys.argv", [*sys.argv, "--review"])
    assert conformance.main() == 0
    assert set(json.loads(place.read_text())) == {"the example"}, "stages that it has, no others"


# ---- one order, through the registry -----------------------------------------------------------
@pytest.fixture
def tiny(installed: Path) -> BrokerAdapter:
    return adapter_for("tiny")


@pytest.fixture
def spec(venue: "Venue") -> ConnectionSpec:
    return ConnectionSpec(
        connection_id="c", account="A1", settings={"host": "127.0.0.1", "port": venue.port},
        credentials={"password": "pw"},
    )  # fmt: skip


REQUEST = OrderRequest(
    client_order_id="id-1", connection_id="c", account="A1", symbol="EURUSD", side=Side.BUY,
    order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC, quantity=D(100),
)  # fmt: skip


def place(
    adapter: BrokerAdapter, spec: ConnectionSpec, **changes: Any
) -> list[OrderReport] | BrokerError:
    try:
        return asyncio.run(adapter.submit(spec, replace(REQUEST, **changes), lambda _: None))
    except BrokerError as error:
        return error


def test_adapter_places_closes_and_looks_up_orders(
    tiny: BrokerAdapter, spec: ConnectionSpec, venue: "Venue"
) -> None:
    result = place(tiny, spec)
    assert isinstance(result, list)
    assert (result[0].broker_position_id, result[0].fills[0].quantity) == ("1", D(100))
    assert asyncio.run(tiny.find_order(spec, "id-1", "EURUSD")) == result
    assert asyncio.run(tiny.find_order(spec, "other", "")) is None
    place(tiny, spec, client_order_id="id-2", side=Side.SELL, quantity=D(40),
          reduce_only=True, broker_position_id="1")  # fmt: skip
    assert [one.quantity for one in asyncio.run(tiny.positions(spec))] == [60]
    venue.owner_closes()
    result = asyncio.run(tiny.fills_since(spec, market_now()))
    assert (result[-1].client_order_id, result[-1].close_cause) == ("id-1", CloseCause.EXTERNAL)
    assert venue.journal == ["id-1", "id-2"]


@pytest.mark.parametrize(
    ("fault", "outcome", "code", "accepted"),
    [
        ("NO_MONEY", Rejected, Code.NO_MONEY, 0),
        ("TEAPOT", OutcomeUnknown, Code.REPLY_LOST, 0),
        ("lost", OutcomeUnknown, Code.REPLY_LOST, 0),
        ("silent", OutcomeUnknown, Code.REPLY_LOST, 1),
        ("incomplete", OutcomeUnknown, Code.REPLY_LOST, 1),
    ],
)
def test_each_error_has_exactly_one_outcome(
    tiny: BrokerAdapter, spec: ConnectionSpec, venue: "Venue", fault: str,
    outcome: type[BrokerError], code: Code, accepted: int,
) -> None:  # fmt: skip
    venue.fault = fault
    result = place(tiny, spec)
    assert type(result) is outcome
    assert result.code is code
    assert len(venue.journal) == accepted


def test_request_proven_unsent_is_not_sent(
    tiny: BrokerAdapter, spec: ConnectionSpec, venue: "Venue"
) -> None:
    away = replace(spec, settings={"host": "127.0.0.1", "port": 1})
    assert isinstance(place(tiny, away), NotSent)
    home = place(tiny, replace(spec, settings={"host": "localhost", "port": venue.port}))
    assert isinstance(home, NotSent)
    assert "Enter the address" in home.detail, "a name may lead anywhere by now"

    def refuse(_: OrderRequest) -> None:
        raise NotSent(Code.SEND_DEADLINE)

    with pytest.raises(NotSent):
        asyncio.run(tiny.submit(spec, REQUEST, refuse))
    assert isinstance(place(tiny, replace(spec, credentials={"password": "x"})), Rejected)
    assert venue.journal == []


@pytest.mark.parametrize("reduces", [False, True], ids=["an entry", "an exit"])
def test_login_refused_with_unknown_reason_is_not_final(
    tiny: BrokerAdapter, spec: ConnectionSpec, venue: "Venue", reduces: bool
) -> None:
    """ "Come again in a minute", for example: nothing was asked, and nothing is wrong for good."""
    place(tiny, spec, client_order_id="before")
    venue.login_error = "COME_LATER"
    result = place(tiny, spec, reduce_only=reduces, broker_position_id="1" if reduces else "")
    assert isinstance(result, NotSent)
    assert (result.code, "COME_LATER" in result.detail) == (Code.NOT_CONNECTED, True)
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(tiny.account(spec))
    assert failed.value.code is Code.BROKER_UNREACHABLE, (
        "no reply states that the password is wrong"
    )
    venue.login_error = ""
    assert isinstance(place(tiny, spec), list)
    assert venue.journal == ["before", "id-1"]


def test_healthy_account_needs_no_action(
    tiny: BrokerAdapter, spec: ConnectionSpec, venue: "Venue"
) -> None:
    assert [(one.result, one.hint) for one in asyncio.run(tiny.test(spec))] == [("ok", "")] * 3
    venue.ahead = timedelta(minutes=10)
    (clock,) = (one for one in asyncio.run(tiny.test(spec)) if one.result != "ok")
    assert (clock.name, "NTP" in clock.hint) == ("clock", True)


def test_wrong_password_message_states_remedy(
    tiny: BrokerAdapter, spec: ConnectionSpec, venue: "Venue"
) -> None:
    wrong = replace(spec, credentials={"password": "wrong"})
    (check,) = asyncio.run(tiny.test(wrong))
    assert check.hint == Code.CREDENTIALS_REFUSED.hint
    with pytest.raises(ReadFailed) as failed:
        asyncio.run(tiny.connect(replace(spec, account="B7")))
    assert failed.value.code is Code.UNKNOWN_ACCOUNT


# ---- a signal, from its publication to the broker and back --------------------------------------
@pytest.fixture
def trading(transactional_db: None) -> Iterator[TradingRuntime]:
    from execution.runtime import trading_runtime

    present = TradingRuntime("test")
    present.start()
    before, trading_runtime._runtime = trading_runtime._runtime, present
    yield present
    trading_runtime._runtime = before
    present.stop()


@pytest.fixture
def account(
    installed: Path, venue: "Venue", keys: None, feed: Feed, trading: TradingRuntime
) -> ExecutionConnection:
    """As its owner adds it: settings by the form, credentials, a test, a subscription."""
    owner = make.user()
    prices = make.connection(owner).data_connection
    row = services.create_connection(
        by=owner, user=owner, name="mine", type="tiny", account="A1",
        settings={"host": "127.0.0.1", "port": str(venue.port)}, credentials={"password": "pw"},
        preset=make.preset(owner, sizing_mode="FIXED", fixed_quantity=D(100)),
        data_connection=prices,
    )  # fmt: skip
    assert {check.result.value for check in connection_checks.run_test(row.pk)} == {"ok"}
    factories.quote(row)
    make.subscription(row, feed)
    reconcile_new()
    assert ConnectionHealth.objects.get(pk=row.pk).reconciled_at is not None
    return row


@pytest.mark.usefixtures("inline_commits")
def test_published_signal_is_filled_and_external_close_detected(
    account: ExecutionConnection, venue: "Venue", feed: Feed, trading: TradingRuntime
) -> None:
    factories.signal(feed, created_by=None)
    order = Order.objects.get(connection=account)
    assert tasks.execute_signal.apply(([order.pk],)).successful()
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    order.refresh_from_db()
    assert (order.status, venue.journal) == ("FILLED", [order.client_order_id])
    position = ExecutionPosition.objects.get(connection=account)
    assert (position.quantity, position.broker_position_id) == (100, "1")
    venue.owner_closes()
    AccountSyncState.objects.update(poll_after=None)
    assert poll() == 1
    position.refresh_from_db()
    assert position.quantity == 0
