"""What is remembered of a database outside of it, and what that proves. Restores: tests/faults."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from common.sql import rows, run
from connections.models import Epoch, KillSwitch
from execution.epochs import witness
from execution.epochs.epochs import open_epoch, present_epoch
from execution.epochs.witness import Watch, Witness, judge, later

HERE = Witness("one", 2, 100, "server", "00000001")


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
        ({"timeline": ""}, None),  # the host does not tell
        ({"cluster": "other"}, None),  # moved with everything stopped
        ({"cluster": "other", "timeline": "00000002"}, None),
        ({"cluster": "other", "mark": 99}, "BEHIND"),
        ({"lineage": "two", "mark": 1, "epoch": 1}, None),  # a new, empty installation
        ({"epoch": 3, "mark": 1, "timeline": "00000002"}, None),  # dealt with already
    ],
)
def test_what_a_witness_proves(seen: dict[str, object], cause: str | None) -> None:
    loss = judge(replace(HERE, **seen), HERE)  # type: ignore[arg-type]
    assert (loss.cause if loss else None) == cause


def test_no_witness_proves_nothing() -> None:
    assert judge(HERE, None) is None


def test_the_later_one_knows_more() -> None:
    assert later(HERE, replace(HERE, mark=101)) == replace(HERE, mark=101)
    assert later(replace(HERE, epoch=3, mark=1), HERE) == replace(HERE, epoch=3, mark=1)
    assert later(HERE, replace(HERE, lineage="two", mark=999)) == HERE
    assert later(None, HERE) == later(HERE, None) == HERE
    assert later(None, None) is None


@pytest.fixture
def place(tmp_path: Path, settings: object) -> Iterator[Path]:
    """A folder and a Redis in which nothing is remembered."""
    settings.FILLCAST_VAR = tmp_path  # type: ignore[attr-defined]
    cache.clear()
    yield tmp_path / witness.FILE
    cache.clear()


def opened() -> list[str]:
    return list(Epoch.objects.filter(released_at=None).values_list("cause", flat=True))


def set_back(marks: int = 50) -> None:
    """As a restored database: the mark lies behind."""
    rows(f"SELECT setval('fillcast_mark', greatest(last_value - {marks}, 1)) FROM fillcast_mark")


def drawn(count: int = 100) -> None:
    rows("SELECT nextval('fillcast_mark') FROM generate_series(1, %s)", (count,))


@pytest.mark.django_db
class TestLooking:
    def test_all_is_well_and_remembered(self, place: Path) -> None:
        watch = Watch()
        assert [watch.look() for _ in range(3)] == [None, None, None]
        assert opened() == []
        kept = json.loads(place.read_text())
        assert watch.known is not None
        assert kept["lineage"] == watch.known.lineage == str(Epoch.objects.get().lineage)
        assert watch.known.mark == kept["mark"]
        assert witness.read_redis(watch.known.lineage) == Witness(**kept)

    def test_the_server_tells_its_name_and_timeline(self, place: Path) -> None:
        seen = witness.look_at_database()
        assert seen.cluster.isdigit()
        assert seen.timeline == "00000001"

    def test_the_same_process_sees_it(self, place: Path) -> None:
        drawn()
        watch = Watch()
        watch.look()
        set_back()
        epoch = watch.look()
        assert epoch is not None
        assert (epoch.number, epoch.cause, epoch.opened_by) == (2, "BEHIND", "detected")
        assert epoch.evidence["known"]["mark"] > epoch.evidence["seen"]["mark"]
        assert KillSwitch.objects.get(released_at=None).mode == "REDUCING"
        assert watch.look() is None  # once
        assert Epoch.objects.filter(cause="BEHIND").count() == 1

    def test_a_single_mark_that_is_gone_is_seen_before_it_is_drawn_again(self, place: Path) -> None:
        drawn()
        Watch().look()
        set_back(1)
        assert Watch().look() is not None

    @pytest.mark.parametrize("gone", ["nothing", "file", "redis"])
    def test_another_process_sees_it_by_what_is_left(self, gone: str, place: Path) -> None:
        drawn()
        Watch().look()
        set_back()
        if gone == "file":
            place.unlink()
        elif gone == "redis":
            cache.clear()
        assert Watch().look() is not None
        assert opened() == ["BEHIND"]

    def test_with_both_gone_it_proves_nothing(self, place: Path) -> None:
        drawn()
        Watch().look()
        set_back()
        place.unlink()
        cache.clear()
        assert Watch().look() is None
        assert opened() == []

    @pytest.mark.parametrize("known_before", [False, True])
    def test_others_that_draw_marks_while_it_looks_raise_no_alarm(
        self, place: Path, known_before: bool
    ) -> None:
        """Processes that start together, as they do after a deploy."""
        drawn()
        present_epoch()  # it is written when it is asked for first
        watch, others, waiting = Watch(), [Watch() for _ in range(3)], [True]
        if known_before:
            watch.look()

        def others_look(execute: Any, sql: str, *args: Any) -> Any:
            found = execute(sql, *args)
            if sql.startswith("SAVEPOINT") and waiting and waiting.pop():  # it has read the mark
                for other in others:
                    other.look()
            return found

        with connection.execute_wrapper(others_look):
            assert watch.look() is None
        assert opened() == []
        watch.look_quickly()
        assert not watch.doubts

    def test_several_processes_open_one_epoch(self, place: Path) -> None:
        drawn()
        watches = [Watch() for _ in range(3)]
        for watch in watches:
            watch.look()
        set_back()
        assert [watch.look() is not None for watch in watches] == [True, False, False]
        assert opened() == ["BEHIND"]
        assert len({watch.known.epoch for watch in watches if watch.known}) == 1

    def test_an_epoch_that_the_database_forgot_is_passed(self, place: Path) -> None:
        """Restored to before epoch 2 was opened: the next one is 3."""
        Watch().look()
        open_epoch(Epoch.Cause.COMMAND)
        Watch().look()
        run("DELETE FROM connections_epoch WHERE number = 2")
        epoch = Watch().look()
        assert epoch is not None
        assert (epoch.number, epoch.cause) == (3, "BEHIND")

    def test_a_new_installation_in_an_old_folder_is_well(self, place: Path) -> None:
        drawn()
        Watch().look()
        run("DELETE FROM connections_epoch")
        set_back()
        watch = Watch()
        assert watch.look() is None
        assert opened() == []
        assert watch.known is not None
        assert json.loads(place.read_text())["lineage"] == watch.known.lineage

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"lineage": 1}', '{"mark": "x"}', "null"])
    def test_what_cannot_be_read_is_no_witness(self, text: str, place: Path) -> None:
        place.write_text(text)
        cache.set(f"witness:{witness.look_at_database().lineage}", text)
        assert Watch().look() is None
        assert opened() == []

    def test_without_redis_and_without_a_folder_it_goes_on(
        self, place: Path, settings: object
    ) -> None:
        settings.FILLCAST_VAR = place / "nowhere"  # type: ignore[attr-defined]
        assert Watch().look() is None

    def test_a_new_connection_is_looked_at_before_it_is_used(self, place: Path) -> None:
        drawn()
        watch = Watch()
        watch.look()
        doubts = []
        for step in (watch.look_quickly, set_back, watch.look_quickly, watch.look):
            step()
            doubts.append(watch.doubts)
        assert doubts == [False, False, True, False]
        assert opened() == ["BEHIND"]
