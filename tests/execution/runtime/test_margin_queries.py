"""The margin that a broker calculates itself is what an entry is judged by."""

from collections.abc import Iterator
from decimal import Decimal as D

import pytest

from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from execution import services
from execution.models import Order
from execution.runtime import margin_queries, trading_runtime
from execution.submission import margins
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trading_process import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def telling(broker: FakeBroker, trading: trading_runtime.TradingRuntime) -> Iterator[None]:
    """The broker tells margins: half of the price, where leverage would say a thirtieth."""
    broker.margin = D("0.55")
    margin_queries._capabilities_of_types.cache_clear()
    margins.stored_margins.clear()
    margin_queries._failed.clear()
    yield
    margin_queries._capabilities_of_types.cache_clear()
    margins.stored_margins.clear()
    margin_queries._failed.clear()


def asked(broker: FakeBroker) -> int:
    return sum(name == "what_if" for name, _ in broker.calls)


def test_it_counts_in_place_of_our_estimate_while_it_is_young(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        factories.signal(feed)
        services.execute(factories.pending())
    assert set(Order.objects.values_list("margin", flat=True)) == {D(55)}
    assert asked(broker) == 1
    monkeypatch.setattr(margins, "MAX_AGE_SECONDS", -1.0)
    factories.signal(feed)
    services.execute(factories.pending())
    assert asked(broker) == 2


def test_an_entry_that_needs_more_than_is_free_is_denied_before_it_is_sent(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, snapshot_free_margin=D(54))
    factories.signal(feed)
    services.execute(factories.pending())
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", "MARGIN")
    assert [name for name, _ in broker.calls if name == "submit"] == []


def test_a_broker_that_does_not_answer_delays_by_two_seconds_at_most(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margin_queries, "QUERY_SECONDS", 0.2)
    broker.hung.add(str(alice.pk))
    factories.signal(feed)
    services.execute(factories.pending())
    order = Order.objects.get()
    assert order.submitted_at is not None
    assert round(order.margin or D(0), 6) == D("3.666667")


def test_a_silent_broker_is_not_asked_again_for_a_minute(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margin_queries, "QUERY_SECONDS", 0.2)
    broker.hung.add(str(alice.pk))
    for _ in range(3):
        factories.signal(feed)
        services.execute(factories.pending())
    assert asked(broker) == 1
    assert Order.objects.filter(submitted_at=None).count() == 0
    monkeypatch.setattr(margin_queries, "FAILED_SECONDS", -1.0)
    factories.signal(feed)
    services.execute(factories.pending())
    assert asked(broker) == 2


def test_a_broken_answer_about_one_account_leaves_the_others_theirs(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed)
    factories.signal(feed)

    def break_the_first() -> None:
        if broker.calls[-1][0] == "what_if" and asked(broker) == 1:
            raise RuntimeError("an answer that nobody expected")

    broker.on_call = break_the_first
    services.execute(factories.pending())
    found = Order.objects.order_by("margin").values_list("margin", "reason")
    assert [(round(margin or D(0), 2), reason) for margin, reason in found] == [
        (D("3.67"), ""), (D("55.00"), ""),
    ]  # fmt: skip


def test_an_account_that_cannot_trade_now_is_not_asked(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed)
    ConnectionHealth.objects.update(status=HealthStatus.ERROR)
    services.execute(factories.pending())
    assert (asked(broker), Order.objects.get().status) == (0, "PENDING")


def test_exits_ask_nobody(alice: ExecutionConnection, feed: Feed, broker: FakeBroker) -> None:
    factories.signal(feed)
    services.execute(factories.pending())
    wait_until(ExecutionPosition.objects.exists, 60)
    margins.stored_margins.clear()
    exit_id = services.close_position(ExecutionPosition.objects.get().pk)
    assert exit_id is not None
    services.execute([exit_id])
    wait_until(lambda: ExecutionPosition.objects.get().quantity == 0, 60)
    assert asked(broker) == 1
