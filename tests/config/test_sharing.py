"""Tests in several processes: the order that each has, and what runs beside nothing."""

import fcntl
import threading
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.embedded.processes import wait_until
from tests.sharing import FilesInOrder, Turns, shares

SECONDS = 30


class Process:
    """What a scheduler knows of a process that runs tests, and what it was told to run."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += numbers

    def shutdown(self) -> None:
        self.shutting_down = True


# As pytest-django sorts: what is rolled back, what empties the database, what needs none.
EVERY = [f"{file}::test_{kind}{n}" for kind in "abc" for file in ("one.py", "two.py", "three.py")
         for n in range(4)]  # fmt: skip


def handed_out(pace: list[int]) -> list[list[int]]:
    """Have two processes run all; they take turns as `pace` says."""
    option = SimpleNamespace(loadscopereorder=False)
    config: Any = SimpleNamespace(option=option, getvalue=lambda _: ["popen", "popen"])
    scheduler = FilesInOrder(config)
    both = [Process("gw0"), Process("gw1")]
    for process in both:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, EVERY)
    scheduler.schedule()
    done = [0, 0]
    while scheduler.has_pending:
        for which in pace:
            if done[which] < len(both[which].given):
                scheduler.mark_test_complete(both[which], both[which].given[done[which]])
                done[which] += 1
    assert all(process.shutting_down for process in both)
    return [process.given for process in both]


@pytest.mark.parametrize("pace", [[0, 1], [0, 0, 0, 1], [1] * 7 + [0]])
def test_each_process_has_its_files_in_the_order_of_one_that_has_all(pace: list[int]) -> None:
    """And the same ones, whoever is faster."""
    files = [[n, n + 1, n + 2, n + 3] for n in range(0, len(EVERY), 4)]
    assert handed_out(pace) == [[*chain(*files[0::2])], [*chain(*files[1::2])]]


def test_shares_are_of_nearly_as_many_tests() -> None:
    tests = [f"{name}.py::test_{n}" for name, many in (("a", 9), ("b", 2), ("c", 3), ("d", 5))
             for n in range(many)]  # fmt: skip
    told = shares(tests, 2)
    assert [told[f"{name}.py::test_0"] for name in "abcd"] == ["0", "1", "1", "1"]
    assert len({*shares(tests[:9], 2).values()}) == 1  # one file: the other process ends at once


class Visitor(threading.Thread):
    """Another process that wants to run a test, on a thread."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        super().__init__()
        self.turns, self.alone = Turns(folder), alone
        self.runs, self.may_end = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with self.turns.taken(alone=self.alone):
            self.runs.set()
            assert self.may_end.wait(SECONDS)

    def ended(self) -> bool:
        self.may_end.set()
        self.join(SECONDS)
        return not self.is_alive()


def at_the_door(folder: Path) -> bool:
    """Whether somebody waits to be let in."""
    with (folder / "gate").open("ab") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_tests_run_beside_each_other(tmp_path: Path) -> None:
    first, second = (Visitor(tmp_path, alone=False) for _ in range(2))
    assert first.runs.wait(SECONDS)
    assert second.runs.wait(SECONDS)
    assert first.ended()
    assert second.ended()


def test_one_that_is_alone_waits_for_others_and_others_for_it(tmp_path: Path) -> None:
    first = Visitor(tmp_path, alone=False)
    assert first.runs.wait(SECONDS)
    alone = Visitor(tmp_path, alone=True)
    assert wait_until(lambda: at_the_door(tmp_path), SECONDS)
    late = Visitor(tmp_path, alone=False)
    assert not alone.runs.wait(0.05)
    assert first.ended()
    assert alone.runs.wait(SECONDS)  # though `late` could have gone in beside `first`
    assert not late.runs.wait(0.05)
    assert alone.ended()
    assert late.runs.wait(SECONDS)
    assert late.ended()
