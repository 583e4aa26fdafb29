"""Which entries a pause that has ended still stops: those whose time lay in it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest

from common.clocks import market_now
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.changes.order_changes import change_order
from execution.models import EntryChange, Order, SlicePlan
from execution.monitoring.pending_actions import process_pending_actions
from execution.monitoring.trigger_monitor import TriggerMonitor
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.change_terms import WantedTerms
from execution.submission.claim import claim
from execution.submission.outcomes import Deferred
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.monitoring.held_orders import quotes_of, source
from tests.execution.monitoring.test_entry_changes import working
from tests.execution.submission.test_conditions import end_first, reach
from tests.execution.submission.test_routed_entries import fail, moved_on, publish, route
from tests.execution.submission.test_slices import TWAP, refresh
from tests.loss_limits import pause_of
from tests.sampling import often
from tests.stopped_clock import StoppedClock

pytestmark = pytest.mark.usefixtures("inline_commits")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
INSTANT = timedelta(milliseconds=1)


def known(at: datetime | None) -> datetime:
    assert at is not None
    return at


def waiting(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """An entry that its broker could not be sent yet. Its time is its publication."""
    signal = factories.signal(feed)
    down = {str(account.pk): Deferred(Code.BROKER_HOST_DOWN)}
    claim(factories.pending(), worker_id=factories.OWNER, deferral_policy=lambda _: down)
    order = Order.objects.get(signal=signal)
    assert order.reason == "BROKER_HOST_DOWN"
    return order, known(signal.published_at)


def held(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """An entry whose trigger has fired. Its time is when it fired."""
    factories.signal(feed, order_type="IF_TOUCHED", stop_price=D("1.095"))
    assert factories.claim_all() == []
    factories.quote(account, "1.0948")
    TriggerMonitor().process_quotes(source(account), quotes_of("1.0948"))
    order = Order.objects.get()
    return order, known(order.retried_at)


def timed(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """An entry that waits for a time, which has come."""
    factories.signal(feed, not_before=market_now() + HOUR)
    assert factories.claim_all() == []
    order = Order.objects.get()
    reach(order, late=5)
    return order, known(Signal.objects.get().not_before)


def routed(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """An entry that another account gets after it never arrived at the first one."""
    route(account, factories.account(owner=account.user))
    signal = publish(feed)
    assert len(factories.claim_all()) == 1
    fail(Order.objects.get(), Code.NEVER_ARRIVED)
    [moved] = moved_on()
    return Order.objects.get(pk=moved), known(signal.published_at)


def routed_later(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """The same, of one that had waited for a time."""
    route(account, factories.account(owner=account.user))
    publish(feed, not_before=market_now() + HOUR)
    assert factories.claim_all() == []
    reach(Order.objects.get(), late=5)
    assert len(factories.claim_all()) == 1
    fail(Order.objects.get(), Code.NEVER_ARRIVED)
    [moved] = moved_on()
    return Order.objects.get(pk=moved), known(Signal.objects.get().not_before)


def later_slice(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """The second slice of an entry. Its time is the plan's."""
    factories.signal(feed, **TWAP)
    factories.fill_all()
    factories.pass_time(22)
    refresh()
    return Order.objects.get(leg="entry-2"), SlicePlan.objects.get().starts_at + 20 * SECOND


def slice_at_end(feed: Feed, account: ExecutionConnection) -> tuple[Order, datetime]:
    """What is left at the end of a plan that skips what it did not send."""
    factories.signal(feed, **TWAP, catch_up="SKIP", at_end="MARKET")
    factories.fill_all()
    factories.pass_time(62)
    refresh()
    return Order.objects.get(leg="entry-4"), SlicePlan.objects.get().ends_at


Enter = Callable[[Feed, ExecutionConnection], tuple[Order, datetime]]
ENTRIES: list[Enter] = [waiting, held, timed, routed, routed_later, later_slice, slice_at_end]


PAUSED: list[tuple[timedelta, timedelta | None, bool | set[Enter]]] = [
    (-HOUR, timedelta(0), False),  # over before its time
    (-HOUR, INSTANT, True),  # ended only after it
    (-HOUR, None, True),  # open
    (INSTANT, None, True),
    # Between its time and the claim: a slice belongs to its own time only.
    (INSTANT, 2 * INSTANT, {waiting, held, timed, routed, routed_later}),
]


@pytest.mark.usefixtures("running_clock")
@pytest.mark.parametrize(
    ("enter", "begins", "ends", "stops"),
    often([(enter, *paused) for enter in ENTRIES for paused in PAUSED], every=2),
)
def test_pause_stops_entries_whose_time_lies_in_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, enter: Enter, begins: timedelta,
    ends: timedelta | None, stops: bool | set[Enter],
) -> None:  # fmt: skip
    order, at = enter(feed, alice)
    ended_at = at + ends if ends is not None else None
    pause_of(order.connection, since=at + begins, ended_at=ended_at)
    Order.objects.filter(pk=order.pk).update(due_at=market_now() - SECOND)
    factories.claim_all()
    order.refresh_from_db()
    is_stopped = enter in stops if isinstance(stops, set) else stops
    expected = ("DENIED", "LOSS_LIMIT") if is_stopped else ("SUBMITTING", "")
    assert (order.status, order.reason) == expected


def test_pause_before_another_signal_is_settled_does_not_stop_what_waited_for_it(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, stopped_clock: StoppedClock
) -> None:
    first = factories.signal(feed)
    factories.claim_all()
    second = factories.signal(feed, after_signal=first, after_state="FILLED")
    factories.claim_all()
    now = market_now()
    pause_of(alice, since=now, ended_at=now + INSTANT)
    stopped_clock.pass_time(1)
    end_first(first, "filled")
    Order.objects.filter(status="PENDING").update(due_at=market_now() - SECOND)
    factories.claim_all()
    assert Order.objects.get(signal=second).status == "SUBMITTING"


PAUSES = pytest.mark.parametrize("is_open", [False, True])


def pause_working(account: ExecutionConnection, order: Order, *, is_open: bool) -> None:
    """Pause the account after the order was published, until now or still."""
    assert order.signal is not None
    since = known(order.signal.published_at) + INSTANT
    pause_of(account, since=since, ended_at=None if is_open else since + INSTANT)


@PAUSES
def test_working_order_grows_once_a_pause_has_ended(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, is_open: bool
) -> None:
    order = working(feed)
    pause_working(alice, order, is_open=is_open)
    wanted = WantedTerms(quantity=D(150))
    if is_open:
        with pytest.raises(ConflictError) as refused:
            change_order(order.pk, wanted)
        assert refused.value.code is Code.LOSS_LIMIT
        return
    change_order(order.pk, wanted)
    process_pending_actions()
    order.refresh_from_db()
    assert order.quantity == 150


@PAUSES
def test_modify_moves_a_working_order_once_a_pause_has_ended(
    alice: ExecutionConnection, feed: Feed, runtime: TradingRuntime, is_open: bool
) -> None:
    order = working(feed)
    pause_working(alice, order, is_open=is_open)
    price = D("1.096")
    factories.signal(
        feed, action="MODIFY", refers_to=order.signal, direction="BUY", sl=None, open_price=price
    )
    for _ in range(3):
        process_pending_actions()
        factories.pass_time(2)
    change, expected = EntryChange.objects.get(), ("REFUSED", "LOSS_LIMIT")
    assert (change.state, change.code) == (expected if is_open else ("DONE", ""))
    order.refresh_from_db()
    assert order.limit_price == (D("1.095") if is_open else price)
