"""An entry in slices on a hedging account: a position for each slice, one trade for people."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from analytics.orders.slices import slice_result
from brokers.base import OutcomeUnknown
from brokers.types import CloseCause
from common.db.sql import rows, run
from common.failpoints import Failpoint, FailpointError, arm
from common.reason_codes import Code
from connections import services as connections
from connections.models import ExecutionConnection, Instrument
from execution.audit.counters import audit
from execution.exits.orders import ExitRequest, open_exits
from execution.models import ExecutionLog, Order, SlicePlan
from execution.monitoring.halt_actions import carry_out_halts
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile
from execution.reports.apply import apply_reports
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_dust, close_position
from execution.submission.claim_sql import EXPOSURE
from positions.closed_results import ClosedRequest, closed_sums
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.submission.test_slices import next_slice, seen, statuses
from users.services import create_api_key

pytestmark = pytest.mark.usefixtures("inline_commits")
TWAP: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 60, "slice_count": 3}


@pytest.fixture
def account(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """It hedges, and its broker holds stops. It enters 90 EUR/USD, in three slices of 30."""
    return factories.account(
        feed, preset_fixed_quantity=D(90), preset_max_signal_age_seconds=15,
        settings={"native_stops": True},
    )  # fmt: skip


def positions() -> list[tuple[str, D, D | None, str]]:
    """Return leg, quantity, stop and its guardian of each position."""
    found = ExecutionPosition.objects.order_by("id")
    return [(p.entry_leg, p.quantity, p.sl, p.stop_guardian) for p in found]


def quantities() -> list[D]:
    return [quantity for _, quantity, _, _ in positions()]


def held() -> dict[str, int]:
    """Return the quantity of each leg."""
    return {leg: int(quantity) for leg, quantity, _, _ in positions()}


def all_slices() -> None:
    factories.fill_all()
    next_slice()
    next_slice()


def test_each_slice_opens_its_own_position_with_its_levels(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, [("1.12", "1")], **TWAP)
    all_slices()
    assert statuses() == ["FILLED"] * 3
    each = (D(30), D("1.09"), "BROKER")
    assert positions() == [("entry", *each), ("entry-2", *each), ("entry-3", *each)]
    tickets = ExecutionPosition.objects.values_list("broker_position_id", flat=True)
    assert len({*tickets}) == 3
    report = audit(signal.pk)
    assert report.is_clean, report
    assert (report.candidates, report.states["filled"]) == (1, 1)
    for order in Order.objects.entries():
        result = slice_result(order)
        assert result is not None
        assert (result.filled, result.sent, result.state) == (D(90), 3, "FILLED")


@pytest.fixture
def api(account: ExecutionConnection) -> APIClient:
    """The owner's client of the API."""
    assert account.user is not None
    _, key = create_api_key(account.user, "test", scopes=["read", "trade"])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


def test_levels_are_changed_on_the_ticket_of_the_slice(
    feed: Feed, account: ExecutionConnection, api: APIClient
) -> None:
    factories.signal(feed, **TWAP)
    all_slices()
    second = Order.objects.get(leg="entry-2")
    path = f"/api/v1/orders/{second.pk}/"
    assert api.patch(path, {"stop_loss": "1.095"}, format="json").status_code == 200
    assert [stop for _, _, stop, _ in positions()] == [D("1.09"), D("1.095"), D("1.09")]
    close_position(ExecutionPosition.objects.get(entry_leg="entry").pk)
    factories.fill_all()
    assert api.patch(path, {"stop_loss": "1.096"}, format="json").status_code == 200
    assert [stop for _, _, stop, _ in positions()][1] == D("1.096")


def test_slice_is_closed_when_its_own_ticket_is(
    feed: Feed, account: ExecutionConnection, api: APIClient
) -> None:
    factories.signal(feed, **TWAP)
    all_slices()
    close_position(ExecutionPosition.objects.get(entry_leg="entry-2").pk)
    factories.fill_all()
    lifecycles = {
        order.leg: api.get(f"/api/v1/orders/{order.pk}/").json()["lifecycle"]
        for order in Order.objects.entries()
    }
    assert lifecycles == {"entry": "FILLED", "entry-2": "CLOSED", "entry-3": "FILLED"}


