"""An order that was sent as several and ended filled in part: each member can be closed."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal as D

import pytest
from django.core.management import call_command

from analytics.orders.explanations import explain
from api.trading.order_serializers import OrderSerializer
from api.trading.orders import orders_for
from brokers.types import Execution, ReportKind
from common import failpoints
from common.clocks import market_now
from connections.models import ExecutionConnection, Instrument
from execution.audit.counters import audit
from execution.models import Fill, Order
from execution.monitoring.level_monitor import scan_levels
from execution.services import close_position
from execution.submission.outgoing import Outgoing
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.submission.test_aggregation import MS, joined

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture(params=[D(0), D(100)], ids=["minimum of orders", "minimum of exits"])
def netting(feed: Feed, request: pytest.FixtureRequest) -> ExecutionConnection:
    """An account whose broker takes 100 at least, in steps of 10."""
    row = factories.account(
        feed, snapshot_position_mode="NETTING", aggregation_ms=MS, preset_max_open_positions=50
    )
    Instrument.objects.update(quantity_min=D(100), quantity_step=D(10), close_min=request.param)
    return row


def executed(name: str, quantity: int, price: str = "1.1", fee: str = "0") -> Execution:
    return Execution(name, D(quantity), D(price), market_now(), commission=D(fee))


def report(outgoing: Outgoing, kind: ReportKind, *fills: Execution) -> None:
    first = Order.objects.get(pk=outgoing.request.order_id)
    factories.apply(factories.report(first, kind, fills=fills))


def filled() -> list[D]:
    orders = Order.objects.filter(leg="entry").order_by("id")
    return [order.filled_quantity for order in orders]


def held() -> list[D]:
    return [p.quantity for p in ExecutionPosition.objects.order_by("id")]


def expect_consistent() -> None:
    """The broker's books are not part of this."""
    counters = audit().counters
    assert (counters["MISMATCH"], counters["REVERSED"], counters["DUP"]) == (0, 0, 0)


def in_small_parts(outgoing: Outgoing, price: str = "1.1") -> None:
    """Execute 350 so that the larger one is full before the smaller one can begin: it has 50."""
    for name, part in (("a", 90), ("b", 90), ("c", 90), ("d", 30), ("e", 50)):
        report(outgoing, ReportKind.FILLED, executed(name, part, price, "7"))


def expect_exact(whole: int) -> None:
    """Fills, orders and positions agree, and every position can be closed alone."""
    assert sum(filled()) == whole == sum(fill.quantity for fill in Fill.objects.all())
    expect_consistent()
    assert all(quantity == 0 or quantity >= 100 for quantity in filled())


def test_part_that_is_too_small_for_all_goes_to_the_largest(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 300)
    report(outgoing, ReportKind.FILLED, executed("x", 150))
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(0), D(150)]
    expect_exact(150)
    close_position(ExecutionPosition.objects.get().pk)
    (leaving,) = factories.claim_all()
    assert leaving.request.quantity == D(150)


def test_share_below_the_minimum_is_raised_to_it(netting: ExecutionConnection, feed: Feed) -> None:
    outgoing = joined(feed, 100, 300)
    report(outgoing, ReportKind.FILLED, executed("x", 350))
    assert filled() == [D(100), D(250)]


