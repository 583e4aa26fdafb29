"""Matrices, such as page × user: one test walks all cells and fails once, naming each wrong one.

    with Walk() as walk:
        for name in walk.each(PAGES):
            with walk.cell(name, "alice") as cell:
                cell.expect(200, client.get(address(name)).status_code)

A cell is judged as if it were the only one: what it writes is rolled back, and what an earlier one
left in caches or counted against a rate limit is gone. Give a walk of hundreds of pages ten minutes
(`WALK_TIME`): a busy machine needs them. `MATRIX_ORDER=reverse` walks backwards; if the result is
another one, a cell depends on those before it.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
from django.core.cache import cache
from django.db import InternalError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import Client

from signals.feeds.rate import forget_failures

WALK_TIME = pytest.mark.timeout(600)
LISTED = 40  # wrong cells that a failure names
LONGEST = 300  # letters of a value
T = TypeVar("T")


class Walk:
    """The cells of a matrix. Leaving it fails the test if one was wrong, or if there was none."""

    def __init__(self, *clients: Client) -> None:
        """Begin with no cell. clients: each cell finds them signed in as they are now."""
        self.cells = 0
        self._clients = [(one, one.cookies.output(header="", sep=";")) for one in clients]
        self._logs = logging.root.manager.disable
        self._wrong: dict[tuple[str, str], list[str]] = {}

    def each(self, cases: Iterable[T]) -> list[T]:
        """Return the cases in the order in which to walk them."""
        found = list(cases)
        return found[::-1] if os.environ.get("MATRIX_ORDER") == "reverse" else found

    @contextmanager
    def cell(self, where: str, who: str = "") -> Iterator["Cell"]:
        """Judge one cell. An error makes it wrong, and the walk goes on.

        A failure of the whole test, such as that its time is over, ends the walk.
        """
        self.cells += 1
        cell = Cell(self._wrong.setdefault((where, who), []))
        start_afresh()
        for client, cookies in self._clients:
            client.cookies = SimpleCookie(cookies)
        try:
            with transaction.atomic():
                yield cell
                transaction.set_rollback(True)
        except Exception as error:
            first = _first(error)
            if not isinstance(first, Exception):
                raise first from error
            cell.note(f"failed: {type(first).__name__}: {_short(str(first))}")

    def __enter__(self) -> Self:
        """Begin. Nothing is logged: a failure would come before thousands of lines."""
        self._logs = logging.root.manager.disable
        logging.disable()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Fail with the wrong cells, unless something else has failed."""
        logging.disable(self._logs)
        if kind is None and (text := self.failure()):
            pytest.fail(text, pytrace=False)
        if error is not None:
            error.add_note(f"after {self.cells} cells. {self.failure()}")

    def failure(self) -> str:
        """Return what is wrong, a line for each cell; "" if nothing is."""
        if not self.cells:
            return "the matrix has no cells"
        lines = [
            f"{', '.join(filter(None, cell))}: {'; '.join(faults)}"
            for cell, faults in self._wrong.items()
            if faults
        ]
        return _text(f"{len(lines)} of {self.cells} cells are wrong:", lines)


class Cell:
    """One cell, and what is wrong there."""

    def __init__(self, faults: list[str]) -> None:
        """Write what is wrong into `faults`."""
        self._faults = faults

    def expect(self, expected: object, found: object, of: str = "") -> None:
        """Note if what was found is not what was expected. of: what this is, if not all of it."""
        if found != expected:
            expected, found = _differing(expected, found)
            self.note(f"{of}{': ' * bool(of)}expected {_short(expected)}, found {_short(found)}")

    def expect_one(self, expected: Collection[Any], found: object, of: str = "") -> None:
        """The same where several values are right."""
        if found not in expected:
            self.expect(" or ".join(sorted(map(str, expected))), found, of)

    def expect_at_most(self, most: int, found: Collection[str], of: str) -> None:
        """Note if there are more, and which are there most often."""
        if len(found) > most:
            often = "; ".join(f"{count} × {one}" for one, count in Counter(found).most_common(3))
            self.note(f"expected {most} {of} at most, found {len(found)}: {_short(often)}")

    def expect_unchanged(self, rows: "Rows") -> None:
        """Note the tables in which rows changed."""
        if changed := rows.changed():
            self.note(f"expected no changed rows, found some in {', '.join(changed)}")

    def note(self, fault: str) -> None:
        """Add what is wrong, in words of its own."""
        self._faults.append(fault)


class Rows:
    """The rows of tables, as their owner sees them: which tables have other ones than at first."""

    def __init__(self, tables: Sequence[str], *, may_be_added: bool = False) -> None:
        """Remember what there is. may_be_added: further rows are no change."""
        self._may_be_added = may_be_added
        self._query = " UNION ALL ".join(
            f"SELECT '{table}' AS name, md5(t::text) AS row FROM {table} t" for table in tables
        )
        self._before, self._written = self._read(), _written()

    def changed(self) -> list[str]:
        """Return the tables in which a row was changed or deleted, or added."""
        if _written() == self._written:
            return []
        now = self._read()
        lost, added = self._before - now, now - self._before
        changed = lost if self._may_be_added else lost | added
        if not changed:
            self._written = _written()
        return sorted({table for table, _ in changed})

    def _read(self) -> set[tuple[str, str]]:
        with connection.cursor() as cursor:
            cursor.execute(self._query)
            return set(cursor.fetchall())


def _written() -> str:
    """Return how much the database has written. The same as before: nothing was, by anyone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
        [(position,)] = cursor.fetchall()
    return str(position)


@contextmanager
def unrendered() -> Iterator[None]:
    """Answer with empty pages meanwhile: where the status is judged, and another cell has the page.

    Everything but the template runs. What only the template reads is not read.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.template.backends.django.Template.render", lambda *_, **__: "")
        yield


@contextmanager
def as_role(role: str) -> Iterator[None]:
    """Use a role of the database meanwhile; NONE: the owner of the tables."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def require_none(faults: Sequence[str]) -> None:
    """Fail with these lines, for walks that make their own."""
    if faults:
        pytest.fail(_text(f"{len(faults)} faults:", faults), pytrace=False)


def start_afresh() -> None:
    """Forget what an earlier cell left outside of the database."""
    cache.clear()
    forget_failures()


def _text(head: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n  ".join([head, *lines[:LISTED], *more])


def _differing(expected: object, found: object) -> tuple[object, object]:
    """Return the parts of two values that differ, so that they are seen in long ones."""
    if isinstance(expected, dict) and isinstance(found, dict) and expected and found:
        names = [name for name in expected | found if expected.get(name) != found.get(name)]
        first, second = (
            {name: one[name] for name in names if name in one} for one in (expected, found)
        )
        return first, second
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return next(
            _differing(*pair) for pair in zip(expected, found, strict=True) if pair[0] != pair[1]
        )
    return expected, found


def _short(value: object) -> str:
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _first(error: BaseException) -> BaseException:
    """Return the error with which it began: those that follow may be about its transaction."""
    while isinstance(error, InternalError | TransactionManagementError) and error.__context__:
        error = error.__context__
    return error
