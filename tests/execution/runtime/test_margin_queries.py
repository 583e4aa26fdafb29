"""An entry is checked against the margin that the broker calculates, if it provides one."""

from collections.abc import Iterator
from decimal import Decimal as D

import pytest

from brokers import registry
from brokers.account_capabilities import Capabilities
from brokers.types import ConnectionSpec
from connections.models import ConnectionHealth, ExecutionConnection, HealthStatus
from execution import services
from execution.models import Order
from execution.runtime import margin_queries, trading_runtime
from execution.submission import margins
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trading_process import until

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture(autouse=True)
def reported_margins(broker: FakeBroker, trading: trading_runtime.TradingRuntime) -> Iterator[None]:
    """The broker reports margins: half of the price, where leverage would give a thirtieth."""
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


def test_recent_broker_margin_replaces_our_estimate(
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


def test_entry_needing_more_than_the_free_margin_is_denied(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, snapshot_free_margin=D(54))
    factories.signal(feed)
    services.execute(factories.pending())
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", "MARGIN")
    assert [name for name, _ in broker.calls if name == "submit"] == []


def test_silent_broker_delays_an_entry_by_two_seconds_at_most(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margin_queries, "QUERY_SECONDS", 0.2)
    broker.hung.add(str(alice.pk))
    factories.signal(feed)
    services.execute(factories.pending())
    order = Order.objects.get()
    assert order.submitted_at is not None
    assert round(order.margin or D(0), 6) == D("3.666667")


def test_silent_broker_is_not_queried_again_for_a_minute(
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


def test_broken_answer_for_one_account_does_not_affect_others(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed)
    factories.signal(feed)

    def break_the_first() -> None:
        if broker.calls[-1][0] == "what_if" and asked(broker) == 1:
            raise RuntimeError("an unexpected answer")

    broker.on_call = break_the_first
    services.execute(factories.pending())
    found = Order.objects.order_by("margin").values_list("margin", "reason")
    assert [(round(margin or D(0), 2), reason) for margin, reason in found] == [
        (D("3.67"), ""), (D("55.00"), ""),
    ]  # fmt: skip


def test_broken_broker_package_does_not_stop_other_broker_types(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registry.capabilities_of

    def capabilities_of(broker_type: str, spec: ConnectionSpec) -> Capabilities:
        if broker_type == "crypto":
            raise RuntimeError("module compiled against another version of numpy")
        return real(broker_type, spec)

    monkeypatch.setattr(registry, "capabilities_of", capabilities_of)
    factories.signal(feed)
    services.execute(factories.pending())
    assert [order.margin for order in Order.objects.exclude(submitted_at=None)] == [D(55)]


def test_account_that_cannot_trade_now_is_not_queried(
    alice: ExecutionConnection, feed: Feed, broker: FakeBroker
) -> None:
    factories.signal(feed)
    ConnectionHealth.objects.update(status=HealthStatus.ERROR)
    services.execute(factories.pending())
    assert (asked(broker), Order.objects.get().status) == (0, "PENDING")


def test_exits_query_no_margin(alice: ExecutionConnection, feed: Feed, broker: FakeBroker) -> None:
    factories.signal(feed)
    services.execute(factories.pending())
    until(ExecutionPosition.objects.exists)
    margins.stored_margins.clear()
    [exit_id] = services.close_position(ExecutionPosition.objects.get().pk)
    services.execute([exit_id])
    until(lambda: ExecutionPosition.objects.get().quantity == 0)
    assert asked(broker) == 1
