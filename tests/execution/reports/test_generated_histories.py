"""A generated history, reported by every source in any order: the same final rows.

Histories are generated: how an entry fills, ends and is closed by the broker, its owner or us. From
each the reports are derived that reply, stream, poll and reconciliation would make of it:
executions with ids, sums without, corrections, conclusions, each any number of times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokers.types import CloseCause, Execution, OrderReport, ReportKind
from common.clocks import market_now
from common.db.sql import rows
from connections.models import ExecutionConnection
from execution.models import DriftItem, Fill, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.examples import examples
from tests.execution import factories

pytestmark = pytest.mark.django_db
NOON = market_now().replace(microsecond=0)
SIZE = 100

# Broker exits are numbered in order of arrival; the number is only a name.
ORDERS = """
SELECT regexp_replace(leg, '-[0-9]+$', '') AS leg, broker_order_id, status, quantity,
  filled_quantity, inferred_quantity, round(avg_fill_price, 12) AS average,
  round(commission, 12) AS commission, round(slippage_pips, 9) AS slippage, done_at IS NULL AS live
FROM execution_order ORDER BY leg, broker_order_id
"""
FILLS = """
SELECT CASE WHEN f.inferred THEN 'inferred' ELSE f.broker_fill_id END AS name, o.broker_order_id,
  f.quantity, round(f.price, 12) AS price, round(f.commission, 12) AS commission, f.time, f.revision
FROM execution_fill f JOIN execution_order o ON o.id = f.order_id ORDER BY 1, 2
"""
POSITIONS = """
SELECT quantity, reserved, opened_quantity, round(entry_price, 12) AS entry,
  round(realized_pnl, 9) AS pnl, round(commission, 12) AS commission, opened_at, closed_at,
  close_reason
