"""Commands that we sent to a terminal: which have ended, and which the journal may drop. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from brokers.dwx.parse import Snapshot

VISIBLE_WITHIN_SECONDS = 600.0  # after it a sent command shows its effect, if it had one
OPEN, CLOSE = "open", "close"  # actions
# Outcomes.
UNSENT, REFUSED, PLACED, GONE, IN_PART = "unsent", "refused", "placed", "gone", "in part"
NO_EFFECT = (UNSENT, REFUSED)


@dataclass(frozen=True, slots=True)
class SentCommand:
    """One command to place an order (action OPEN) or to close a ticket (CLOSE).

    number: of the command, unique in a terminal's folder. at: seconds since 1970. ticket: what a
    CLOSE closes; of an OPEN at MetaTrader 4 the first ticket of its position, by which that is
    known even if its tickets are numbered again; 0: not known. root: the first ticket of that
    position, which has another ticket after each partial close. outcome: UNSENT or REFUSED (no
    effect), PLACED (a working order), GONE (worked, and is neither open nor filled any more),
    IN_PART (a market order that MetaTrader 4 filled in part); '' if it is not known for certain.
    account: to which the terminal was logged in; '' if an older version wrote it. expires: of a GTD
    order, in seconds of the server's time; 0: none.
    after: of an exit on MetaTrader 5, the highest number of a deal that was known when it was sent;
    below 0: not known. deals: the numbers of the deals that were reported as this exit's, or, of an
    entry, as closes of its position by others."""

    number: int
    at: float
    action: str
    client_order_id: str
    magic: int
    symbol: str
    lots: Decimal
    ticket: int = 0
    root: int = 0
    outcome: str = ""
    account: str = ""
    expires: int = 0
    after: int = -1
    deals: tuple[int, ...] = ()

    @property
    def may_take_effect(self) -> bool:
        """Whether it may have had an effect that is not visible yet."""
        return self.outcome == ""

    def may_have_made(self, number: int, lots: Decimal) -> bool:
        """Whether it may have made a deal of this number and volume, or made it among others."""
        return number > self.after and lots <= self.lots


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Selects commands by magic numbers, tickets and client order ids; one of them suffices."""

    magics: frozenset[int] = frozenset()
    tickets: frozenset[int] = frozenset()
    ids: frozenset[str] = frozenset()

    @classmethod
    def open(cls, snapshot: Snapshot, client_order_id: str = "") -> "CommandFilter":
        """Return the filter of what is open, the tickets that it came from, and one order more."""
        numbers = {number or 0 for t in snapshot.tickets for number in (t.number, t.origin)}
        return cls(
            frozenset(ticket.magic for ticket in snapshot.tickets),
            frozenset(numbers - {0}),
            frozenset({client_order_id} - {""}),
        )

    def selects(self, command: SentCommand) -> bool:
        """Whether a command is in the selection."""
        return (
            command.magic in self.magics
            or command.ticket in self.tickets
            or command.client_order_id in self.ids
        )

    def covers(self, other: "CommandFilter") -> bool:
        """Whether it selects everything that the other one does."""
        has_ids = self.ids >= other.ids
        return has_ids and self.magics >= other.magics and self.tickets >= other.tickets

    # Both drop the client order ids: an id is of the order that one query is about, which may not
    # be open. It must neither count as open later, nor be expected in memory, where commands are
    # kept by magic number and ticket.
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
    VISIBLE_WITHIN_SECONDS before the next.

    An order may be in no file for a moment while it becomes a position, and a close must be
    reported before it is forgotten. Accounts are separate, since the owner may log the terminal in
    to another one, and the files then show nothing of the first."""

    def __init__(self) -> None:
        self.last: OpenSnapshot | None = None
        # By account: the oldest (None until there is one), the one between, and the last.
        self._by_account: dict[str, tuple[OpenSnapshot | None, OpenSnapshot, OpenSnapshot]] = {}

    def record_open(self, snapshot: OpenSnapshot) -> None:
        unknown = None, snapshot, snapshot
        oldest, between, _ = self._by_account.get(snapshot.account, unknown)
        if snapshot.at < between.at:  # the clock was set back
            oldest, between = None, snapshot
        elif snapshot.at >= between.at + VISIBLE_WITHIN_SECONDS:
            oldest, between = between, snapshot
        self._by_account[snapshot.account] = oldest, between, snapshot
        self.last = snapshot

    @property
    def recent(self) -> OpenSnapshot | None:
        """All that was open in the snapshots of the last account; None if they are too new."""
        return None if self.last is None else self.recent_of(self.last.account)

    def recent_of(self, account: str) -> OpenSnapshot | None:
        """Return all that was open in an account's snapshots; None if they are too new."""
        oldest, between, last = self._by_account.get(account, (None, None, None))
        if oldest is None or between is None or last is None:
            return None
        return OpenSnapshot(oldest.at, oldest.open | between.open | last.open, account)


