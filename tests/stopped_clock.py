"""A database clock that stands still until the test moves it.

For tests of what a second decides: between two of their statements a busy machine may stop for as
long as it likes. Only the test's own session has it, so it suits tests that roll back.
"""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from common.sql import database_now, run

# Each of PostgreSQL's clocks that the product reads, and how it may be used in a plan.
CLOCKS = {"clock_timestamp": "VOLATILE", "statement_timestamp": "STABLE", "now": "STABLE"}
# Found before those of pg_catalog by each statement of the session, also in functions of PL/pgSQL.
SETUP = "; ".join(
    (
        "CREATE SCHEMA stopped_clock",
        "GRANT USAGE ON SCHEMA stopped_clock TO PUBLIC",
        *(
            f"CREATE FUNCTION stopped_clock.{name}() RETURNS timestamptz LANGUAGE sql {kind}"
            " AS $$ SELECT current_setting('stopped_clock.at')::timestamptz $$"
            for name, kind in CLOCKS.items()
        ),
        "SET LOCAL search_path = stopped_clock, public, pg_catalog",
    )
)


class StoppedClock:
    """The clock of the database's session and of `timezone.now`."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self._set()

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and nothing else."""
        self.at += timedelta(seconds=seconds)
        self._set()

    def _set(self) -> None:
        run("SELECT set_config('stopped_clock.at', %s, true)", (self.at.isoformat(),))


@pytest.fixture
def stopped_clock(db: None, monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """Stop the clock for this test."""
    clock = StoppedClock(database_now())
    run(SETUP)
    monkeypatch.setattr(timezone, "now", lambda: clock.at)
    return clock
