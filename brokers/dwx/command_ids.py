"""The numbers of commands: the expert advisor ignores a number that was among its last thousand.

They are not stored one by one: a thousand are reserved at a time. The journal is compacted with it,
or as soon afterwards as it is known which commands have ended.
"""

from brokers.dwx.command_journal import CommandJournal

MAX_ID, RESERVED_AT_ONCE = 2**31 - 1, 1000


class CommandIds:
    """The numbers of one folder. `begin` and `reserve` access the disk and may raise OSError; call
    them only while this process has locked the folder."""

    def __init__(self, journal: CommandJournal) -> None:
        self._journal = journal
        self._last = self._reserved = 0
        self._is_tidy = True

    def begin(self) -> None:
        """Continue after the highest number that may have been used here."""
        self._is_tidy = self._journal.tidy()
        self._last = self._reserved = self._journal.last_number()

    def next(self) -> int:
        """Return the next number."""
        self._last = self._last % MAX_ID + 1
        return self._last

    @property
    def are_due(self) -> bool:
        """Whether `reserve` has anything to do."""
        return self._are_used_up or (not self._is_tidy and self._journal.knows_what_is_open)

    @property
    def _are_used_up(self) -> bool:
        """Whether the last one is not reserved yet."""
        return self._last > self._reserved

    def reserve(self) -> None:
        """Reserve the next numbers and compact the journal, unless that was done meanwhile."""
        if self.are_due:
            self._is_tidy = self._journal.tidy()
        if self._are_used_up:
            reserved = self._last + RESERVED_AT_ONCE
            self._journal.reserve(reserved)
            self._reserved = reserved
