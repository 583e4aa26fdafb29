"""A target takes its share once, however many scans find it reached."""

from decimal import Decimal as D

import pytest

from connections.models import ExecutionConnection
from execution.exits.orders import ExitRequest, open_exits
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def position(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """A position of 100 EUR/USD with two targets of a half each."""
    factories.signal(feed, [("1.12", "0.5"), ("1.13", "0.5")])
    factories.claim_all()
    factories.apply(factories.fill_report(Order.objects.get(), 100, "f1"))
    return ExecutionPosition.objects.get()


def test_target_with_an_exit_in_flight_is_not_taken_again(position: ExecutionPosition) -> None:
    (first,) = open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))])
    assert open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))]) == []
    factories.claim_all()
    assert open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))]) == []
    assert Order.objects.exits().get().pk == first.order_id


def test_target_taken_since_the_scan_is_not_taken_again(position: ExecutionPosition) -> None:
    open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))])
    factories.claim_all()
    factories.apply(factories.fill_report(Order.objects.exits().get(), 50, "x1"))
    assert open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))]) == []
    assert [x.quantity for x in open_exits([ExitRequest(position.pk, "tp-2")])] == [50]


def test_another_exit_does_not_block_the_target(position: ExecutionPosition) -> None:
    open_exits([ExitRequest(position.pk, "close", D("0.4"))])
    assert [x.quantity for x in open_exits([ExitRequest(position.pk, "tp-1", D("0.5"))])] == [50]
