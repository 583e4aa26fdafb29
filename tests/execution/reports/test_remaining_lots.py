"""The average entry price is that of the lots that remain, in whatever order reports arrive.

A partial close leaves the average as it is; what is added later is averaged with what remained, and
what was realized stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from itertools import pairwise, permutations
from typing import NamedTuple

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokers.types import CloseCause, OrderReport
from common.clocks import market_now
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import DriftItem, Fill, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.examples import examples
from tests.execution import factories
from tests.sampling import chosen, exhaustive

pytestmark = pytest.mark.django_db
NOON = market_now().replace(microsecond=0)
POSITION = """
SELECT quantity, opened_quantity, round(entry_price, 12) AS entry, round(realized_pnl, 9) AS pnl,
  opened_at, closed_at, close_reason
FROM positions_executionposition
"""


class Trade(NamedTuple):
    """One execution. minute: after noon. quantity: of an exit below 0."""

    minute: int
    quantity: int
    price: D


class Result(NamedTuple):
    """What a position has: open quantity, all that was entered, average entry price, profit."""

    quantity: D
    opened: D
    entry: D
    profit: D


def folded(trades: Sequence[Trade]) -> Result:
    """Return a bought position by the lots that remain; by all entries if clocks contradict it."""
    bought = [trade for trade in trades if trade.quantity > 0]
    opened = sum((D(trade.quantity) for trade in bought), D(0))
    average = sum((trade.quantity * trade.price for trade in bought), D(0)) / opened
    sold = [trade for trade in trades if trade.quantity < 0]
    all_entries = sum((-trade.quantity * (trade.price - average) for trade in sold), D(0))
    left, entry, profit = D(0), D(0), D(0)
    for trade in sorted(trades, key=lambda one: (one.minute, one.quantity < 0)):
        if trade.quantity > 0:
            entry = (left * entry + trade.quantity * trade.price) / (left + trade.quantity)
        else:
            profit -= trade.quantity * (trade.price - entry)
        left += trade.quantity
        if left < 0:
            entry, profit = average, all_entries
            break
    quantity = opened + sum(trade.quantity for trade in sold)
    return Result(quantity, opened, round(entry, 12), round(profit, 9))


def result() -> Result:
    """Return the position as it is stored."""
    position = ExecutionPosition.objects.get()
    return Result(
        position.quantity, position.opened_quantity,
        round(position.entry_price, 12), round(position.realized_pnl, 9),
    )  # fmt: skip


def stated(quantity: int, opened: int, entry: str, profit: str) -> Result:
    return Result(D(quantity), D(opened), D(entry), D(profit))


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order for 1000 in flight, without reports."""
    factories.signal(feed)
    factories.claim_all()
    Order.objects.update(quantity=1000)
    return Order.objects.get()


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def report_of(entry: Order, name: str, trade: Trade) -> OrderReport:
    """Return the report of an entry's execution, or of the broker's exit `name`."""
    report = factories.fill_report(
        entry, abs(trade.quantity), name, price=trade.price, time=at(trade.minute)
    )
    if trade.quantity > 0:
        return report
    return replace(report, broker_order_id=f"X{name}", close_cause=CloseCause.EXTERNAL)


def reports_of(entry: Order, trades: Sequence[Trade]) -> list[OrderReport]:
    return [report_of(entry, f"f{number}", trade) for number, trade in enumerate(trades)]


def apply_batches(batches: Sequence[Sequence[OrderReport]]) -> None:
    """Apply the batches; repeat what waits for an entry, as the report writer does."""
    waiting: list[OrderReport] = []
    for batch in batches:
        waiting = factories.apply(*waiting, *batch)
    for _ in range(5):
        waiting = factories.apply(*waiting) if waiting else []
    assert not waiting
    assert not DriftItem.objects.exists()


GROWN = (Trade(1, 100, D("1.10")), Trade(2, -50, D("1.12")), Trade(3, 50, D("1.14")))


