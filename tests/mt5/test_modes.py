"""What an account can do, and netting accounts, where an order the other way may reverse."""

from decimal import Decimal
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed, Rejected
from brokers.mt5.adapter import Mt5Adapter, create
from brokers.types import (
    CheckResult,
    ConnectionSpec,
    ExitSafety,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, EXIT, no_guard, order, outcome, run, spec, submit


def test_hedging_exits_by_ticket(adapter: Mt5Adapter) -> None:
    can = adapter.capabilities(spec())
    assert (can.exit_safety, can.native_stops) == (ExitSafety.TICKET, True)
    assert can.position_modes == {PositionMode.HEDGING}
    assert can.order_types == set(OrderType) - {OrderType.TRAILING_STOP}
    assert can.times_in_force == set(TimeInForce)
    assert not can.event_stream
    assert can.lookup_horizon == can.fills_horizon is not None


def test_netting_cancels_first_and_leaves_levels_to_the_engine(adapter: Mt5Adapter) -> None:
    can = adapter.capabilities(spec(1002, position_mode="NETTING"))
    assert (can.exit_safety, can.native_stops) == (ExitSafety.CANCEL_FIRST, False)
    assert can.position_modes == {PositionMode.NETTING}
    assert adapter.capabilities(spec(1002, position_mode="NETTING", native_stops=True)).native_stops


def test_capabilities_without_a_login(adapter: Mt5Adapter) -> None:
    assert not adapter.capabilities(ConnectionSpec(connection_id="", account="")).event_stream


def test_margin_mode_change_updates_capabilities(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    """Believed to be hedging, it is netting: nothing leaves on that belief, and it is corrected."""
    assert adapter.capabilities(spec(1002)).exit_safety is ExitSafety.TICKET
    with pytest.raises(NotSent) as unsent:
        submit(adapter, order(), login=1002)
    assert unsent.value.code is Code.NOT_CONNECTED  # which is tried again
    assert venue.accepted(1002) == []
    assert adapter.capabilities(spec(1002)).exit_safety is ExitSafety.CANCEL_FIRST
    submit(adapter, order(), login=1002)
    assert venue.accepted(1002) == [CID]


def test_netting_adds_reduces_and_closes(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    def trade(client_order_id: str, side: Side, quantity: int, **more: Any) -> OrderReport:
        request = order(client_order_id, side=side, quantity=Decimal(quantity), **more)
        (report,) = submit(adapter, request, login=1002, position_mode="NETTING")
        return report

    number = trade(CID, Side.BUY, 10_000).broker_position_id
    trade("fcxother0000000000", Side.BUY, 5_000)
    (held,) = run(adapter.positions(spec(1002)))
    assert (held.broker_position_id, held.quantity) == (number, Decimal(15_000))
    more = {"reduce_only": True, "broker_position_id": number}
    report = trade(EXIT, Side.SELL, 15_000, **more)
    assert report.broker_position_id == number
    assert run(adapter.positions(spec(1002))) == []
    assert "position" not in venue.state(1002)["accepted"][-1]


def test_missing_package_error_says_where_it_runs() -> None:
    adapter = create()
    assert adapter.capabilities(spec()).session
    error = outcome(adapter, order())
    assert (type(error), error.code) == (NotSent, Code.LIBRARY_MISSING)
    assert "worker on Windows" in error.detail
    with pytest.raises(ReadFailed, match="worker on Windows"):
        run(adapter.positions(spec()))
    (line,) = run(adapter.test(spec()))
    assert (line.name, line.result) == ("terminal", CheckResult.FAIL)
    assert "worker on Windows" in line.detail
    run(adapter.disconnect())


def test_what_is_not_offered(adapter: Mt5Adapter) -> None:
    assert run(adapter.events(10)) == []
    run(adapter.acknowledge(["x"]))
    assert run(adapter.clock()) is None
    assert adapter.instrument_book(spec()) == "mt5:double-demo:1001"


def test_orders_of_a_bundle_are_sent_one_after_another(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    outcomes: dict[str, Any] = {}
    good, bad = order(), order("fcxbad00000000000", quantity=Decimal(1))

    def record_outcome(request: OrderRequest, outcome: Any) -> None:
        outcomes[request.client_order_id] = outcome

    run(adapter.submit_many([(spec(), bad), (spec(), good)], no_guard, record_outcome))
    assert isinstance(outcomes[bad.client_order_id], Rejected)
    assert outcomes[CID][0].fills[0].quantity == 10_000


def test_account_that_is_no_number(adapter: Mt5Adapter) -> None:
    no_login = ConnectionSpec(connection_id="c", account="DU12", settings={}, credentials={})
    with pytest.raises(NotSent) as unsent:
        run(adapter.submit(no_login, order(), no_guard))
    assert unsent.value.code is Code.UNKNOWN_ACCOUNT


def test_terminal_that_is_not_there(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_MT5", "1")
    with pytest.raises(NotSent) as unsent:
        submit(adapter, order())
    assert unsent.value.code is Code.NOT_CONNECTED
    assert "-10003" in unsent.value.detail


def test_symbol_without_a_price_yet(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure_symbol("EURUSD", bid=0.0, ask=0.0)
    with pytest.raises(NotSent):
        submit(adapter, order())
    venue.configure_symbol("EURUSD", bid=1.1, ask=1.1001, visible=False)
    (report,) = submit(adapter, order("fcxother0000000000"))  # it is put on the list of quotes
    assert report.fills
    venue.fault("symbol_info", "none", code=-10005)
    with pytest.raises(NotSent):
        submit(adapter, order(symbol="USDJPY"))


def test_engine_guarded_levels_are_not_sent(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    """On a netting account they would belong to every signal's position together."""
    with_stop = order(stop_loss=Decimal("1.05"))
    error = outcome(adapter, with_stop, login=1002, position_mode="NETTING")
    assert (type(error), error.code) == (Rejected, Code.STOPS_INVALID)
    netting = spec(1002, position_mode="NETTING")
    number = submit(adapter, order(), login=1002, position_mode="NETTING")[-1].broker_position_id
    request = ModifyRequest(CID, number, "EURUSD", Decimal("1.05"), None)
    with pytest.raises(Rejected):
        run(adapter.modify(netting, request))
    with pytest.raises(Rejected):
        run(adapter.what_if(netting, with_stop))
    bare = ModifyRequest(CID, number, "EURUSD", None, None)
    assert run(adapter.modify(netting, bare))[0].kind is ReportKind.LEVELS
    assert [one["action"] for one in venue.state(1002)["accepted"]] == [1, 6]