@pytest.mark.parametrize(
    "parts",
    [(90, 90, 90, 30, 50), (90, 90, 90, 30, 40, 10), (90, 210, 50), (340, 10)],
    ids=str,
)
def test_executions_too_small_to_divide_move_at_the_end(
    netting: ExecutionConnection, feed: Feed, parts: tuple[int, ...]
) -> None:
    """Most leave one with 50 while the order works; 50 more are taken from the other."""
    outgoing = joined(feed, 100, 300)
    for number, part in enumerate(parts):
        price = "1.2" if number == len(parts) - 1 else "1.1"
        report(outgoing, ReportKind.FILLED, executed(f"x{number}", part, price, "7"))
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(100), D(250)]
    expect_exact(350)
    assert sorted(held()) == [D(100), D(250)]
    fees = sum(fill.commission for fill in Fill.objects.all())
    assert fees == 7 * len(parts) == sum(o.commission for o in Order.objects.all())
    value = sum(p.quantity * p.entry_price for p in ExecutionPosition.objects.all())
    assert abs(value - sum(f.quantity * f.price for f in Fill.objects.all())) < D("1e-9")
    report(outgoing, ReportKind.CANCELLED)  # again: nothing more moves
    for number, part in enumerate(parts):
        price = "1.2" if number == len(parts) - 1 else "1.1"
        report(outgoing, ReportKind.FILLED, executed(f"x{number}", part, price, "7"))
    assert filled() == [D(100), D(250)]
    expect_exact(350)


@pytest.mark.usefixtures("running_clock")
def test_each_says_what_it_got_and_gave(netting: ExecutionConnection, feed: Feed) -> None:
    outgoing = joined(feed, 100, 300)
    in_small_parts(outgoing)
    assert filled() == [D(50), D(300)]  # the next execution may be the first one's
    report(outgoing, ReportKind.CANCELLED)
    first, second = Order.objects.filter(leg="entry").order_by("id")
    for order in (first, second):
        assert factories.log_codes(order.pk)[-1][0] == "SHARE_MOVED"
    assert [order.status for order in (first, second)] == ["FILLED", "FILLED"]
    of_first, of_second = (
        {fill.broker_fill_id: fill.quantity for fill in Fill.objects.filter(order=order)}
        for order in (first, second)
    )
    assert of_first == {"e": D(50), "d": D(30), f"c#{first.pk}": D(20)}  # the newest of the other
    assert of_second == {"a": D(90), "b": D(90), "c": D(70)}


@pytest.mark.django_db(transaction=True)
def test_order_that_gave_a_share_explains_why_it_is_filled_below_its_size(
    netting: ExecutionConnection, feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    in_small_parts(outgoing := joined(feed, 100, 300))
    report(outgoing, ReportKind.CANCELLED)
    first, second = Order.objects.filter(leg="entry").order_by("id")
    found = explain(second)
    assert found.summary.startswith("Filled 250 of 300 EUR at 1.1")
    assert found.brief == found.summary
    assert "has moved" in found.summary
    assert (found.code, found.detail) == ("SHARE_MOVED", f"Gave 50 to O-{first.pk}.")
    assert explain(first).detail == f"Got 50 from O-{second.pk}."
    call_command("explain", f"O-{second.pk}")
    printed = capsys.readouterr().out
    assert "Filled 250 of 300 EUR" in printed.splitlines()[1]
    assert f"Gave 50 to O-{first.pk}." in printed.splitlines()[2]
    assert netting.user is not None
    shown = OrderSerializer(orders_for(netting.user).get(pk=second.pk)).data
    assert (shown["reason"]["code"], shown["detail"]) == ("SHARE_MOVED", found.detail)


def test_late_execution_is_allotted_and_judged_again(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 200, 300)
    report(outgoing, ReportKind.FILLED, executed("a", 300))
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(120), D(180)]
    for whole, parts in ((310, [D(120), D(190)]), (400, [D(160), D(240)])):
        report(outgoing, ReportKind.FILLED, executed(f"late {whole}", whole - int(sum(filled()))))
        assert filled() == parts
        expect_exact(whole)


def test_late_execution_that_is_too_small_moves_at_once(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 300)
    for name, part in (("a", 90), ("b", 210)):
        report(outgoing, ReportKind.FILLED, executed(name, part))
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(100), D(200)]
    outgoing = joined(feed, 100, 300)
    for name, part in (("c", 90), ("d", 90), ("e", 90), ("f", 30)):
        report(outgoing, ReportKind.FILLED, executed(name, part))
    report(outgoing, ReportKind.CANCELLED)
    assert filled()[2:] == [D(0), D(300)]
    report(outgoing, ReportKind.FILLED, executed("late", 10))
    assert filled()[2:] == [D(100), D(210)]
    expect_exact(610)


