"""What an auditor sees of a MetaTrader 5 account: the worker beside the terminal reads it, and the
command judges in a process that holds no session."""

import json
from collections.abc import Iterator
from decimal import Decimal as D
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from brokers import registry
from brokers.mt5.order_ids import magic_of
from common.sealing import new_private_key, public_key_of
from connections.health.connection_checks import run_test
from connections.models import ExecutionConnection, HealthStatus
from connections.sealing import seal_credentials
from execution.ids import new_client_order_id
from execution.models import BrokerListing, Order
from execution.runtime import trading_runtime
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections import make
from tests.execution import factories
from tests.execution.trading_process import running, until
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.operational import set_setting

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.usefixtures("alice"),
]
SECONDS = 60.0
LOGIN = 1001
SETTINGS: dict[str, Any] = {
    "server": "Double-Demo", "server_timezone": "UTC", "settle_seconds": 0, "reply_timeout": 30,
}  # fmt: skip


@pytest.fixture
def engine(
    transactional_db: None, venue: FakeTerminal, settings: Any
) -> Iterator[trading_runtime.TradingRuntime]:
    """The worker beside the terminal."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    set_setting("execution.poll_seconds", 0.4)
    venue.configure(ticking=True)
    with venue.installed():
        registry.clear_cache()
        with running("mt5.main", SECONDS) as present:
            yield present
        registry.clear_cache()


@pytest.fixture
def alice(engine: trading_runtime.TradingRuntime) -> ExecutionConnection:
    feed = make.feed()
    row = make.connection(
        type="mt5", account=str(LOGIN), settings=SETTINGS, sealed_credentials=None,
        preset=make.preset(sizing_mode="FIXED", fixed_quantity=D(2000), max_signal_age_seconds=600),
        health_status=HealthStatus.UNTESTED,
    )  # fmt: skip
    row.sealed_credentials = seal_credentials(
        {"password": "secret"}, connection_id=row.pk, owner_id=row.owner_id
    )
    row.save()
    make.subscription(row, feed)
    factories.quote(row, "1.10000", "1.10010")
    until(lambda: row.lane in engine.lanes.held())
    assert [one for one in run_test(row.pk) if one.result == "fail"] == []
    until(lambda: ExecutionConnection.objects.get(pk=row.pk).health.reconciled_at is not None)
    return row


def filled(venue: FakeTerminal) -> Order:
    """One entry of two thousand, as the server knows it."""
    factories.signal(Feed.objects.get())
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    return Order.objects.get()


def audited(*arguments: str) -> tuple[int, dict[str, Any]]:
    """What the command ends with: its exit code and its last line."""
    out, code = StringIO(), 0
    try:
        call_command("audit", "--json", *arguments, stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    found: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return code, found


def counted(found: dict[str, Any]) -> dict[str, int]:
    return {name: n for name, n in found["counters"].items() if n}


def test_clean_account_is_audited(venue: FakeTerminal) -> None:
    filled(venue)
    code, found = audited()
    assert (code, counted(found), found["judged"], found["not_judged"]) == (0, {}, 1, [])


def test_order_executed_twice_counts_as_dup(venue: FakeTerminal) -> None:
    order = filled(venue)
    venue.control("execute_again", login=LOGIN, comment=order.client_order_id)
    code, found = audited()
    assert (code, counted(found).get("DUP")) == (1, 1)
    assert found["examples"]["DUP"] == [f"order {order.pk}, accepted 2 times"]


def test_order_without_a_row_counts_as_orphan(
    alice: ExecutionConnection, venue: FakeTerminal, settings: Any
) -> None:
    order = filled(venue)
    lost = new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
    words = {"comment": order.client_order_id, "other": lost, "magic": magic_of(lost)}
    venue.control("execute_again", login=LOGIN, **words)
    code, found = audited()
    (held,) = [one for one in venue.state()["positions"] if one["comment"] == lost]
    assert (code, counted(found)) == (1, {"ORPHAN": 2})
    assert set(found["examples"]["ORPHAN"]) == {
        f"position {held['ticket']} on connection {alice.pk}",
        f"{lost} on connection {alice.pk}",
    }


def test_position_missing_at_the_broker_counts_as_ghost(venue: FakeTerminal) -> None:
    filled(venue)
    position = ExecutionPosition.objects.get()
    [ticket] = [row["ticket"] for row in venue.state()["positions"]]
    # The worker polls the deals; the lock keeps it from closing the position before the audit.
    lock = f"SELECT 1 FROM positions_executionposition WHERE id = {position.pk} FOR UPDATE"
    with factories.locked_elsewhere(lock):
        venue.control("close", login=LOGIN, ticket=ticket, reason=0, comment="", magic=0)
        code, found = audited()
    assert (code, found["examples"]["GHOST"]) == (1, [f"position {position.pk}"])


def test_failed_order_executed_later_is_counted_as_unexpectedly_live(
    venue: FakeTerminal, settings: Any
) -> None:
    """Two look-ups did not find it, so that it was given up; then the server executes it."""
    set_setting("execution.send_deadline_seconds", 2)
    set_setting("execution.call_timeout_seconds", 2)
    set_setting("execution.absence_gap_seconds", 1)
    first = filled(venue)
    venue.fault("order_send", "retcode", code=10012)  # cancelled by time-out: unknown
    factories.signal(Feed.objects.get())
    until(lambda: Order.objects.filter(reason="NEVER_ARRIVED").exists())
    lost = Order.objects.get(reason="NEVER_ARRIVED")
    assert (audited()[0], lost.status) == (0, "FAILED")
    BrokerListing.objects.all().delete()  # a reading is good for ten minutes
    words = {"other": lost.client_order_id, "magic": magic_of(lost.client_order_id or "")}
    venue.control("execute_again", login=LOGIN, comment=first.client_order_id, **words)
    code, found = audited()
    assert (code, found["counters"]["RISEN"]) == (1, 1)
    assert found["examples"]["RISEN"] == [f"order {lost.pk}"]


def test_unreadable_account_is_not_audited(alice: ExecutionConnection, venue: FakeTerminal) -> None:
    filled(venue)
    venue.fault("history_deals_get", "none", code=-10005, times=99)
    code, found = audited()
    assert (code, counted(found), found["judged"]) == (3, {}, 0)
    (one,) = found["not_judged"]
    assert (one["connection"], one["name"]) == (str(alice.pk), alice.name)
    assert one["detail"].startswith("The read failed: ")


def test_account_without_its_worker_is_not_audited(
    venue: FakeTerminal, engine: trading_runtime.TradingRuntime
) -> None:
    filled(venue)
    engine.stop()
    code, found = audited("--wait=1")
    assert (code, [one["reason"] for one in found["not_judged"]]) == (3, ["NO_SESSION_WORKER"])
