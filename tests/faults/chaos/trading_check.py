"""Checks that a run traded at all: a system that does nothing loses and doubles nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from common.reason_codes import Code
from tests.faults.chaos.outages import SIDE, Outages
from tests.faults.servers import Database

LEAST = 0.1  # of the candidates that no rule denied
GRACE = 20.0  # seconds within which accounts recover after the broker or the database
# Reasons that an outage of the broker explains. It explains no other reason.
OUTAGE = {
    Code.CONNECTION_ERROR, Code.CONNECTION_UNREACHABLE, Code.CIRCUIT_OPEN, Code.BROKER_HOST_DOWN,
    Code.CONNECTION_NOT_RECONCILED, Code.NO_SESSION_WORKER, Code.NOT_CONNECTED,
    Code.BROKER_UNREACHABLE,
    Code.ACCOUNT_ANSWER_UNUSABLE,
}  # fmt: skip
# What an entry may wait for, as `execution.submission.outcomes.ENTRY_WAITS` has it.
WAITS = OUTAGE | {
    Code.CONNECTION_UNTESTED, Code.CONNECTION_TEST_PENDING, Code.BROKER_MAINTENANCE,
    Code.BROKER_SLOW, Code.EARLIER_COMMAND,
    Code.PRICE_AWAITED, Code.OPPOSITE_CLOSING, Code.ACCOUNT_TRADING_DISABLED, Code.RESTORE_CHECK,
    Code.MARKET_CLOSED, Code.CLIENT_ID_IN_USE, Code.TRADING_DISABLED, Code.DECISION_AWAITED,
    Code.AGGREGATION_AWAITED,
}  # fmt: skip
PUBLICATIONS = """
SELECT s.id, extract(epoch FROM s.published_at)::float8 AS at, o.status, o.reason, count(*) AS n
FROM signals_signal s LEFT JOIN execution_order o ON o.signal_id = s.id AND o.leg LIKE 'entry%'
WHERE s.action = 'OPEN' AND s.published_at IS NOT NULL GROUP BY 1, 2, 3, 4 ORDER BY 1
"""
ACCEPTED = """
SELECT count(DISTINCT left(client_order_id, -1)) FROM paper_order
WHERE client_order_id <> '' AND entry IS NULL AND accepted_at IS NOT NULL
  AND closes IS NULL AND NOT reduce_only
"""


@dataclass(slots=True)
class Publication:
    """An OPEN signal's entries. at: seconds since the epoch; refused: denied or rejected."""

    at: float
    candidates: int = 0
    refused: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def skipped_every_account(self) -> bool:
        """Whether the signal had candidates and all were skipped."""
        return 0 < self.candidates == sum(self.skipped.values())


def read(ours: Database) -> list[Publication]:
    """Return every published OPEN signal with the outcomes of its candidates."""
    publications: dict[int, Publication] = {}
    for row in ours.rows(PUBLICATIONS):
        publication = publications.setdefault(row.id, Publication(row.at))
        _add(publication, row)
    return list(publications.values())


def _add(publication: Publication, row: Any) -> None:
    if row.status is None:
        return
    publication.candidates += row.n
    if is_left_out(row):
        publication.skipped[row.reason] = publication.skipped.get(row.reason, 0) + row.n
    elif row.status in ("DENIED", "REJECTED"):
        publication.refused += row.n


def is_left_out(row: Any) -> bool:
    """Return whether these orders were skipped, or waited until the signal was too old."""
    return row.status == "SKIPPED" or (row.status in ("DENIED", "EXPIRED") and row.reason in WAITS)


def idle(publications: Sequence[Publication], accepted: int) -> int:
    """Return how many entries were expected if the broker accepted hardly any of them; else 0.

    accepted: entries in the broker's books. A run without publications is idle too.
    """
    expected = sum(publication.candidates - publication.refused for publication in publications)
    return 0 if accepted and accepted >= LEAST * expected else max(expected, 1)


def shut_out(publications: Sequence[Publication], broken: Outages) -> int:
    """Return how many publications skipped every account without an outage that explains it.

    Only an outage of the broker or the database that affects all accounts explains it, and only for
    the reasons that it causes. It never explains a kill switch.
    """
    return sum(
        publication.skipped_every_account
        and not (publication.skipped.keys() <= OUTAGE and broken.excuses(publication.at, GRACE))
        for publication in publications
    )


@dataclass(frozen=True, slots=True)
class Trade:
    """The publications of a run and their outcomes. accepted: entries in the broker's books."""

    publications: Sequence[Publication]
    accepted: int
    broken: Outages

    @classmethod
    def of(cls, ours: Database, books: Database, broken: Outages) -> Self:
        """Read both databases."""
        return cls(read(ours), int(books.value(ACCEPTED)), broken)

    @property
    def idle(self) -> int:
        return idle(self.publications, self.accepted)

    @property
    def shut_out(self) -> int:
        return shut_out(self.publications, self.broken)

    def as_json(self) -> dict[str, Any]:
        """Return how many entries were accepted and skipped, and how long faults lasted."""
        skipped = Counter[str]()
        for publication in self.publications:
            skipped.update(publication.skipped)
        return {
            "candidates": sum(publication.candidates for publication in self.publications),
            "entries_accepted": self.accepted,
            "skipped": dict(sorted(skipped.items())),
            "broken_share": {side: round(self.broken.share(side), 2) for side in SIDE},
        }
