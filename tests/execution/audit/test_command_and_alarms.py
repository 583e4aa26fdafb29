"""How the audit is told: its command, exit codes, books that nobody showed, alarms."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from common.clocks import market_now
from connections.models import ExecutionConnection
from execution import tasks
from execution.audit import sql as audit_sql
from execution.audit.counter_help import COUNTERS
from execution.audit.counters import audit, audit_and_alarm
from execution.management.commands import audit as audit_command
from execution.models import AuditRun
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.audit.checks import ZERO, entry, nonzero_counters
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def test_books_that_cannot_be_read_prove_nothing(signal: Signal, broker: FakeBroker) -> None:
    broker.reads_fail = True
    report = audit()
    assert (report.unread, report.is_clean, report.ok) == (["double"], True, False)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "--json", stdout=out)
    assert ended.value.code == 3
    assert json.loads(out.getvalue())["ok"] is False
    ExecutionConnection.objects.update(archived_at=market_now())
    assert audit().unread == []  # nobody trades there any more


def test_one_signal_is_audited_alone(signal: Signal, bob: ExecutionConnection, feed: Feed) -> None:
    entry(bob).delete()
    other = factories.signal(feed)
    factories.fill_all()
    assert nonzero_counters(other.pk) == {}
    assert nonzero_counters(signal.pk) == {"MISSING": 1}
    assert audit(other.pk).candidates == 3


def test_the_last_line_is_json(signal: Signal) -> None:
    out = StringIO()
    call_command("audit", "--json", stdout=out)
    told = json.loads(out.getvalue().splitlines()[-1])
    assert (told["ok"], told["signals"], told["candidates"]) == (True, 1, 3)
    assert told["counters"] == ZERO
    assert sum(told["states"].values()) == 3


def test_the_exit_code_is_1_when_a_counter_is_not_0(
    signal: Signal, bob: ExecutionConnection
) -> None:
    entry(bob).delete()
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", f"--signal=S-{signal.pk}", stdout=out)
    assert ended.value.code == 1
    said = out.getvalue()
    assert f"connection {bob.pk}" in said
    assert all(name in said and means in said for name, (means, _) in COUNTERS.items())
    assert [remedy for _, remedy in COUNTERS.values() if remedy in said] == [COUNTERS["MISSING"][1]]


def test_every_counter_is_explained_in_the_help() -> None:
    assert set(COUNTERS) == set(ZERO) == set(audit_sql.COUNTERS)
    for name, (means, _) in COUNTERS.items():
        assert f"  {name:<10}{means}" in audit_command.HELP


@pytest.mark.parametrize("text", ["x", "0", "S-"])
def test_a_signal_that_is_none_is_told(text: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("audit", signal=text)
    assert refused.value.returncode == 2


def test_a_failed_audit_leaves_an_alarm(signal: Signal, bob: ExecutionConnection) -> None:
    audit_and_alarm()
    assert factories.events("audit.failed") == []
    entry(bob).delete()
    audit_and_alarm()
    (told,) = factories.events("audit.failed")
    assert told["counters"] == {"MISSING": 1}
    runs = list(AuditRun.objects.order_by("at").values_list("ok", "counters__MISSING"))
    assert runs == [(True, 0), (False, 1)]


def test_unread_books_are_an_alarm_too(signal: Signal, broker: FakeBroker) -> None:
    broker.reads_fail = True
    audit_and_alarm()
    (told,) = factories.events("audit.failed")
    assert (told["counters"], told["detail"]) == ({}, "Books that could not be read: double.")
    assert AuditRun.objects.get().unread == ["double"]


def test_the_hourly_task_looks_twice_before_it_alarms(
    signal: Signal, bob: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[tuple[object, ...]] = []
    monkeypatch.setattr(tasks.audit, "apply_async", lambda args, **_: again.append(args))
    tasks.audit()
    assert (again, AuditRun.objects.count()) == ([], 1)
    entry(bob).delete()
    tasks.audit()
    assert (again, factories.events("audit.failed")) == ([(True,)], [])
    tasks.audit(True)
    assert len(factories.events("audit.failed")) == 1


def test_without_a_bell_it_alarms_at_once(
    signal: Signal, bob: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bell(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(tasks.audit, "apply_async", no_bell)
    entry(bob).delete()
    tasks.audit()
    assert len(factories.events("audit.failed")) == 1


def test_a_run_is_kept_for_a_month() -> None:
    AuditRun.objects.create(ok=True, at=market_now() - timedelta(days=31))
    audit_and_alarm()
    assert AuditRun.objects.count() == 1
