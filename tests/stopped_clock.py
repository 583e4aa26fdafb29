"""A clock that stands still until the test moves it: the database's, and that of Python's dates.

For tests of what a second decides: between two of their statements a busy machine may stop for as
long as it likes. Only the test's own session has it, so it suits tests that roll back.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import connection

from common.db.sql import database_now, rows, run
from tests.kept_rows import stated_at

# Each of PostgreSQL's clocks that the product reads, and how it may be used in a plan.
CLOCKS = {"clock_timestamp": "VOLATILE", "statement_timestamp": "STABLE", "now": "STABLE"}
AT = "nullif(current_setting('stopped_clock.at', true), '')::timestamptz"
SETUP = "; ".join(
    (
        "CREATE SCHEMA IF NOT EXISTS stopped_clock",
        "GRANT USAGE ON SCHEMA stopped_clock TO PUBLIC",
        *(
            f"CREATE OR REPLACE FUNCTION stopped_clock.{name}() RETURNS timestamptz LANGUAGE sql"
            f" {kind} AS $$ SELECT coalesce({AT}, pg_catalog.{name}()) $$"
            for name, kind in CLOCKS.items()
        ),
    )
)
# Found before those of pg_catalog by each statement of the session, also in functions of PL/pgSQL.
STOP = "SET LOCAL search_path = stopped_clock, public, pg_catalog"
# A column's default has found its function when it was made.
DEFAULTS = r"""
SELECT format('ALTER TABLE %s ALTER %I SET DEFAULT %s', a.attrelid::regclass, a.attname,
  regexp_replace(pg_get_expr(d.adbin, d.adrelid), '\m(clock_timestamp|statement_timestamp|now)\(\)',
    'stopped_clock.\1()')) AS statement
FROM pg_attrdef d JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
WHERE a.attgenerated = ''
  AND pg_get_expr(d.adbin, d.adrelid) ~ '^\(?(clock_timestamp|statement_timestamp|now)\(\)'
"""


class StoppedClock:
    """The clock of the database's session and of Python's dates; `time.monotonic` goes on."""

    def __init__(self, python: time_machine.Traveller) -> None:
        self._python = python
        self.pass_time(0)

    @property
    def at(self) -> datetime:
        """The time that it shows."""
        return datetime.now(UTC)

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and nothing else."""
        self._python.shift(seconds)
        run("SELECT set_config('stopped_clock.at', %s, true)", (self.at.isoformat(),))


def create_clock() -> None:
    """Create in the database what `stopped_clock` calls."""
    run(SETUP)
    for row in rows(DEFAULTS):
        run(row.statement)


@pytest.fixture
def running_clock() -> None:
    """Let the clock go on in a test that would stop it, since it waits for something."""


@pytest.fixture
def stopped_clock(request: pytest.FixtureRequest, db: None) -> Iterator[StoppedClock | None]:
    """Stop the clock for this test, if it rolls back.

    It shows when the kept rows were written: their age is no part of what the test sees.
    """
    if "running_clock" in request.fixturenames or not connection.in_atomic_block:
        yield None
        return
    with time_machine.travel(stated_at() or database_now(), tick=False) as python:
        run(STOP)
        yield StoppedClock(python)