def test_dust_of_a_slice_ends_its_own_position(feed: Feed, account: ExecutionConnection) -> None:
    factories.signal(feed, **TWAP)
    all_slices()
    close_position(ExecutionPosition.objects.get(entry_leg="entry-2").pk, fraction=D("0.7"))
    factories.fill_all()
    assert held() == {"entry": 30, "entry-2": 10, "entry-3": 30}
    Instrument.objects.update(close_min=D(1000))
    assert close_dust() == 1
    assert held() == {"entry": 30, "entry-2": 0, "entry-3": 30}


def test_close_closes_each_ticket_once_and_cancels_the_rest(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    factories.close_signal(signal)
    factories.fill_all()
    assert quantities() == [0, 0]
    assert seen()[2][1:3] == ("CANCELLED", "CLOSED_BEFORE_SENT")
    exits = [ticket.request for ticket in broker.tickets if ticket.is_exit]
    assert sorted(exit_.broker_position_id for exit_ in exits) == sorted(
        ticket.number for ticket in broker.tickets if not ticket.is_exit
    )
    assert all(ticket.held == 0 for ticket in broker.tickets)
    assert audit(signal.pk).is_clean


def test_close_of_a_part_takes_it_of_the_trade_oldest_ticket_first(
    feed: Feed, account: ExecutionConnection
) -> None:
    """Half of 90 is 40 in steps of 10: what a position of 90 would close."""
    signal = factories.signal(feed, **TWAP)
    all_slices()
    factories.close_signal(signal, "0.5")
    factories.fill_all()
    assert quantities() == [0, 20, 30]
    factories.close_signal(signal, "0.2")
    factories.fill_all()
    assert quantities() == [0, 10, 30]


def test_slices_are_large_enough_for_each_target(feed: Feed, broker: FakeBroker) -> None:
    """The minimum is 10, so two targets of a half each need 20: of 90 there are four slices."""
    factories.account(feed, preset_fixed_quantity=D(90), preset_max_signal_age_seconds=15)
    factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")], **{**TWAP, "slice_count": 6})
    factories.fill_all()
    planned = SlicePlan.objects.get()
    assert len(planned.quantities) == 4
    assert [sum(planned.quantities), min(planned.quantities)] == [90, 20]


def test_slice_has_all_targets_ahead_of_it(feed: Feed, account: ExecutionConnection) -> None:
    """Its ticket has each of them, whatever other tickets have closed."""
    factories.signal(feed, [("1.12", "0.5"), ("1.14", "0.5")], **TWAP)
    factories.fill_all()
    position = ExecutionPosition.objects.get()
    with transaction.atomic():
        open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))])
    factories.fill_all()
    next_slice(bid="1.1210")
    assert seen()[1][1:3] == ("DENIED", "TARGET_WRONG_SIDE")
    next_slice()
    assert seen()[2][1:] == ("FILLED", "", D(60))


@pytest.mark.parametrize(
    "fractions", [["0.3333"] * 3, ["0.33"] * 3, ["0.5", "0.499"], ["0.5", "0.5"]]
)
def test_small_rest_of_the_targets_needs_no_part_of_a_slice(
    feed: Feed, broker: FakeBroker, fractions: list[str]
) -> None:
    """The last target closes it, so that nothing stays open and all ten slices are sent."""
    factories.account(
        feed, preset_fixed_quantity=D(100_000), preset_max_leverage=D(30),
        snapshot_balance=D(1_000_000), snapshot_equity=D(1_000_000),
        snapshot_free_margin=D(1_000_000), preset_max_signal_age_seconds=15,
    )  # fmt: skip
    targets = [(f"1.{12 + number}", part) for number, part in enumerate(fractions)]
    plan = {**TWAP, "slice_count": 10, "duration_seconds": 600}
    factories.signal(feed, targets, **plan)
    factories.fill_all()
    assert SlicePlan.objects.get().quantities == [D(10_000)] * 10


