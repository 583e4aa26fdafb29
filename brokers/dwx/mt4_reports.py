"""Make reports from a terminal's state. Pure.

After a partial close MT4 gives the remainder a new ticket. A reported position keeps the number of
its first ticket. A ticket is filled at once and closed at once: its fills are `<first ticket>:in`
and `<ticket>:out`. MT4 has one commission for both; the exit's report has it.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from brokers.dwx import parse
from brokers.dwx.parse import Ticket
from brokers.dwx.sent_commands import CLOSE, IN_PART, OPEN, SentCommand
from brokers.dwx.server_time import earliest_possible
from brokers.dwx.sync_marks import (
    HeldLevelFlags,
    OpenTicket,
    SyncMark,
    WaitingClose,
    levels_now,
    open_now,
)
from brokers.dwx.terminal_state import HistoryNeededError, TerminalState
from brokers.types import (
    BrokerOrder,
    BrokerPosition,
    Execution,
    OrderReport,
    OrderType,
    ReportKind,
)
from common.reason_codes import Code

ENDED = (ReportKind.CANCELLED, ReportKind.EXPIRED)


@dataclass(frozen=True)
class Mt4Reports(TerminalState):
    """The state of a MetaTrader 4 terminal, as reports."""

    def check(self) -> None:
        """Raise TerminalUnavailableError if the account cannot be traded."""

    @property
    def waiting_closes(self) -> Mapping[int, WaitingClose]:
        """The closes by the server that are not reported yet, since it may open again what it has
        closed; by the number of the execution."""
        return {}

    def unstored_tickets(self) -> list[SentCommand]:
        """Return our entries with the first tickets of their positions, where the ledger does not
        have them."""
        lacking = {
            one.client_order_id: one
            for one in self.commands
            if one.action == OPEN and one.client_order_id not in self._first_of
        }
        return [
            replace(entry, ticket=self.roots_now[one.number])
            for one in self.snapshot.tickets
            if one.is_position
            and (entry := lacking.get(parse.client_order_id_of(one, self.names))) is not None
        ]

    def unstored_closes(self) -> dict[int, tuple[int, ...]]:
        """Return the deals that the reports have as those of commands, by the commands' numbers,
        where the ledger does not have them."""
        return {}

    def check_absent(self, command: SentCommand) -> None:
        """Raise HistoryNeededError if an exit without executions may have had an effect."""

    def newly_working(self) -> list[SentCommand]:
        """Return our working entries that are not stored as such, if the history omits them."""
        return []

    def vanished(self, awaited: str = "") -> set[str]:
        """Return our orders, and this one, that worked and are in no file any more."""
        return set()

    def overtaken(self, command: SentCommand) -> bool:
        """Whether something else closed the ticket of an exit: a ticket closes only once.

        Raises HistoryNeededError if it is neither open nor closed."""
        if any(one.number == command.ticket for one in self.closed):
            return True
        if any(
            one.number == command.ticket or self.roots_now[one.number] == command.root
            for one in self.snapshot.tickets
        ):
            return False  # it is open, perhaps under another number
        raise HistoryNeededError(f"Ticket {command.ticket} is not in sight.")

    def closes_once(self, commands: Sequence[SentCommand]) -> bool:
        """Whether these commands, sent again, could close no more than the ticket that they name:
        after a close, also of a part, MetaTrader 4 has no such ticket."""
        return all(one.action == CLOSE for one in commands)

    # ---- an order by its id ----------------------------------------------------------------
    def entry(self, client_order_id: str) -> list[OrderReport] | None:
        """Return the reports of an entry; None if it does not exist. Raises HistoryNeededError."""
        own = [one for one in self.tickets if parse.is_order(one, client_order_id)]
        if not own:
            return None
        if filled := [one for one in own if one.is_position]:
            reports = [self._entry_report(*group) for group in self._groups(filled)]
            return reports + self._rest_of(client_order_id, reports)
        return [self._unfilled_report(one, client_order_id) for one in own]

    def exits(self, client_order_id: str) -> list[OrderReport]:
        """Return the reports of an exit of ours."""
        closed = [one for one in self.closed if one.is_position]
        return [
            self.exit_report(one)
            for one in closed
            if self._closing_order_id(one) == client_order_id
        ]

    def exit_report(self, ticket: Ticket) -> OrderReport:
        """Return the report of a closed ticket: by our exit, or an external one."""
        command = self._exit_of(ticket)
        return OrderReport(
            ReportKind.FILLED,
            self.spec.connection_id,
            self._closing_order_id(ticket),
            broker_order_id=f"{ticket.number}:close",
            broker_position_id=self.position_id(ticket),
            fills=(self._exit_fill(ticket),),
            close_cause=None if command else parse.cause_of(ticket),
        )

    # ---- all orders ------------------------------------------------------------------------
    def since(self, moment: datetime) -> list[OrderReport]:
        """Return all fills since a time, also of closed positions. Raises HistoryNeededError."""
        return self._fills(None, moment)

    @property
    def mark(self) -> SyncMark:
        """How far these reports reach: what is open."""
        closed = {one.number for one in self.closed}
        now = open_now(self.snapshot)
        return SyncMark({number: ticket for number, ticket in now.items() if number not in closed})

    def changes_since(
        self, mark: SyncMark | None, moment: datetime, known_fills: Container[str] = ()
    ) -> list[OrderReport]:
        """Return what happened to our orders since a mark, independent of clocks, and by their time
        since a moment. known_fills: ids of executions to leave out.

        Raises HistoryNeededError."""
        known = mark.open if mark else None
        before: Mapping[int, OpenTicket] = known or {}
        fills = self._fills(known, moment, known_fills)
        found = [one for one in fills if one.client_order_id]
        for one in self.closed:
            was = before.get(one.number)
            if was and was.waits and (client_order_id := parse.client_order_id_of(one, self.names)):
                reports = self.entry(client_order_id) or []
                found += [report for report in reports if report.kind in ENDED]
        return found

    def _fills(
        self, mark: Mapping[int, OpenTicket] | None, moment: datetime, known: Container[str] = ()
    ) -> list[OrderReport]:
        """Return fills since a moment, of orders that were not filled at the mark, and of positions
        that were open at the mark and are closed."""
        positions, before = [one for one in self.tickets if one.is_position], mark or {}
        early = earliest_possible(moment)

        def since(server_time: datetime) -> bool:
            return server_time >= early and self.zone.utc(server_time) >= moment

        def is_entry(one: Ticket) -> bool:
            was = before.get(one.number)
            waited = was is not None and was.waits
            is_new = mark is not None and one.closed_at is None and one.number not in before
            return waited or is_new or since(one.opened_at)

        def is_exit(one: Ticket) -> bool:
            return one.closed_at is not None and (one.number in before or since(one.closed_at))

        begun = {self.roots_now[one.number] for one in positions if is_entry(one)}
        groups = self._groups([one for one in positions if self.roots_now[one.number] in begun])
        for root, parts in groups:
            self._check_whole(root, parts)
        found = [self._entry_report(*group) for group in groups if f"{group[0]}:in" not in known]
        ended = [one for one in positions if is_exit(one)]
        return found + [self.exit_report(one) for one in ended if f"{one.number}:out" not in known]

    def positions(self) -> list[BrokerPosition]:
        """Return all open positions. Raises HistoryNeededError."""
        known = self.names
        return [
            BrokerPosition(
                self.position_id(one), one.symbol, one.side,
                self.lots(one).quantity(one.lots), one.price, parse.levels_of(one),
                parse.client_order_id_of(one, known), self.zone.utc(one.opened_at),
            )
            for one in self.snapshot.tickets
            if one.is_position
        ]  # fmt: skip

    def open_orders(self) -> list[BrokerOrder]:
        """Return all working orders."""
        known = self.names
        return [
            BrokerOrder(
                str(one.number), one.symbol, one.side, one.order_type,
                self.lots(one).quantity(one.lots),
                limit_price=one.price if one.order_type is OrderType.LIMIT else None,
                stop_price=one.price if one.order_type is OrderType.STOP else None,
                stop_loss=one.stop_loss, take_profit=one.take_profit,
                client_order_id=parse.client_order_id_of(one, known),
                placed_at=self.zone.utc(one.opened_at),
            )
            for one in self.snapshot.tickets
            if not one.is_position
        ]  # fmt: skip

    def levels(self, ticket: Ticket, client_order_id: str) -> OrderReport:
        return OrderReport(
            ReportKind.LEVELS, self.spec.connection_id, client_order_id,
            broker_position_id=self.position_id(ticket) if ticket.is_position else "",
            levels=parse.levels_of(ticket),
        )  # fmt: skip

    def changed_levels(self, before: Mapping[int, HeldLevelFlags]) -> list[OrderReport]:
        """Return LEVELS reports of our open positions that have gained or lost a level.

        before: which levels they had, by first ticket. Raises HistoryNeededError."""
        now = levels_now(self.snapshot, self.roots_now)
        changed = {root for root, has in now.items() if before.get(root, has) != has}
        return [
            self.levels(one, client_order_id)
            for one in self.tickets
            if one.is_position and one.closed_at is None
            and self.roots_now[one.number] in changed
            and (client_order_id := parse.client_order_id_of(one, self.names))
        ]  # fmt: skip

    def _groups(self, tickets: Sequence[Ticket]) -> list[tuple[int, list[Ticket]]]:
        """Return the tickets of each position, by its first ticket."""
        found: dict[int, list[Ticket]] = {}
        for one in tickets:
            found.setdefault(self.roots_now[one.number], []).append(one)
        return sorted(found.items())

    # ---- parts of it -----------------------------------------------------------------------
    def _check_whole(self, root: int, parts: Sequence[Ticket]) -> tuple[str, Decimal]:
        """Return a position's client order id and all its lots. Raises HistoryNeededError if some
        are missing."""
        first = min(parts, key=lambda one: one.number)
        lots = sum((one.lots for one in parts), Decimal(0))
        client_order_id = parse.client_order_id_of(first, self.names)
        if lots < self._ordered.get(client_order_id, lots):
            raise HistoryNeededError(f"ticket {root} was opened with more lots than are listed")
        return client_order_id, lots

    def _entry_report(self, root: int, parts: Sequence[Ticket]) -> OrderReport:
        client_order_id, lots = self._check_whole(root, parts)
        first = min(parts, key=lambda one: one.number)
        last = max(parts, key=lambda one: one.number)
        fill = Execution(
            f"{root}:in", self.lots(first).quantity(lots), first.price,
            self.zone.utc(first.opened_at), commission_currency=self.snapshot.account.currency,
        )  # fmt: skip
        return OrderReport(
            ReportKind.FILLED, self.spec.connection_id,
            client_order_id, str(root), str(root), (fill,),
            levels=parse.levels_of(last) if last.closed_at is None else None,
        )  # fmt: skip

    def _rest_of(self, client_order_id: str, filled: Sequence[OrderReport]) -> list[OrderReport]:
        """Return the cancellation of what the server did not fill of a market order; else []."""
        is_in_part = any(
            one.client_order_id == client_order_id and one.outcome == IN_PART
            for one in self.commands
        )
        if not filled or not is_in_part:
            return []
        return [
            OrderReport(
                ReportKind.CANCELLED, self.spec.connection_id, client_order_id,
                filled[0].broker_order_id, filled[0].broker_position_id,
                detail="The server filled a part of it, and took the rest away.",
            )
        ]  # fmt: skip

    def _unfilled_report(self, ticket: Ticket, client_order_id: str) -> OrderReport:
        kind, code, why = ReportKind.ACCEPTED, None, ""
        if ticket.closed_at is not None:
            kind, why = ReportKind.CANCELLED, ticket.comment.replace(client_order_id, "").strip()
            if "expir" in why.lower():
                kind, code = ReportKind.EXPIRED, Code.TIME_IN_FORCE_ENDED
            elif "no money" in why.lower():  # the server deletes what it cannot open
                code = Code.NO_MONEY
        return OrderReport(
            kind, self.spec.connection_id, client_order_id, str(ticket.number),
            levels=parse.levels_of(ticket), code=code, detail=why,
        )  # fmt: skip

    def _exit_fill(self, ticket: Ticket) -> Execution:
        closed_at = ticket.closed_at or ticket.opened_at
        return Execution(
            f"{ticket.number}:out", self.lots(ticket).quantity(ticket.lots), ticket.close_price,
            self.zone.utc(closed_at), -ticket.commission, self.snapshot.account.currency,
            swap=ticket.swap,
        )  # fmt: skip

    def _closing_order_id(self, ticket: Ticket) -> str:
        """Return the client order id of the exit that closed a ticket, or of its entry."""
        command = self._exit_of(ticket)
        return command.client_order_id if command else parse.client_order_id_of(ticket, self.names)

    def _exit_of(self, ticket: Ticket) -> SentCommand | None:
        command = self._closers.get(ticket.number)
        marked = "[sl" in ticket.comment.lower() or "[tp" in ticket.comment.lower()
        return command if command and command.lots == ticket.lots and not marked else None
