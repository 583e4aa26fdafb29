"""How long an entry may wait and a call may take are settings, read at each claim."""

import pytest

from common.clocks import machine_time
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed
from tests.execution import factories
from tests.operational import set_setting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


@pytest.mark.parametrize("seconds", [2, 900])
def test_send_deadline_is_that_of_the_setting(
    alice: ExecutionConnection, feed: Feed, seconds: int
) -> None:
    set_setting("execution.send_deadline_seconds", seconds)
    factories.signal(feed)
    before = machine_time()
    (outgoing,) = factories.claim_all()
    assert before + seconds <= outgoing.request.send_by <= machine_time() + seconds


@pytest.mark.parametrize("seconds", [2, 60])
def test_broker_may_take_as_long_to_answer_as_the_setting(
    alice: ExecutionConnection, feed: Feed, seconds: int
) -> None:
    set_setting("execution.call_timeout_seconds", seconds)
    factories.signal(feed)
    factories.claim_all()
    order = Order.objects.get()
    assert order.answer_by is not None
    assert order.submitted_at is not None
    answered = (order.answer_by - order.submitted_at).total_seconds()
    assert answered == pytest.approx(5 + seconds + 1, abs=0.5)  # after the send deadline


@pytest.mark.parametrize(
    ("seconds", "status", "reason"), [(120, "SUBMITTING", ""), (30, "DENIED", "SIGNAL_TOO_OLD")]
)
def test_market_entry_is_as_old_as_the_setting_allows(
    alice: ExecutionConnection, feed: Feed, seconds: int, status: str, reason: str
) -> None:
    set_setting("execution.market_entry_max_age_seconds", seconds)
    factories.signal(feed)
    factories.pass_time(50)
    factories.claim_all()
    order = Order.objects.get()
    assert (order.status, order.reason) == (status, reason)
