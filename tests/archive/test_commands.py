"""`manage.py archive`, `manage.py read_archive`, the scheduled job, and the doctor's check."""

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask
from pytest_django import Settings

from common.models import ArchiveFile
from config import retention
from config.retention import KINDS
from config.tasks import archive_old_rows
from execution.models import ExecutionLog
from ops.doctor.archive import archive as doctor_check
from ops.doctor.verdicts import OK, WARN
from tests.archive.rows import archived, environment, line_ids, make_old, old_lines, table
from tests.connections import make
from tests.execution.factories import force
from tests.operational import set_setting
from tests.users import world

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


def command(name: str, *arguments: str) -> str:
    output = io.StringIO()
    call_command(name, *arguments, stdout=output, stderr=output)
    return output.getvalue()


def test_dry_run_counts_and_changes_nothing(folder: Path) -> None:
    lines = old_lines(3)
    assert "logs: 3 rows would be archived." in command("archive", "--dry-run")
    assert line_ids(table("execution_executionlog")) == lines
    assert not folder.exists()


def test_now_archives_and_status_states_it(folder: Path) -> None:
    old_lines(3)
    assert "logs: 3 rows archived." in command("archive", "--now")
    (line,) = [text for text in command("archive").splitlines() if text.startswith("logs")]
    assert ("90 days" in line, " 3 " in line) == (True, True)
    assert "as it was written" in command("archive", "--verify")


def test_status_names_files_that_are_not_listed(folder: Path) -> None:
    old_lines(1)
    command("archive", "--now")
    (folder / "logs/0000/logs-1-2-aaaaaaaa.parquet").write_bytes(b"x")
    assert "logs/0000/logs-1-2-aaaaaaaa.parquet" in command("archive").replace("\n", "")


def test_damaged_file_is_named(folder: Path) -> None:
    old_lines(1)
    command("archive", "--now")
    path = ArchiveFile.objects.get().path
    (folder / path).write_bytes(b"x")
    with pytest.raises(CommandError, match="1 files are damaged"):
        command("archive", "--verify")
    with pytest.raises(CommandError, match="was changed after it was written"):
        command("read_archive", "logs")


def test_nothing_is_archived_without_a_folder(settings: Settings) -> None:
    lines = old_lines(1)
    settings.FILLCAST_ENV = "production"
    with pytest.raises(CommandError, match=r"retention\.archive_folder is not set"):
        command("archive", "--now")
    assert line_ids(table("execution_executionlog")) == lines
    assert doctor_check().result is WARN


