"""Rows that many tests start from, written once in a transaction around those of the tests.

Like Django's `setUpTestData`, but for fixtures. Each test gets a copy of the objects and runs in a
savepoint that is rolled back. A test that commits gets its own rows.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import validate_django_db
from pytest_django.plugin import DjangoDbBlocker

MAX_AGE = 5.0  # seconds: some rows contain the current time, and pages show their age
Build = Callable[[], Any]


@dataclass
class _Kept:
    build: Build
    rows: Any
    transaction: transaction.Atomic
    written_at: float


_blocker: DjangoDbBlocker | None = None
_kept: _Kept | None = None


def kept_rows(build: Build) -> Any:
    """Return a fixture for the rows that `build` writes and returns.

    `build` runs outside of the test's fixtures and must not depend on any of them.
    """

    def rows(db: None) -> Any:
        if _kept is not None and _kept.build is build:
            return copy.deepcopy(_kept.rows)
        return build()

    rows._build = build  # type: ignore[attr-defined]
    return pytest.fixture(rows)


def available(blocker: DjangoDbBlocker) -> Iterator[None]:
    """Keep rows from now on; the database exists."""
    global _blocker
    _blocker = blocker
    yield
    _end()
    _blocker = None


class KeptRowsPlugin:
    """Writes the rows before a test's own transaction begins, or rolls them back."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Provide exactly the rows that this test starts from."""
        needed = _build_of(item)
        if _kept is not None and (_kept.build is not needed or not _is_usable(_kept)):
            _end()
        if _kept is None and needed is not None:
            _begin(needed)


def _build_of(item: Any) -> Build | None:
    if _blocker is None or _commits(item):
        return None
    for fixtures in getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).values():
        build: Build | None = getattr(fixtures[-1].func, "_build", None)
        if build is not None:
            return build
    return None


def _commits(item: Any) -> bool:
    if getattr(item, "cls", None) is not None:
        return True  # Django's own classes open and end transactions themselves
    names = {"transactional_db", "live_server", "django_db_reset_sequences"}
    marker = item.get_closest_marker("django_db")
    marked = marker is not None and any(validate_django_db(marker)[:2])
    return marked or not names.isdisjoint(getattr(item, "fixturenames", ()))


def _is_usable(kept: _Kept) -> bool:
    is_whole = connection.in_atomic_block and not connection.needs_rollback
    return is_whole and time.monotonic() - kept.written_at < MAX_AGE


def _begin(build: Build) -> None:
    global _kept
    assert _blocker is not None
    with _blocker.unblock():
        around = transaction.atomic()
        around._from_testcase = True  # type: ignore[attr-defined]  # what must be outermost may be
        around.__enter__()
        try:
            rows = build()
            connection.check_constraints()
        except BaseException:
            transaction.set_rollback(True)
            around.__exit__(None, None, None)
            raise
        connection.run_on_commit = []  # it is never committed
        _kept = _Kept(build, rows, around, time.monotonic())


def _end() -> None:
    global _kept
    if _kept is None or _blocker is None:
        return
    around, _kept = _kept.transaction, None
    with _blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)