def test_growth_after_partial_close_averages_what_remains(entry: Order) -> None:
    first, closed, added = reports_of(entry, GROWN)
    factories.apply(first)
    factories.apply(closed)
    assert result() == stated(50, 100, "1.10", "1.00")
    factories.apply(added)
    assert result() == stated(100, 150, "1.12", "1.00")


def test_profit_of_growth_counts_from_the_new_average(entry: Order) -> None:
    apply_batches([[report] for report in reports_of(entry, (*GROWN, Trade(4, -60, D("1.15"))))])
    assert result() == stated(40, 150, "1.12", "2.80")  # 50 * 0.02 + 60 * 0.03


def test_late_report_of_exit_keeps_the_average_of_its_time(entry: Order) -> None:
    """The entry had not grown yet when it was closed in part."""
    first, closed, added = reports_of(entry, GROWN)
    apply_batches([[first, added], [closed]])
    assert result() == stated(100, 150, "1.12", "1.00")


def test_late_report_of_entry_changes_the_profit_of_later_exit(entry: Order) -> None:
    first, closed = Trade(1, 100, D("1.10")), Trade(3, -50, D("1.12"))
    apply_batches([[one] for one in reports_of(entry, (first, closed, Trade(2, 100, D("1.08"))))])
    assert result() == stated(150, 200, "1.09", "1.50")


def test_position_opened_again_has_the_price_of_its_new_lots(entry: Order) -> None:
    trades = (Trade(1, 100, D("1.10")), Trade(2, -100, D("1.12")), Trade(3, 50, D("1.14")))
    apply_batches([[report] for report in reports_of(entry, trades)])
    assert result() == stated(50, 150, "1.14", "2.00")


def test_exit_at_the_time_of_an_entry_counts_after_it(entry: Order) -> None:
    trades = (Trade(1, 100, D("1.10")), Trade(2, -50, D("1.12")), Trade(2, 100, D("1.08")))
    for order in permutations(reports_of(entry, trades)):
        with transaction.atomic():
            apply_batches([[report] for report in order])
            assert result() == stated(150, 200, "1.09", "1.50")
            transaction.set_rollback(True)


def test_average_of_all_entries_counts_when_clocks_contradict_each_other(entry: Order) -> None:
    """The broker's exit is older than any entry: its time is of another clock."""
    trades = (Trade(2, 100, D("1.10")), Trade(1, -50, D("1.12")), Trade(3, 100, D("1.14")))
    apply_batches([[report] for report in reports_of(entry, trades)])
    assert result() == stated(150, 200, "1.12", "0")


@pytest.mark.parametrize("every", [5, exhaustive(1)])
def test_every_order_of_arrival_ends_in_the_same_position(entry: Order, every: int) -> None:
    reports = reports_of(entry, (*GROWN, Trade(4, -100, D("1.15"))))
    expected = D(0), D(150), D("1.12"), D("4.00"), at(1), at(4), "external_close"
    for order in chosen(permutations(reports), every=every):
        for batches in ([[report] for report in order], [order[:2], order[2:]]):
            with transaction.atomic():
                apply_batches(batches)
                [row] = rows(POSITION)
                fills = [report.fills[0].broker_fill_id for report in order]
                assert tuple(row) == expected, f"{fills} in {len(batches)} batches"
                transaction.set_rollback(True)


