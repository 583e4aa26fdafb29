"""A death at any moment neither loses nor doubles a row."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from common import failpoints
from common.archive import parquet_files
from common.archive.batches import ArchiveBusyError, lock_key
from common.archive.overview import unlisted
from common.db.sql import run
from common.failpoints import AbandonedError, Failpoint, FailpointError
from common.models import ArchiveFile
from config.retention import KINDS
from events.models import Delivery, Event
from tests.archive.rows import archive, archived, environment, line_ids, make_old, old_lines, table
from tests.sampling import exhaustive, often
from tests.users import world

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    # a process imports all there is, on a machine that does much else
]
ROOT = Path(__file__).resolve().parents[2]
POINTS = ("archive.written", "archive.removed", "archive.committed")
KILLED_OFTEN = ("archive.written", "archive.removed")  # before the commit


def everywhere(folder: Path) -> list[int]:
    """Return the ids of the lines in the database and of those in the archive, by id."""
    return sorted([*line_ids(table("execution_executionlog")), *line_ids(archived("logs", folder))])


@pytest.mark.parametrize("nth", [exhaustive(1), 2])
@pytest.mark.parametrize("point", often(POINTS, every=3, always=KILLED_OFTEN.__contains__))
def test_killed_process_loses_and_doubles_no_row(folder: Path, point: str, nth: int) -> None:
    """The command itself, as a worker starts it, killed at its nth batch of three.

    What the next run does is the same in this process, which need not start.
    """
    lines = old_lines(6)
    assert archive_command(folder, f"{point}:kill:{nth}") == -signal.SIGKILL
    assert everywhere(folder) == lines
    is_committed = point == "archive.committed"
    assert len(archived("logs", folder)) == 2 * (nth if is_committed else nth - 1)
    assert len(unlisted(folder)) == (0 if is_committed else 1)
    archive("logs", folder, rows_at_once=2)
    assert everywhere(folder) == lines == line_ids(archived("logs", folder))
    assert len(unlisted(folder)) == (0 if is_committed else 1)  # never read, never removed


def archive_command(folder: Path, faults: str) -> int:
    """Run `manage.py archive --now` as the role of workers, two rows at once."""
    environ = {**os.environ, **environment(folder), "FILLCAST_REHEARSAL": f"failpoints={faults}"}
    line = [sys.executable, "manage.py", "archive", "--now", "--kind", "logs", "--rows", "2"]
    done = subprocess.run(line, env=environ, cwd=ROOT, capture_output=True, timeout=250)
    if done.returncode > 0:
        raise AssertionError(done.stderr.decode()[-2000:])
    return done.returncode


@pytest.mark.parametrize("point", POINTS)
def test_abandoned_batch_is_archived_by_the_next_run(
    folder: Path, point: str, disarmed: None
) -> None:
    lines = old_lines(4)
    failpoints.arm([Failpoint(point, "abandon")])
    with pytest.raises(AbandonedError):
        archive("logs", folder, rows_at_once=2)
    assert everywhere(folder) == lines
    failpoints.arm([])
    archive("logs", folder, rows_at_once=2)
    assert line_ids(archived("logs", folder)) == lines


def test_failure_before_the_commit_leaves_no_file(folder: Path, disarmed: None) -> None:
    lines = old_lines(2)
    failpoints.arm([Failpoint("archive.removed", "raise")])
    with pytest.raises(FailpointError):
        archive("logs", folder)
    assert (everywhere(folder), unlisted(folder)) == (lines, [])


@pytest.mark.parametrize("name", ["import_library", "write"])
def test_nothing_is_locked_while_the_library_or_the_disk_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Both take seconds on a busy machine, and the server ends transactions that idle."""
    old_lines(2)
    in_transaction = []
    original = getattr(parquet_files, name)

    def noted(*given: Any) -> Any:
        in_transaction.append(connection.in_atomic_block)
        return original(*given)

    monkeypatch.setattr(parquet_files, name, noted)
    archive("logs", folder)
    assert set(in_transaction) == {False}


@pytest.mark.parametrize("change", ["UPDATE events_delivery SET tries = tries + 1",
                                    "DELETE FROM events_delivery"])  # fmt: skip
def test_rows_that_change_while_their_file_is_written_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    world.tenant("alice")
    make_old("events_delivery", "due_at")
    Delivery.objects.update(status="FAILED")
    write = parquet_files.write

    def changed_meanwhile(*given: Any) -> parquet_files.WrittenFile:
        with elsewhere() as other:
            other.execute(change)
        return write(*given)

    with monkeypatch.context() as patch:
        patch.setattr(parquet_files, "write", changed_meanwhile)
        assert archive("deliveries", folder) == 0
    assert (ArchiveFile.objects.count(), unlisted(folder)) == (0, [])
    left = Delivery.objects.count()
    assert archive("deliveries", folder) == left == (0 if "DELETE" in change else 1)


def test_full_disk_removes_no_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What os.fsync raises when the disk is full or broken."""
    lines = old_lines(2)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    folder.mkdir()
    (folder / "logs/0000").mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        archive("logs", folder)
    assert line_ids(table("execution_executionlog")) == lines
    assert (ArchiveFile.objects.count(), unlisted(folder)) == (0, [])


def test_session_that_the_server_ends_removes_no_row(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = old_lines(2)
    write = parquet_files.write

    def ended(*given: Any) -> parquet_files.WrittenFile:
        pid = connection.connection.info.backend_pid
        with elsewhere() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        return write(*given)

    monkeypatch.setattr(parquet_files, "write", ended)
    with pytest.raises(OperationalError):
        archive("logs", folder)
    connection.close()
    assert (everywhere(folder), unlisted(folder)) == (lines, [])


def elsewhere() -> psycopg.Connection[Any]:
    """Another session."""
    names = ("host", "port", "user", "password", "dbname")
    given = connection.get_connection_params()
    return psycopg.connect(**{name: given[name] for name in names if name in given})


def test_second_process_waits_for_its_turn(folder: Path) -> None:
    lines = old_lines(2)
    seen: list[Sequence[int]] = []
    with elsewhere() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s::int, %s::int)", lock_key(KINDS["logs"]))
        with pytest.raises(ArchiveBusyError):
            archive("logs", folder)
        seen.append(line_ids(table("execution_executionlog")))
    assert (seen, archive("logs", folder)) == ([lines], 2)


def test_row_that_another_session_changes_is_left_for_the_next_run(folder: Path) -> None:
    """A person repeats a delivery while it would be archived: nothing waits, nothing is lost."""
    world.tenant("alice")
    make_old("events_delivery", "due_at")
    Delivery.objects.update(status="FAILED")
    with elsewhere() as other, other.transaction():
        other.execute("UPDATE events_delivery SET status = 'PENDING', tries = 0")
        assert archive("deliveries", folder) == 0
    assert archive("deliveries", folder) == 0
    assert Delivery.objects.get().status == "PENDING"
    with transaction.atomic():
        run("SET LOCAL lock_timeout = '1s'")
        Event.objects.update(routed_at=None)  # no lock was left behind


def test_kinds_are_archived_in_the_order_of_their_dependencies() -> None:
    names = list(KINDS)
    assert names.index("webhook-attempts") < names.index("webhook-messages")
    assert names.index("deliveries") < names.index("events")
