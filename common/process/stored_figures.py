"""Add the figures of this process to those of the installation: one statement, if there are any."""

from typing import NamedTuple

import orjson
from django.db import DatabaseError, InterfaceError

from common.clocks import machine_time
from common.db.sql import Query, periodic_run
from common.process.call_figures import FIGURES

STORE_SECONDS = 10.0

# By key, so that two processes lock the rows in the same order.
STORE = """
INSERT INTO common_callfigure AS stored (kind, name, operation, outcome, seconds, counts)
SELECT kind, name, operation, outcome, seconds, counts
FROM jsonb_to_recordset(%s::jsonb) AS f(
  kind text, name text, operation text, outcome text, seconds float8, counts bigint[])
ORDER BY kind, name, operation, outcome
ON CONFLICT (kind, name, operation, outcome) DO UPDATE SET
  seconds = stored.seconds + EXCLUDED.seconds,
  counts = ARRAY(SELECT coalesce(a, 0) + coalesce(b, 0)
    FROM unnest(stored.counts, EXCLUDED.counts) WITH ORDINALITY AS both_of(a, b, n) ORDER BY n)
"""


class FigureRow(NamedTuple):
    """The figures of one series since the installation began. counts: as `Sum.counts`."""

    kind: str
    name: str
    operation: str
    outcome: str
    seconds: float
    counts: list[int]


READ = Query(
    FigureRow,
    "SELECT kind, name, operation, outcome, seconds, to_jsonb(counts) AS counts"
    " FROM common_callfigure ORDER BY kind, name, operation, outcome",
)


def store() -> None:
    """Store what was counted. Raises DatabaseError or InterfaceError; then the next call does."""
    if not (sums := FIGURES.take()):
        return
    found = [
        key._asdict() | {"seconds": one.seconds, "counts": one.counts} for key, one in sums.items()
    ]
    try:
        periodic_run(STORE, (orjson.dumps(found).decode(),))
    except (DatabaseError, InterfaceError):
        FIGURES.put_back(sums)
        raise


class Pace:
    """Stores every ten seconds for a process that has no background jobs."""

    def __init__(self) -> None:
        self._stored_at = machine_time()

    def store_if_due(self) -> None:
        """Store, if it is time. Raises as `store`."""
        if machine_time() - self._stored_at >= STORE_SECONDS:
            self._stored_at = machine_time()
            store()
