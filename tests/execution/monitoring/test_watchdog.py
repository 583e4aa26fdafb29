"""The outside watchdog is pinged while all that is vital works; a dead address delays nothing."""

import ipaddress
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError

from api.metrics import GAUGES
from common.db.sql import database_now, rows, run
from execution.job_table import jobs_of_role
from execution.models import Order, WatchdogPing, WorkerLease
from execution.monitoring import watchdog
from execution.monitoring.scan_heartbeat import RECORD_SCAN
from execution.runtime.trading_runtime import TradingRuntime
from execution.tasks import MAINTENANCE
from ops.doctor.verdicts import FAIL, OK, WARN
from ops.doctor.watchdog import judge_watchdog
from ops.doctor.watchdog import watchdog as check
from tests.connections import make
from tests.execution import factories
from tests.fakes.http_server import serving_http
from tests.operational import set_setting
from tests.ports import closed_port

pytestmark = pytest.mark.usefixtures("inline_commits")


class Service:
    """What the watchdog's service was asked; it answers with `status`."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.status = 200

    def handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.paths.append(self.path)
                self.send_response(service.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        return Handler


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    with serving_http(found.handler()) as port:
        set_setting("networks.outbound_networks", (ipaddress.ip_network("127.0.0.0/8"),))
        set_setting("watchdog.ping_url", f"http://127.0.0.1:{port}/uuid")
        yield found


@pytest.fixture
def well(db: None) -> None:
    """Let all that is vital work."""
    until = database_now() + timedelta(minutes=5)
    for role in ("exits", "execution"):
        WorkerLease.objects.create(id=role, role=role, host="h", pid=1, lease_until=until)
    run(RECORD_SCAN)
    run("UPDATE execution_levelscanheartbeat SET scheduled_at = clock_timestamp()")


def ping(*, loop_answers: bool = True) -> WatchdogPing:
    """Ping as a minute after the last one; return what is stored."""
    WatchdogPing.objects.update(checked_at=database_now() - timedelta(minutes=1))
    watchdog.ping(lambda: loop_answers)
    return WatchdogPing.objects.get()


def test_watchdog_is_pinged_while_everything_works(service: Service, well: None) -> None:
    stored = ping()
    assert service.paths == ["/uuid"]
    assert (stored.fault, stored.error, stored.pinged_at is not None) == ("", "", True)
    assert check().result is OK


@pytest.mark.django_db(transaction=True)
def test_trading_process_pings_by_its_own_dispatcher(
    service: Service, well: None, trading: TradingRuntime
) -> None:
    watchdog.ping()
    assert service.paths == ["/uuid"]


def test_nothing_is_done_without_an_address(db: None) -> None:
    watchdog.ping(lambda: False)
    assert not WatchdogPing.objects.exists()
    assert check().result is OK


def test_two_processes_ping_once_in_a_minute(service: Service, well: None) -> None:
    watchdog.ping(lambda: True)
    watchdog.ping(lambda: True)
    assert service.paths == ["/uuid"]
    WatchdogPing.objects.update(checked_at=database_now() + timedelta(hours=1))  # clock set back
    watchdog.ping(lambda: True)
    assert service.paths == ["/uuid"] * 2


def no_exits() -> None:
    run("UPDATE execution_workerlease SET lease_until = clock_timestamp() WHERE role = 'exits'")


def no_beat() -> None:
    run("UPDATE execution_levelscanheartbeat SET"
        " scheduled_at = clock_timestamp() - interval '81 s'")  # fmt: skip


def no_scan() -> None:
    run("UPDATE execution_levelscanheartbeat SET scanned_at = clock_timestamp() - interval '81 s'")


def never_scanned() -> None:
    run("DELETE FROM execution_levelscanheartbeat")


def overdue_order() -> None:
    factories.register()
    factories.instrument()
    feed = make.feed()
    factories.account(feed)
    factories.signal(feed)
    Order.objects.update(due_at=database_now() - timedelta(seconds=121))


@pytest.mark.parametrize(
    ("fail", "stated"),
    [
        (no_exits, "No process serves exits."),
        (no_beat, "Beat has requested no scan of levels."),
        (no_scan, "Stops and targets were not scanned."),
        (never_scanned, "Beat has requested no scan"),
        (overdue_order, "The oldest due order has been due for 12"),
    ],
)
def test_watchdog_is_not_pinged_when_something_vital_fails(
    service: Service, well: None, fail: Callable[[], None], stated: str
) -> None:
    fail()
    stored = ping()
    assert service.paths == []
    assert stated in stored.fault
    assert stored.pinged_at is None
    assert (check().result, stated in check().detail) == (FAIL, True)


def test_watchdog_is_not_pinged_when_the_dispatcher_hangs(service: Service, well: None) -> None:
    assert ping(loop_answers=False).fault == "The dispatcher does not answer."
    assert service.paths == []


def test_process_without_a_dispatcher_does_not_answer() -> None:
    assert not watchdog._loop_answers()


def test_failure_is_sent_when_the_service_takes_it(service: Service, well: None) -> None:
    set_setting("watchdog.success_suffix", "?status=up")
    set_setting("watchdog.fail_suffix", "/fail")
    ping()
    no_beat()
    ping()
    assert service.paths == ["/uuid?status=up", "/uuid/fail"]
    assert WatchdogPing.objects.get().fault


def test_failure_is_sent_when_the_database_takes_no_writes(
    service: Service, well: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError

    set_setting("watchdog.fail_suffix", "/fail")
    monkeypatch.setattr(watchdog, "periodic_rows", away)
    monkeypatch.setattr(watchdog, "connection", Mock())  # the test's own stays open
    watchdog.ping(lambda: True)
    assert service.paths == ["/uuid/fail"]


def test_address_that_refuses_is_stated_until_it_accepts(service: Service, well: None) -> None:
    service.status = 404
    stored = ping()
    assert (stored.error, stored.pinged_at) == ("The watchdog answered 404.", None)
    since = stored.error_since
    assert ping().error_since == since
    found = check()
    assert (found.result, "404" in found.detail) == (WARN, True)
    [gauge] = [one for one in GAUGES if one.name == "watchdog_error_seconds"]
    run("UPDATE execution_watchdogping SET error_since = error_since - interval '10 min'")
    assert rows(gauge.statement())[0].value >= 600
    service.status = 200
    assert (ping().error_since, check().result) == (None, OK)
    assert rows(gauge.statement())[0].value == 0


def test_dead_or_forbidden_address_is_stated(service: Service, well: None) -> None:
    with closed_port() as port:
        set_setting("watchdog.ping_url", f"http://127.0.0.1:{port}/")
        assert ping().error.startswith("The watchdog gave no answer: ")
    set_setting("networks.outbound_networks", ())
    assert "https" in ping().error or "not allowed" in ping().error
    assert check().result is WARN


def test_doctor_warns_when_no_process_pings(db: None) -> None:
    now = database_now()
    late = WatchdogPing(checked_at=now - timedelta(minutes=4))
    assert judge_watchdog(True, None, now).result is WARN
    assert judge_watchdog(True, late, now).result is WARN


def test_only_the_maintenance_worker_pings(db: None) -> None:
    def pings(role: str) -> bool:
        return "outside watchdog" in {job.name for job in jobs_of_role(role, exits_only=False)}

    assert (pings(MAINTENANCE), pings("execution")) == (True, False)
