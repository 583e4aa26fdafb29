"""The margin that a broker calculates itself is what an entry is judged by."""

from collections.abc import Iterator
from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from execution import services
from execution.calls import runtime
from execution.intents import margins
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double
from tests.execution.engine import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def telling(broker: Double, trading: runtime.Runtime) -> Iterator[None]:
    """The broker tells margins: half of the price, where leverage would say a thirtieth."""
    broker.margin = D("0.55")
    margins._abilities.cache_clear()
    margins._told.clear()
    yield
    margins._abilities.cache_clear()
    margins._told.clear()


def asked(broker: Double) -> int:
    return sum(name == "what_if" for name, _ in broker.calls)


def test_it_counts_in_place_of_our_estimate_while_it_is_young(
    alice: ExecutionConnection, feed: Feed, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        cast.signal(feed)
        services.execute(cast.pending())
    assert set(Order.objects.values_list("margin", flat=True)) == {D(55)}
    assert asked(broker) == 1
    monkeypatch.setattr(margins, "MAX_AGE_SECONDS", -1.0)
    cast.signal(feed)
    services.execute(cast.pending())
    assert asked(broker) == 2


def test_an_entry_that_needs_more_than_is_free_is_denied_before_it_is_sent(
    feed: Feed, broker: Double
) -> None:
    cast.account(feed, snapshot_free_margin=D(54))
    cast.signal(feed)
    services.execute(cast.pending())
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", "MARGIN")
    assert [name for name, _ in broker.calls if name == "submit"] == []


def test_a_broker_that_does_not_answer_delays_by_two_seconds_at_most(
    alice: ExecutionConnection, feed: Feed, broker: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margins, "ASK_SECONDS", 0.2)
    broker.hung.add(str(alice.pk))
    cast.signal(feed)
    services.execute(cast.pending())
    order = Order.objects.get()
    assert order.submitted_at is not None
    assert round(order.margin or D(0), 6) == D("3.666667")


def test_exits_ask_nobody(alice: ExecutionConnection, feed: Feed, broker: Double) -> None:
    cast.signal(feed)
    services.execute(cast.pending())
    until(ExecutionPosition.objects.exists, 60)
    margins._told.clear()
    exit_id = services.close_position(ExecutionPosition.objects.get().pk)
    assert exit_id is not None
    services.execute([exit_id])
    until(lambda: ExecutionPosition.objects.get().quantity == 0, 60)
    assert asked(broker) == 1