FROM positions_executionposition
"""


@dataclass(frozen=True)
class Part:
    """One execution. minute: minutes after noon."""

    fill_id: str
    quantity: int
    price: D
    commission: D
    minute: int

    def execution(self, revision: int = 0) -> Execution:
        return Execution(
            self.fill_id, D(self.quantity), self.price, NOON + timedelta(minutes=self.minute),
            self.commission, "USD", revision=revision,
        )  # fmt: skip


@dataclass(frozen=True)
class History:
    """entry, and exits by ticket with their cause. end: how what is left of the entry ended."""

    entry: tuple[Part, ...]
    end: ReportKind | None
    exits: tuple[tuple[str, CloseCause, tuple[Part, ...]], ...]
    corrected: frozenset[str]  # fill ids first reported with another price
    unreported: frozenset[str]  # fill ids without a report: only in cumulative sums
    late: frozenset[str]  # fill ids whose commission is stated after them
    concluded: bool  # reconciliation found the position gone before all exits were reported


def parts(draw: st.DrawFn, name: str, total: int, start: int) -> tuple[Part, ...]:
    cuts = sorted(draw(st.sets(st.integers(1, 9), max_size=3))) if total >= 10 else []
    ends = [0, *(total * cut // 10 for cut in cuts), total]
    return tuple(
        Part(
            f"{name}{number}",
            b - a,
            D("1.1") + D(draw(st.integers(-50, 50))) / 100_000,
            D(draw(st.integers(0, 9))) / 100,
            start + number,
        )
        for number, (a, b) in enumerate(pairwise(ends))
        if b > a
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    filled = draw(st.sampled_from([30, 60, SIZE, SIZE]))
    ends = [None] if filled == SIZE else [None, ReportKind.CANCELLED, ReportKind.EXPIRED]
    entry = parts(draw, "e", filled, 1)
    left, exits = filled, []
    for ticket, cause in (("X1", CloseCause.STOP_LOSS), ("X2", CloseCause.EXTERNAL)):
        taken = draw(st.sampled_from([0, left // 2, left]))
        if taken:
            exits.append((ticket, cause, parts(draw, ticket, taken, 20)))
            left -= taken
    ids = [part.fill_id for part in (*entry, *(p for _, _, parts in exits for p in parts))]
    some = st.frozensets(st.sampled_from(ids), max_size=3)
    is_corrected = draw(st.booleans())  # a sum from before a correction would have another price
    return History(
        entry,
        draw(st.sampled_from(ends)),
        tuple(exits),
        draw(some) if is_corrected else frozenset(),
        frozenset() if is_corrected else draw(some),
        draw(some),
        concluded=left == 0 and draw(st.booleans()),
    )


def sums_of(executed: Sequence[Part]) -> list[Execution]:
    """Return cumulative reports of polls without ids: quantity and average per execution."""
    reports = []
    for count in range(1, len(executed) + 1):
        seen = executed[:count]
        quantity = sum(part.quantity for part in seen)
        value = sum((part.price * part.quantity for part in seen), D(0))
        commission = sum((part.commission for part in seen), D(0))
        time = NOON + timedelta(minutes=seen[-1].minute)
        reports.append(
            Execution("", D(quantity), value / quantity, time, commission, inferred=True)
        )
    return reports


def reports_of(history: History, entry: Order) -> list[OrderReport]:
    """Return the reports of a history from all sources."""
    filled = factories.report(entry, ReportKind.FILLED, broker_order_id="E")
    reports = [replace(filled, kind=ReportKind.ACCEPTED)]
    reports += _of_one(history, filled, history.entry)
    if history.end:
        reports.append(replace(filled, kind=history.end))
    for ticket, cause, executed in history.exits:
        exit_ = replace(filled, broker_order_id=ticket, close_cause=cause)
        reports += _of_one(history, exit_, executed)
    if history.concluded:
        opened = D(sum(part.quantity for part in history.entry))
        gone = Execution("", opened, D("1.05"), NOON + timedelta(hours=2), inferred=True)
        reports.append(
            replace(filled, broker_order_id="", close_cause=CloseCause.EXTERNAL, fills=(gone,))
        )
    return reports


def _of_one(history: History, named: OrderReport, executed: Sequence[Part]) -> list[OrderReport]:
    reports = []
    for part in executed:
        if part.fill_id in history.corrected:
            wrong = replace(part, price=part.price + 1, commission=part.commission * 2)
            reports += _first(history, named, wrong.execution())
            reports += _first(history, named, part.execution(revision=1))
        elif part.fill_id not in history.unreported:
            reports += _first(history, named, part.execution())
    known = tuple(
        stated
        for part in executed
        if part.fill_id not in history.unreported
        for stated in _stated(
            history, part.execution(revision=int(part.fill_id in history.corrected))
        )
    )
    reports += [replace(named, fills=known)] if known else []  # a look-up reports them all at once
    return reports + [replace(named, fills=(one,)) for one in sums_of(executed)]


def _first(history: History, named: OrderReport, fill: Execution) -> list[OrderReport]:
    """Return the reports of an execution as it happens, and of its commission if that is late."""
    whole = replace(named, fills=_stated(history, fill))
    if fill.broker_fill_id not in history.late:
        return [whole]
    return [replace(named, fills=(replace(fill, commission=D(0)),)), whole]


def _stated(history: History, fill: Execution) -> tuple[Execution, ...]:
    """Return an execution, and once more with only its commission if that may have come late."""
    if fill.broker_fill_id not in history.late:
        return (fill,)
    return fill, replace(fill, is_commission_only=True)


def outcome(batches: Sequence[Sequence[OrderReport]]) -> list[list[tuple[Any, ...]]]:
    """Return the rows after the batches, and roll back."""
    with transaction.atomic():
        waiting: list[OrderReport] = []
        for batch in batches:
            waiting = factories.apply_then_commit(*waiting, *batch)
        for _ in range(5):
            waiting = factories.apply_then_commit(*waiting) if waiting else []
        assert not waiting
        assert not DriftItem.objects.exists()
        seen = [[tuple(row) for row in rows(sql)] for sql in (ORDERS, FILLS, POSITIONS)]
        transaction.set_rollback(True)
    return seen


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """An order in flight, without reports."""
    factories.signal(feed)
    factories.claim_all()
    return Order.objects.get()


@pytest.mark.draws
def test_final_rows_do_not_depend_on_source_and_order(entry: Order) -> None:
    @settings(max_examples=examples(20),
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(data=st.data(), history=histories())
    def whichever(data: st.DataObject, history: History) -> None:
        reports = reports_of(history, entry)
        expected = outcome([reports])
        for _ in range(3):
            order = data.draw(st.permutations(reports))
            again = data.draw(st.lists(st.sampled_from(reports), max_size=5))
            cuts = data.draw(st.lists(st.integers(0, len(reports)), max_size=5))
            every = [*order, *again]
            ends = sorted({0, *cuts, len(every)})
            assert outcome([every[a:b] for a, b in pairwise(ends)]) == expected

    whichever()


# ---- fixed histories: the exact rows --------------------------------------------------------
def stated(of: Order, quantity: int, price: str, **fields: Any) -> OrderReport:
    return factories.fill_report(of, quantity, "", price=price, inferred=True, **fields)


def test_executions_replace_a_cumulative_report_and_the_position_follows(entry: Order) -> None:
    factories.apply(stated(entry, 60, "1.10500"))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.entry_price) == (60, D("1.105"))
    factories.apply(factories.fill_report(entry, 40, "e1", price="1.10000"))
    position.refresh_from_db()
    assert position.quantity == 60
    assert round(position.entry_price, 9) == round(D("66.1") / 60, 9)
    assert [(f.inferred, f.quantity) for f in Fill.objects.order_by("inferred")] == [
        (False, 40), (True, 20),
    ]  # fmt: skip
    factories.apply(factories.fill_report(entry, 20, "e2", price="1.11000"))
    position.refresh_from_db()
    entry.refresh_from_db()
    assert (entry.filled_quantity, entry.inferred_quantity) == (60, 0)
    assert round(position.entry_price, 9) == round(D("66.2") / 60, 9)
    assert not Fill.objects.filter(inferred=True).exists()
    assert ("INFERRED_REPLACED", "PARTIALLY_FILLED") in factories.log_codes(entry.pk)


def test_known_cumulative_report_changes_nothing(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 60, "e1"), stated(entry, 40, "1.2"))
    factories.apply(stated(entry, 60, "1.2"))
    assert [fill.broker_fill_id for fill in Fill.objects.all()] == ["e1"]


def concluded(entry: Order, quantity: int, price: str = "1.10000") -> OrderReport:
    reports = stated(entry, quantity, price, broker_order_id="")
    return replace(reports, close_cause=CloseCause.EXTERNAL)


def stopped(entry: Order, quantity: int, fill_id: str, price: str = "1.09000") -> OrderReport:
    reports = factories.fill_report(entry, quantity, fill_id, price=price, broker_order_id="X1")
    return replace(reports, close_cause=CloseCause.STOP_LOSS)


def test_late_broker_stop_replaces_the_inferred_close(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "e1", price="1.10000"))
    factories.apply(concluded(entry, 100, "1.10500"))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.close_reason) == (0, "external_close")
    assert position.realized_pnl == D("0.5")
    factories.apply(stopped(entry, 40, "x1"))
    position.refresh_from_db()
    assert (position.quantity, position.realized_pnl) == (0, D("-0.1"))  # 60 × 0.005 - 40 × 0.01
    factories.apply(stopped(entry, 60, "x2"))
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "sl")
    assert position.realized_pnl == D(-1)
    assert [o.leg for o in Order.objects.exits()] == ["sl"]
    assert not DriftItem.objects.exists()


def test_close_is_not_inferred_when_the_stop_was_reported_first(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "e1"))
    factories.apply(stopped(entry, 100, "x1"))
    factories.apply(concluded(entry, 100))
    assert [o.leg for o in Order.objects.exits()] == ["sl"]
    assert ExecutionPosition.objects.get().quantity == 0


def test_late_fill_of_our_exit_reduces_the_inferred_close(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "e1", price="1.10000"))
    position = ExecutionPosition.objects.get()
    close_position(position.pk)
    factories.claim_all()
    leaving = Order.objects.get(leg="close-1")
    factories.apply(factories.report(leaving, ReportKind.CANCELLED))
    factories.apply(concluded(entry, 100))
    factories.apply(factories.fill_report(leaving, 100, "c1", price="1.12000"))
    position.refresh_from_db()
    assert (position.quantity, position.close_reason) == (0, "signal")
    assert position.realized_pnl == D(2)
    assert [o.leg for o in Order.objects.exits()] == ["close-1"]
    assert not DriftItem.objects.exists()


def test_entry_fill_after_an_inferred_close_opens_its_quantity(entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 80, "e1"))
    factories.apply(concluded(entry, 80))
    factories.apply(factories.fill_report(entry, 20, "e2"))
    factories.apply(stopped(entry, 80, "x1"))
    position = ExecutionPosition.objects.get()
    assert (position.quantity, position.opened_quantity) == (20, 100)


def test_corrected_price_updates_all_derived_values(entry: Order) -> None:
    factories.apply(
        factories.fill_report(entry, 100, "e1", price="1.10000"), stopped(entry, 100, "x1")
    )
    factories.apply(stopped(entry, 100, "x1"))
    entry_fill = factories.fill_report(entry, 100, "e1", price="1.10100")
    corrected = replace(entry_fill, fills=(replace(entry_fill.fills[0], revision=1),))
    factories.apply(corrected, corrected)
    position = ExecutionPosition.objects.get()
    assert (position.entry_price, position.realized_pnl) == (D("1.101"), D("-1.1"))
    assert Order.objects.get(leg="entry").avg_fill_price == D("1.101")
    factories.apply(factories.fill_report(entry, 100, "e1", price="1.10000"))
    assert Fill.objects.get(broker_fill_id="e1").price == D("1.101")