@st.composite
def histories(draw: st.DrawFn) -> list[Trade]:
    """Entries and exits by their times; rarely with times that contradict each other."""
    left = 0
    trades: list[Trade] = []
    skewed = draw(st.integers(0, 9)) == 0
    for number in range(draw(st.integers(2, 7))):
        minute = draw(st.integers(0, 9)) if skewed else number * 2 + draw(st.integers(0, 2))
        price = D("1.1") + D(draw(st.integers(-500, 500))) / 10_000
        sold = draw(st.sampled_from([0, 0, left // 3, left // 2, left])) if trades else 0
        quantity = -sold or draw(st.sampled_from([10, 30, 70]))
        left += quantity
        trades.append(Trade(minute, quantity, price))
    return trades


@pytest.mark.draws
def test_positions_are_the_fold_of_their_lots(entry: Order) -> None:
    @settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
    @given(data=st.data(), trades=histories())
    def whichever(data: st.DataObject, trades: list[Trade]) -> None:
        reports = reports_of(entry, trades)
        order = data.draw(st.permutations(reports))
        cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=4))
        ends = sorted({0, *cuts, len(order)})
        with transaction.atomic():
            apply_batches([order[a:b] for a, b in pairwise(ends)])
            assert result() == folded(trades), trades
            transaction.set_rollback(True)

    whichever()


def test_correction_of_entry_folds_its_lots_again(entry: Order) -> None:
    first, closed, added = reports_of(entry, GROWN)
    factories.apply(first, closed, added)
    cheaper = replace(first.fills[0], price=D("1.08"), revision=1)
    factories.apply(replace(first, fills=(cheaper,)))
    assert result() == stated(100, 150, "1.11", "2.00")


def test_reported_exit_takes_its_time_from_an_inferred_close(entry: Order) -> None:
    """All was found closed; later one exit is reported that was made before the entry had grown."""
    first, closed, added = reports_of(entry, GROWN)
    gone = factories.fill_report(
        entry, 150, "", price="1.11", time=at(9), inferred=True, broker_order_id=""
    )
    factories.apply(first, added)
    factories.apply(replace(gone, close_cause=CloseCause.EXTERNAL))
    assert (result().quantity, result().opened) == (D(0), D(150))
    factories.apply(closed)
    # 50 left at 1.10, 50 came at 1.14; 50 had gained 0.02, and 100 lost 0.01.
    assert result() == stated(0, 150, "1.12", "0")


def test_slice_that_fills_after_partial_close_is_averaged_with_what_remains(entry: Order) -> None:
    first, closed, _ = reports_of(entry, GROWN)
    following = Order.objects.get()
    following.pk, following.leg = None, "entry-2"
    following.client_order_id = f"{(entry.client_order_id or '')[:-3]}zz0"
    following.save()
    added = report_of(following, "f2", GROWN[2])
    for order in permutations((first, closed, added)):
        with transaction.atomic():
            apply_batches([[report] for report in order])
            assert result() == stated(100, 150, "1.12", "1.00")
            transaction.set_rollback(True)


def test_fee_in_the_bought_coin_is_no_lot(entry: Order) -> None:
    first, closed, _ = reports_of(entry, GROWN)
    report = report_of(entry, "f2", Trade(3, 60, D("1.14")))
    added = replace(report, fills=(replace(report.fills[0], fee_in_base=D(10)),))
    for order in permutations((first, closed, added)):
        with transaction.atomic():
            apply_batches([[report] for report in order])
            assert result() == stated(100, 150, "1.12", "1.00")
            transaction.set_rollback(True)


def test_sold_position_gains_from_the_price_of_what_remains(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.signal(feed, direction="SELL", sl=D("1.2"))
    factories.claim_all()
    Order.objects.update(quantity=1000)
    reports = reports_of(Order.objects.get(), (*GROWN, Trade(4, -40, D("1.15"))))
    for order in (reports, reports[::-1]):
        with transaction.atomic():
            apply_batches([[report] for report in order])
            assert result() == stated(60, 150, "1.12", "-2.20")
            transaction.set_rollback(True)


@pytest.mark.parametrize(("rate", "profit"), [(D(2), "2.00"), (None, "1.00")])
def test_each_exit_is_converted_at_its_own_rate(entry: Order, rate: D | None, profit: str) -> None:
    """Or at the position's: a row that was restored from a backup may lack one."""
    first, _, added = reports_of(entry, GROWN)
    factories.apply(first)
    close_position(ExecutionPosition.objects.get().pk, fraction=D("0.5"))
    factories.claim_all()
    Order.objects.exits().update(conversion_rate=rate)
    leaving = factories.order(leg="close-1")
    factories.apply(factories.fill_report(leaving, 50, "c1", price="1.12", time=at(2)))
    assert result() == stated(50, 100, "1.1", profit)
    factories.apply(added)
    assert result() == stated(100, 150, "1.12", profit)
    assert Fill.objects.count() == 3
