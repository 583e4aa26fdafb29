"""The final results of a feed's signals, as its record has sealed them. ADR 0040.

The app that computes results registers what compares them: it may not be imported here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.db.sql import array, rows
from common.hash_chain import Findings
from signals.records.sql import LINKS
from users.tenancy import for_all_tenants

ResultCheck = Callable[[Findings, int], None]
_checks: list[ResultCheck] = []

SEALED_RESULTS_SQL = f"""
SELECT DISTINCT ON (signal_id) signal_id, feed_id, number, terms - 'correction' AS terms
FROM {LINKS} WHERE feed_id = %(feed)s AND kind = 'RESULT' AND number IS NOT NULL
ORDER BY signal_id, number DESC
"""
"""The newest sealed result of each signal of a feed: for a FROM."""

_SEALS = f"""
SELECT DISTINCT ON (signal_id) signal_id, number, terms ->> 'correction' AS correction
FROM {LINKS} WHERE signal_id = ANY(%s::bigint[]) AND kind = 'RESULT' AND number IS NOT NULL
ORDER BY signal_id, number DESC
"""


@dataclass(frozen=True, slots=True)
class Seal:
    """Where the result that counts is sealed. correction: why another was sealed before; or ''."""

    number: int
    correction: str


def register_result_check(check: ResultCheck) -> None:
    """Add what compares the results that are shown with the sealed ones.

    check: gets the findings to add to, and a feed's id, inside a snapshot of all tenants' rows.
    """
    _checks.append(check)


def check_results(found: Findings, feed_id: int) -> None:
    """Compare the results of a feed that are shown with those that were sealed."""
    for check in _checks:
        check(found, feed_id)


def seals_of(signal_ids: Sequence[int]) -> dict[int, Seal]:
    """Return where the results of these signals are sealed, in one query; others have no seal."""
    if not signal_ids:
        return {}
    with for_all_tenants():
        found = rows(_SEALS, [array(signal_ids)])
    return {row.signal_id: Seal(row.number, row.correction or "") for row in found}
