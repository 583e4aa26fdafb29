"""Counters that must be 0 after any fault, from comparing with the broker's own journal."""

from collections.abc import Callable
from typing import Any

from tests.faults.servers import Database

OPEN = "('PENDING', 'SUBMITTING', 'UNKNOWN', 'CANCEL_REQUESTED')"
STATES = """
SELECT status || CASE WHEN status IN ('FAILED', 'DENIED', 'SKIPPED', 'REJECTED', 'CANCELLED')
  THEN ' ' || reason ELSE '' END AS state, count(*) AS n
FROM execution_order WHERE leg LIKE %s GROUP BY 1 ORDER BY 1
"""
UNSETTLED_ORDERS = f"""
SELECT count(*) FROM execution_order WHERE status IN {OPEN} OR pending_action <> ''
  OR (lookup_after IS NOT NULL AND status <> 'SUBMITTED')
"""
# The broker has the first of the orders that were sent as one.
OURS = """
SELECT client_order_id, left(client_order_id, -1) AS base, signal_id, connection_id, leg, status,
  reason, position_id, filled_quantity FROM execution_order
WHERE client_order_id IS NOT NULL AND coalesce(aggregate_id, id) = id
"""
JOURNAL = """
SELECT client_order_id, left(client_order_id, -1) AS base, status, filled_quantity,
  accepted_at IS NOT NULL AS accepted
FROM paper_order WHERE client_order_id <> '' AND entry IS NULL
"""
REFUSED_AGAIN = """
SELECT count(*) FROM paper_order o WHERE o.accepted_at IS NULL AND o.client_order_id <> ''
  AND o.client_order_id IN (SELECT client_order_id FROM paper_order WHERE accepted_at IS NOT NULL)
"""
# Our positions with the broker's positions of their entries: of all slices, if none has a position
# of its own. Those that were sent as one share the broker's.
HELD = "SELECT client_order_id, sum(quantity) AS q FROM paper_position GROUP BY 1"
POSITIONS = """
SELECT entries, sum(quantity) AS quantity FROM (
  SELECT array_agg(f.client_order_id ORDER BY f.id) AS entries, p.quantity
  FROM positions_executionposition p
  JOIN execution_order e ON e.connection_id = p.connection_id AND e.signal_id = p.signal_id
    AND e.leg LIKE 'entry%'
    AND (e.leg = p.entry_leg OR NOT EXISTS (SELECT FROM positions_executionposition q
      WHERE q.connection_id = e.connection_id AND q.signal_id = e.signal_id
        AND q.entry_leg = e.leg))
  JOIN execution_order f ON f.id = coalesce(e.aggregate_id, e.id)
  GROUP BY p.id, p.quantity) held GROUP BY entries
"""
FILLS = """
SELECT count(*) FROM positions_executionposition p LEFT JOIN (
  SELECT o.connection_id, coalesce(x.signal_id, o.signal_id) AS signal_id,
    coalesce(x.entry_leg, o.position_leg) AS entry_leg,
    sum(CASE WHEN o.position_id IS NULL THEN f.quantity ELSE -f.quantity END) AS q
  FROM execution_fill f JOIN execution_order o ON o.id = f.order_id
  LEFT JOIN positions_executionposition x ON x.id = o.position_id GROUP BY 1, 2, 3) s
ON s.connection_id = p.connection_id AND s.signal_id = p.signal_id AND s.entry_leg = p.entry_leg
WHERE p.quantity IS DISTINCT FROM s.q
"""


class InvariantCounts:
    """Counts in both databases: `ours` and the broker's `books`, in two clusters."""

    def __init__(
        self, ours: Database, books: Database, audit: Callable[[], dict[str, Any]]
    ) -> None:
        """audit: returns what `manage.py audit --json` prints."""
        self._ours, self._books, self._audit = ours, books, audit

    # ---- while it runs --------------------------------------------------------------------
    def states(self, legs: str = "entry%") -> dict[str, int]:
        """Return the number of orders of these legs by state, with the reason of a failure."""
        return {row.state: row.n for row in self._ours.rows(STATES, legs)}

    def unsettled(self) -> int:
        """Return the number of orders that are not settled."""
        return int(self._ours.value(UNSETTLED_ORDERS))

    def in_flight(self) -> int:
        """Return the number of orders between their intent and their outcome."""
        return int(
            self._ours.value(
                "SELECT count(*) FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')"
            )
        )

    def open_positions(self) -> int:
        """Return the number of our open positions."""
        return int(
            self._ours.value("SELECT count(*) FROM positions_executionposition WHERE quantity > 0")
        )

    def accepted(self) -> int:
        """Return the number of orders that the broker has ever accepted."""
        return int(
            self._books.value(
                "SELECT count(*) FROM paper_order"
                " WHERE client_order_id <> '' AND entry IS NULL AND accepted_at IS NOT NULL"
            )
        )

    def refused_again(self) -> int:
        """Return how often the broker refused an order because it had accepted its id before."""
        return int(self._books.value(REFUSED_AGAIN))

    def unacknowledged_events(self) -> int:
        """Return the number of the broker's events that no worker has acknowledged."""
        return int(
            self._books.value("SELECT count(*) FROM paper_event WHERE acknowledged_at IS NULL")
        )

    # ---- afterwards -----------------------------------------------------------------------
    def against_the_journal(self, expected: int | None = None) -> dict[str, int]:
        """Return the counters that must be 0. expected: number of entries."""
        ours = {row.base: row for row in self._ours.rows(OURS)}
        journal = [row for row in self._books.rows(JOURNAL) if row.accepted]
        accepted: dict[str, int] = {}
        for row in journal:
            accepted[row.base] = accepted.get(row.base, 0) + 1
        made = self._ours.value("SELECT count(*) FROM execution_order WHERE leg LIKE 'entry%'")
        filled_there = {row.base for row in journal if row.filled_quantity > 0}
        held = {row.client_order_id: row.q for row in self._books.rows(HELD)}
        positions = self._ours.rows(POSITIONS)
        return {
            "MISSING": 0 if expected is None else abs(expected - int(made)),
            "DUP": sum(times - 1 for times in accepted.values()),
            "ORPHAN": sum(base not in ours for base in accepted),
            "LOST": self.unsettled(),
            "UNREPORTED": sum(
                base in ours and not ours[base].filled_quantity for base in filled_there
            ),
            "PHANTOM": sum(
                row.filled_quantity > 0 and base not in filled_there for base, row in ours.items()
            ),
            "RISEN": sum(
                base in accepted and row.status == "FAILED" and row.reason == "NEVER_ARRIVED"
                for base, row in ours.items()
            ),
            "MISMATCH": int(self._ours.value(FILLS)),
            "GHOST": sum(
                p.quantity != sum(held.get(entry, 0) for entry in p.entries) for p in positions
            ),
            "REVERSED": sum(q < 0 for q in held.values())
            + int(
                self._ours.value(
                    "SELECT count(*) FROM positions_executionposition WHERE quantity < 0"
                )
            ),
        }

    def audit(self) -> dict[str, int]:
        """Return the audit's counters."""
        report = self._audit()
        assert not report.get("unread"), report
        counters: dict[str, int] = report["counters"]
        return counters

    def wrong(self, expected: int | None = None) -> dict[str, int]:
        """Return every counter of both that is not 0; each case expects {}."""
        counts = {f"journal {name}": n for name, n in self.against_the_journal(expected).items()}
        counts |= {f"audit {name}": n for name, n in self.audit().items()}
        return {name: n for name, n in counts.items() if n}
