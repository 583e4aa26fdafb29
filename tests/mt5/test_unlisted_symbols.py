"""Positions, orders and closes in a symbol that the broker has renamed or removed."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.base import ReadFailed
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import CloseCause, OrderReport
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, LIMIT, D, bought, order, run, spec, submit

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


def test_close_of_a_position_of_ours_is_not_left_out(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """Its quantity is not known, and a list without it would look complete."""
    number = int(bought(adapter))
    (entry,) = venue.state()["deals"]
    ours = close_of_others(entry, position_id=number)
    venue.configure_account(deals=[entry, ours])
    with pytest.raises(ReadFailed, match=r"OLD\.x"):
        fills(adapter)


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
