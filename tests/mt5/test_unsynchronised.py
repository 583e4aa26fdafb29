"""A terminal that has just started or logged in: it is connected, and has not loaded everything.

What it lacks is not at the server either only if the terminal has the rest.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.mt5.adapter import Mt5Adapter, create
from brokers.types import ReportKind, Side
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import (
    CID,
    EXIT,
    LIMIT,
    D,
    bought,
    kinds,
    order,
    outcome,
    run,
    spec,
    submit,
)

NOTHING: dict[str, Any] = {
    "trade_contract_size": 0.0, "volume_min": 0.0, "volume_step": 0.0, "volume_max": 0.0,
    "point": 0.0, "trade_tick_size": 0.0,
}  # fmt: skip
BY_HAND, CANCELED, EXPIRED = 0, 2, 6


def closing(number: str, **changes: Any) -> Any:
    return order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number, **changes)


# ---- a symbol's data ----------------------------------------------------------------------------
def test_position_in_a_symbol_without_data_is_not_taken_for_nothing(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    bought(adapter)
    venue.configure_symbol("EURUSD", **NOTHING)
    fresh = create()
    (held,) = run(fresh.positions(spec()))
    assert (held.symbol, held.is_readable) == ("EURUSD", False)
    since = datetime.now(UTC) - timedelta(hours=1)
    assert all(fill.quantity for one in run(fresh.fills_since(spec(), since)) for fill in one.fills)
    assert "EURUSD" not in {one.symbol for one in run(fresh.instruments(spec()))}
    run(fresh.disconnect())


def test_last_known_data_count_while_the_terminal_has_none(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bought(adapter)
    monkeypatch.setattr("brokers.mt5.session.LIST_SECONDS", 0)
    venue.configure_symbol("EURUSD", trade_contract_size=0.0)
    assert [one.quantity for one in run(adapter.positions(spec()))] == [D(10_000)]
    assert submit(adapter, closing(number))[-1].kind is ReportKind.FILLED
    assert run(adapter.positions(spec())) == []


def test_entry_in_a_symbol_without_data_is_not_sent(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.configure_symbol("EURUSD", **NOTHING)
    refused = outcome(adapter, order())
    assert (type(refused), refused.detail) == (NotSent, "the terminal has no data of EURUSD yet")
    assert venue.accepted() == []


# ---- its price ----------------------------------------------------------------------------------
def test_exit_goes_without_a_price_where_the_server_needs_none(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    venue.fault("symbol_info_tick", "none", code=-4, times=20)
    assert outcome(adapter, order("fcxother0000000000")).code is Code.MARKET_CLOSED
    assert submit(adapter, closing(number))[-1].kind is ReportKind.FILLED
    assert venue.accepted() == [CID, EXIT]


def test_exit_waits_for_a_price_if_the_server_has_none_either(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    venue.fault("symbol_info_tick", "none", code=-4, times=20)
    venue.fault("order_send", "retcode", code=10021)
    refused = outcome(adapter, closing(number))
    assert (type(refused), refused.code) == (NotSent, Code.MARKET_CLOSED)
    assert refused.detail.startswith("10021")


def test_exit_of_instant_execution_waits_for_a_price(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    dollars: dict[str, Any] = {"symbol": "USDJPY", "quantity": D(1000)}
    number = bought(adapter, **dollars)
    venue.fault("symbol_info_tick", "none", code=-4, times=20)
    refused = outcome(adapter, closing(number, **dollars))
    assert (type(refused), refused.code) == (NotSent, Code.MARKET_CLOSED)
    assert len(venue.state()["sent"]) == 1


# ---- its history --------------------------------------------------------------------------------
def test_absence_is_not_certain_before_the_history_is_loaded(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    submit(adapter, closing(number))
    venue.configure_account(history_loaded=False)
    with pytest.raises(ReadFailed, match="history"):
        run(adapter.find_order(spec(), CID))
    venue.configure_account(history_loaded=True)
    assert kinds(adapter) == [ReportKind.FILLED]
    assert kinds(adapter, "fcxother0000000000") is None


def test_account_without_money_has_no_history(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure_account(history_loaded=False, balance=0.0)
    assert kinds(adapter) is None


def test_order_with_our_number_is_not_absent_whatever_its_reason(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """A server may note another source of an order; sent again, there would be two."""
    submit(adapter, order(**LIMIT))
    (waiting,) = venue.state()["orders"]
    venue.configure_account(orders=[{**waiting, "reason": BY_HAND}])
    with pytest.raises(ReadFailed):
        run(adapter.find_order(spec(), CID))


# ---- why an order has ended ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("comment", "detail"), [(CID, ""), ("[no money]", "[no money]"), (f"{CID} [gap]", "[gap]")]
)
@pytest.mark.parametrize(
    ("state", "kind"), [(CANCELED, ReportKind.CANCELLED), (EXPIRED, ReportKind.EXPIRED)]
)
def test_servers_words_about_an_end_are_reported(
    venue: FakeTerminal, adapter: Mt5Adapter, comment: str, detail: str, state: int,
    kind: ReportKind,
) -> None:  # fmt: skip
    submit(adapter, order(**LIMIT))
    (waiting,) = venue.state()["orders"]
    venue.configure_account(orders=[{**waiting, "comment": comment}])
    venue.control("end_order", login=1001, ticket=waiting["ticket"], state=state)
    *_, ended = run(adapter.find_order(spec(), CID)) or []
    assert (ended.kind, ended.detail) == (kind, detail)
