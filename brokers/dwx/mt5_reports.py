"""Make reports from a MetaTrader 5 terminal's state. Pure.

A position keeps its ticket after a partial close, but the history only has deals, each with its own
number: these are the executions. So the id of our positions is the magic number of their entry,
`m<magic>`, which all files contain; a position that is not ours has its ticket as id.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from brokers.dwx import parse
from brokers.dwx.exit_deals import (
    PARTS_WITHIN,
    awaited_parts,
    closes_by_others,
    deals_by_exit,
    may_be_made_in_part,
    unstored_deals,
)
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.mt5_deals import (
    IN,
    Deal,
    HeldPosition,
    assign_deals,
    shows_netting,
)
from brokers.dwx.parse import Ticket
from brokers.dwx.reopenings import closes_by_exits, without_reopenings
from brokers.dwx.sent_commands import GONE, OPEN, PLACED, SentCommand, exits_with_effect
from brokers.dwx.server_time import earliest_possible
from brokers.dwx.sync_marks import SyncMark, WaitingClose, open_now
from brokers.dwx.terminal_state import HistoryNeededError
from brokers.types import CloseCause, Execution, HeldLevels, OrderReport, ReportKind
from common.reason_codes import Code


class Mt5Reports(Mt4Reports):
    """All that is known of one terminal at one moment. closed: the history's deals."""

    closed: Sequence[Deal]

    # ---- who is who -----------------------------------------------------------------------
    @cached_property
    def tickets(self) -> list[Ticket]:
        """What is open."""
        return list(self.snapshot.tickets)

    @cached_property
    def roots_now(self) -> dict[int, int]:
        """Tickets stay."""
        return {one.number: one.number for one in self.snapshot.tickets}

    def position_id(self, ticket: Ticket) -> str:
        ours = parse.client_order_id_of(ticket, self.names)
        return f"m{ticket.magic}" if ours else str(ticket.number)

    def check(self) -> None:
        """Raise TerminalUnavailableError HEDGING_NEEDED if the deals show a netting account."""
        if shows_netting(self.closed):
            detail = "A deal reduced or turned a position that it did not name: the account nets."
            raise TerminalUnavailableError(Code.HEDGING_NEEDED, detail)

    @cached_property
    def deals(self) -> list[Deal]:
        """The history's deals, without those that changed no quantity."""
        by_exits = closes_by_exits(self.closed, self._exits, self.zone.utc)
        return without_reopenings(
            self.closed,
            self.names,
            ordered={one.magic: one.lots for one in self._opens},
            by_exits=by_exits | {number for one in self._exits for number in one.deals},
            unreached={one.magic for one in self._opens if one.at < self.reach},
        )

    @cached_property
    def _opens(self) -> list[SentCommand]:
        return [one for one in self.commands if one.action == OPEN]

    @cached_property
    def held(self) -> dict[int, HeldPosition]:
        """Our positions by magic number, and the deals that closed them."""
        still: dict[int, Decimal] = defaultdict(Decimal)
        for one in self.snapshot.tickets:
            if one.is_position and parse.client_order_id_of(one, self.names):
                still[one.magic] += one.lots
        return assign_deals(self.deals, self.names, still, [*self._opens, *self._exits])

    def overtaken(self, command: SentCommand) -> bool:
        open_now = [one for one in self.snapshot.tickets if one.is_position]
        if any(one.number == command.ticket for one in open_now):
            return False
        return command.number not in deals_by_exit(
            self._explained(command.magic), self._exits_of(command)
        )

    def check_absent(self, command: SentCommand) -> None:
        if command not in self._exits:  # an entry, or sent again: then the repetition is checked
            return
        held = self._explained(command.magic)
        if may_be_made_in_part(held, self._exits_of(command), command):
            raise HistoryNeededError(
                "A part of its position was closed since it was sent, perhaps by it: compare the"
                " terminal's history."
            )

    def unstored_tickets(self) -> list[SentCommand]:
        """Return []: a position is named by its entry's magic number, whatever its ticket."""
        return []

    def closes_once(self, commands: Sequence[SentCommand]) -> bool:
        """Return False: a ticket stays after a part of it was closed."""
        return False

    def unstored_closes(self) -> dict[int, tuple[int, ...]]:
        found = dict[int, tuple[int, ...]]()
        entries = {one.magic: one for one in self._opens}
        for magic, held in self.held.items():
            exits = self._exits_by_magic.get(magic, [])
            found |= unstored_deals(held, exits, entries.get(magic), self._unreported)
        return found

    @cached_property
    def _exits(self) -> list[SentCommand]:
        return exits_with_effect(self.commands)

    @cached_property
    def _exits_by_magic(self) -> Mapping[int, list[SentCommand]]:
        found: dict[int, list[SentCommand]] = defaultdict(list)
        for one in self._exits:
            found[one.magic].append(one)
        return found

    def _exits_of(self, command: SentCommand) -> list[SentCommand]:
        return self._exits_by_magic.get(command.magic, [])

    def _explained(self, magic: int) -> HeldPosition:
        """Return a position. Raises HistoryNeededError unless deals explain all closed lots."""
        held = self.held.get(magic)
        if held is None or held.remaining_lots:
            raise HistoryNeededError(
                "The history does not show by which deals a position was closed."
            )
        return held

    # ---- an order by its id ----------------------------------------------------------------
    def entry(self, client_order_id: str) -> list[OrderReport] | None:
        """Return the reports of an entry; None if it does not exist. Raises HistoryNeededError."""
        entered, own = self._entered_by(client_order_id), self._own(client_order_id)
        ended = [self.cancelled(client_order_id)] if self._is_gone(client_order_id) else []
        if entered:
            return [self._filled(client_order_id, entered, None), *ended]
        if any(one.is_position for one in own) or parse.magic_of(client_order_id) in self.held:
            raise HistoryNeededError("It is open, and its execution is not in the history yet.")
        if own:
            return [self._unfilled_report(one, client_order_id) for one in own]
        if any(one.client_order_id == client_order_id for one in self._ended(PLACED)):
            detail = "It no longer works, and the history does not show yet whether it was filled."
            raise HistoryNeededError(detail)
        return ended or None

    def newly_working(self) -> list[SentCommand]:
        waits = {one.magic for one in self.snapshot.tickets if not one.is_position}
        return [one for one in self._opens if one.may_take_effect and one.magic in waits]

    def vanished(self, awaited: str = "") -> set[str]:
        placed = {one.client_order_id for one in self._ended(PLACED) if one.at >= self.reach}
        return {one for one in placed | {awaited} if one and self._is_missing(one)}

    def _is_missing(self, client_order_id: str) -> bool:
        """Whether less of an order was executed than was sent, and nothing of it waits."""
        if any(not one.is_position for one in self._own(client_order_id)):
            return False
        entered = sum((one.lots for one in self._entered_by(client_order_id)), Decimal(0))
        return entered < self._ordered.get(client_order_id, entered or Decimal(1))

    def _is_gone(self, client_order_id: str) -> bool:
        noted = any(one.client_order_id == client_order_id for one in self._ended(GONE))
        return noted and self._is_missing(client_order_id)

    def _ended(self, outcome: str) -> list[SentCommand]:
        return [one for one in self.commands if one.outcome == outcome]

    def _entered_by(self, client_order_id: str) -> list[Deal]:
        magics = (parse.magic_of(client_order_id), 0)
        may_be = [deal for magic in magics for deal in self._entries.get(magic, ())]
        return [one for one in may_be if parse.is_order(one, client_order_id)]

    @cached_property
    def _entries(self) -> Mapping[int, list[Deal]]:
        found: dict[int, list[Deal]] = defaultdict(list)
        for one in self.deals:
            if one.entry == IN and not one.again:
                found[one.magic].append(one)
        return found

    def _own(self, client_order_id: str) -> list[Ticket]:
        return [one for one in self.snapshot.tickets if parse.is_order(one, client_order_id)]

    def cancelled(self, client_order_id: str) -> OrderReport:
        """Return the cancellation of an order that is gone: the history omits unfilled orders."""
        return OrderReport(
            ReportKind.CANCELLED, self.spec.connection_id, client_order_id,
            f"m{parse.magic_of(client_order_id)}",
        )  # fmt: skip

    def exits(self, client_order_id: str) -> list[OrderReport]:
        """Return the reports of an exit of ours."""
        reports = []
        for command in self._exits:
            held = self.held.get(command.magic)
            if command.client_order_id == client_order_id and held:
                parts = deals_by_exit(held, self._exits_of(command)).get(command.number)
                reports += [self._filled(client_order_id, parts, held)] if parts else []
        return reports

    # ---- all there is ----------------------------------------------------------------------
    @property
    def mark(self) -> SyncMark:
        last = max((one.number for one in self.closed), default=0)
        return SyncMark(open_now(self.snapshot), last, self._unreported)

    def changes_since(
        self, mark: SyncMark | None, moment: datetime, known_fills: Container[str] = ()
    ) -> list[OrderReport]:
        reports = self._fill_reports(moment, mark, known_fills)
        now = {one.magic for one in self.snapshot.tickets if not one.is_position}
        for was in mark.open.values() if mark else ():
            client_order_id = self.names.get(was.magic, "")
            if was.waits and was.magic not in now and client_order_id:
                ended = self.entry(client_order_id) or []
                reports += [one for one in ended if one.kind is ReportKind.CANCELLED]
        return reports

    def since(self, moment: datetime) -> list[OrderReport]:
        return self._fill_reports(moment, None)

    def _fill_reports(
        self, moment: datetime, mark: SyncMark | None, known: Container[str] = ()
    ) -> list[OrderReport]:
        """Return our executions since a moment, and those that were not reported at a mark."""
        early = earliest_possible(moment)

        def is_new(deal: Deal) -> bool:
            if str(deal.number) in known:
                return False
            if mark is not None and (deal.number > mark.last or deal.number in mark.waiting):
                return True
            if deal.at < early:
                return False
            # A read before this moment may have left it waiting.
            may_have_waited = mark is None and deal.is_unmarked_close
            since = self.sightings.known_since(deal, self.zone.utc)
            longest = max(self.sightings.wait, PARTS_WITHIN)
            return (since + longest if may_have_waited else self.zone.utc(deal.at)) >= moment

        reports = []
        for magic, held in self.held.items():
            entry = parse.client_order_id_of(held.entered[0], self.names)
            if any(map(is_new, held.filled)):
                reports.append(self._filled(entry, held.filled, None))
            if any(map(is_new, self._explained(magic).closed)):
                reports += self._closings(held, entry, is_new)
        return reports

    def _closings(
        self, held: HeldPosition, entry: str, is_new: Callable[[Deal], bool]
    ) -> list[OrderReport]:
        """Return a position's closes: our exits by their own ids, others by the entry's id."""
        exits = self._exits_by_magic.get(held.magic, [])
        names = {one.number: one.client_order_id for one in exits}
        ours = deals_by_exit(held, exits)
        reports = [
            self._filled(names[number], parts, held)
            for number, parts in ours.items()
            if any(map(is_new, parts))
        ]
        return reports + [
            self._filled(entry, [deal], held, deal.reported_cause)
            for deal in closes_by_others(held, ours)
            if deal.number not in self._unreported and is_new(deal)
        ]

    @cached_property
    def _unreported(self) -> Mapping[int, WaitingClose]:
        """The closes that wait: for what the server may open again, or for another part."""
        found = dict(self.waiting_closes)
        for magic, exits in self._exits_by_magic.items():
            if magic in self.held:
                found |= awaited_parts(self.held[magic], exits, self.sightings.read_at)
        return found

    @cached_property
    def waiting_closes(self) -> Mapping[int, WaitingClose]:
        found = dict[int, WaitingClose]()
        for held in self.held.values():
            waiting = {
                deal.number: one
                for deal in held.closed
                if deal.magic == held.magic and deal.is_unmarked_close
                if (one := self._waiting(deal)).waits(self.sightings.read_at)
            }
            if waiting:
                ours = deals_by_exit(held, self._exits_by_magic.get(held.magic, []))
                by_others = {deal.number for deal in closes_by_others(held, ours)}
                found |= {number: one for number, one in waiting.items() if number in by_others}
        return found

    def _waiting(self, deal: Deal) -> WaitingClose:
        since = self.sightings.known_since(deal, self.zone.utc)
        return WaitingClose(deal.magic, since, since + self.sightings.wait)

    # ---- parts of it -----------------------------------------------------------------------
    def _filled(
        self, client_order_id: str, parts: Sequence[Deal], held: HeldPosition | None,
        cause: CloseCause | None = None,
    ) -> OrderReport:  # fmt: skip
        """held: the position that they closed; None: they opened one."""
        magic = held.magic if held else parts[0].magic
        order = f"{parts[0].number}:close" if held else f"m{magic}"
        fills = tuple(self._execution(one) for one in parts)
        levels = self._levels.get(magic) if held is None else None
        return OrderReport(
            ReportKind.FILLED, self.spec.connection_id, client_order_id, order, f"m{magic}", fills,
            close_cause=cause, levels=levels,
        )  # fmt: skip

    @cached_property
    def _levels(self) -> Mapping[int, HeldLevels]:
        open_now = (one for one in self.snapshot.tickets if one.is_position)
        return {one.magic: parse.levels_of(one) for one in open_now}

    def _execution(self, deal: Deal) -> Execution:
        return Execution(
            str(deal.number), self.lots(deal).quantity(deal.lots), deal.price,
            self.zone.utc(deal.at), -deal.commission, self.snapshot.account.currency,
            swap=deal.swap,
        )  # fmt: skip

    def _unfilled_report(self, ticket: Ticket, client_order_id: str) -> OrderReport:
        return OrderReport(
            ReportKind.ACCEPTED, self.spec.connection_id, client_order_id, f"m{ticket.magic}",
            levels=parse.levels_of(ticket),
        )  # fmt: skip
