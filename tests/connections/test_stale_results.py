"""Results that come late: what was read before something changed must not count after it."""

from datetime import datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from common.db.sql import columns, database_now, rows
from connections.accounts.history_retention import HOURLY_FOR, thin_history
from connections.health import due_tests, host_circuit_breaker, inactivity, status_updates
from connections.health.reconciliation import (
    mark_reconciled,
    require_reconciliation_of_lanes,
)
from connections.models import (
    AccountHistory,
    ConnectionHealth,
    Epoch,
    ExecutionConnection,
    HostCircuit,
    LaneLease,
)
from connections.session_lanes import lane_owner, lanes_without_worker
from events.models import Event
from tests.analytics.trading_days import INSTANT
from tests.connections import make

pytestmark = pytest.mark.django_db
NOON = datetime.fromisoformat("2026-01-14T12:00:00Z")
NOTHING, SECOND = timedelta(0), timedelta(seconds=1)


def health(of: ExecutionConnection, **fields: Any) -> ConnectionHealth:
    ConnectionHealth.objects.filter(pk=of.pk).update(**fields)
    return ConnectionHealth.objects.get(pk=of.pk)


def in_lane(lane: str, **fields: Any) -> ExecutionConnection:
    """An account in a lane. Its broker type would have none."""
    made = make.connection(**fields)
    ExecutionConnection.objects.filter(pk=made.pk).update(lane=lane)
    return made


@pytest.mark.parametrize("name", ["errored_at", "last_tested_at", "monitored_since"])
@pytest.mark.parametrize(
    ("moved", "counts"), [(-INSTANT, True), (NOTHING, False), (INSTANT, False)]
)
def test_comparison_counts_if_it_began_after_the_last_change(
    name: str, moved: timedelta, counts: bool
) -> None:
    account = make.connection()
    health(account, reconciled_at=None, **{name: NOON + moved})
    assert mark_reconciled([account.pk], NOON) == [account.pk] * counts
    assert (health(account).reconciled_at is not None) is counts


@pytest.mark.parametrize(("moved", "counts"), [(-INSTANT, True), (NOTHING, True), (INSTANT, False)])
@pytest.mark.parametrize("what", ["lane", "epoch"])
def test_comparison_counts_if_it_began_after_its_lane_and_epoch(
    what: str, moved: timedelta, counts: bool
) -> None:
    account = in_lane("sessions.1", health_reconciled_at=None)
    if what == "lane":
        LaneLease.objects.create(lane="sessions.1", owner="w", until=NOON, acquired_at=NOON + moved)
    else:
        Epoch.objects.create(number=7, cause="COMMAND", answer_by=NOON + moved)
    assert mark_reconciled([account.pk], NOON) == [account.pk] * counts


def test_comparison_of_another_lane_and_of_a_closed_epoch_counts() -> None:
    account = make.connection(health_reconciled_at=None)
    later = NOON + SECOND
    LaneLease.objects.create(lane="sessions.1", owner="w", until=NOON, acquired_at=later)
    Epoch.objects.create(number=7, cause="COMMAND", answer_by=later, released_at=later)
    assert mark_reconciled([account.pk], NOON) == [account.pk]
    assert mark_reconciled([account.pk], later) == [], "it trades already"


def test_lane_that_was_taken_over_is_compared_again_without_back_off() -> None:
    until = database_now() + timedelta(hours=1)
    lost, refused = (in_lane("sessions.1") for _ in range(2))
    other = in_lane("sessions.2")
    for row in (lost, refused, other):
        health(row, circuit_open_until=until)
    health(lost, unreachable_at=NOON)
    require_reconciliation_of_lanes(["sessions.1"])
    found = [
        (health(row).reconciled_at is None, health(row).circuit_open_until is None)
        for row in (lost, refused, other)
    ]
    assert found == [(True, True), (True, False), (False, False)]


@pytest.mark.parametrize(
    ("tested", "requested", "counts"),
    [
        (None, None, True),
        (NOON, None, True),  # the call began when the test was done
        (NOON + INSTANT, None, False),
        (None, NOON + INSTANT, False),  # it may have used other credentials
        (NOON - SECOND, NOON + INSTANT, False),
        (NOON - SECOND, NOON, True),
    ],
)
def test_error_of_a_call_from_before_the_last_test_is_dropped(
    tested: datetime | None, requested: datetime | None, counts: bool
) -> None:
    account = make.connection()
    health(account, last_tested_at=tested, test_requested_at=requested)
    failed = [(account.pk, "The broker refused the login.")]
    marked = status_updates.mark_errors(failed, began={account.pk: NOON})
    assert marked == [account.pk] * counts
    assert health(account).status == ("ERROR" if counts else "ACTIVE")
    assert Event.objects.count() == counts


