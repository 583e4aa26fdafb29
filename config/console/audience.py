"""Who a signal would reach if it were published now, asked by fan-out's own expression."""

from dataclasses import dataclass

from common.sql import rows
from connections.eligibility import CANDIDATES_SQL, REASON_SQL, parameters
from signals.models import Action, Signal

_OPEN = f"""
SELECT {REASON_SQL} AS reason, count(*) AS many FROM {CANDIDATES_SQL} GROUP BY 1
"""
_FOLLOWER = """
SELECT count(DISTINCT connection_id) AS many FROM (
  SELECT connection_id FROM positions_executionposition
  WHERE signal_id = %(signal)s AND quantity > 0
  UNION ALL
  SELECT connection_id FROM execution_order
  WHERE signal_id = %(signal)s AND leg::text LIKE 'entry%%' AND status = ANY(%(live)s)
) touched
"""
LIVE = ["PENDING", "SUBMITTING", "UNKNOWN", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED"]


@dataclass(frozen=True, slots=True)
class Audience:
    """How many would trade, and why the others would not."""

    trading: int
    skipped: dict[str, int]

    @property
    def total(self) -> int:
        return self.trading + sum(self.skipped.values())

    @property
    def by_size(self) -> list[tuple[str, int]]:
        """(code, how many), the most frequent first."""
        return sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))


def audience(signal: Signal) -> Audience:
    """Count the candidates of this moment. A MODIFY or CLOSE reaches whoever has something live."""
    if signal.action != Action.OPEN:
        asked = {"signal": signal.refers_to_id, "live": LIVE}
        return Audience(rows(_FOLLOWER, asked)[0].many, {})
    asked_open = parameters(
        feed_id=signal.feed_id,
        direction=signal.direction,
        reaches_admins=signal.feed.reaches_admins,
        only_owner=_only_owner(signal),
    )
    found = {row.reason: row.many for row in rows(_OPEN, asked_open)}
    return Audience(found.pop(None, 0), found)


def _only_owner(signal: Signal) -> int | None:
    """The feed's owner, if nobody else has approved the signal."""
    own = signal.feed.approved_by_owner and signal.approved_by_id is None
    return signal.feed.owner_id if own else None
