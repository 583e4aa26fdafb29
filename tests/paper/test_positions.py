"""Positions of hedging and netting accounts: an exit never reverses one."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.paper import exchange
from brokers.paper.models import PaperFill, PaperPosition
from brokers.types import CloseCause, ReportKind, Side
from common.reason_codes import Code
from tests.paper.conftest import Trader


@pytest.fixture
def netting(trader: Trader) -> Trader:
    """The same trader, with A1 as a netting account."""
    trader.set(position_mode="NETTING")
    return trader


def test_hedging_account_has_one_position_per_entry(trader: Trader) -> None:
    [long] = trader.buy("3000", stop_loss="1.09000")
    [short] = trader.sell("2000", take_profit="1.08000")
    first, second = trader.positions()
    assert (first.side, first.quantity, first.entry_price) == (Side.BUY, D(3000), D("1.10002"))
    assert (second.side, second.quantity, second.entry_price) == (Side.SELL, D(2000), D("1.1"))
    assert (first.stop_loss, first.take_profit) == (D("1.09"), None)
    assert (second.stop_loss, second.take_profit) == (None, D("1.08"))
    assert first.client_order_id == long.client_order_id
    assert first.broker_position_id == long.broker_position_id != short.broker_position_id
    assert first.opened_at == trader.now


def test_close_affects_only_its_named_position(trader: Trader) -> None:
    [kept] = trader.buy("3000")
    [closed] = trader.buy("2000")
    trader.price("1.10102")
    [exit_] = trader.close(closed.broker_position_id, "2000", Side.SELL)
    assert (exit_.kind, exit_.broker_position_id) == (ReportKind.FILLED, closed.broker_position_id)
    assert exit_.close_cause is None
    assert [p.broker_position_id for p in trader.positions()] == [kept.broker_position_id]
    assert trader.state().balance == 10_000 + D("2.00")


def test_position_is_closed_in_parts(trader: Trader) -> None:
    [entry] = trader.buy("3000")
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    assert [p.quantity for p in trader.positions()] == [D(2000)]
    trader.close(entry.broker_position_id, "2000", Side.SELL)
    assert trader.positions() == []
    sums = PaperFill.objects.filter(lot=int(entry.broker_order_id))
    assert sum(f.quantity if f.side == "BUY" else -f.quantity for f in sums) == 0


@pytest.mark.parametrize("mode", ["HEDGING", "NETTING"])
def test_exit_closes_at_most_the_open_quantity(trader: Trader, mode: str) -> None:
    trader.set(position_mode=mode)
    [entry] = trader.buy("1000")
    filled, ended = trader.close(entry.broker_position_id, "5000", Side.SELL)
    assert [f.quantity for f in filled.fills] == [D(1000)]
    assert (ended.kind, ended.code) == (ReportKind.CANCELLED, Code.NO_POSITION)
    assert trader.positions() == []


@pytest.mark.parametrize("mode", ["HEDGING", "NETTING"])
@pytest.mark.parametrize("position_id", ["closed", "none", "malformed", "9" * 30])
def test_exit_without_position_opens_nothing(trader: Trader, mode: str, position_id: str) -> None:
    trader.set(position_mode=mode)
    [entry] = trader.buy("1000")
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    position = {"closed": entry.broker_position_id, "none": ""}.get(position_id, position_id)
    with pytest.raises(Rejected) as caught:
        trader.close(position, "1000", Side.SELL)
    assert caught.value.code is Code.NO_POSITION
    assert trader.positions() == []


def test_exit_on_the_same_side_adds_nothing(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    with pytest.raises(Rejected) as caught:
        trader.close(entry.broker_position_id, "1000", Side.BUY)
    assert caught.value.code is Code.NO_POSITION
    assert [p.quantity for p in trader.positions()] == [D(1000)]


def test_order_with_position_id_never_opens(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    request = trader.request(
        Side.SELL, "5000", reduce_only=False, broker_position_id=entry.broker_position_id
    )
    trader.submit(request)
    assert trader.positions() == []


def test_position_of_another_account_cannot_be_closed(trader: Trader) -> None:
    trader.account("A2")
    [entry] = trader.buy("1000")
    trader.buy("1000", "A2")
    with pytest.raises(Rejected):
        trader.close(entry.broker_position_id, "1000", Side.SELL, number="A2")
    assert len(trader.positions()) == len(trader.positions("A2")) == 1


def test_reduce_only_order_without_position_closes_oldest_first(trader: Trader) -> None:
    trader.buy("1000")
    trader.buy("2000")
    [exit_] = trader.sell("2000", reduce_only=True)
    assert [f.quantity for f in exit_.fills] == [D(1000), D(1000)]
    assert [p.quantity for p in trader.positions()] == [D(1000)]


def test_working_exit_is_cancelled_when_its_position_is_closed(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    resting = trader.sell(
        "1000", limit_price="1.11000", reduce_only=True,
        broker_position_id=entry.broker_position_id,
    )  # fmt: skip
    assert [r.kind for r in resting] == [ReportKind.ACCEPTED]
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    assert trader.price("1.12000") == 1
    assert [(r.kind, r.code) for r in trader.new_events()] == [
        (ReportKind.CANCELLED, Code.NO_POSITION)
    ]
    assert trader.positions() == []


def test_netting_account_has_one_position_per_symbol(netting: Trader) -> None:
    [first] = netting.buy("1000", stop_loss="1.09000")
    netting.price("1.10100")
    [second] = netting.buy("3000", stop_loss="1.09500", take_profit="1.12000")
    [position] = netting.positions()
    assert position.broker_position_id == first.broker_position_id == second.broker_position_id
    assert position.quantity == 4000
    assert position.entry_price == (D("1.10002") + 3 * D("1.10102")) / 4
    # Of the latest entry.
    assert (position.stop_loss, position.take_profit) == (
        D("1.095"),
        D("1.12"),
    )
    netting.buy("1000")  # without levels
    assert netting.positions()[0].stop_loss == D("1.095")


def test_netting_opposite_order_closes_then_opens_remainder(netting: Trader) -> None:
    [long] = netting.buy("1000")
    netting.buy("2000")
    [sold] = netting.sell("5000", stop_loss="1.12000")
    assert [f.quantity for f in sold.fills] == [D(1000), D(2000), D(2000)]
    [position] = netting.positions()
    assert (position.side, position.quantity, position.stop_loss) == (Side.SELL, D(2000), D("1.12"))
    assert position.broker_position_id != long.broker_position_id


def test_netting_stop_is_reported_for_each_entry(netting: Trader) -> None:
    [first] = netting.buy("1000")
    [second] = netting.buy("3000", stop_loss="1.09000")
    netting.close(first.broker_position_id, "500", Side.SELL)  # the oldest lot first
    assert netting.price("1.08900") == 2
    reports = netting.new_events()
    assert [r.close_cause for r in reports] == [CloseCause.STOP_LOSS] * 2
    assert {r.broker_position_id for r in reports} == {first.broker_position_id}
    assert {r.client_order_id: r.fills[0].quantity for r in reports} == {
        first.client_order_id: D(500),
        second.client_order_id: D(3000),
    }
    assert netting.positions() == []


def test_netting_exit_may_name_its_entry(netting: Trader) -> None:
    [first] = netting.buy("1000")
    [second] = netting.buy("1000", stop_loss="1.09000")
    netting.close(second.broker_order_id, "1000", Side.SELL)
    netting.price("1.08900")
    assert [r.client_order_id for r in netting.new_events()] == [first.client_order_id]


def test_levels_are_changed_and_removed(trader: Trader) -> None:
    [entry] = trader.buy("1000", stop_loss="1.09000")
    [report] = trader.modify(entry, "1.09500", "1.11000")
    assert (report.kind, report.stop_loss, report.take_profit) == (
        ReportKind.LEVELS, D("1.09500"), D("1.11000"),
    )  # fmt: skip
    assert (report.client_order_id, report.broker_position_id) == (
        entry.client_order_id, entry.broker_position_id,
    )  # fmt: skip
    assert trader.price("1.09600") == 0
    trader.modify(entry, None, "1.11000")
    assert trader.price("1.09400") == 0  # the stop is gone
    assert trader.price("1.11000") == 1
    assert [r.close_cause for r in trader.new_events()] == [CloseCause.TAKE_PROFIT]


def test_levels_of_working_entry_are_changed(trader: Trader) -> None:
    [waiting] = trader.buy("1000", limit_price="1.09000", stop_loss="1.08000")
    trader.modify(waiting, "1.08500", None)
    trader.price("1.08900")
    assert [p.stop_loss for p in trader.positions()] == [D("1.085")]
    with pytest.raises(Rejected):  # after the fill, levels are measured from the market price
        trader.modify(waiting, "1.08950", None)


@pytest.mark.parametrize(("stop", "target"), [("1.10000", None), (None, "1.09999"), ("1.2", None)])
def test_levels_on_the_wrong_side_are_rejected(
    trader: Trader, stop: str | None, target: str | None
) -> None:
    [entry] = trader.buy("1000", stop_loss="1.09000")
    with pytest.raises(Rejected) as caught:
        trader.modify(entry, stop, target)
    assert caught.value.code is Code.STOPS_INVALID
    assert [p.stop_loss for p in trader.positions()] == [D("1.09")]


def test_levels_of_closed_position_are_rejected(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    with pytest.raises(Rejected) as caught:
        trader.modify(entry, "1.09000", None)
    assert caught.value.code is Code.NO_POSITION


def test_changed_netting_level_applies_to_all_entries(netting: Trader) -> None:
    [first] = netting.buy("1000")
    netting.buy("2000")
    netting.modify(first, "1.09500", None)
    assert netting.price("1.09400") == 2
    assert netting.positions() == []


def test_manual_close_is_reported_as_external(trader: Trader) -> None:
    [first] = trader.buy("1000", stop_loss="1.09000")
    [second] = trader.sell("2000")
    trader.price("1.10500")
    assert exchange.owner_closes("A1", second.broker_position_id) == 1
    [report] = trader.new_events()
    assert (report.kind, report.close_cause) == (ReportKind.FILLED, CloseCause.EXTERNAL)
    assert report.client_order_id == second.client_order_id
    assert report.connection_id == "c-A1"
    assert report.broker_position_id == second.broker_position_id
    assert [(f.quantity, f.price) for f in report.fills] == [(D(2000), D("1.10502"))]
    assert exchange.owner_closes("A1") == 1  # the rest
    assert [r.client_order_id for r in trader.new_events()] == [first.client_order_id]
    assert exchange.owner_closes("A1") == exchange.owner_closes("missing") == 0
    assert trader.new_events() == []


def test_lookup_of_entry_includes_its_exit(trader: Trader) -> None:
    [entry] = trader.buy("1000", stop_loss="1.09000")
    trader.price("1.08900")
    [report] = trader.new_events()
    reports = trader.find(entry.client_order_id)
    assert reports is not None
    opened, closed = reports
    assert opened.fills == entry.fills
    assert closed.fills == report.fills
    assert (closed.close_cause, closed.client_order_id, closed.broker_position_id) == (
        report.close_cause, report.client_order_id, report.broker_position_id,
    )  # fmt: skip


def test_equity_equals_balance_when_flat(trader: Trader) -> None:
    [entry] = trader.buy("100000")
    trader.price("1.10502")
    state = trader.state()
    assert (state.balance, state.equity) == (D(10_000), D(10_500))
    assert state.margin_used == (100_000 * D("1.10503") / 30).quantize(D("0.01"))
    trader.close(entry.broker_position_id, "100000", Side.SELL)
    state = trader.state()
    assert (state.balance, state.equity, state.margin_used) == (D(10_500), D(10_500), D(0))
    assert not PaperPosition.objects.filter(quantity__gt=0).exists()


def test_exits_of_two_symbols_in_one_call_are_independent(trader: Trader) -> None:
    trader.price("0.86000", symbol="NZD/USD")
    trader.buy("1000")
    trader.buy("2000", symbol="NZDUSD")
    requests = [
        trader.request(Side.SELL, "9000", reduce_only=True),
        trader.request(Side.SELL, "9000", symbol="NZDUSD", reduce_only=True),
    ]
    outcomes: list[Any] = []
    trader.run(
        trader.adapter.submit_many(
            [(trader.spec(), request) for request in requests],
            trader.guard,
            lambda _, outcome: outcomes.append(outcome),
        )
    )
    assert [[f.quantity for f in outcome[0].fills] for outcome in outcomes] == [
        [D(1000)],
        [D(2000)],
    ]
    assert trader.positions() == []
