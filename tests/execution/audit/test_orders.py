"""The audit: lost, duplicate and late orders, orders unknown for too long or unexpectedly live,
and orders that contradict their fills."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from common.clocks import market_now
from common.db.sql import run
from common.operational.current import settings_now
from connections.models import ExecutionConnection
from execution.audit.counters import GRACE_SECONDS
from execution.services import retry_order
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.audit.checks import entry, nonzero_counters
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alice")]


@pytest.mark.parametrize(
    "row",
    [
        "status = 'PENDING', due_at = clock_timestamp() - interval '61 s', done_at = NULL",
        "status = 'PENDING', due_at = NULL, done_at = NULL",
        "status = 'SUBMITTING', answer_by = clock_timestamp() - interval '61 s'",
        "status = 'UNKNOWN', lookup_after = NULL",
        "status = 'UNKNOWN', lookup_after = clock_timestamp() - interval '61 s'",
        "status = 'NOWHERE'",
        "pending_action = 'CLOSE', due_at = NULL",
    ],
)
def test_order_that_no_process_will_act_on_counts_as_lost(
    row: str, signal: Signal, alice: ExecutionConnection
) -> None:
    factories.force(f"UPDATE execution_order SET {row} WHERE id = {entry(alice).pk}")
    assert nonzero_counters() == {"LOST": 1}


def test_order_sent_twice_counts_as_dup(signal: Signal, broker: FakeBroker) -> None:
    broker.receive(broker.tickets[0].request)
    assert nonzero_counters() == {"DUP": 1}


def test_order_sent_under_two_attempts_counts_as_dup(signal: Signal, broker: FakeBroker) -> None:
    request = broker.tickets[0].request
    broker.receive(replace(request, client_order_id=request.client_order_id[:-1] + "1"))
    assert nonzero_counters() == {"DUP": 1}


def test_order_unknown_for_too_long_is_counted(
    signal: Signal, alice: ExecutionConnection, settings: Any
) -> None:
    late = settings_now().execution.absence_gap_seconds + GRACE_SECONDS
    for seconds, counters in ((late - 2, {}), (late + 1, {"LIMBO": 1})):
        factories.force(
            "UPDATE execution_order SET status = 'UNKNOWN', lookup_after = clock_timestamp(),"
            f" answer_by = clock_timestamp() - interval '{seconds} s' WHERE id = {entry(alice).pk}"
        )
        assert nonzero_counters() == counters


def test_order_sent_late_counts_as_late(signal: Signal, alice: ExecutionConnection) -> None:
    Signal.objects.update(valid_until=market_now() + timedelta(hours=1))
    assert nonzero_counters() == {}
    run(
        "UPDATE execution_order SET submitted_at = submitted_at + interval '2 hours'"
        f" WHERE id = {entry(alice).pk}"
    )
    assert nonzero_counters() == {"LATE": 1}


@pytest.mark.parametrize(
    "row",
    [
        "positions_executionposition SET quantity = 90",
        "positions_executionposition SET opened_quantity = 110",
        "execution_order SET filled_quantity = 90 WHERE status = 'FILLED'",
        "execution_fill SET quantity = 90",
    ],
)
def test_order_that_contradicts_its_fills_counts_as_mismatch(row: str, signal: Signal) -> None:
    run(f"UPDATE {row}")
    assert set(nonzero_counters()) == {"MISMATCH"}


def test_unexpectedly_live_order_is_counted(feed: Feed, broker: FakeBroker) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    never_arrived(outgoing.request.order_id)
    assert nonzero_counters() == {}
    broker.receive(outgoing.request)
    assert nonzero_counters() == {"RISEN": 1}


def test_unexpectedly_live_order_is_counted_after_a_retry(feed: Feed, broker: FakeBroker) -> None:
    factories.signal(feed)
    (outgoing,) = factories.claim_all()
    never_arrived(outgoing.request.order_id)
    retry_order(outgoing.request.order_id)
    factories.fill_all()
    assert nonzero_counters() == {}  # the retry's own acceptance is expected
    broker.receive(outgoing.request)
    assert nonzero_counters() == {"RISEN": 1, "DUP": 1}


def never_arrived(order_id: int) -> None:
    run(
        "UPDATE execution_order SET status = 'FAILED', reason = 'NEVER_ARRIVED',"
        " done_at = clock_timestamp() WHERE id = %s",
        (order_id,),
    )
    run(
        "INSERT INTO execution_executionlog (order_id, code, status)"
        " VALUES (%s, 'NEVER_ARRIVED', 'FAILED')",
        (order_id,),
    )
