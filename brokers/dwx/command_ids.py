"""The numbers of commands: the expert advisor ignores one that it has seen among the last thousand.

Not each is written down: a thousand are reserved at a time, and the ledger is tidied with it, or
as soon afterwards as it can tell what is over.
"""

from brokers.dwx.command_journal import CommandJournal

MAX_ID, RESERVED_AT_ONCE = 2**31 - 1, 1000


class CommandIds:
    """The numbers of one folder. `begin` and `reserve` touch the disk and may raise OSError; they
    are called while the folder is ours and stays so."""

    def __init__(self, ledger: CommandJournal) -> None:
        self._ledger = ledger
        self._last = self._reserved = 0
        self._is_tidy = True

    def begin(self) -> None:
        """Go on behind all that were ever used here."""
        self._is_tidy = self._ledger.tidy()
        self._last = self._reserved = self._ledger.last_number()

    def next(self) -> int:
        self._last = self._last % MAX_ID + 1
        return self._last

    @property
    def are_due(self) -> bool:
        """Whether `reserve` has anything to do."""
        return self._are_used_up or (not self._is_tidy and self._ledger.knows_what_is_open)

    @property
    def _are_used_up(self) -> bool:
        """Whether the last one is not reserved yet."""
        return self._last > self._reserved

    def reserve(self) -> None:
        """Reserve the next ones and tidy the ledger, if nobody has meanwhile."""
        if self.are_due:
            self._is_tidy = self._ledger.tidy()
        if self._are_used_up:
            reserved = self._last + RESERVED_AT_ONCE
            self._ledger.reserve(reserved)
            self._reserved = reserved
