"""A test's own transaction in which the end of each outermost block counts as a commit.

A test that really commits costs a clean-up of all tables. Here the code under test commits as far
as it can see: what waits for a commit runs, deferred constraints are checked, and blocks that must
be outermost may be. The test's transaction is rolled back. Only one session sees the rows, so tests
of several threads or processes with sessions of their own must really commit.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.transaction import Atomic

CHECK = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"


@pytest.fixture
def inline_commits(request: pytest.FixtureRequest, db: None) -> Iterator[None]:
    """Let each outermost block of the test end as with a commit; nothing in tests that commit."""
    if not connection.in_atomic_block:
        yield
        return
    depth = len(connection.atomic_blocks)

    def ends_a_block() -> bool:
        return len(connection.atomic_blocks) == depth and not connection.needs_rollback

    def run_callbacks() -> None:
        callbacks, connection.run_on_commit = connection.run_on_commit, []
        for _, callback, robust in callbacks:  # type: ignore[misc]  # the stubs know two of three
            if robust:
                _run_robustly(callback)
            else:
                callback()

    original_exit, original_on_commit = Atomic.__exit__, connection.on_commit

    def leave(self: Atomic, exc_type: Any, *error: Any) -> None:
        original_exit(self, exc_type, *error)
        if exc_type is None and ends_a_block() and self.using in (None, "default"):
            with connection.cursor() as cursor:
                cursor.execute(CHECK)
            run_callbacks()

    def on_commit(callback: Callable[[], object], robust: bool = False) -> None:
        original_on_commit(callback, robust)
        if ends_a_block():
            run_callbacks()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Atomic, "__exit__", leave)
        patch.setattr(connection, "on_commit", on_commit)
        yield


def _run_robustly(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # any, as Django does
        pass
