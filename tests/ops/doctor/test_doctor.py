"""The doctor finds problems, states what to do, and does not fail because of them."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from pytest_django import Settings
from rich.console import Console

from brokers.types import Check, CheckResult
from brokers.types import Instrument as BrokerInstrument
from common.db.stored_times import Found
from common.sealing import new_private_key, public_key_of
from connections.accounts.snapshots import store_instruments
from connections.models import (
    ConnectionHealth,
    DataConnection,
    Epoch,
    HealthStatus,
    Instrument,
    KillSwitch,
)
from connections.session_lanes import Lane
from events.models import Event, EventKind
from execution.base.clock_steps import Step
from execution.disaster_recovery.epochs import open_epoch, release_epoch
from execution.models import Order, Status, WorkerLease
from ops.doctor import examination, prices, servers, trading
from ops.doctor.examination import examine, is_well
from ops.doctor.verdicts import FAIL, OK, WARN, well
from ops.management.commands import doctor as command
from prices.models import LatestQuote
from tests.analytics import factories
from tests.decisions import service_at

OLD, NEW = new_private_key(), new_private_key()


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def result(checks: Check | list[Check], name: str = "") -> CheckResult:
    listed = checks if isinstance(checks, list) else [checks]
    (check,) = [check for check in listed if not name or check.name == name]
    assert check.detail
    assert check.result is OK or check.hint
    return check.result


# ---- verdicts, without a database


@pytest.mark.parametrize(("version", "verdict"), [(14, FAIL), (15, OK), (18, OK), (19, WARN)])
def test_verdict_on_database_version(version: int, verdict: CheckResult) -> None:
    assert result(examination.judge_version(version)) is verdict


@pytest.mark.parametrize(("optimized", "verdict"), [(True, OK), (False, WARN)])
def test_verdict_on_the_build_of_python(optimized: bool, verdict: CheckResult) -> None:
    assert result(servers.judge_python("3.11.2", optimized=optimized)) is verdict


@pytest.mark.parametrize(
    ("free", "verdict"), [(0.4e9, FAIL), (1.9e9, WARN), (99e9, WARN), (150e9, OK)]
)
def test_verdict_on_free_disk_space(free: float, verdict: CheckResult) -> None:
    assert result(servers.judge_disk(int(free), int(1000e9 if free > 9e9 else 3e9))) is verdict


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [(0.0, OK), (0.5, OK), (0.6, WARN), (-0.6, WARN), (5.1, FAIL), (-5.1, FAIL)],
)
def test_verdict_on_clock_difference(apart: float, verdict: CheckResult) -> None:
    assert result(servers.judge_clock("clock", apart)) is verdict


@pytest.mark.parametrize(
    ("public", "private", "must_open", "verdict"),
    [
        (None, (), False, FAIL),
        (public_key_of(NEW), (), False, OK),
        (public_key_of(NEW), (), True, FAIL),
        (public_key_of(NEW), (OLD,), True, FAIL),
        (public_key_of(NEW), (NEW, OLD), True, OK),
        (public_key_of(OLD), (NEW, OLD), True, WARN),
        (None, (NEW,), True, OK),
    ],
    # The keys are generated, but a test's id must be the same in every process.
    ids=[
        "no-keys",
        "web",
        "worker-without-key",
        "worker-with-old-key",
        "worker-with-both",
        "worker-with-old-public-key",
        "worker-without-public-key",
    ],
)
def test_verdict_on_credential_keys(
    public: bytes | None, private: tuple[bytes, ...], must_open: bool, verdict: CheckResult
) -> None:
    assert result(servers.judge_keys(public, private, must_open=must_open)) is verdict


@pytest.mark.parametrize(
    ("alive", "lost", "verdicts"),
    [
        ([], [], [FAIL]),
        ([], ["a"], [FAIL]),
        (["exits", "execution"], [], [FAIL]),
        (["exits", "execution", "maintenance", "prices"], [], [OK]),
        (["execution+exits+maintenance"], ["a"], [OK, WARN]),
    ],
)
def test_verdict_on_live_and_lost_workers(
    alive: list[str], lost: list[str], verdicts: list[CheckResult]
) -> None:
    assert [check.result for check in trading.judge_workers(alive, lost)] == verdicts


def test_lanes_without_owner_are_a_warning_with_the_queues_to_start() -> None:
    assert result(trading.judge_lanes([])) is OK
    held = Lane("sessions.1", 3, "host-1", 5.0)
    assert result(trading.judge_lanes([held])) is OK
    lanes = [held, Lane("mt5.london", 2, "", None), Lane("sessions.4", 7, "", 90.0)]
    check = trading.judge_lanes(lanes)
    assert check.result is WARN
    assert "2 of 3" in check.detail
    assert "9 accounts" in check.detail
    assert "-Q mt5.london" in check.hint
    assert "-Q sessions`" in check.hint


@pytest.mark.parametrize(
    ("schedules", "ago", "verdict"),
    [
        (0, None, FAIL),
        (7, None, FAIL),
        (7, -3600.0, FAIL),
        (7, -4.0, OK),
        (7, 299.0, OK),
        (7, 301.0, WARN),
        (7, 601.0, FAIL),
    ],
)
def test_verdict_on_beats_last_run(schedules: int, ago: float | None, verdict: CheckResult) -> None:
    assert result(trading.judge_beat(schedules, ago)) is verdict


def test_verdict_on_stored_times_in_the_future() -> None:
    found = [Found("execution_order", 2, 3599.0), Found("prices_latestquote", 1, 20.0)]
    step = Step(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), 3600.0)
    ahead = trading.judge_stored_times(found, step)
    assert result(ahead) is FAIL
    assert ahead.detail.startswith("3 rows have times in the future, those of execution_order up")
    corrected = trading.judge_stored_times([], step)
    assert result(corrected) is WARN
    assert corrected.detail.startswith("They lay 1 h in the future at 2 Jan 03:04 UTC")
    assert result(trading.judge_stored_times([], None)) is OK


@pytest.mark.parametrize(
    ("waiting", "verdict"), [(None, OK), (-5.0, OK), (9.0, OK), (11.0, WARN), (61.0, FAIL)]
)
def test_verdict_on_waiting_due_orders(waiting: float | None, verdict: CheckResult) -> None:
    assert result(trading.judge_due(waiting)) is verdict


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}, OK),
        ({"fsync": "off", "full_page_writes": "on", "synchronous_commit": "on"}, FAIL),
        ({"fsync": "on", "full_page_writes": "off", "synchronous_commit": "on"}, FAIL),
        ({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "off"}, FAIL),
    ],
)
def test_verdict_on_durability_settings(settings: dict[str, str], verdict: CheckResult) -> None:
    assert result(servers.judge_durability(settings)) is verdict


@pytest.mark.parametrize(("kilobytes", "verdict"), [("-1", WARN), ("16777216", OK)])
def test_verdict_on_temporary_files_of_a_session(kilobytes: str, verdict: CheckResult) -> None:
    assert result(servers.judge_temporary_files({"temp_file_limit": kilobytes})) is verdict


def test_pooler_that_drops_timeouts_is_detected() -> None:
    expected = {"lock_timeout": 2000}
    assert result(servers.judge_timeouts(expected, {"lock_timeout": "2000"})) is OK
    assert result(servers.judge_timeouts(expected, {"lock_timeout": "0"})) is FAIL


# ---- checks of a real database that is broken on purpose

DISK = Path(__file__).resolve().parents[3] / "common/migrations/sql/disk.sql"


@pytest.mark.django_db
def test_new_database_passes_all_checks() -> None:
    run(DISK.read_text("utf-8"))  # a copy of a database, as here, has not the rights on the first
    for name, run_check in servers.DATABASE:
        outcome = run_check()
        checks = [outcome] if isinstance(outcome, Check) else list(outcome)
        for check in checks:
            if check.name != "durability":  # the tests' server is fast, not durable
                assert check.result is OK, (name, check)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "run_check"),
    [
        ("ALTER TABLE execution_order DISABLE ROW LEVEL SECURITY", servers.row_security),
        ("CREATE TABLE undecided (id int)", servers.row_security),
        ("GRANT UPDATE ON execution_executionlog TO fillcast_web", servers.append_only),
        ("ALTER ROLE fillcast_web BYPASSRLS", servers.roles),
        (
            "DELETE FROM django_migrations WHERE app = 'events' AND name = (SELECT max(name)"
            " FROM django_migrations WHERE app = 'events')",
            servers.migrations,
        ),
    ],
)
def test_broken_database_fails_its_check(sql: str, run_check: Callable[[], Check]) -> None:
    assert result(run_check()) is OK
    run(sql)
    assert result(run_check()) is FAIL


@pytest.mark.django_db
def test_secret_of_a_decision_provider_for_an_older_key_is_a_warning(settings: Settings) -> None:
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(OLD)
    service_at("https://example.com/decide")
    assert result(trading.stored_credentials()) is OK
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(NEW)
    check = trading.stored_credentials()
    assert check.result is WARN
    assert "1 of 1 decision providers" in check.detail


@pytest.mark.django_db
def test_exchange_without_stored_hours_is_named() -> None:
    factories.connection(factories.user())
    assert trading.exchange_hours() == []
    store_instruments("book", [listed_at("NASDAQ"), listed_at("")])
    [check] = trading.exchange_hours()
    assert check.result is WARN
    assert "XNYS" in check.detail
    Instrument.objects.update(hours={"known": [[0, 2**40]]})
    assert trading.exchange_hours() == []


def listed_at(exchange: str) -> BrokerInstrument:
    return BrokerInstrument(
        symbol=f"AAPL{exchange}", pair="AAPL/USD", digits=2, pip=Decimal("0.01"),
        quantity_min=Decimal(1), quantity_step=Decimal(1), quantity_max=Decimal(1000),
        contract_size=Decimal(1), exchange=exchange,
    )  # fmt: skip


@pytest.mark.django_db
def test_stalled_trading_is_detected() -> None:
    owner = factories.user()
    account = factories.connection(owner)
    (signal,) = factories.signals(owner, 1)
    now = datetime.now(UTC)
    assert result(trading.due_orders(), "due orders") is OK
    order = Order.objects.create(
        signal=signal,
        connection=account,
        leg="entry",
        pair="EUR/USD",
        side="BUY",
        order_type="MARKET",
        time_in_force="GTC",
        due_at=now - timedelta(seconds=90),
    )
    assert result(trading.due_orders(), "due orders") is FAIL
    Order.objects.filter(pk=order.pk).update(
        status=Status.UNKNOWN, quantity=1, answer_by=now - timedelta(seconds=90)
    )
    checks = trading.due_orders()
    assert result(checks, "due orders") is OK
    assert result(checks, "unanswered orders") is WARN

    assert result(trading.outbox()) is OK
    Event.objects.create(kind=EventKind.ORDER_FILLED, created_at=now - timedelta(hours=2))
    assert result(trading.outbox()) is FAIL

    assert result(trading.halts()) is OK
    KillSwitch.objects.create(scope="ALL", mode="HALTED", reason="drill")
    assert result(trading.halts()) is WARN


@pytest.mark.django_db
def test_open_epoch_is_a_warning_with_its_open_issues() -> None:
    assert result(trading.epoch()) is OK
    epoch = open_epoch(Epoch.Cause.COMMAND)
    report = trading.epoch()
    assert result(report) is WARN
    assert isinstance(report, Check)
    assert "WAIT 1, BOOKS 1" in report.detail
    release_epoch(by=None, force=True, note="drill")
    assert result(trading.epoch()) is OK
    assert epoch.number == 2


@pytest.mark.django_db
def test_expired_worker_lease_fails() -> None:
    now = datetime.now(UTC)

    def lease(role: str, seconds: int) -> None:
        WorkerLease.objects.create(
            id=role, role=role, host="h", pid=1, lease_until=now + timedelta(seconds=seconds)
        )

    lease("execution+exits", 3600)
    lease("maintenance", -5)
    assert result(trading.workers(), "workers") is FAIL
    WorkerLease.objects.filter(id="maintenance").update(lease_until=now + timedelta(hours=1))
    assert result(trading.workers()) is OK


@pytest.mark.django_db
def test_connections_in_error_and_old_prices_are_reported() -> None:
    owner = factories.user()
    source = DataConnection.objects.create(name="replay")
    accounts = [factories.connection(owner) for _ in range(3)]
    for account in accounts:
        account.data_connection = source
        account.save()
        ConnectionHealth.objects.create(connection=account, status=HealthStatus.ACTIVE)
    assert result(trading.connections()) is OK
    assert result(prices.market_data()) is FAIL
    now = datetime.now(UTC)
    quote = LatestQuote.objects.create(
        data_connection=source, symbol="EUR/USD", bid=1, ask=1, time=now, received_at=now
    )
    assert result(prices.market_data()) is OK
    LatestQuote.objects.filter(pk=quote.pk).update(time=now - timedelta(minutes=2))
    assert result(prices.market_data()) is WARN

    broken = ConnectionHealth.objects.filter(connection__in=accounts[:1])
    broken.update(status=HealthStatus.ERROR, last_error="wrong password")
    (check,) = trading.connections()
    assert check.result is WARN
    assert "1 of 3" in check.detail
    assert "wrong password" in check.detail
    ConnectionHealth.objects.update(status=HealthStatus.ERROR)
    assert result(trading.connections()) is FAIL


@pytest.mark.django_db
def test_clocks_of_used_brokers_are_checked() -> None:
    assert trading.broker_clocks() == []
    owner = factories.user()
    factories.connection(owner)
    factories.connection(owner, kind="not-installed")
    checks = trading.broker_clocks()
    assert result(checks, "clock: paper") is OK
    assert result(checks, "clock: not-installed") is WARN


def test_unreachable_redis_fails(settings: Settings) -> None:
    assert result(servers.redis_server(), "redis") in (OK, WARN)  # the one in pure Python
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert result(servers.redis_server()) is FAIL


@pytest.mark.parametrize(
    ("version", "expected"), [("7.2.4", OK), ("6.2.0", OK), ("6.1.9", WARN), ("", WARN)]
)
def test_old_redis_or_one_in_pure_python_is_a_warning(version: str, expected: CheckResult) -> None:
    check = servers.judge_redis(version, 1.5)
    assert check.result is expected
    assert "1.5 ms" in check.detail


# ---- the whole


@pytest.mark.django_db
def test_check_that_raises_fails_and_the_others_run() -> None:
    def breaks() -> Check:
        raise ValueError("no such thing")

    findings = examine([("first", breaks), ("second", lambda: well("second", "Fine."))], [])
    assert [(check.name, check.result) for check in findings[:2]] == [
        ("first", FAIL),
        ("second", OK),
    ]
    assert "ValueError" in findings[0].detail


def test_checks_skipped_without_a_database_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise DatabaseError("connection refused\nmore")

    monkeypatch.setattr(connection, "cursor", refuse)
    findings = examine([], [("workers", lambda: pytest.fail("checked without a database"))])
    assert [(check.name, check.result) for check in findings] == [
        ("database", FAIL),
        ("not checked", WARN),
    ]
    assert findings[0].detail == "connection refused"
    assert "workers" in findings[1].detail


@pytest.mark.django_db
def test_command_exits_with_1_if_a_check_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--json")  # no worker holds a lease in a test run
    assert ended.value.code == 1
    report = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert report["ok"] is False
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["workers"]["result"] == "fail"
    assert by_name["workers"]["remedy"]
    assert by_name["migrations"]["result"] == "ok"
    for name in ("redis", "disk", "beat", "row-level security", "clock: database", "outbox"):
        assert name in by_name


def test_warnings_are_not_a_failure() -> None:
    assert is_well([Check("a", OK, ""), Check("b", WARN, "", "")])
    assert not is_well([Check("a", FAIL, "", "")])


def test_table_shows_hints_and_totals() -> None:
    out = io.StringIO()
    findings = [Check("a", OK, "Fine."), Check("b", FAIL, "Broken [here].", "Mend [it].")]
    command.show(findings, Console(file=out, width=80))
    assert "→ Mend [it]." in out.getvalue()
    assert "Broken [here]." in out.getvalue()
    assert "2 checks = 1 ok + 0 warnings + 1 failed" in out.getvalue()


def test_doctor_fails_where_no_email_is_sent() -> None:
    from ops.doctor.servers import judge_email
    from users.mails.account_mails import MailStatus

    missing = judge_email(MailStatus(("FILLCAST_EMAIL_URL",)))
    assert missing.result is FAIL
    assert "FILLCAST_EMAIL_URL is not set" in missing.detail
    assert judge_email(MailStatus((), is_printed=True)).result is OK
