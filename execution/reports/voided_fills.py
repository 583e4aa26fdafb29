"""Executions that their broker has corrected to nothing, whatever arrives first.

A correction to nothing may arrive before the execution. There is no fill to correct then, so it is
stored beside the fills, and the execution counts as known. Callers have locked the orders.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from brokers.types import OrderReport
from common.db.sql import Query, columns, rows, run


class VoidedFillRow(NamedTuple):
    """An execution that was corrected to nothing, with the revision that says so."""

    connection_id: str
    broker_fill_id: str
    revision: int


LOAD = Query(
    VoidedFillRow,
    """
SELECT v.connection_id::text, v.broker_fill_id, v.revision FROM execution_voidedfill v
JOIN unnest(%s::uuid[], %s::text[]) AS t(connection_id, fill_id)
  ON t.connection_id = v.connection_id AND t.fill_id = v.broker_fill_id
""",
)
STORE = """
INSERT INTO execution_voidedfill AS v (connection_id, broker_fill_id, revision)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::int[])
ON CONFLICT (connection_id, broker_fill_id)
DO UPDATE SET revision = greatest(v.revision, excluded.revision)
"""


def load_voided(named: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the revisions that corrected executions to nothing.

    named: connection and broker's id of executions, as the keys that are returned.
    """
    asked = sorted(set(named))
    found = rows(LOAD, columns(asked, 2)) if asked else []
    return {(row.connection_id, row.broker_fill_id): row.revision for row in found}


def store_voided(voided: Iterable[VoidedFillRow]) -> None:
    """Store executions that were corrected to nothing, each with its highest revision."""
    highest: dict[tuple[str, str], VoidedFillRow] = {}
    for row in voided:
        key = (row.connection_id, row.broker_fill_id)
        if key not in highest or highest[key].revision < row.revision:
            highest[key] = row
    if highest:
        run(STORE, columns([highest[key] for key in sorted(highest)], 3))


def without_voided(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Return reports without the executions that were corrected to nothing since."""
    voided = load_voided(
        (report.connection_id, fill.broker_fill_id)
        for report in reports
        for fill in report.fills
        if not fill.inferred
    )
    if not voided:
        return list(reports)
    return [
        replace(
            report,
            fills=tuple(
                fill for fill in report.fills
                if fill.inferred
                or voided.get((report.connection_id, fill.broker_fill_id), -1) < fill.revision
            ),
        )
        for report in reports
    ]  # fmt: skip