def test_account_that_answered_meanwhile_gets_no_alert() -> None:
    """It was found inactive; then it answered, or another process was first."""
    found = NOON
    quiet, answered, alerted, failing = (make.connection() for _ in range(4))
    for row in (quiet, answered, alerted, failing):
        health(row, last_connected_at=found)
    health(answered, last_connected_at=found + INSTANT)
    health(alerted, inactivity_alerted_at=found)
    health(failing, status="ERROR")
    accounts = [(row.pk, found, "No contact.") for row in (quiet, answered, alerted, failing)]
    sent = rows(inactivity._ALERT_SQL, columns(accounts, 3))
    assert [row.connection_id for row in sent] == [quiet.pk]


@pytest.mark.parametrize(("age", "closes"), [(-60.0, False), (60.0, True)])
def test_answer_to_a_call_from_before_the_outage_closes_no_circuit(
    age: float, closes: bool
) -> None:
    account = make.connection(exchange_name="Kraken")
    account.refresh_from_db()
    opened = database_now() - timedelta(seconds=age)
    HostCircuit.objects.create(host=account.broker_host, opened_at=opened, probe_at=opened)
    closed = host_circuit_breaker.close_answering_circuits([account.pk])
    assert closed == [account.broker_host] * closes
    assert Event.objects.filter(kind="host.up").count() == closes


def test_probe_of_a_host_is_claimed_when_it_is_due_and_once() -> None:
    account = make.connection(exchange_name="Kraken", health_status="ERROR")
    account.refresh_from_db()
    health(account, unreachable_at=NOON)
    now = database_now()
    circuit = HostCircuit.objects.create(
        host=account.broker_host, opened_at=now, probe_at=now + timedelta(hours=1)
    )
    assert host_circuit_breaker.claim_probes() == []
    HostCircuit.objects.filter(pk=circuit.pk).update(probe_at=now - SECOND)
    assert host_circuit_breaker.claim_probes([account.pk]) == [], "it has just been read"
    assert host_circuit_breaker.claim_probes() == [account.broker_host]
    assert host_circuit_breaker.claim_probes() == []


@pytest.mark.parametrize(
    ("moved", "is_due"), [(-INSTANT, True), (NOTHING, False), (INSTANT, False)]
)
def test_test_is_due_if_it_was_requested_after_the_last_one(moved: timedelta, is_due: bool) -> None:
    account = make.connection()
    health(account, test_requested_at=NOON, last_tested_at=NOON + moved)
    assert due_tests.due_tests(5) == [account.pk] * is_due


def test_lane_is_held_until_its_lease_ends() -> None:
    in_lane("sessions.1")
    lease = LaneLease.objects.create(lane="sessions.1", owner="w", until=NOON, acquired_at=NOON)
    for seconds, owner, missing in ((60, "w", []), (-2, "", ["sessions.1"])):
        until = database_now() + timedelta(seconds=seconds)
        LaneLease.objects.filter(pk=lease.pk).update(until=until)
        assert lane_owner("sessions.1") == owner
        assert sorted(lanes_without_worker()) == missing
        assert sorted(lanes_without_worker(60)) == [], "it may be on its way to another process"


def test_hours_are_kept_for_a_hundred_days_and_first_ones_of_days_for_good() -> None:
    """By the trading day of the preset: in Tokyo it begins at 08:00 UTC."""
    preset = make.preset(trading_day_zone="Asia/Tokyo")
    account = make.connection(preset=preset)
    border = NOON + HOURLY_FOR
    for hours in (-6, -5, -4, -3, -1, 0, 1):
        at = NOON + timedelta(hours=hours)
        peak = D(100 + 10 * abs(hours))
        AccountHistory.objects.create(
            connection=account, period_start=at, currency="USD", read_at=at, balance=100,
            equity=100, peak_balance=peak, peak_balance_at=at, peak_equity=peak, peak_equity_at=at,
        )  # fmt: skip
    assert thin_history(border) == 3
    left = AccountHistory.objects.order_by("period_start").values_list(
        "period_start", "peak_equity"
    )
    assert [((at - NOON) / timedelta(hours=1), peak) for at, peak in left] == [
        (-6, D(160)),  # of the day before, 06:00 and 07:00 UTC
        (-4, D(140)),  # the first of its day, with the highest value of those that went
        (0, D(100)),  # exactly a hundred days old
        (1, D(110)),
    ]