def test_nothing_is_archived_without_pyarrow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = old_lines(1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("common.archive.parquet_files.find_spec", lambda _: None)
    with pytest.raises(CommandError, match="pyarrow is not installed"):
        command("archive", "--now")
    assert line_ids(table("execution_executionlog")) == lines


def test_doctor_is_content_with_policies_that_work_or_want_nothing(
    folder: Path, settings: Settings
) -> None:
    assert doctor_check().result is OK
    old_lines(1)
    command("archive", "--now")
    assert "1 rows in 1 files" in doctor_check().detail
    set_setting("retention.archive_folder", str(folder.parent / "elsewhere"))
    assert doctor_check().result is WARN
    assert "There is no folder" in doctor_check().detail
    for kind in KINDS.values():
        set_setting(f"retention.{kind.setting}", None)
    set_setting("retention.archive_folder", None)
    settings.FILLCAST_ENV = "production"
    assert doctor_check().result is OK
    assert "nothing is archived" in command("archive", "--now")


# ---- reading back


@pytest.fixture
def lines(folder: Path) -> list[dict[str, Any]]:
    """Three archived lines: two of O-12, one of O-13."""
    for number, detail in ((12, 'with "quotes", and ü'), (12, ""), (13, "of another")):
        ExecutionLog.objects.create(
            order_id=number, code="CLAIMED", detail=detail, numbers={"value": "1.50"}
        )
    make_old("execution_executionlog", "at")
    command("archive", "--now")
    return archived("logs", folder)


def test_json_has_one_row_a_line(lines: list[dict[str, Any]]) -> None:
    printed = command("read_archive", "logs", "--order", "O-12", "--format", "json")
    found = [json.loads(line) for line in printed.splitlines()]
    assert [row["id"] for row in found] == [row["id"] for row in lines[:2]]
    assert found[0]["detail"] == lines[0]["detail"]
    assert (found[0]["numbers"], found[0]["signal_id"]) == ({"value": "1.50"}, None)
    assert found[0]["at"] == lines[0]["at"].isoformat()


def test_csv_has_every_column(lines: list[dict[str, Any]]) -> None:
    printed = command("read_archive", "logs", "--format", "csv")
    found = list(csv.DictReader(io.StringIO(printed)))
    assert [int(row["id"]) for row in found] == [row["id"] for row in lines]
    assert found[0].keys() == lines[0].keys()
    assert (found[0]["detail"], found[0]["signal_id"]) == (lines[0]["detail"], "")


def test_text_of_a_csv_line_is_no_formula(folder: Path) -> None:
    detail = '=HYPERLINK("https://evil.example")'
    ExecutionLog.objects.create(order_id=12, code="CLAIMED", detail=detail, numbers={})
    make_old("execution_executionlog", "at")
    command("archive", "--now")
    printed = command("read_archive", "logs", "--format", "csv")
    assert [row["detail"] for row in csv.DictReader(io.StringIO(printed))] == [f"'{detail}"]


def test_table_limit_and_times(lines: list[dict[str, Any]]) -> None:
    assert "of another" in command("read_archive", "logs", "--order", "13")
    assert command("read_archive", "logs", "--limit", "1", "--format", "csv").count("\n") == 2
    since = lines[2]["at"].isoformat()
    printed = command("read_archive", "logs", "--since", since, "--format", "json")
    assert json.loads(printed)["id"] == lines[2]["id"]
    until = ("--until", lines[0]["at"].isoformat())
    assert "No such row" in command("read_archive", "logs", *until)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deliveries", "--order", "O-1"], "Rows of deliveries name no order"),
        (["logs", "--account", "alice"], "'alice' is not the id"),
        (["logs", "--order", "twelve"], "'twelve' is not a number such as O-12"),
        (["logs", "--since", "yesterday"], "'yesterday' is not a day or time such as 2026-01-31"),
        (["logs", "--limit", "-3"], "'-3' is not a number from 1"),
    ],
)
def test_unusable_filters_are_refused(folder: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        command("read_archive", *arguments)


# ---- the scheduled job


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_job_archives_in_one_process_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = PeriodicTask.objects.get(task="config.archive_old_rows")
    assert (task.queue, task.enabled, archive_old_rows.name) == ("maintenance", True, task.task)
    lines = old_lines(3)
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retention, "_running", None)
    archive_old_rows()
    running = retention._running
    assert running is not None
    running.send_signal(signal.SIGSTOP)
    try:
        assert not retention.start_archiving()  # it still runs
    finally:
        running.send_signal(signal.SIGCONT)
    assert running.wait(200) == 0
    assert line_ids(archived("logs", folder)) == lines
    assert table("execution_executionlog") == []
    assert retention.start_archiving()  # the next one
    assert retention._running is not None
    assert retention._running is not running
    retention._running.kill()  # before it has imported anything: the first one has shown the rest
    retention._running.wait(60)


def test_job_starts_nothing_without_a_folder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILLCAST_ENV = "production"
    monkeypatch.setattr(retention, "_running", None)
    assert not retention.start_archiving()


@pytest.mark.processes
def test_no_process_imports_pyarrow_before_it_archives() -> None:
    """Workers, web and the fork server carry 50 MB less."""
    program = (
        "import sys, django; django.setup();"
        " import config.celery, config.tasks, config.urls, ops.doctor.archive;"
        " import ops.management.commands.archive, ops.management.commands.read_archive;"
        " sys.exit('pyarrow' in sys.modules)"
    )
    environ = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PATH": "",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environ, check=False)
    assert done.returncode == 0


# ---- where people miss archived lines


def test_order_whose_lines_were_archived_names_the_command(folder: Path, client: Client) -> None:
    alice = world.tenant("alice")
    line = f"manage.py read_archive logs --order O-{alice.order.pk}"
    client.force_login(make.user("root", is_staff=True, is_superuser=True))
    path = reverse("admin:execution_order_page", args=[alice.order.pk])

    def shown() -> tuple[bool, bool]:
        page = " ".join(client.get(path).content.decode().split())
        return line in page, line in command("explain", str(alice.order.pk))

    old_lines(1)
    command("archive", "--now")
    assert shown() == (False, False)  # the order is younger
    force("UPDATE execution_order SET created_at = created_at - interval '100 days'")
    assert shown() == (True, True)


def test_console_lists_what_was_archived(folder: Path, client: Client) -> None:
    old_lines(3)
    command("archive", "--now")
    client.force_login(make.user("root", is_staff=True, is_superuser=True))
    page = client.get(reverse("admin:common_archivefile_changelist")).content.decode()
    assert ArchiveFile.objects.get().path in page
    assert ">3<" in "".join(page.split())
