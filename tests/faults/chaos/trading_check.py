"""Was anything traded at all? A system that does nothing loses nothing and doubles nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from common.reason_codes import Code
from tests.faults.chaos.outages import SIDE, Outages
from tests.faults.servers import Database

LEAST = 0.1  # of the candidates that no rule refused
GRACE = 20.0  # seconds in which accounts come back after the broker or the database did
# What an outage of the broker may do to an account. Every other reason needs no outage.
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
    Code.MARKET_CLOSED, Code.CLIENT_ID_IN_USE, Code.TRADING_DISABLED,
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
    """An OPEN signal's entries. at: seconds since the epoch; refused: by a rule, ours or theirs."""

    at: float
    candidates: int = 0
    refused: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def reached_nobody(self) -> bool:
        return 0 < self.candidates == sum(self.skipped.values())


def read(ours: Database) -> list[Publication]:
    """Every OPEN signal that was published, and what became of its candidates."""
    found: dict[int, Publication] = {}
    for row in ours.rows(PUBLICATIONS):
        one = found.setdefault(row.id, Publication(row.at))
        _add(one, row)
    return list(found.values())


def _add(one: Publication, row: Any) -> None:
    if row.status is None:
        return
    one.candidates += row.n
    if is_left_out(row):
        one.skipped[row.reason] = one.skipped.get(row.reason, 0) + row.n
    elif row.status in ("DENIED", "REJECTED"):
        one.refused += row.n


def is_left_out(row: Any) -> bool:
    """Whether no rule refused these: they were skipped, or waited until they were too old."""
    return row.status == "SKIPPED" or (row.status in ("DENIED", "EXPIRED") and row.reason in WAITS)


def idle(publications: Sequence[Publication], accepted: int) -> int:
    """How many entries should have been taken, if the broker took hardly any of them; else 0.

    accepted: entries in the broker's books. A run that published nothing is idle, too.
    """
    wanted = sum(one.candidates - one.refused for one in publications)
    return 0 if accepted and accepted >= LEAST * wanted else max(wanted, 1)


def shut_out(publications: Sequence[Publication], broken: Outages) -> int:
    """How many publications found every account skipped, and no outage explains it.

    Only one of the broker or the database that reaches every account does, and only for what it
    does to accounts: a halt is never explained by one.
    """
    return sum(
        one.reached_nobody and not (one.skipped.keys() <= OUTAGE and broken.excuses(one.at, GRACE))
        for one in publications
    )


@dataclass(frozen=True, slots=True)
class Trade:
    """What a run has published, and what came of it. accepted: entries in the broker's books."""

    publications: Sequence[Publication]
    accepted: int
    broken: Outages

    @classmethod
    def of(cls, ours: Database, books: Database, broken: Outages) -> Self:
        """Ask both sides."""
        return cls(read(ours), int(books.value(ACCEPTED)), broken)

    @property
    def idle(self) -> int:
        return idle(self.publications, self.accepted)

    @property
    def shut_out(self) -> int:
        return shut_out(self.publications, self.broken)

    def as_json(self) -> dict[str, Any]:
        """How much of what was wanted was traded, and how long it could not be."""
        skipped = Counter[str]()
        for one in self.publications:
            skipped.update(one.skipped)
        return {
            "candidates": sum(one.candidates for one in self.publications),
            "entries_accepted": self.accepted,
            "skipped": dict(sorted(skipped.items())),
            "broken_share": {side: round(self.broken.share(side), 2) for side in SIDE},
        }