@pytest.mark.parametrize(
    ("fractions", "planned"),
    [
        (["0.5", "0.5"], 4),  # 20 each, of 90
        (["0.34", "0.33", "0.33"], None),  # 40 each: two slices of six
        (["0.8", "0.2"], None),  # 50 each: all at once
    ],
)
def test_targets_that_leave_few_slices_deny_the_entry(
    feed: Feed, broker: FakeBroker, fractions: list[str], planned: int | None
) -> None:
    """Of 90, six slices of at least 10 are possible, of which three must be left."""
    factories.account(feed, preset_fixed_quantity=D(90))
    targets = [(f"1.{12 + number}", part) for number, part in enumerate(fractions)]
    factories.signal(feed, targets, **{**TWAP, "slice_count": 6})
    factories.fill_all()
    assert [len(plan.quantities) for plan in SlicePlan.objects.all()] == [planned] * bool(planned)
    if planned is None:
        assert seen() == [("entry", "DENIED", "SLICES_TOO_FEW", None)]


def test_entry_that_is_too_small_for_slices_is_sent_at_once(feed: Feed, broker: FakeBroker) -> None:
    """That is its size's doing, and no target's."""
    factories.account(feed, preset_fixed_quantity=D(10))
    factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")], **TWAP)
    factories.fill_all()
    assert seen() == [("entry", "FILLED", "", D(10))]
    assert "10 in one slice" in ExecutionLog.objects.get(code="INTENT").detail


