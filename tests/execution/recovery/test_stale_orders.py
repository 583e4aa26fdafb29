"""Orders without reports: looked up with growing delays, acted on, reported once."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.types import OrderRequest, ReportKind
from common.clocks import market_now
from common.db.sql import rows, run
from common.reason_codes import Code
from connections.models import ExecutionConnection, TradingPreset
from connections.session_lanes import held_lanes_parameters
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.recovery import stale_orders, sweeps
from execution.runtime import trading_runtime
from execution.services import cancel_order, close_position
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket
from tests.execution.pauses import Pause, pause_after
from tests.operational import set_setting

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """A market order in flight, without reports."""
    factories.signal(feed)
    factories.live_lease()
    factories.claim_all()
    return Order.objects.get()


def accepted(order: Order, broker: FakeBroker) -> Ticket:
    """The broker accepts it and does nothing more."""
    ticket = broker.receive(
        OrderRequest(
            client_order_id=order.client_order_id or "",
            connection_id=str(order.connection_id),
            account="1",
            symbol=order.symbol,
            side=order.side,  # type: ignore[arg-type]
            order_type=order.order_type,  # type: ignore[arg-type]
            time_in_force=order.time_in_force,  # type: ignore[arg-type]
            quantity=order.quantity,
        )
    )
    factories.apply(broker.report(ticket, ReportKind.ACCEPTED))
    return ticket


def state(order: Order) -> tuple[str, str, str]:
    order.refresh_from_db()
    return order.status, order.reason, order.pending_action


# ---- unknown for long ----------------------------------------------------------------------------
def look_up_pause(unknown_for: float) -> Pause:
    """Return the pause before the next look-up."""
    run(
        "UPDATE execution_order SET lookup_after = clock_timestamp(),"
        " answer_by = clock_timestamp() - make_interval(secs => %s)",
        (unknown_for,),
    )
    times = {"first": sweeps.FIRST_LOOKUP_SECONDS, "longest": 20, "claim": 0, "worker_id": ""}

    def claim() -> None:
        assert rows(sweeps.CLAIM_LOOKUPS, {**times, **held_lanes_parameters()})

    return pause_after(claim, until="lookup_after")


@pytest.mark.parametrize(("unknown_for", "pause"), [(0, 2), (2, 2), (10, 5), (20, 10), (9999, 20)])
def test_look_up_delays_grow_with_jitter(entry: Order, unknown_for: float, pause: float) -> None:
    pauses = [look_up_pause(unknown_for) for _ in range(20)]
    assert all(one.overlaps(0.75 * pause, 1.26 * pause) for one in pauses)
    most_of_each = [one.most for one in pauses]
    assert max(most_of_each) - min(most_of_each) > 0.05 * pause


def test_order_unknown_for_too_long_alerts_once(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    broker.reads_fail = True
    factories.pass_time(100)
    sweeps.mark_orphaned_unknown("another")
    sweeps.query_unknown_orders(runtime.dispatcher)
    stale_orders.alert_stale_unknown()
    assert factories.events("order.unknown_too_long") == []  # 300 s are allowed
    factories.pass_time(300)
    stale_orders.alert_stale_unknown()
    stale_orders.alert_stale_unknown()
    assert factories.events("order.unknown_too_long") == [{"code": "UNKNOWN_TOO_LONG"}]
    assert ("UNKNOWN_TOO_LONG", "UNKNOWN") in factories.log_codes(entry.pk)
    assert state(entry)[0] == "UNKNOWN"


def test_exit_that_is_unknown_again_after_it_was_sent_again_alerts_again(
    feed: Feed, runtime: trading_runtime.TradingRuntime
) -> None:
    close_position(factories.filled(factories.signal(feed)).pk)
    for times in (1, 2):
        assert len(factories.claim_all()) == 1
        factories.pass_time(400)
        sweeps.mark_orphaned_unknown("another")
        for _ in range(2):
            stale_orders.alert_stale_unknown()
        assert len(factories.events("order.unknown_too_long")) == times
        for _ in range(2):  # its broker does not have it
            sweeps.query_unknown_orders(runtime.dispatcher)
            factories.pass_time(61)
        factories.force("UPDATE execution_executionlog SET at = at - interval '600 seconds'")


def test_longest_look_up_pause_follows_its_setting(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    broker.reads_fail = True  # it stays unknown
    factories.pass_time(600)
    sweeps.mark_orphaned_unknown("another")
    for longest in (4, 100):
        set_setting("execution.lookup_max_interval_seconds", longest)
        run("UPDATE execution_order SET lookup_after = clock_timestamp()")
        pause = pause_after(
            lambda: sweeps.query_unknown_orders(runtime.dispatcher), until="lookup_after"
        )
        assert pause.overlaps(0.75 * longest, 1.26 * longest)


@pytest.mark.parametrize(("seconds", "alerts"), [(1000, 0), (60, 1)])
def test_alert_on_an_unknown_order_follows_its_setting(
    entry: Order, seconds: int, alerts: int
) -> None:
    set_setting("execution.unknown_alert_seconds", seconds)
    factories.pass_time(120)  # answer_by is eleven seconds after the claim
    sweeps.mark_orphaned_unknown("another")
    stale_orders.alert_stale_unknown()
    assert len(factories.events("order.unknown_too_long")) == alerts


@pytest.mark.usefixtures("running_clock")
def test_order_beyond_the_look_up_window_is_reported(
    entry: Order, runtime: trading_runtime.TradingRuntime
) -> None:
    factories.pass_time(2 * 24 * 3600)
    sweeps.mark_orphaned_unknown("another")
    for _ in range(2):
        sweeps.query_unknown_orders(runtime.dispatcher)
        factories.pass_time(60)
    (payload,) = factories.events("drift.found")
    assert (payload["kind"], payload["key"]) == (Code.LOOKUP_WINDOW_EXCEEDED, entry.client_order_id)


# ---- stuck at the broker -------------------------------------------------------------------------
def test_market_order_that_does_not_end_is_looked_up(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    ticket = accepted(entry, broker)
    factories.pass_time(20)
    stale_orders.resolve_stuck()
    assert state(entry) == ("SUBMITTED", "", "")
    factories.pass_time(11)
    stale_orders.resolve_stuck()
    assert state(entry) == ("SUBMITTED", "STUCK", "")
    broker.execute(ticket)  # and its reports were lost
    assert sweeps.query_unknown_orders(runtime.dispatcher) == 1
    assert state(entry) == ("FILLED", "", "")
    factories.pass_time(60)
    stale_orders.resolve_stuck()
    assert factories.events("order.stuck") == []


@pytest.mark.parametrize(("seconds", "reason"), [(1000, ""), (10, "STUCK")])
def test_order_is_stuck_after_the_seconds_of_its_setting(
    entry: Order, broker: FakeBroker, seconds: int, reason: str
) -> None:
    set_setting("execution.stuck_seconds", seconds)
    accepted(entry, broker)
    factories.pass_time(20)
    stale_orders.resolve_stuck()
    assert state(entry) == ("SUBMITTED", reason, "")


@pytest.mark.parametrize(
    ("seconds", "reason", "alerts"), [(1000, "STUCK", 0), (5, "STUCK_ESCALATED", 1)]
)
def test_look_up_of_a_stuck_order_may_take_as_long_as_its_setting(
    entry: Order, broker: FakeBroker, seconds: int, reason: str, alerts: int
) -> None:
    set_setting("execution.stuck_answer_seconds", seconds)
    accepted(entry, broker)
    for passed in (31, 8):
        factories.pass_time(passed)
        stale_orders.resolve_stuck()
    assert state(entry) == ("SUBMITTED", reason, "")
    assert len(factories.events("order.stuck")) == alerts


def test_stuck_order_is_reported_once(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    accepted(entry, broker)
    for _ in range(6):
        factories.pass_time(31)
        stale_orders.resolve_stuck()
        sweeps.query_unknown_orders(runtime.dispatcher)
    assert state(entry) == ("SUBMITTED", "STUCK_ESCALATED", "")
    assert factories.events("order.stuck") == [{"code": "STUCK_ESCALATED"}]
    assert broker.calls.count(("find_order", entry.client_order_id or "")) == 1


def test_preset_may_cancel_a_stuck_order(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    TradingPreset.objects.update(stuck_policy="CANCEL")
    accepted(entry, broker)
    for _ in range(2):
        factories.pass_time(31)
        stale_orders.resolve_stuck()
        sweeps.query_unknown_orders(runtime.dispatcher)
    assert state(entry) == ("SUBMITTED", "STUCK_CANCELLED", "CANCEL")
    assert factories.events("order.stuck") == [{"code": "STUCK_CANCELLED"}]
    process_pending_actions()
    assert state(entry)[0] == "CANCELLED"


def test_stuck_exit_is_reported_and_never_cancelled(
    feed: Feed, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    TradingPreset.objects.update(stuck_policy="CANCEL")
    position = factories.filled(factories.signal(feed))
    close_position(position.pk)
    factories.claim_all()
    leaving = Order.objects.get(leg="close-1")
    accepted(leaving, broker)
    for _ in range(2):
        factories.pass_time(31)
        stale_orders.resolve_stuck()
        sweeps.query_unknown_orders(runtime.dispatcher)
    assert state(leaving) == ("SUBMITTED", "STUCK_ESCALATED", "")


def test_working_limit_order_is_not_stuck(
    feed: Feed, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    factories.claim_all()
    order = Order.objects.get()
    accepted(order, broker)
    factories.pass_time(3600)
    stale_orders.resolve_stuck()
    assert state(order) == ("SUBMITTED", "", "")


def test_unanswered_cancel_is_retried_looked_up_and_reported_once(
    entry: Order, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> None:
    ticket = accepted(entry, broker)
    cancel_order(entry.pk)
    broker.cancelling = "silent"
    asked = []
    for until_the_next in (6, 11, 21, 31, 31, 31):
        process_pending_actions()
        sweeps.query_unknown_orders(runtime.dispatcher)
        stale_orders.resolve_stuck()
        asked.append((len(broker.calls), len(factories.events("order.stuck"))))
        factories.pass_time(until_the_next)
    cancels = [name for name, _ in broker.calls if name == "cancel"]
    lookups = [name for name, _ in broker.calls if name == "find_order"]
    assert (len(cancels), len(lookups)) == (6, 4)  # from the third request on
    assert [alerts for _, alerts in asked] == [0, 0, 0, 1, 1, 1]
    assert state(entry)[:2] == ("CANCEL_REQUESTED", "CANCEL_UNANSWERED")
    broker.end(ticket, "CANCELLED")  # without a report
    process_pending_actions()
    sweeps.query_unknown_orders(runtime.dispatcher)
    assert state(entry)[0] == "CANCELLED"


# ---- never late ----------------------------------------------------------------------------------
def test_order_of_an_expired_signal_expires_and_is_never_sent(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed, valid_until=market_now() + timedelta(seconds=30))
    factories.pass_time(31)
    assert factories.claim_all() == []
    order = Order.objects.get()
    assert (order.status, order.reason, order.submitted_at) == ("EXPIRED", "SIGNAL_EXPIRED", None)
    assert factories.events("order.expired")[0]["code"] == "SIGNAL_EXPIRED"
    assert broker.calls == []
