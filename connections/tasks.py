"""Celery tasks of trading processes: connection tests and account polling."""

from uuid import UUID

import structlog
from celery import shared_task
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, InterfaceError

from common.clocks import machine_time, market_now
from common.errors import CONTENT_ERRORS, FillcastError
from common.process.process_age import seconds_running
from connections import session_lanes
from connections.accounts.history_retention import thin_history
from connections.health import inactivity
from connections.health.account_polling import refresh_due_accounts
from connections.health.connection_checks import run_test
from connections.health.due_tests import due_tests
from connections.health.instrument_polling import refresh_due_instruments
from connections.market_data.exchange_hours import refresh_exchange_hours
from connections.models import ExecutionConnection

log = structlog.get_logger(__name__)
QUEUE = "maintenance"
TESTS_AT_ONCE, MAX_RUN_SECONDS = 20, 15
TEST_ERRORS = (DatabaseError, InterfaceError, ObjectDoesNotExist, FillcastError, *CONTENT_ERRORS)
"""What `run_test` raises if its result cannot be stored, or its connection was deleted."""


@shared_task(name="connections.test_connection", ignore_result=True)
def test_connection(connection_id: str) -> None:
    """Test one connection now; if another process holds its lane, pass the task on to it."""
    lanes = ExecutionConnection.objects.filter(pk=connection_id).values_list("lane", flat=True)
    lane = lanes.first()
    if (
        lane is None
        or lane in session_lanes.held_lanes()
        or lane in session_lanes.lanes_without_worker(session_lanes.HANDOVER_SECONDS)
    ):
        run_test(UUID(connection_id))
    elif session_lanes.lane_owner(lane):
        test_connection.apply_async((connection_id,), queue=lane, retry=False)


@shared_task(name="connections.run_due_tests", ignore_result=True)
def run_due_tests() -> None:
    """Run the requested tests that are not done: a lost task message loses no test."""
    deadline = machine_time() + MAX_RUN_SECONDS
    fault: Exception | None = None
    for connection_id in due_tests(TESTS_AT_ONCE):
        try:
            run_test(connection_id)
        except TEST_ERRORS as error:  # it stays due, and must not block the tests behind it
            log.warning(
                "connection test failed", connection=str(connection_id), error=type(error).__name__
            )
            fault = error
        if machine_time() > deadline:  # the rest stays due; the queue has other work too
            break
    if fault is not None:
        raise fault


@shared_task(name="connections.refresh_accounts", ignore_result=True)
def refresh_accounts() -> None:
    """Refresh old account snapshots and instrument books, and alert owners of inactive accounts."""
    refresh_due_accounts()
    refresh_due_instruments()
    inactivity.alert_inactive(awake_seconds=seconds_running())


@shared_task(name="connections.thin_account_history", ignore_result=True)
def thin_account_history() -> None:
    """Delete hourly balances that are older than 100 days, except one a trading day."""
    if deleted := thin_history(market_now()):
        log.info("account history thinned out", rows=deleted)


@shared_task(name="connections.refresh_exchange_hours", ignore_result=True)
def refresh_exchange_hours_task() -> None:
    """Store the next days' trading hours of instruments whose brokers do not state them."""
    refresh_exchange_hours(market_now())


def enqueue_test(connection_id: UUID) -> None:
    """Enqueue a requested test; call it on commit.

    Without Redis the test only starts some seconds later: `run_due_tests` finds the row.
    """
    try:
        test_connection.apply_async((str(connection_id),), queue=QUEUE, retry=False)
    except (OSError, test_connection.OperationalError):
        return
