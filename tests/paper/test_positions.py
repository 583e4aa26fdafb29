"""Hedging and netting: what is open, how it is closed, and that no exit ever reverses it."""

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
    """The same somebody, with A1 as a netting account."""
    trader.set(position_mode="NETTING")
    return trader


def test_a_hedging_account_keeps_each_entry_apart(trader: Trader) -> None:
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


def test_a_close_names_its_position_and_leaves_the_others(trader: Trader) -> None:
    [kept] = trader.buy("3000")
    [closed] = trader.buy("2000")
    trader.price("1.10102")
    [exit_] = trader.close(closed.broker_position_id, "2000", Side.SELL)
    assert (exit_.kind, exit_.broker_position_id) == (ReportKind.FILLED, closed.broker_position_id)
    assert exit_.close_cause is None
    assert [p.broker_position_id for p in trader.positions()] == [kept.broker_position_id]
    assert trader.state().balance == 10_000 + D("2.00")


def test_a_close_in_parts(trader: Trader) -> None:
    [entry] = trader.buy("3000")
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    assert [p.quantity for p in trader.positions()] == [D(2000)]
    trader.close(entry.broker_position_id, "2000", Side.SELL)
    assert trader.positions() == []
    sums = PaperFill.objects.filter(lot=int(entry.broker_order_id))
    assert sum(f.quantity if f.side == "BUY" else -f.quantity for f in sums) == 0


@pytest.mark.parametrize("mode", ["HEDGING", "NETTING"])
def test_an_exit_takes_at_most_what_is_open(trader: Trader, mode: str) -> None:
    trader.set(position_mode=mode)
    [entry] = trader.buy("1000")
    filled, ended = trader.close(entry.broker_position_id, "5000", Side.SELL)
    assert [f.quantity for f in filled.fills] == [D(1000)]
    assert (ended.kind, ended.code) == (ReportKind.CANCELLED, Code.NO_POSITION)
    assert trader.positions() == []


@pytest.mark.parametrize("mode", ["HEDGING", "NETTING"])
@pytest.mark.parametrize("named", ["the position", "none", "nonsense", "9" * 30])
def test_an_exit_without_a_position_opens_nothing(trader: Trader, mode: str, named: str) -> None:
    trader.set(position_mode=mode)
    [entry] = trader.buy("1000")
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    position = {"the position": entry.broker_position_id, "none": ""}.get(named, named)
    with pytest.raises(Rejected) as caught:
        trader.close(position, "1000", Side.SELL)
    assert caught.value.code is Code.NO_POSITION
    assert trader.positions() == []


