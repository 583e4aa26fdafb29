"""What we have asked a terminal for, whether it is over, and what of it may be forgotten. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from brokers.dwx.parse import Snapshot

SEEN_SECONDS = 600.0  # how long what was sent may not have been seen yet
OPEN, CLOSE = "open", "close"
UNSENT, REFUSED, PLACED, GONE = "unsent", "refused", "placed", "gone"
NO_EFFECT = (UNSENT, REFUSED)


@dataclass(frozen=True, slots=True)
class SentCommand:
    """One command that may place or close. at: seconds since 1970. end: how it ended for certain,
    without effect, as an order that was seen to wait (PLACED), or as one that waited and is neither
    open nor filled any more (GONE); '' while that is not known. account: at which the terminal was
    logged in; '' where an older version wrote it down."""

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
        """Whether it may have had an effect that nobody has seen."""
        return self.end == ""


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """What intents may be about: magic numbers, tickets, client order ids."""

    magics: frozenset[int] = frozenset()
    tickets: frozenset[int] = frozenset()
    ids: frozenset[str] = frozenset()

    @classmethod
    def open(cls, snapshot: Snapshot, client_order_id: str = "") -> "CommandFilter":
        """What is open now, where it came from, and an order."""
        numbers = {number or 0 for one in snapshot.tickets for number in (one.number, one.origin)}
        return cls(
            frozenset(one.magic for one in snapshot.tickets),
            frozenset(numbers - {0}),
            frozenset({client_order_id} - {""}),
        )

    def has(self, one: SentCommand) -> bool:
        return (
            one.magic in self.magics
            or one.ticket in self.tickets
            or one.client_order_id in self.ids
        )  # fmt: skip

    def covers(self, other: "CommandFilter") -> bool:
        ids = self.ids >= other.ids
        return ids and self.magics >= other.magics and self.tickets >= other.tickets

    def __and__(self, other: "CommandFilter") -> "CommandFilter":
        return CommandFilter(self.magics & other.magics, self.tickets & other.tickets)

    def __or__(self, other: "CommandFilter") -> "CommandFilter":
        return CommandFilter(self.magics | other.magics, self.tickets | other.tickets)


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """What was open when somebody looked, of an account. at: seconds since 1970."""

    at: float
    open: CommandFilter
    account: str = ""


class OpenSnapshots:
    """What was open at one terminal, whenever somebody looked: the last time, and two times each
    SEEN_SECONDS before the next. What lies between an order that waited and its position may be in
    no file for a moment, and what was closed is to be told before it is forgotten. Each account by
    itself: its owner may log the terminal in to another one, and its files show nothing of it."""

    def __init__(self) -> None:
        self.last: OpenSnapshot | None = None
        self._of: dict[
            str, tuple[OpenSnapshot | None, OpenSnapshot, OpenSnapshot]
        ] = {}  # before, between, and the last

    def record_open(self, snapshot: OpenSnapshot) -> None:
        before, between, _ = self._of.get(snapshot.account, (None, snapshot, snapshot))
        if snapshot.at < between.at:  # the clock was set back
            before, between = None, snapshot
        elif snapshot.at >= between.at + SEEN_SECONDS:
            before, between = between, snapshot
        self._of[snapshot.account] = before, between, snapshot
        self.last = snapshot

    @property
    def lately(self) -> OpenSnapshot | None:
        """All that was open at any of them, of the account that was looked at last; None: nobody
        has looked for long enough."""
        return None if self.last is None else self.lately_of(self.last.account)

    def lately_of(self, account: str) -> OpenSnapshot | None:
        """The same of an account, until it was last looked at."""
        before, between, last = self._of.get(account, (None, None, None))
        if before is None or between is None or last is None:
            return None
        return OpenSnapshot(before.at, before.open | between.open | last.open, account)


def is_over(one: SentCommand, snapshot: OpenSnapshot) -> bool:
    """Whether nothing of an intent is open or may yet be."""
    if snapshot.open.has(one):
        return False
    return one.end in (*NO_EFFECT, GONE) or one.at < snapshot.at - SEEN_SECONDS


def without_ended(
    found: Sequence[SentCommand], snapshot: OpenSnapshot, oldest: float, most: int
) -> list[SentCommand]:
    """Return what is not forgotten: all that is or may be open, with all that was ever sent about
    it, however old it is and however much; and of what is over at most so many together with that,
    none older than `oldest`: first what had no effect goes, then the oldest."""
    snapshot = replace(
        snapshot, open=CommandFilter(snapshot.open.magics - {0}, snapshot.open.tickets)
    )  # 0: no order's
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