def is_over(command: SentCommand, snapshot: OpenSnapshot) -> bool:
    """Whether nothing of a command is open or may still open."""
    if snapshot.open.selects(command):
        return False
    has_ended = command.outcome in (*NO_EFFECT, GONE)
    return has_ended or command.at < snapshot.at - VISIBLE_WITHIN_SECONDS


def without_ended(
    commands: Sequence[SentCommand], snapshot: OpenSnapshot, oldest: float, limit: int
) -> list[SentCommand]:
    """Return the commands to keep, in their order.

    These are all about what is or may be open, of any age and number, and ended ones up to `limit`
    in total, none before `oldest` (seconds since 1970). Commands without an effect are dropped
    first, then the oldest."""
    snapshot = replace(
        snapshot, open=CommandFilter(snapshot.open.magics - {0}, snapshot.open.tickets)
    )  # 0 is no order's magic number
    effective = [one for one in commands if one.outcome not in NO_EFFECT]
    may_be_open = [one for one in effective if not is_over(one, snapshot)]
    magics = {one.magic for one in may_be_open} - {0}
    kept = {one.number for one in may_be_open}
    kept |= {one.number for one in effective if one.magic in magics}
    removable = [one for one in commands if one.number not in kept and one.at >= oldest]
    removable.sort(key=lambda one: (one.outcome not in NO_EFFECT, one.at))
    excess = max(0, len(kept) + len(removable) - limit)
    kept |= {one.number for one in removable[excess:]}
    return [one for one in commands if one.number in kept]


def exits_with_effect(commands: Iterable[SentCommand]) -> list[SentCommand]:
    """Return the exits that may have an effect, without those that were sent again.

    What is sent again, with the same client order id, was found absent: its repetition has the
    deals, unless the ledger has some as its own.
    """
    exits = [one for one in commands if one.action == CLOSE and one.may_take_effect]
    newest = {one.client_order_id: one.number for one in sorted(exits, key=lambda one: one.number)}
    return [one for one in exits if one.deals or newest[one.client_order_id] == one.number]


def most_likely_first(exits: Iterable[SentCommand]) -> list[SentCommand]:
    """Return exits in the order in which they may have a deal that several of them may have made.

    The newest is first: an older one has shown no effect for a while. Those of an older version are
    last, the oldest first: it is not known which deals there were when they were sent."""
    in_order = sorted(exits, key=lambda one: (one.after, one.at, one.number))
    known = [one for one in in_order if one.after >= 0]
    return [*reversed(known), *(one for one in in_order if one.after < 0)]


def client_order_ids(commands: Iterable[SentCommand]) -> dict[int, str]:
    """Return the client order ids of entries by their magic numbers."""
    return {one.magic: one.client_order_id for one in commands if one.action == OPEN}


def first_tickets(commands: Iterable[SentCommand]) -> dict[str, int]:
    """Return the first tickets of our positions by client order id, as far as they are known."""
    return {
        one.client_order_id: one.ticket for one in commands if one.action == OPEN and one.ticket
    }


def exits_by_ticket(commands: Iterable[SentCommand]) -> dict[int, SentCommand]:
    """Return, by ticket, the exit that may have closed it."""
    return {one.ticket: one for one in commands if one.action == CLOSE and one.may_take_effect}
