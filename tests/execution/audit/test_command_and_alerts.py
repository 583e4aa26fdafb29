"""The audit's output: its command, exit codes, unreadable books, alerts."""

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
from execution.audit.counters import audit, audit_and_alert
from execution.management.commands import audit as audit_command
from execution.models import AuditRun
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.audit.checks import ZERO, entry, nonzero_counters
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def test_unreadable_books_prove_nothing(signal: Signal, broker: FakeBroker) -> None:
    broker.reads_fail = True
    report = audit()
    assert (report.unread, report.is_clean, report.ok) == (["double"], True, False)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "--json", stdout=out)
    assert ended.value.code == 3
    assert json.loads(out.getvalue())["ok"] is False
    ExecutionConnection.objects.update(archived_at=market_now())
    assert audit().unread == []  # no account trades there any more


def test_one_signal_can_be_audited_alone(
    signal: Signal, bob: ExecutionConnection, feed: Feed
) -> None:
    entry(bob).delete()
    other = factories.signal(feed)
    factories.fill_all()
    assert nonzero_counters(other.pk) == {}
    assert nonzero_counters(signal.pk) == {"MISSING": 1}
    assert audit(other.pk).candidates == 3


def test_last_line_of_the_command_is_json(signal: Signal) -> None:
    out = StringIO()
    call_command("audit", "--json", stdout=out)
    summary = json.loads(out.getvalue().splitlines()[-1])
    assert (summary["ok"], summary["signals"], summary["candidates"]) == (True, 1, 3)
    assert summary["counters"] == ZERO
    assert sum(summary["states"].values()) == 3


def test_exit_code_is_1_when_a_counter_is_not_0(signal: Signal, bob: ExecutionConnection) -> None:
    entry(bob).delete()
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", f"--signal=S-{signal.pk}", stdout=out)
    assert ended.value.code == 1
    output = out.getvalue()
    assert f"connection {bob.pk}" in output
    assert all(name in output and means in output for name, (means, _) in COUNTERS.items())
    assert [remedy for _, remedy in COUNTERS.values() if remedy in output] == [
        COUNTERS["MISSING"][1]
    ]


def test_every_counter_is_explained_in_the_help() -> None:
    assert set(COUNTERS) == set(ZERO) == set(audit_sql.COUNTERS)
    for name, (means, _) in COUNTERS.items():
        assert f"  {name:<10}{means}" in audit_command.HELP


@pytest.mark.parametrize("text", ["x", "0", "S-"])
def test_unknown_signal_is_an_error(text: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("audit", signal=text)
    assert refused.value.returncode == 2


def test_failed_audit_raises_an_alert(signal: Signal, bob: ExecutionConnection) -> None:
    audit_and_alert()
    assert factories.events("audit.failed") == []
    entry(bob).delete()
    audit_and_alert()
    (payload,) = factories.events("audit.failed")
    assert payload["counters"] == {"MISSING": 1}
    runs = list(AuditRun.objects.order_by("at").values_list("ok", "counters__MISSING"))
    assert runs == [(True, 0), (False, 1)]


def test_unread_books_raise_an_alert(signal: Signal, broker: FakeBroker) -> None:
    broker.reads_fail = True
    audit_and_alert()
    (payload,) = factories.events("audit.failed")
    assert (payload["counters"], payload["detail"]) == ({}, "Books that could not be read: double.")
    assert AuditRun.objects.get().unread == ["double"]


def test_hourly_task_checks_twice_before_its_alert(
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


def test_hourly_task_alerts_at_once_without_a_queue(
    signal: Signal, bob: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bell(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(tasks.audit, "apply_async", no_bell)
    entry(bob).delete()
    tasks.audit()
    assert len(factories.events("audit.failed")) == 1


def test_audit_removes_no_older_run() -> None:
    """The archive does, by its policy."""
    AuditRun.objects.create(ok=True, at=market_now() - timedelta(days=400))
    audit_and_alert()
    assert AuditRun.objects.count() == 2
