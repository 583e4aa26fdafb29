"""Rows of real transactions that commit in another order than their ids."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from buses.gaps import Gaps
from buses.reading import read_ids
from events.models import Event, EventKind
from events.services import emit

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def open_insert(*, commits: bool) -> Iterator[Callable[[], None]]:
    """Hold an inserted event in another session; call what it yields to end the transaction."""
    written, may_end = threading.Event(), threading.Event()

    def run() -> None:
        try:
            with transaction.atomic():
                emit(EventKind.KILL_SWITCH)
                written.set()
                assert may_end.wait(120)
                transaction.set_rollback(not commits)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert written.wait(120)

    def end() -> None:
        may_end.set()
        thread.join(120)

    try:
        yield end
    finally:
        end()


def write() -> int:
    with transaction.atomic():
        return emit(EventKind.KILL_SWITCH)


def test_late_commit_is_read_and_rollback_is_given_up() -> None:
    start = Gaps(write())
    with open_insert(commits=True) as commit, open_insert(commits=False) as roll_back:
        last = write()
        ids, gaps, _ = read_ids(Event, start, 100)
        assert (ids, gaps.ranges) == ([last], [(last - 2, last - 1)])
        commit()
        ids, gaps, _ = read_ids(Event, gaps, 100)
        assert (ids, gaps.ranges) == ([last - 2], [(last - 1, last - 1)])
        ids, gaps, _ = read_ids(Event, gaps, 100)
        assert (ids, gaps.ranges) == ([], [(last - 1, last - 1)])  # it may still commit
        roll_back()
        assert read_ids(Event, gaps, 100)[:2] == ([], Gaps(last))


def test_long_reader_keeps_no_gap() -> None:
    """A backup reads for hours: it cannot add a row, so nothing waits for it."""
    start = Gaps(write())
    reading: Any = threading.Event()
    done = threading.Event()

    def run() -> None:
        with transaction.atomic():
            assert Event.objects.count() >= 0
            reading.set()
            assert done.wait(120)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert reading.wait(120)
        with transaction.atomic():
            emit(EventKind.KILL_SWITCH)
            transaction.set_rollback(True)
        last = write()
        _, gaps, _ = read_ids(Event, start, 100)
        assert read_ids(Event, gaps, 100)[:2] == ([], Gaps(last))
    finally:
        done.set()
        thread.join(120)
