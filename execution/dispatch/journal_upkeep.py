"""Keeps a living process's journal usable: space for new records, and no files of the dead."""

from typing import NamedTuple

from common.clocks import machine_time
from common.db.sql import Query, rows
from execution.dispatch.journal_folder import journal_root, remove_left_behind
from execution.dispatch.send_journal import SendJournal

CLEAN_SECONDS = 3600.0


class UnsettledRow(NamedTuple):
    """An order that a process is to send, or whose outcome is not stored."""

    id: int
    fence: int


UNSETTLED = Query(
    UnsettledRow,
    "SELECT id, fence FROM execution_order WHERE status = 'SUBMITTING' AND worker_id = %s",
)


class JournalUpkeep:
    """A background job: it reads the database if the journal is half full, and files once an hour.

    A disk that stands still stops nothing else.
    """

    def __init__(self, journal: SendJournal, process_id: str) -> None:
        self._journal, self._process_id = journal, process_id
        self._cleans_at = float("-inf")

    def run(self) -> None:
        """Make space, and remove what no process will read."""
        self._journal.make_space(self._unsettled)
        if (now := machine_time()) >= self._cleans_at:
            self._cleans_at = now + CLEAN_SECONDS
            remove_left_behind(journal_root())

    def _unsettled(self) -> set[tuple[int, int]]:
        return {(row.id, row.fence) for row in rows(UNSETTLED, (self._process_id,))}
