"""What the jobs of a process have to look for: while there is nothing, they are far from due.

One statement reads, at least as often as the quickest of these jobs runs, whether any order or
position is open and whether any loss limit is set. So a job sees new work as soon as it would have
by looking for itself, and whichever process dies or hangs, each other one still looks for itself
(docs/adr/0050). What is not known counts as open: after an error, and at the start.

It also reads for how long the oldest order has been due. A machine that does not keep up has too
much at once, so jobs that may be late give way until the orders have gone.
"""

from collections.abc import Callable
from enum import Flag, auto
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connection

from common.clocks import machine_time
from common.db.sql import Query, periodic_rows, rows
from common.operational.current import settings_now
from common.process.jobs import Job
from connections.selectors import ANY_HALT_TO_CARRY_OUT_SQL, ANY_LOSS_LIMIT_SQL
from connections.session_lanes import held_lanes
from execution.base.statements import ALL_PENDING_SQL
from execution.models import may_move_sql
from positions.watched import ANY_WATCHED_SQL

# As often as the quickest job that is postponed runs: it sees new work as if it looked for itself.
READ_SECONDS = 0.5
# Jobs go on for so long after the last order or position: to end alerts, periods and claims.
LINGER_SECONDS = 30.0
LONGEST_SLEEP_SECONDS = 30.0  # then a job looks for itself, whatever was read
BEHIND_SECONDS = 3.0  # an order that is due for longer waits for this machine
STUCK_SECONDS = 60.0  # one that is due for longer still waits for something else
GIVES_WAY_SECONDS = 30.0  # at most; then a job runs beside the orders


class Work(Flag):
    """Kinds of work. LANES: this process holds a lane, so there are accounts that it may call.

    EVENTS: no process has drained a shared event stream for a while.
    """

    ORDERS = auto()
    POSITIONS = auto()
    LIMITS = auto()
    EVENTS = auto()
    LANES = auto()
    TRADES = ORDERS | POSITIONS
    ALL = TRADES | LIMITS | EVENTS | LANES


class OpenWorkRow(NamedTuple):
    """Whether there are orders, positions, loss limits and streams with anything to be done.

    backlog: for how many seconds the oldest order has been due; None: there is none.
    """

    orders: bool
    positions: bool
    limits: bool
    events: bool
    backlog: float | None


_BACKLOG_SQL = f"execution_backlog({STUCK_SECONDS})"
_IS_BEHIND_SQL = f"SELECT coalesce({_BACKLOG_SQL} > {BEHIND_SECONDS}, false) AS is_behind"

# Each EXISTS is answered by a partial index of live rows, however many have ended. Orders that
# have ended count as long as a look-up, an action or the next account of their route is due.
OPEN_WORK = Query(
    OpenWorkRow,
    f"""
SELECT EXISTS (SELECT FROM execution_order WHERE {ALL_PENDING_SQL})
  OR EXISTS (SELECT FROM execution_order WHERE status IN
    ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
  OR EXISTS (SELECT FROM execution_order WHERE pending_action <> '')
  OR EXISTS (SELECT FROM execution_order WHERE lookup_after IS NOT NULL)
  OR EXISTS (SELECT FROM execution_order o WHERE {may_move_sql("o")})
  OR {ANY_HALT_TO_CARRY_OUT_SQL} AS orders,
  {ANY_WATCHED_SQL} AS positions,
  {ANY_LOSS_LIMIT_SQL} AS limits,
  NOT EXISTS (SELECT FROM execution_streamlease) OR EXISTS (SELECT FROM execution_streamlease
    WHERE coalesce(drained_at < statement_timestamp() - make_interval(secs => %s), true)) AS events,
  {_BACKLOG_SQL} AS backlog
""",
)


def is_behind() -> bool:
    """Whether due orders wait for the machine; False if the database does not answer, unless its
    error ends a transaction. For a process that does not trade."""
    try:
        return bool(rows(_IS_BEHIND_SQL)[0].is_behind)
    except (DatabaseError, InterfaceError):
        if connection.in_atomic_block:
            raise
        return False


def read_open_work(events_after: float = 0.0) -> Work:
    """Return the kinds of work that there are now, for this process.

    events_after: the seconds without a drain from which on event streams are work.
    """
    return _work_of(_read(events_after))


def _read(events_after: float) -> OpenWorkRow:
    (row,) = periodic_rows(OPEN_WORK, (events_after,))
    return row


def _work_of(row: OpenWorkRow) -> Work:
    found = Work(0)
    kinds = (row.orders, row.positions, row.limits, row.events, bool(held_lanes()))
    for is_open, kind in zip(kinds, Work, strict=True):
        found |= kind if is_open else Work(0)
    return found


class OpenWork:
    """The work that one process knows of. One job reads it; any thread may use it."""

    def __init__(self, on_change: Callable[[], object] = lambda: None) -> None:
        """on_change: called when there is new work, and when due orders wait no longer."""
        self.open = Work.ALL
        """The kinds of work that there are, or were a moment ago."""
        self._on_change = on_change
        self._seen = dict.fromkeys(Work, machine_time())  # by kind: when it was last open
        self._is_behind = False

    def postponed(self, job: Job, has_run: bool) -> float:
        """Return by how many seconds a job is due later now: there is nothing for it, or it leaves
        the machine to due orders. Entries may wait for its first run."""
        if job.work is not None and not self.open & job.work:
            return LONGEST_SLEEP_SECONDS
        return GIVES_WAY_SECONDS if self._is_behind and job.gives_way and has_run else 0.0

    def read(self) -> None:
        """Read what there is. Raises database errors."""
        try:
            # So that an event is read within poll_seconds, whichever process drained before.
            row = _read(settings_now().execution.poll_seconds - READ_SECONDS)
        except Exception:  # any: what is not known counts as open
            self.update(Work.ALL)
            raise
        is_behind = row.backlog is not None and row.backlog > BEHIND_SECONDS
        self.update(_work_of(row), is_behind=is_behind)

    def update(self, found: Work, *, is_behind: bool = False) -> None:
        """Store what there is now."""
        now = machine_time()
        lingering = Work(0)
        for kind in Work:
            if kind in found:
                self._seen[kind] = now
            elif kind is not Work.EVENTS and now - self._seen[kind] < LINGER_SECONDS:
                lingering |= kind
        before, self.open = self.open, found | lingering
        was_behind, self._is_behind = self._is_behind, is_behind
        if self.open & ~before or (was_behind and not is_behind):
            self._on_change()
