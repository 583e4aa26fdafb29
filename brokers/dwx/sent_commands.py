"""Commands that we sent to a terminal: which have ended, and which may be removed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from brokers.dwx.parse import Snapshot

SEEN_SECONDS = 600.0  # a sent command may take so long to become visible
OPEN, CLOSE = "open", "close"
UNSENT, REFUSED, PLACED, GONE = "unsent", "refused", "placed", "gone"
NO_EFFECT = (UNSENT, REFUSED)


@dataclass(frozen=True, slots=True)
class SentCommand:
    """One command that may place or close. at: seconds since 1970.

    end: how it certainly ended: without effect (UNSENT, REFUSED), as a working order (PLACED), or
    as one that worked and is neither open nor filled any more (GONE); '' if that is unknown.
    account: to which the terminal was logged in; '' if an older version wrote it."""

    number: int
    at: float
    what: str
    client_order_id: str
    magic: int
    symbol: str
    lots: Decimal
    ticket: int = 0
    root: int = 0
    end: str = ""
    account: str = ""

    @property
    def may_live(self) -> bool:
        """Whether it may have had an effect that is not visible yet."""
        return self.end == ""


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Selects commands by magic numbers, tickets and client order ids."""

    magics: frozenset[int] = frozenset()
    tickets: frozenset[int] = frozenset()
    ids: frozenset[str] = frozenset()

    @classmethod
    def open(cls, snapshot: Snapshot, client_order_id: str = "") -> "CommandFilter":
        """Return the filter of what is open now, the tickets that it came from, and an order."""
        numbers = {number or 0 for one in snapshot.tickets for number in (one.number, one.origin)}
        return cls(
            frozenset(one.magic for one in snapshot.tickets),
            frozenset(numbers - {0}),
            frozenset({client_order_id} - {""}),
        )

    def has(self, one: SentCommand) -> bool:
        """Whether it selects a command."""
        return (
            one.magic in self.magics
            or one.ticket in self.tickets
            or one.client_order_id in self.ids
        )  # fmt: skip

    def covers(self, other: "CommandFilter") -> bool:
        """Whether it selects everything that the other one does."""
        ids = self.ids >= other.ids
        return ids and self.magics >= other.magics and self.tickets >= other.tickets

    def __and__(self, other: "CommandFilter") -> "CommandFilter":
        return CommandFilter(self.magics & other.magics, self.tickets & other.tickets)

    def __or__(self, other: "CommandFilter") -> "CommandFilter":
        return CommandFilter(self.magics | other.magics, self.tickets | other.tickets)


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """What was open at an account at one moment. at: seconds since 1970."""

    at: float
    open: CommandFilter
    account: str = ""


class OpenSnapshots:
    """What was open at one terminal, by account: the last snapshot, and two earlier ones, each
    SEEN_SECONDS before the next.

    An order may be in no file for a moment while it becomes a position, and a close must be
    reported before it is forgotten. Accounts are separate, since the owner may log the terminal in
    to another one, and the files then show nothing of the first."""

    def __init__(self) -> None:
        self.last: OpenSnapshot | None = None
        self._of: dict[
            str, tuple[OpenSnapshot | None, OpenSnapshot, OpenSnapshot]
        ] = {}  # before, between, and the last

    def record_open(self, snapshot: OpenSnapshot) -> None:
        """Add a snapshot."""
        before, between, _ = self._of.get(snapshot.account, (None, snapshot, snapshot))
        if snapshot.at < between.at:  # the clock was set back
            before, between = None, snapshot
        elif snapshot.at >= between.at + SEEN_SECONDS:
            before, between = between, snapshot
        self._of[snapshot.account] = before, between, snapshot
        self.last = snapshot

    @property
    def recent(self) -> OpenSnapshot | None:
        """All that was open in the snapshots of the last account; None if they are too new."""
        return None if self.last is None else self.recent_of(self.last.account)

    def recent_of(self, account: str) -> OpenSnapshot | None:
        """Return all that was open in an account's snapshots; None if they are too new."""
        before, between, last = self._of.get(account, (None, None, None))
        if before is None or between is None or last is None:
            return None
        return OpenSnapshot(before.at, before.open | between.open | last.open, account)


def is_over(one: SentCommand, snapshot: OpenSnapshot) -> bool:
    """Whether nothing of a command is open or may still open."""
    if snapshot.open.has(one):
        return False
    return one.end in (*NO_EFFECT, GONE) or one.at < snapshot.at - SEEN_SECONDS


def without_ended(
    found: Sequence[SentCommand], snapshot: OpenSnapshot, oldest: float, most: int
) -> list[SentCommand]:
    """Return the commands to keep: all about what is or may be open, of any age and number, and
    ended ones up to `most` in total, none older than `oldest`. Commands without an effect go first,
    then the oldest."""
    snapshot = replace(
        snapshot, open=CommandFilter(snapshot.open.magics - {0}, snapshot.open.tickets)
    )  # 0 is no order's magic number
    had = [one for one in found if one.end not in NO_EFFECT]
    alive = [one for one in had if not is_over(one, snapshot)]
    magics = {one.magic for one in alive} - {0}
    stays = {one.number for one in alive} | {one.number for one in had if one.magic in magics}
    over = [one for one in found if one.number not in stays and one.at >= oldest]
    over.sort(key=lambda one: (one.end not in NO_EFFECT, one.at))
    spare = max(0, len(stays) + len(over) - most)
    stays |= {one.number for one in over[spare:]}
    return [one for one in found if one.number in stays]


def client_order_ids(intents: Iterable[SentCommand]) -> dict[int, str]:
    """Return the client order ids of entries by their magic numbers."""
    return {one.magic: one.client_order_id for one in intents if one.what == OPEN}


def exits_by_ticket(intents: Iterable[SentCommand]) -> dict[int, SentCommand]:
    """Return, by ticket, the exit that may have closed it."""
    return {one.ticket: one for one in intents if one.what == CLOSE and one.may_live}
