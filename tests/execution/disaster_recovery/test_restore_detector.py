"""The high-water mark outside the database, and what it proves. Restores: tests/faults."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from common.db.sql import rows, run
from connections.models import Epoch, KillSwitch
from execution.base.high_water_mark import HighWaterMark, find_loss, newer
from execution.disaster_recovery import restore_detector
from execution.disaster_recovery.epochs import current_epoch, open_epoch
from execution.disaster_recovery.restore_detector import RestoreDetector

HERE = HighWaterMark("one", 2, 100, "server", "00000001")


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        ({}, None),
        ({"mark": 101}, None),
        ({"mark": 99}, "BEHIND"),
        ({"epoch": 1}, "BEHIND"),
        ({"epoch": 1, "mark": 999}, "BEHIND"),
        ({"timeline": "00000002"}, "PROMOTED"),
        ({"timeline": "00000002", "mark": 101}, "PROMOTED"),
        ({"timeline": ""}, None),  # the host does not report it
        ({"cluster": "other"}, None),  # moved with everything stopped
        ({"cluster": "other", "timeline": "00000002"}, None),
        ({"cluster": "other", "mark": 99}, "BEHIND"),
        ({"lineage": "two", "mark": 1, "epoch": 1}, None),  # a new, empty installation
        ({"epoch": 3, "mark": 1, "timeline": "00000002"}, None),  # dealt with already
    ],
)
def test_high_water_mark_proves_a_data_loss(seen: dict[str, object], cause: str | None) -> None:
    loss = find_loss(replace(HERE, **seen), HERE)  # type: ignore[arg-type]
    assert (loss.cause if loss else None) == cause


def test_missing_mark_proves_nothing() -> None:
    assert find_loss(HERE, None) is None


def test_later_mark_wins() -> None:
    assert newer(HERE, replace(HERE, mark=101)) == replace(HERE, mark=101)
    assert newer(replace(HERE, epoch=3, mark=1), HERE) == replace(HERE, epoch=3, mark=1)
    assert newer(HERE, replace(HERE, lineage="two", mark=999)) == HERE
    assert newer(None, HERE) == newer(HERE, None) == HERE
    assert newer(None, None) is None


@pytest.fixture
def var_folder(tmp_path: Path, settings: object) -> Iterator[Path]:
    """A folder and a Redis without a stored mark."""
    settings.FILLCAST_VAR = tmp_path  # type: ignore[attr-defined]
    cache.clear()
    yield tmp_path / restore_detector.FILE
    cache.clear()


def opened() -> list[str]:
    return list(Epoch.objects.filter(released_at=None).values_list("cause", flat=True))


def set_back(marks: int = 50) -> None:
    """Simulate a restored database: its mark is behind."""
    rows(f"SELECT setval('fillcast_mark', greatest(last_value - {marks}, 1)) FROM fillcast_mark")


def drawn(count: int = 100) -> None:
    rows("SELECT nextval('fillcast_mark') FROM generate_series(1, %s)", (count,))


@pytest.mark.django_db
class TestLooking:
    def test_intact_database_is_recorded(self, var_folder: Path) -> None:
        watch = RestoreDetector()
        assert [watch.check() for _ in range(3)] == [None, None, None]
        assert opened() == []
        kept = json.loads(var_folder.read_text())
        assert watch.known is not None
        assert kept["lineage"] == watch.known.lineage == str(Epoch.objects.get().lineage)
        assert watch.known.mark == kept["mark"]
        assert restore_detector.read_redis(watch.known.lineage) == HighWaterMark(**kept)

    def test_server_reports_its_name_and_timeline(self, var_folder: Path) -> None:
        seen = restore_detector.read_database()
        assert seen.cluster.isdigit()
        assert seen.timeline == "00000001"

    def test_server_that_hides_its_name_is_known_by_its_mark(
        self, var_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = restore_detector.read_database()
        hidden = restore_detector.READ.replace("pg_control_system()", "not_allowed()")
        monkeypatch.setattr(restore_detector, "READ", hidden)
        seen = restore_detector.read_database()
        assert seen == replace(whole, cluster="", timeline="")

    def test_copy_on_another_server_is_detected_when_no_mark_is_left(
        self, var_folder: Path
    ) -> None:
        """As of a dump that is restored after `down --volumes`: containers took all marks along."""
        RestoreDetector().check()
        assert Epoch.objects.get().cluster == restore_detector.read_database().cluster
        Epoch.objects.update(cluster="7000000000000000000")  # where the dump was made
        var_folder.unlink()
        cache.clear()
        epoch = RestoreDetector().check()
        assert epoch is not None
        assert (epoch.cause, epoch.opened_by) == ("COPIED", "detected")
        assert epoch.evidence["known"]["cluster"] == "7000000000000000000"
        assert KillSwitch.objects.get(released_at=None).mode == "REDUCING"
        var_folder.unlink()
        cache.clear()
        assert RestoreDetector().check() is None  # once: the new epoch is of this server

    def test_moved_database_with_its_marks_opens_no_epoch(self, var_folder: Path) -> None:
        RestoreDetector().check()
        Epoch.objects.update(cluster="7000000000000000000")
        assert RestoreDetector().check() is None
        assert Epoch.objects.get().cluster == restore_detector.read_database().cluster

    def test_restore_is_detected_by_the_same_process(self, var_folder: Path) -> None:
        drawn()
        watch = RestoreDetector()
        watch.check()
        set_back()
        epoch = watch.check()
        assert epoch is not None
        assert (epoch.number, epoch.cause, epoch.opened_by) == (2, "BEHIND", "detected")
        assert epoch.evidence["known"]["mark"] > epoch.evidence["seen"]["mark"]
        assert KillSwitch.objects.get(released_at=None).mode == "REDUCING"
        assert watch.check() is None  # once
        assert Epoch.objects.filter(cause="BEHIND").count() == 1

    def test_single_lost_mark_is_detected_before_it_is_reused(self, var_folder: Path) -> None:
        drawn()
        RestoreDetector().check()
        set_back(1)
        assert RestoreDetector().check() is not None

    @pytest.mark.parametrize("gone", ["nothing", "file", "redis"])
    def test_restore_is_detected_by_another_process_from_one_store(
        self, gone: str, var_folder: Path
    ) -> None:
        drawn()
        RestoreDetector().check()
        set_back()
        if gone == "file":
            var_folder.unlink()
        elif gone == "redis":
            cache.clear()
        assert RestoreDetector().check() is not None
        assert opened() == ["BEHIND"]

    def test_restore_is_not_detected_without_both_stores(self, var_folder: Path) -> None:
        drawn()
        RestoreDetector().check()
        set_back()
        var_folder.unlink()
        cache.clear()
        assert RestoreDetector().check() is None
        assert opened() == []

    @pytest.mark.parametrize("known_before", [False, True])
    def test_marks_advanced_during_a_check_raise_no_alarm(
        self, var_folder: Path, known_before: bool
    ) -> None:
        """Processes that start together, as they do after a deploy."""
        drawn()
        current_epoch()  # it is written on the first request
        watch, others, waiting = RestoreDetector(), [RestoreDetector() for _ in range(3)], [True]
        if known_before:
            watch.check()

        def others_look(execute: Any, sql: str, *args: Any) -> Any:
            found = execute(sql, *args)
            if sql.startswith("RELEASE") and waiting and waiting.pop():  # it has read the mark
                for other in others:
                    other.check()
            return found

        with connection.execute_wrapper(others_look):
            assert watch.check() is None
        assert opened() == []
        watch.check_connection()
        assert not watch.is_suspect

    def test_several_processes_open_one_epoch(self, var_folder: Path) -> None:
        drawn()
        watches = [RestoreDetector() for _ in range(3)]
        for watch in watches:
            watch.check()
        set_back()
        assert [watch.check() is not None for watch in watches] == [True, False, False]
        assert opened() == ["BEHIND"]
        assert len({watch.known.epoch for watch in watches if watch.known}) == 1

    def test_epoch_number_lost_by_the_database_is_skipped(self, var_folder: Path) -> None:
        """Restored to a time before epoch 2 was opened: the next one is 3."""
        RestoreDetector().check()
        open_epoch(Epoch.Cause.COMMAND)
        RestoreDetector().check()
        run("DELETE FROM connections_epoch WHERE number = 2")
        epoch = RestoreDetector().check()
        assert epoch is not None
        assert (epoch.number, epoch.cause) == (3, "BEHIND")

    def test_new_installation_in_an_old_folder_is_no_restore(self, var_folder: Path) -> None:
        drawn()
        RestoreDetector().check()
        run("DELETE FROM connections_epoch")
        set_back()
        watch = RestoreDetector()
        assert watch.check() is None
        assert opened() == []
        assert watch.known is not None
        assert json.loads(var_folder.read_text())["lineage"] == watch.known.lineage

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"lineage": 1}', '{"mark": "x"}', "null"])
    def test_unreadable_mark_is_ignored(self, text: str, var_folder: Path) -> None:
        var_folder.write_text(text)
        cache.set(f"high_water_mark:{restore_detector.read_database().lineage}", text)
        assert RestoreDetector().check() is None
        assert opened() == []

    def test_one_process_of_a_host_writes_until_it_stops(self, var_folder: Path) -> None:
        drawn()
        watch = RestoreDetector()
        watch.check()
        theirs = json.loads(var_folder.read_text())
        var_folder.write_text(json.dumps(theirs))  # by another process, just now
        before = restore_detector.read_database()
        watch.check()
        assert json.loads(var_folder.read_text()) == theirs
        assert restore_detector.read_database() == before  # nor has it taken a value
        late = time.time() - restore_detector.CHECK_SECONDS
        os.utime(var_folder, (late, late))  # and then no more
        watch.check()
        assert watch.known is not None
        assert json.loads(var_folder.read_text())["mark"] == watch.known.mark > theirs["mark"]
        watch.check()  # from now on this one writes each time
        assert json.loads(var_folder.read_text())["mark"] == watch.known.mark

    def test_process_that_does_not_write_detects_a_restore(self, var_folder: Path) -> None:
        drawn()
        watch = RestoreDetector()
        watch.check()
        set_back()
        var_folder.write_text(var_folder.read_text())  # by another process, just now
        assert watch.check() is not None
        assert opened() == ["BEHIND"]

    def test_newer_epoch_is_written_although_another_process_wrote_last(
        self, var_folder: Path
    ) -> None:
        watch = RestoreDetector()
        watch.check()
        var_folder.write_text(var_folder.read_text())
        open_epoch(Epoch.Cause.COMMAND)
        watch.check()
        assert json.loads(var_folder.read_text())["epoch"] == 2

    def test_detector_works_without_redis_and_without_a_folder(
        self, var_folder: Path, settings: object
    ) -> None:
        settings.FILLCAST_VAR = var_folder / "nowhere"  # type: ignore[attr-defined]
        assert RestoreDetector().check() is None

    def test_new_database_connection_is_checked_before_use(self, var_folder: Path) -> None:
        drawn()
        watch = RestoreDetector()
        watch.check()
        doubts = []
        for step in (watch.check_connection, set_back, watch.check_connection, watch.check):
            step()
            doubts.append(watch.is_suspect)
        assert doubts == [False, False, True, False]
        assert opened() == ["BEHIND"]
