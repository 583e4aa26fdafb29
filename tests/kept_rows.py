"""Rows that many tests start from, written once in transactions around those of the tests.

Like Django's `setUpTestData`, but for fixtures. Each test gets a copy of the objects and runs in a
savepoint that is rolled back. Rows may be written on top of others: an account on top of its feed.
A test that commits gets its own rows.
"""

import inspect
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import validate_django_db
from pytest_django.plugin import DjangoDbBlocker

from common.db.sql import database_now

MAX_AGE = 5.0  # seconds: some rows contain the current time, and pages show their age
Build = Callable[..., Any]


@dataclass
class _Kept:
    build: Build
    rows: Any
    pickled: bytes
    transaction: transaction.Atomic
    written_at: float
    stated_at: datetime


_blocker: DjangoDbBlocker | None = None
_kept: list[_Kept] = []  # each written on top of the one before it


def kept_rows(build: Build, *, on: str = "") -> Any:
    """Return a fixture for the rows that `build` writes and returns.

    on: another such fixture, whose value `build` is given. Apart from that, `build` runs outside of
    the test's fixtures and must not depend on any of them.
    """

    def rows(**values: Any) -> Any:
        for kept in _kept:
            if kept.build is build:
                return pickle.loads(kept.pickled)
        return build(values[on]) if on else build()

    rows.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what pytest provides
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("db", on) if name]
    )
    rows._kept = (build, on)  # type: ignore[attr-defined]
    return pytest.fixture(rows)


def available(blocker: DjangoDbBlocker) -> Iterator[None]:
    """Keep rows from now on; the database exists."""
    global _blocker
    _blocker = blocker
    yield
    _end(0)
    _blocker = None


def stated_at() -> datetime | None:
    """Return the database's time when the newest kept rows were written; None without any."""
    return _kept[-1].stated_at if _kept else None


class KeptRowsPlugin:
    """Writes the rows before a test's own transaction begins, or rolls them back."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Provide exactly the rows that this test starts from."""
        needed = _builds_of(item)
        same = 0
        while same < min(len(needed), len(_kept)) and _kept[same].build is needed[same]:
            if not _is_usable(_kept[same]):
                break
            same += 1
        _end(same)
        for build in needed[same:]:
            _begin(build)


def _builds_of(item: Any) -> list[Build]:
    """Return what writes the rows of a test, each on top of the one before it."""
    if _blocker is None or _commits(item):
        return []
    fixtures = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return max((_chain(name, fixtures) for name in fixtures), key=len, default=[])


def _chain(name: str, fixtures: Mapping[str, Any]) -> list[Build]:
    """Return the builds of a fixture and of those below it; none if one of them is no such one."""
    if name not in fixtures:
        return []
    build, on = getattr(fixtures[name][-1].func, "_kept", (None, ""))
    if build is None:
        return []
    below = _chain(on, fixtures) if on else []
    return [*below, build] if below or not on else []


def _commits(item: Any) -> bool:
    if getattr(item, "cls", None) is not None and hasattr(item.cls, "setUpTestData"):
        return True  # Django's own classes open and end transactions themselves
    names = {"transactional_db", "live_server", "django_db_reset_sequences"}
    marker = item.get_closest_marker("django_db")
    marked = marker is not None and any(validate_django_db(marker)[:2])
    return marked or not names.isdisjoint(getattr(item, "fixturenames", ()))


def _is_usable(kept: _Kept) -> bool:
    is_whole = connection.in_atomic_block and not connection.needs_rollback
    return is_whole and time.monotonic() - kept.written_at < MAX_AGE


def _begin(build: Build) -> None:
    assert _blocker is not None
    with _blocker.unblock():
        around = transaction.atomic()
        around._from_testcase = True  # type: ignore[attr-defined]  # what must be outermost may be
        around.__enter__()
        try:
            rows = build(_kept[-1].rows) if _kept else build()
            connection.check_constraints()
        except BaseException:
            transaction.set_rollback(True)
            around.__exit__(None, None, None)
            raise
        connection.run_on_commit = []  # it is never committed
        written = _Kept(build, rows, pickle.dumps(rows), around, time.monotonic(), database_now())
        _kept.append(written)


def _end(number: int) -> None:
    """Roll back all but the first ones."""
    while len(_kept) > number and _blocker is not None:
        around = _kept.pop().transaction
        with _blocker.unblock():
            transaction.set_rollback(True)
            around.__exit__(None, None, None)
