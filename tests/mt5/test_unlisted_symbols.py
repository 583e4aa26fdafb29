"""Positions, orders and closes in a symbol that the broker has renamed or removed."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.base import ReadFailed
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import CloseCause, ModifyRequest, OrderReport, Side
from brokers.unreadable_rows import UNREADABLE_ROWS
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, EXIT, LIMIT, D, bought, order, run, spec, submit

LOGIN = 1001
OTHERS: dict[str, Any] = {"magic": 0, "comment": "", "symbol": "OLD.x"}
BY_HAND, ROLLOVER = 0, 7


def fills(adapter: Mt5Adapter) -> list[OrderReport]:
    return run(adapter.fills_since(spec(), datetime.now(UTC) - timedelta(hours=1)))


def close_of_others(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    numbers = {"ticket": entry["ticket"] + 5, "order": 77, "position_id": 77}
    return {**entry, **numbers, "entry": 1, "type": 1, "reason": BY_HAND, **OTHERS, **changes}


@pytest.mark.parametrize("reason", [BY_HAND, ROLLOVER])
def test_close_of_others_does_not_prevent_the_read_of_fills(
    venue: FakeTerminal, adapter: Mt5Adapter, caplog: pytest.LogCaptureFixture, reason: int
) -> None:
    """It would have for as long as it is in the history. The log states it once."""
    bought(adapter)
    (entry,) = venue.state()["deals"]
    old = entry["time_msc"] - 120_000
    venue.configure_account(deals=[entry, close_of_others(entry, reason=reason, time_msc=old)])
    with caplog.at_level(logging.WARNING, "brokers.mt5"):
        found = [fills(adapter) for _ in range(2)]
    assert [[report.client_order_id for report in reports] for reports in found] == [[CID], [CID]]
    assert caplog.messages == [f"mt5: account {LOGIN}: the broker no longer lists OLD.x"]


def test_close_of_others_in_a_listed_symbol_is_reported(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """It may be of a position that was adopted."""
    bought(adapter)
    (entry,) = venue.state()["deals"]
    venue.configure_account(deals=[entry, close_of_others(entry, symbol="EURUSD")])
    assert [(one.client_order_id, one.close_cause) for one in fills(adapter)] == [
        (CID, None), ("", CloseCause.EXTERNAL),
    ]  # fmt: skip


def test_close_of_others_whose_symbol_cannot_be_read_now_fails_the_read(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """A failed answer does not prove that the symbol is gone: the next read has the close."""
    bought(adapter)
    (entry,) = venue.state()["deals"]
    venue.configure_account(deals=[close_of_others(entry, symbol="USDJPY")])
    venue.fault("symbol_info", "none", code=-10005)
    with pytest.raises(ReadFailed):
        fills(adapter)
    assert [one.close_cause for one in fills(adapter)] == [CloseCause.EXTERNAL]


@pytest.mark.parametrize("reason", [BY_HAND, ROLLOVER])
def test_close_of_ours_of_an_unknown_size_spoils_no_read(
    venue: FakeTerminal, adapter: Mt5Adapter, reason: int
) -> None:
    """The comparison finds that the position is closed; what else was executed is read."""
    number = int(bought(adapter))
    (entry,) = venue.state()["deals"]
    old = entry["time_msc"] - 120_000
    terms = {"position_id": number, "reason": reason, "time_msc": old}
    ours = close_of_others(entry, **terms, ticket=entry["ticket"] + 9 + reason)
    venue.configure_account(deals=[entry, ours])
    UNREADABLE_ROWS.take()
    assert [one.client_order_id for one in fills(adapter)] == [CID]
    (noted,) = UNREADABLE_ROWS.take()
    assert (noted.what, noted.name) == ("execution", f"{ours['ticket']} in OLD.x")


def test_close_of_ours_in_a_symbol_that_is_gone_has_its_last_known_size(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bought(adapter)
    closing = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)
    submit(adapter, closing)
    monkeypatch.setattr("brokers.mt5.session.LIST_SECONDS", 0)
    venue.fault("symbol_info", "none", code=-4)
    found = fills(adapter)
    assert [(one.client_order_id, one.fills[0].quantity) for one in found] == [
        (CID, D(10_000)), (EXIT, D(10_000)),
    ]  # fmt: skip


def test_positions_and_orders_of_others_count_by_lots(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """Ours are read beside them."""
    bought(adapter)
    submit(adapter, order("fcxother0000000000", **LIMIT))
    state = venue.state()
    (held,), (waiting,) = state["positions"], state["orders"]
    numbers = {"ticket": 77, "identifier": 77}
    venue.configure_account(
        positions=[held, {**held, **OTHERS, **numbers}],
        orders=[waiting, {**waiting, **OTHERS, "ticket": 78, "volume_current": 0.04}],
    )
    assert [one.quantity for one in run(adapter.positions(spec()))] == [D(10_000), D("0.1")]
    assert [(one.quantity, one.filled) for one in run(adapter.open_orders(spec()))] == [
        (D(10_000), D(0)), (D("0.1"), D("0.06")),
    ]  # fmt: skip


def test_order_of_ours_is_left_out_and_hides_no_other_one(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """Its look-up has it, so nothing is concluded from its absence."""
    submit(adapter, order(**LIMIT))
    submit(adapter, order("fcxother0000000000", **LIMIT))
    first, second = venue.state()["orders"]
    venue.configure_account(orders=[{**first, "symbol": "OLD.x"}, second])
    listed = run(adapter.open_orders(spec()))
    assert [one.broker_order_id for one in listed] == [str(second["ticket"])]
    assert run(adapter.find_order(spec(), CID)) is not None


def test_position_of_ours_is_in_the_list_and_not_readable(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    (held,) = venue.state()["positions"]
    other = {**held, "ticket": 77, "identifier": 77}
    venue.configure_account(positions=[{**held, "symbol": "OLD.x"}, other])
    gone, found = run(adapter.positions(spec()))
    assert (gone.broker_position_id, gone.symbol, gone.is_readable) == (number, "OLD.x", False)
    assert (found.quantity, found.is_readable) == (D(10_000), True)


@pytest.mark.parametrize("login", [LOGIN, 1002])
def test_exit_and_levels_go_to_the_symbol_that_a_position_has_now(
    venue: FakeTerminal, adapter: Mt5Adapter, login: int
) -> None:
    """A broker has renamed it; on a netting account the old name would open another position."""
    account = spec(login, native_stops=True)
    run(adapter.connect(account))
    (entry,) = run(adapter.submit(account, order(), lambda _: None))
    number = entry.broker_position_id
    (held,) = venue.state(login)["positions"]
    venue.configure_account(login, positions=[{**held, "symbol": "EURUSD.m"}])
    levels = ModifyRequest(CID, number, "EURUSD", D("1.05"), None)
    (report,) = run(adapter.modify(account, levels))
    assert report.stop_loss == D("1.05")
    closing = order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number)
    run(adapter.submit(account, closing, lambda _: None))
    assert [one["symbol"] for one in venue.state(login)["sent"]] == ["EURUSD", *["EURUSD.m"] * 2]
    assert run(adapter.positions(account)) == []
