"""A woken account is polled at once, whatever its interval is; wakes are bounded and never lost."""

from decimal import Decimal as D
from threading import Thread
from time import monotonic
from uuid import UUID

import pytest

from common.db.sql import rows
from common.process.jobs import Job
from connections.models import ExecutionConnection
from execution.models import AccountSyncState, Order
from execution.recovery import order_polling
from execution.recovery.order_polling import poll, wake_polls
from execution.runtime import poll_wakes, trading_runtime
from execution.runtime.open_work import Work
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.hanging import beside
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")
NEVER = 3600


@pytest.fixture
def resting(alice: ExecutionConnection, feed: Feed, polled_broker: FakeBroker) -> Order:
    """A limit order of 100 EUR/USD working at the broker, whose account has just been polled."""
    order = rest(feed, polled_broker)
    assert poll() == 1
    return order


def rest(feed: Feed, broker: FakeBroker) -> Order:
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    for outgoing in factories.claim_all():
        factories.answer(outgoing, broker.rest(outgoing.request))
    return Order.objects.latest("id")


def polls_of(broker: FakeBroker) -> int:
    return sum(1 for called, _ in broker.calls if called == "open_orders")


def is_filled(order: Order) -> bool:
    return Order.objects.filter(pk=order.pk, status="FILLED").exists()


@pytest.mark.usefixtures("running_clock")
def test_woken_account_is_polled_before_its_interval(
    resting: Order, polled_broker: FakeBroker
) -> None:
    polled_broker.execute(polled_broker.tickets[0])
    assert poll() == 0
    wake_polls([resting.connection_id])
    assert (poll(), is_filled(resting)) == (1, True)
    (row,) = rows(
        "SELECT poll_after > clock_timestamp() + interval '59 minutes' AS later, poll_began_at"
        " FROM execution_accountsyncstate"
    )
    assert (row.later, row.poll_began_at) == (True, None)


@pytest.mark.usefixtures("running_clock")
def test_other_accounts_are_not_woken(
    feed: Feed, resting: Order, polled_broker: FakeBroker
) -> None:
    other = factories.account(feed)
    rest(feed, polled_broker)
    assert poll() == 1
    polled_broker.calls.clear()
    wake_polls([other.pk])
    assert (poll(), polls_of(polled_broker)) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_wake_during_a_poll_is_followed_by_another(
    resting: Order, polled_broker: FakeBroker
) -> None:
    """The running one may have read before what the wake is about."""
    running = wake_during_a_poll(resting.connection_id, polled_broker)
    assert poll_claim_is_kept()
    polled_broker.hang.end()
    running.join(120)
    until(lambda: (poll(), polls_of(polled_broker))[1] == 2)
    assert (poll(), polls_of(polled_broker)) == (0, 2)


def wake_during_a_poll(account: UUID, broker: FakeBroker) -> Thread:
    """Wake an account while the answer to its poll is awaited; return the thread that polls."""
    broker.hung, broker.hanging = {str(account)}, {"open_orders"}
    broker.calls.clear()
    wake_polls([account])
    running = beside(poll)
    until(lambda: polls_of(broker) == 1)
    wake_polls([account])
    return running


def poll_claim_is_kept() -> bool:
    (row,) = rows(
        "SELECT poll_after > clock_timestamp() + interval '2 s' AS is_kept"
        " FROM execution_accountsyncstate"
    )
    return bool(row.is_kept)


@pytest.mark.django_db(transaction=True)
def test_many_wakes_during_a_poll_are_followed_by_one(
    resting: Order, polled_broker: FakeBroker
) -> None:
    account = resting.connection_id
    polled_broker.hung, polled_broker.hanging = {str(account)}, {"open_orders"}
    polled_broker.calls.clear()
    wake_polls([account])
    running = beside(poll)
    until(lambda: polls_of(polled_broker) == 1)
    for _ in range(50):
        wake_polls([account])
    polled_broker.hang.end()
    running.join(120)
    until(lambda: (poll(), polls_of(polled_broker))[1] == 2)
    assert (poll(), polls_of(polled_broker)) == (0, 2)


@pytest.mark.usefixtures("running_clock")
def test_burst_of_wakes_is_bounded(
    resting: Order, polled_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    polled_broker.calls.clear()
    monkeypatch.setattr(order_polling, "WAIT_SECONDS", 0.2)
    began = monotonic()
    for _ in range(100):
        wake_polls([resting.connection_id])
        poll()
    most = 1 + (monotonic() - began) / poll_wakes.WAKE_SECONDS
    assert 1 <= polls_of(polled_broker) <= most


@pytest.mark.django_db(transaction=True)
def test_wake_during_a_failing_poll_does_not_hasten_the_retry(
    resting: Order, polled_broker: FakeBroker
) -> None:
    running = wake_during_a_poll(resting.connection_id, polled_broker)
    polled_broker.reads_fail = True
    polled_broker.hang.end()
    running.join(120)
    until(lambda: (poll(), AccountSyncState.objects.get().poll_began_at is None)[1])
    assert poll_claim_is_kept()


@pytest.mark.django_db(transaction=True)
def test_woken_account_does_not_wait_for_the_answers_of_others(
    feed: Feed, resting: Order, polled_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_polling, "WAIT_SECONDS", 60)
    slow = factories.account(feed)
    rest(feed, polled_broker)
    polled_broker.hung = {str(slow.pk)}
    polled_broker.calls.clear()
    running = beside(poll)
    until(lambda: polled_broker.calls)
    polled_broker.execute(polled_broker.tickets[0])
    wake_polls([resting.connection_id])
    until(lambda: is_filled(resting))
    assert running.is_alive()
    polled_broker.hang.end()
    running.join(120)


@pytest.mark.django_db(transaction=True)
def test_job_of_a_long_interval_runs_when_it_is_woken(
    resting: Order, polled_broker: FakeBroker, runtime: trading_runtime.TradingRuntime
) -> None:
    runtime.open_work.update(Work(0))  # it is far from due: nothing is known to be open
    runtime.start_background_jobs(
        [Job("order polling", NEVER, poll, Work.TRADES, poll_wakes.polls)]
    )
    polled_broker.execute(polled_broker.tickets[0])
    wake_polls([resting.connection_id])
    until(lambda: is_filled(resting))