def test_close_acts_on_a_slice_without_an_outcome(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    """The slice is closed when it turns out to have filled; its neighbour at once."""
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.pass_time(20)
    factories.quote(account)
    (sent,) = factories.claim_all()
    factories.close_signal(signal)
    assert Order.objects.get(leg="entry-2").pending_action == "CLOSE"
    factories.answer(sent, broker.fill_at_once(sent.request))
    factories.fill_all()
    factories.pass_time(1)
    process_pending_actions()
    factories.fill_all()
    assert quantities() == [0, 0]


def test_moved_stop_counts_for_open_tickets_and_later_slices(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.signal(feed, action="MODIFY", refers_to=signal, direction="BUY", sl=D("1.095"))
    next_slice()
    assert [(leg, sl) for leg, _, sl, _ in positions()] == [
        ("entry", D("1.095")), ("entry-2", D("1.095")),
    ]  # fmt: skip
    assert Order.objects.get(leg="entry-2").stop_loss == D("1.095")


def test_stop_at_the_broker_closes_its_ticket_and_ends_the_plan(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    apply_reports([broker.close_at_broker(broker.tickets[1], CloseCause.STOP_LOSS, D(30))])
    assert quantities() == [30, 0]
    closed = ExecutionPosition.objects.get(entry_leg="entry-2")
    assert (closed.close_reason, Order.objects.get(leg="sl").position_id) == ("sl", closed.pk)
    next_slice()
    assert seen()[2][1:3] == ("CANCELLED", "SLICES_ENDED")
    assert quantities() == [30, 0]


def test_ticket_closed_by_its_owner_does_not_end_the_plan(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    apply_reports([broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))])
    next_slice()
    assert quantities() == [0, 30, 30]


@pytest.mark.usefixtures("running_clock")
def test_missing_ticket_is_closed_and_the_others_stay(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker, runtime: TradingRuntime
) -> None:
    broker.fills_horizon = None
    signal = factories.signal(feed, **TWAP)
    all_slices()
    factories.pass_time(1)
    broker.close_at_broker(broker.tickets[1], CloseCause.EXTERNAL, D(30))  # without a report
    reconcile()
    assert factories.drift_items() == [("POSITION_MISSING", "OPEN")]
    factories.pass_time(6)
    factories.quote(account)
    reconcile()
    assert held() == {"entry": 30, "entry-2": 0, "entry-3": 30}
    reconcile()
    assert factories.drift_items() == [("POSITION_MISSING", "RESOLVED")]
    assert audit(signal.pk).is_clean


def test_halt_that_flattens_closes_each_ticket_once(
    feed: Feed, account: ExecutionConnection, runtime: TradingRuntime
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    next_slice()
    connections.set_kill_switch(
        scope="ALL", mode="REDUCING", reason="test", by=None, flatten=True, cancel_entries=True
    )
    assert len(carry_out_halts()) == 2
    assert carry_out_halts() == []
    process_pending_actions()
    factories.fill_all()
    next_slice()
    assert quantities() == [0, 0]
    assert seen()[2][1] == "CANCELLED"


def test_tickets_of_a_trade_count_as_one_position(feed: Feed, broker: FakeBroker) -> None:
    account = factories.account(feed, preset_fixed_quantity=D(90), preset_max_open_positions=2)
    sliced = factories.signal(feed, **TWAP)
    all_slices()
    factories.signal(feed)
    factories.fill_all()
    assert ExecutionPosition.objects.count() == 4
    parameters = {"connections": [account.pk], "pairs": [], "unanswered": 1.0}
    for closed_next in ("entry", "entry-2", None):  # of those left open one stands for the trade
        (row,) = rows(EXPOSURE, parameters)
        assert row.positions == 2
        if closed_next:
            close_position(sliced.positions.get(entry_leg=closed_next).pk)
            factories.fill_all()
    third = factories.signal(feed)
    factories.fill_all()
    assert Order.objects.get(signal=third).reason == "MAX_OPEN_POSITIONS"


def test_tickets_of_a_trade_are_one_of_a_losing_streak(
    feed: Feed, account: ExecutionConnection
) -> None:
    signal = factories.signal(feed, **TWAP)
    all_slices()
    factories.close_signal(signal)
    factories.quote(account, "1.09500")
    factories.fill_all()
    run("UPDATE positions_executionposition SET realized_pnl = -100 WHERE entry_leg = 'entry'")
    since = ExecutionPosition.objects.order_by("closed_at").values_list("closed_at", flat=True)[0]
    assert since is not None
    request = ClosedRequest(account.pk, since, None)
    run("UPDATE positions_executionposition SET realized_pnl = 10 WHERE entry_leg <> 'entry'")
    assert (closed_sums([request])[0].net, closed_sums([request])[0].streak) == (D(-80), 1)
    run("UPDATE positions_executionposition SET realized_pnl = 50 WHERE entry_leg <> 'entry'")
    assert closed_sums([request])[0].streak == 0


def test_trade_that_is_open_in_part_neither_counts_as_lost_nor_ends_a_streak(
    feed: Feed, account: ExecutionConnection
) -> None:
    lost = factories.filled(factories.signal(feed))
    close_position(lost.pk)
    factories.fill_all()
    factories.signal(feed, **TWAP)
    all_slices()
    first, *others = ExecutionPosition.objects.open().order_by("pk")
    close_position(first.pk)
    factories.fill_all()
    run("UPDATE positions_executionposition SET realized_pnl = -100 WHERE quantity = 0")
    lost.refresh_from_db()
    assert lost.closed_at is not None
    request = ClosedRequest(account.pk, lost.closed_at, None)
    assert (closed_sums([request])[0].net, closed_sums([request])[0].streak) == (D(-200), 1)
    for other in others:
        close_position(other.pk)
    factories.fill_all()
    for result, streak in ((-1, 2), (90, 0)):
        run("UPDATE positions_executionposition SET realized_pnl = %s WHERE id = ANY(%s)",
            (result, [other.pk for other in others]))  # fmt: skip
        assert closed_sums([request])[0].streak == streak


def test_reports_repeated_after_a_crash_open_each_ticket_once(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.pass_time(20)
    factories.quote(account)
    (sent,) = factories.claim_all()
    reports = broker.fill_at_once(sent.request)
    arm([Failpoint("reports.written", "raise")])
    try:
        with pytest.raises(FailpointError):
            apply_reports(reports)
    finally:
        arm([])
    assert quantities() == [30]
    apply_reports(reports)
    apply_reports(reports)
    assert held() == {"entry": 30, "entry-2": 30}


def test_unknown_slice_makes_the_others_wait(
    feed: Feed, account: ExecutionConnection, broker: FakeBroker
) -> None:
    factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.pass_time(20)
    factories.quote(account)
    (sent,) = factories.claim_all()
    report = broker.fill_at_once(sent.request)
    factories.answer(sent, OutcomeUnknown(Code.REPLY_LOST))
    factories.pass_time(20)
    factories.quote(account)
    factories.fill_all()
    assert statuses() == ["FILLED", "UNKNOWN", "PENDING"]
    apply_reports(report)
    assert quantities() == [30, 30]