def test_an_exit_on_the_positions_own_side_adds_nothing(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    with pytest.raises(Rejected) as caught:
        trader.close(entry.broker_position_id, "1000", Side.BUY)
    assert caught.value.code is Code.NO_POSITION
    assert [p.quantity for p in trader.positions()] == [D(1000)]


def test_naming_a_position_is_enough_to_never_open(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    request = trader.request(
        Side.SELL, "5000", reduce_only=False, broker_position_id=entry.broker_position_id
    )
    trader.submit(request)
    assert trader.positions() == []


def test_another_accounts_position_cannot_be_closed(trader: Trader) -> None:
    trader.account("A2")
    [entry] = trader.buy("1000")
    trader.buy("1000", "A2")
    with pytest.raises(Rejected):
        trader.close(entry.broker_position_id, "1000", Side.SELL, number="A2")
    assert len(trader.positions()) == len(trader.positions("A2")) == 1


def test_a_reducing_order_without_a_name_closes_the_oldest_first(trader: Trader) -> None:
    trader.buy("1000")
    trader.buy("2000")
    [exit_] = trader.sell("2000", reduce_only=True)
    assert [f.quantity for f in exit_.fills] == [D(1000), D(1000)]
    assert [p.quantity for p in trader.positions()] == [D(1000)]


def test_a_resting_exit_whose_position_is_gone_is_cancelled(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    resting = trader.sell(
        "1000", limit_price="1.11000", reduce_only=True,
        broker_position_id=entry.broker_position_id,
    )  # fmt: skip
    assert [r.kind for r in resting] == [ReportKind.ACCEPTED]
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    assert trader.price("1.12000") == 1
    assert [(r.kind, r.code) for r in trader.news()] == [(ReportKind.CANCELLED, Code.NO_POSITION)]
    assert trader.positions() == []


def test_a_netting_account_shows_one_position_a_symbol(netting: Trader) -> None:
    [first] = netting.buy("1000", stop_loss="1.09000")
    netting.price("1.10100")
    [second] = netting.buy("3000", stop_loss="1.09500", take_profit="1.12000")
    [position] = netting.positions()
    assert position.broker_position_id == first.broker_position_id == second.broker_position_id
    assert position.quantity == 4000
    assert position.entry_price == (D("1.10002") + 3 * D("1.10102")) / 4
    assert (position.stop_loss, position.take_profit) == (D("1.095"), D("1.12"))  # of the latest
    netting.buy("1000")  # says nothing about levels
    assert netting.positions()[0].stop_loss == D("1.095")


def test_a_netting_opposite_order_closes_first_and_opens_the_rest(netting: Trader) -> None:
    [long] = netting.buy("1000")
    netting.buy("2000")
    [sold] = netting.sell("5000", stop_loss="1.12000")
    assert [f.quantity for f in sold.fills] == [D(1000), D(2000), D(2000)]
    [position] = netting.positions()
    assert (position.side, position.quantity, position.stop_loss) == (Side.SELL, D(2000), D("1.12"))
    assert position.broker_position_id != long.broker_position_id


def test_a_netting_stop_is_told_for_each_entry(netting: Trader) -> None:
    [first] = netting.buy("1000")
    [second] = netting.buy("3000", stop_loss="1.09000")
    netting.close(first.broker_position_id, "500", Side.SELL)  # the oldest lot first
    assert netting.price("1.08900") == 2
    told = netting.news()
    assert [r.close_cause for r in told] == [CloseCause.STOP_LOSS] * 2
    assert {r.broker_position_id for r in told} == {first.broker_position_id}
    assert {r.client_order_id: r.fills[0].quantity for r in told} == {
        first.client_order_id: D(500),
        second.client_order_id: D(3000),
    }
    assert netting.positions() == []


def test_a_netting_exit_may_name_the_entry_it_ends(netting: Trader) -> None:
    [first] = netting.buy("1000")
    [second] = netting.buy("1000", stop_loss="1.09000")
    netting.close(second.broker_order_id, "1000", Side.SELL)
    netting.price("1.08900")
    assert [r.client_order_id for r in netting.news()] == [first.client_order_id]


def test_levels_are_moved_and_taken_away(trader: Trader) -> None:
    [entry] = trader.buy("1000", stop_loss="1.09000")
    [told] = trader.modify(entry, "1.09500", "1.11000")
    assert (told.kind, told.stop_loss, told.take_profit) == (
        ReportKind.LEVELS, D("1.09500"), D("1.11000"),
    )  # fmt: skip
    assert (told.client_order_id, told.broker_position_id) == (
        entry.client_order_id, entry.broker_position_id,
    )  # fmt: skip
    assert trader.price("1.09600") == 0
    trader.modify(entry, None, "1.11000")
    assert trader.price("1.09400") == 0  # the stop is gone
    assert trader.price("1.11000") == 1
    assert [r.close_cause for r in trader.news()] == [CloseCause.TAKE_PROFIT]


def test_levels_of_a_waiting_entry_are_moved(trader: Trader) -> None:
    [waiting] = trader.buy("1000", limit_price="1.09000", stop_loss="1.08000")
    trader.modify(waiting, "1.08500", None)
    trader.price("1.08900")
    assert [p.stop_loss for p in trader.positions()] == [D("1.085")]
    with pytest.raises(Rejected):  # once filled it is the position that is measured
        trader.modify(waiting, "1.08950", None)


@pytest.mark.parametrize(("stop", "target"), [("1.10000", None), (None, "1.09999"), ("1.2", None)])
def test_levels_on_the_wrong_side_are_refused(
    trader: Trader, stop: str | None, target: str | None
) -> None:
    [entry] = trader.buy("1000", stop_loss="1.09000")
    with pytest.raises(Rejected) as caught:
        trader.modify(entry, stop, target)
    assert caught.value.code is Code.STOPS_INVALID
    assert [p.stop_loss for p in trader.positions()] == [D("1.09")]


def test_levels_of_a_closed_position_are_refused(trader: Trader) -> None:
    [entry] = trader.buy("1000")
    trader.close(entry.broker_position_id, "1000", Side.SELL)
    with pytest.raises(Rejected) as caught:
        trader.modify(entry, "1.09000", None)
    assert caught.value.code is Code.NO_POSITION


def test_a_moved_netting_level_holds_for_all_entries(netting: Trader) -> None:
    [first] = netting.buy("1000")
    netting.buy("2000")
    netting.modify(first, "1.09500", None)
    assert netting.price("1.09400") == 2
    assert netting.positions() == []


def test_the_owner_closes_by_own_hand(trader: Trader) -> None:
    [one] = trader.buy("1000", stop_loss="1.09000")
    [two] = trader.sell("2000")
    trader.price("1.10500")
    assert exchange.owner_closes("A1", two.broker_position_id) == 1
    [told] = trader.news()
    assert (told.kind, told.close_cause) == (ReportKind.FILLED, CloseCause.EXTERNAL)
    assert told.client_order_id == two.client_order_id
    assert told.connection_id == "c-A1"
    assert told.broker_position_id == two.broker_position_id
    assert [(f.quantity, f.price) for f in told.fills] == [(D(2000), D("1.10502"))]
    assert exchange.owner_closes("A1") == 1  # the rest
    assert [r.client_order_id for r in trader.news()] == [one.client_order_id]
    assert exchange.owner_closes("A1") == exchange.owner_closes("nobody") == 0
    assert trader.news() == []


def test_the_book_remembers_how_an_entry_ended(trader: Trader) -> None:
    [entry] = trader.buy("1000", stop_loss="1.09000")
    trader.price("1.08900")
    [told] = trader.news()
    found = trader.find(entry.client_order_id)
    assert found is not None
    opened, closed = found
    assert opened.fills == entry.fills
    assert closed.fills == told.fills
    assert (closed.close_cause, closed.client_order_id, closed.broker_position_id) == (
        told.close_cause, told.client_order_id, told.broker_position_id,
    )  # fmt: skip


def test_equity_and_balance_agree_once_all_is_closed(trader: Trader) -> None:
    [entry] = trader.buy("100000")
    trader.price("1.10502")
    state = trader.state()
    assert (state.balance, state.equity) == (D(10_000), D(10_500))
    assert state.margin_used == (100_000 * D("1.10503") / 30).quantize(D("0.01"))
    trader.close(entry.broker_position_id, "100000", Side.SELL)
    state = trader.state()
    assert (state.balance, state.equity, state.margin_used) == (D(10_500), D(10_500), D(0))
    assert not PaperPosition.objects.filter(quantity__gt=0).exists()


def test_exits_of_two_symbols_in_one_call_each_see_their_own(trader: Trader) -> None:
    trader.price("0.86000", symbol="NZD/USD")
    trader.buy("1000")
    trader.buy("2000", symbol="NZDUSD")
    requests = [
        trader.request(Side.SELL, "9000", reduce_only=True),
        trader.request(Side.SELL, "9000", symbol="NZDUSD", reduce_only=True),
    ]
    told: list[Any] = []
    trader.run(
        trader.adapter.submit_many(
            [(trader.spec(), request) for request in requests],
            trader.guard,
            lambda _, outcome: told.append(outcome),
        )
    )
    assert [[f.quantity for f in reports[0].fills] for reports in told] == [[D(1000)], [D(2000)]]
    assert trader.positions() == []