def test_cumulative_quantity_moves_and_is_replaced_afterwards(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 300)
    for whole in (90, 180, 270, 300, 350):
        fill = Execution("", D(whole), D("1.1"), market_now(), inferred=True)
        report(outgoing, ReportKind.FILLED, fill)
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(100), D(250)]
    expect_exact(350)
    for name, part in (("a", 300), ("b", 50)):
        report(outgoing, ReportKind.FILLED, executed(name, part))
        expect_exact(350)
    assert not Fill.objects.filter(inferred=True).exists()


def test_correction_after_the_end_is_known_by_its_id(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 300)
    """The one that has become another one's, and the one that is in two parts."""
    outgoing = joined(feed, 100, 300)
    in_small_parts(outgoing)
    report(outgoing, ReportKind.CANCELLED)
    for name, quantity in (("d", 20), ("c", 80)):
        corrected = replace(executed(name, quantity), revision=1)
        report(outgoing, ReportKind.FILLED, corrected)
        parts = Fill.objects.filter(broker_fill_id__startswith=name)
        assert sum(fill.quantity for fill in parts) == quantity
    expect_exact(330)


def test_stop_of_the_smaller_one_closes_it_alone(netting: ExecutionConnection, feed: Feed) -> None:
    """Its levels were guarded from its first share on."""
    outgoing = joined(feed, 100, 300)
    in_small_parts(outgoing)
    first = Order.objects.filter(leg="entry").earliest("id")
    position = ExecutionPosition.objects.get(signal=first.signal)
    ExecutionPosition.objects.filter(pk=position.pk).update(sl=D("1.09"), sl_guardian="ENGINE")
    report(outgoing, ReportKind.CANCELLED)
    factories.quote(netting, "1.08000", "1.08010")
    scan_levels()
    factories.claim_all()
    leaving = Order.objects.get(position=position)
    assert (leaving.leg, leaving.quantity) == ("sl", D(100))


def test_exit_under_way_keeps_what_it_closes(netting: ExecutionConnection, feed: Feed) -> None:
    """The larger one is being closed whole: it gives nothing, the smaller one's rest stays."""
    outgoing = joined(feed, 100, 300)
    in_small_parts(outgoing)
    second = Order.objects.filter(leg="entry").latest("id")
    close_position(ExecutionPosition.objects.get(signal=second.signal).pk)
    factories.claim_all()
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(50), D(300)]
    expect_consistent()


def test_exit_of_the_smaller_one_that_waits_closes_all_of_it(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 300)
    in_small_parts(outgoing)
    first = Order.objects.filter(leg="entry").earliest("id")
    position = ExecutionPosition.objects.get(signal=first.signal)
    close_position(position.pk)
    report(outgoing, ReportKind.CANCELLED)
    position.refresh_from_db()
    assert (position.quantity, position.reserved) == (D(100), D(100))
    assert Order.objects.get(position=position).quantity == D(100)
    expect_exact(350)


@pytest.fixture
def failing() -> Iterator[None]:
    yield
    failpoints.arm([])


@pytest.mark.usefixtures("failing")
def test_report_that_is_rolled_back_moves_nothing_and_once_later(
    netting: ExecutionConnection, feed: Feed
) -> None:
    outgoing = joined(feed, 100, 300)
    in_small_parts(outgoing)
    failpoints.arm([failpoints.Failpoint("reports.written", "abandon")])
    with pytest.raises(failpoints.AbandonedError):
        report(outgoing, ReportKind.CANCELLED)
    failpoints.arm([])
    assert filled() == [D(50), D(300)]
    report(outgoing, ReportKind.CANCELLED)
    assert filled() == [D(100), D(250)]
    expect_exact(350)
