"""Which entries wait, for what and since when, and how that ends."""

from decimal import Decimal

import pytest

from common.sql import rows, run
from connections.models import ConnectionHealth, ExecutionConnection
from execution.calls.runtime import Runtime
from execution.drift.reconcile import reconcile
from execution.models import Order
from signals.models import Feed, OrderType
from tests.execution import cast
from tests.execution.double import Double

pytestmark = pytest.mark.django_db(transaction=True)
PASSES = {
    "CONNECTION_UNREACHABLE": "status = 'ERROR', unreachable_at = clock_timestamp()",
    "CIRCUIT_OPEN": "circuit_open_until = clock_timestamp() + interval '1 minute'",
    "CONNECTION_NOT_RECONCILED": "reconciled_at = NULL",
}
PERSONS = {
    "CONNECTION_ERROR": "status = 'ERROR', unreachable_at = NULL",
    "CONNECTION_UNTESTED": "status = 'UNTESTED'",
}


def fares(what: str) -> None:
    run(f"UPDATE connections_connectionhealth SET {what}")


def due_in() -> float:
    (row,) = rows("SELECT extract(epoch FROM due_at - clock_timestamp())::float AS s"
                  " FROM execution_order")  # fmt: skip
    return float(row.s)


@pytest.mark.parametrize("code", PASSES)
def test_what_passes_by_itself_has_an_entry_wait_with_its_code(
    alice: ExecutionConnection, feed: Feed, code: str
) -> None:
    fares(PASSES[code])
    signal = cast.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason, signal.candidate_count) == ("PENDING", code, 1)
    assert order.waiting_since is not None
    assert cast.log_codes(order.pk) == [(code, "PENDING")]
    cast.pass_time(6)
    assert cast.claim_all() == []
    since = order.waiting_since
    order.refresh_from_db()
    assert (order.reason, order.tries, order.waiting_since) == (code, 0, since)
    assert 10 < due_in() <= 20  # it does not spin
    assert cast.log_codes(order.pk) == [(code, "PENDING")]


@pytest.mark.parametrize("code", PERSONS)
def test_what_a_person_must_change_is_skipped(
    alice: ExecutionConnection, feed: Feed, code: str
) -> None:
    fares(PERSONS[code])
    cast.signal(feed)
    order = Order.objects.get()
    assert (order.status, order.reason, order.waiting_since) == ("SKIPPED", code, None)


def test_a_comparison_wakes_entries_that_wait_for_it(
    alice: ExecutionConnection, feed: Feed, wire: Runtime, broker: Double
) -> None:
    fares(PASSES["CONNECTION_NOT_RECONCILED"])
    cast.signal(feed)
    assert due_in() > 3
    reconcile()
    assert ConnectionHealth.objects.get().reconciled_at is not None
    assert due_in() <= 0
    assert len(cast.claim_all()) == 1
    order = Order.objects.get()
    assert (order.status, order.waiting_since) == ("SUBMITTING", None)


def test_a_market_entry_that_waited_for_a_minute_ends_with_what_it_waited_for(
    alice: ExecutionConnection, feed: Feed
) -> None:
    fares(PASSES["CONNECTION_NOT_RECONCILED"])
    cast.signal(feed)
    cast.pass_time(50)
    assert cast.claim_all() == []
    assert 0 < due_in() < 13  # when it is too old, and no later
    cast.pass_time(12)
    assert cast.claim_all() == []
    order = Order.objects.get()
    assert (order.status, order.reason) == ("DENIED", "CONNECTION_NOT_RECONCILED")
    assert order.detail == "The signal became older than 60 s while the order waited."


def test_a_market_entry_is_too_old_after_a_minute_and_a_limit_entry_is_not(
    alice: ExecutionConnection, feed: Feed
) -> None:
    cast.signal(feed)
    cast.signal(feed, order_type=OrderType.LIMIT, open_price=Decimal("1.09950"))
    cast.pass_time(62)
    assert len(cast.claim_all()) == 1
    market, limit = Order.objects.order_by("pk")
    assert (market.status, market.reason) == ("DENIED", "SIGNAL_TOO_OLD")
    assert limit.status == "SUBMITTING"
