"""What a terminal shows, told as reports. Pure.

MT4 gives what a partial close leaves over a new ticket. A position keeps the number of the ticket
that it began as, and so do its reports. A ticket is filled at once and closed at once: its fills
are `<first ticket>:in` and `<ticket>:out`. MT4 shows one commission for both ways; it is told with
the exit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from brokers.dwx import parse
from brokers.dwx.ledger import CLOSE, OPEN, Intent, closes, names
from brokers.dwx.lots import Lots, LotsError, lots_of
from brokers.dwx.parse import Snapshot, Ticket
from brokers.dwx.times import Zone
from brokers.messages import (
    BrokerOrder,
    BrokerPosition,
    ConnectionSpec,
    Execution,
    OrderReport,
    OrderType,
    ReportKind,
)

ENDED = (ReportKind.CANCELLED, ReportKind.EXPIRED)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a terminal has been told. open: what was open, by ticket whether it waits and its
    lots; last: the highest execution's number, where executions have some."""

    open: Mapping[int, tuple[bool, Decimal]]
    last: int = 0


def open_now(snapshot: Snapshot) -> dict[int, tuple[bool, Decimal]]:
    """What is open, as a Mark keeps it."""
    return {one.number: (not one.is_position, one.lots) for one in snapshot.tickets}


class HiddenError(Exception):
    """A part of a position's past is not in sight; with the whole history it may be."""


@dataclass(frozen=True)
class Books:
    """All that is known of one terminal at one moment. closed: what was told of the history;
    roots: the first tickets of what was open the last time."""

    spec: ConnectionSpec
    zone: Zone
    snapshot: Snapshot
    closed: Sequence[Ticket]
    intents: Sequence[Intent]
    roots: Mapping[int, int]

    # ---- who is who -----------------------------------------------------------------------
    @cached_property
    def tickets(self) -> list[Ticket]:
        """Every ticket once; one that was closed between both readings is closed."""
        closed = {one.number for one in self.closed}
        return [*self.closed, *(t for t in self.snapshot.tickets if t.number not in closed)]

    @cached_property
    def names(self) -> dict[int, str]:
        """Client order ids by magic number, of entries that we have sent from here."""
        return names(self.intents)

    @cached_property
    def roots_now(self) -> dict[int, int]:
        """Return the first ticket of each. Raises HiddenError if one of ours cannot be traced."""
        known = {i.ticket: i.root for i in self.intents if i.what == CLOSE} | dict(self.roots)
        seen = {one.number for one in self.tickets} | set(known)
        parents = {one.remainder: one.number for one in self.closed if one.remainder}
        for one in self.tickets:
            if one.origin:
                parents.setdefault(one.number, one.origin)
        kin = _kin(self.tickets, self.names)
        found = {}
        for one in self.tickets:
            root = _up(one.number, parents)
            root = min(root, kin.get(_birth(one), root))
            if root not in seen and parse.client_order_id_of(one, self.names):
                raise HiddenError(f"ticket {one.number} came from #{root}, which is not in sight")
            found[one.number] = known.get(root, root)
        return found

    @cached_property
    def _closers(self) -> dict[int, Intent]:
        return closes(self.intents)

    @cached_property
    def _ordered(self) -> dict[str, Decimal]:
        """Lots of each entry of ours, as it was sent; MT4 fills an order at once or not at all."""
        return {one.client_order_id: one.lots for one in self.intents if one.what == OPEN}

    # ---- an order by its id ----------------------------------------------------------------
    def entry(self, client_order_id: str) -> list[OrderReport] | None:
        """Tell what became of an entry; None: it is not here. Raises HiddenError."""
        own = [one for one in self.tickets if parse.is_order(one, client_order_id)]
        if not own:
            return None
        if filled := [one for one in own if one.is_position]:
            return [self._entered(*group) for group in self._groups(filled)]
        return [self._waiting(one, client_order_id) for one in own]

    def exits(self, client_order_id: str) -> list[OrderReport]:
        """Tell what an exit of ours has closed."""
        told = [self.left(one) for one in self.closed if one.is_position]
        return [one for one in told if one.client_order_id == client_order_id]

    def left(self, ticket: Ticket) -> OrderReport:
        """Tell how a closed ticket was closed: by an exit of ours, or by whom else."""
        intent = self._exit_of(ticket)
        entry = parse.client_order_id_of(ticket, self.names)
        return OrderReport(
            ReportKind.FILLED,
            self.spec.connection_id,
            intent.client_order_id if intent else entry,
            broker_order_id=f"{ticket.number}:close",
            broker_position_id=str(self.roots_now[ticket.number]),
            fills=(self._out(ticket),),
            close_cause=None if intent else parse.cause_of(ticket),
        )

    def lots(self, ticket: Ticket) -> Lots:
        """What a lot of its symbol is. Raises HiddenError if nobody says, and it is ours.

        Of what is not ours the lots are told as they are: the owner's index or share is no reason
        to know nothing of the account.
        """
        try:
            return lots_of(self.spec.settings, ticket.symbol)
        except LotsError as error:
            if parse.client_order_id_of(ticket, self.names):
                raise HiddenError(str(error)) from error
            one = Decimal(1)
            return Lots(ticket.symbol, "", one, 5, Decimal("0.00001"), one, one, one)

    # ---- all there is ----------------------------------------------------------------------
    def since(self, moment: datetime) -> list[OrderReport]:
        """Tell every fill since a time, of all positions, open or closed. Raises HiddenError."""
        return self._fills(None, moment)

    @property
    def mark(self) -> Mark:
        """How far these books tell: what is open."""
        closed = {one.number for one in self.closed}
        now = open_now(self.snapshot)
        return Mark({number: said for number, said in now.items() if number not in closed})

    def news(self, mark: Mark | None, moment: datetime) -> list[OrderReport]:
        """Tell what happened to orders of ours since a mark, whatever the clocks say, and what
        they say happened since a moment. Raises HiddenError."""
        before = mark.open if mark else None
        told = [one for one in self._fills(before, moment) if one.client_order_id]
        for one in self.closed:
            waited, _ = (before or {}).get(one.number, (False, None))
            if waited and (client_order_id := parse.client_order_id_of(one, self.names)):
                reports = self.entry(client_order_id) or []
                told += [report for report in reports if report.kind in ENDED]
        return told

    def _fills(
        self, mark: Mapping[int, tuple[bool, Decimal]] | None, moment: datetime
    ) -> list[OrderReport]:
        """Tell what was opened and closed since a moment, what was not yet filled `before`, and
        what was open then and is closed."""
        positions, before = [one for one in self.tickets if one.is_position], mark or {}

        def entered(one: Ticket) -> bool:
            waited, _ = before.get(one.number, (False, None))
            is_new = mark is not None and one.closed_at is None and one.number not in before
            return waited or is_new or self.zone.utc(one.opened_at) >= moment

        def left(one: Ticket) -> bool:
            at = one.closed_at
            return at is not None and (one.number in before or self.zone.utc(at) >= moment)

        groups = self._groups(positions)
        told = [self._entered(root, parts) for root, parts in groups if any(map(entered, parts))]
        return told + [self.left(one) for one in positions if left(one)]

    def positions(self) -> list[BrokerPosition]:
        """Tell every open position. Raises HiddenError."""
        roots, known = self.roots_now, self.names
        return [
            BrokerPosition(
                str(roots[one.number]), one.symbol, one.side,
                self.lots(one).quantity(one.lots), one.price, one.stop_loss, one.take_profit,
                parse.client_order_id_of(one, known), self.zone.utc(one.opened_at),
            )
            for one in self.snapshot.tickets
            if one.is_position
        ]  # fmt: skip

    def open_orders(self) -> list[BrokerOrder]:
        """Tell every order that waits."""
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
        """Tell the stop and the target of a ticket."""
        return OrderReport(
            ReportKind.LEVELS, self.spec.connection_id, client_order_id,
            broker_position_id=str(self.roots_now[ticket.number]) if ticket.is_position else "",
            stop_loss=ticket.stop_loss, take_profit=ticket.take_profit,
        )  # fmt: skip

    def _groups(self, tickets: Sequence[Ticket]) -> list[tuple[int, list[Ticket]]]:
        """The parts of each position, by its first ticket."""
        found: dict[int, list[Ticket]] = {}
        for one in tickets:
            found.setdefault(self.roots_now[one.number], []).append(one)
        return sorted(found.items())

    # ---- parts of it -----------------------------------------------------------------------
    def _entered(self, root: int, parts: Sequence[Ticket]) -> OrderReport:
        first = min(parts, key=lambda one: one.number)
        lots = sum((one.lots for one in parts), Decimal(0))
        levels = max(parts, key=lambda one: one.number)
        client_order_id = parse.client_order_id_of(first, self.names)
        if lots < self._ordered.get(client_order_id, lots):
            raise HiddenError(f"ticket {root} was opened with more lots than are in sight")
        fill = Execution(
            f"{root}:in", self.lots(first).quantity(lots), first.price,
            self.zone.utc(first.opened_at), commission_currency=self.snapshot.account.currency,
        )  # fmt: skip
        return OrderReport(
            ReportKind.FILLED, self.spec.connection_id,
            client_order_id, str(root), str(root), (fill,),
            stop_loss=levels.stop_loss, take_profit=levels.take_profit,
        )  # fmt: skip

    def _waiting(self, ticket: Ticket, client_order_id: str) -> OrderReport:
        kind = ReportKind.ACCEPTED
        if ticket.closed_at is not None:
            expired = "expir" in ticket.comment.lower()
            kind = ReportKind.EXPIRED if expired else ReportKind.CANCELLED
        return OrderReport(
            kind, self.spec.connection_id, client_order_id, str(ticket.number),
            stop_loss=ticket.stop_loss, take_profit=ticket.take_profit,
        )  # fmt: skip

    def _out(self, ticket: Ticket) -> Execution:
        closed_at = ticket.closed_at or ticket.opened_at
        return Execution(
            f"{ticket.number}:out", self.lots(ticket).quantity(ticket.lots), ticket.close_price,
            self.zone.utc(closed_at), -ticket.commission, self.snapshot.account.currency,
        )  # fmt: skip

    def _exit_of(self, ticket: Ticket) -> Intent | None:
        intent = self._closers.get(ticket.number)
        marked = "[sl" in ticket.comment.lower() or "[tp" in ticket.comment.lower()
        return intent if intent and intent.lots == ticket.lots and not marked else None


def _birth(ticket: Ticket) -> tuple[Any, ...]:
    """What all parts of one position share."""
    return ticket.magic, ticket.symbol, ticket.side, ticket.opened_at, ticket.price


def _kin(tickets: Iterable[Ticket], known: Mapping[int, str]) -> dict[tuple[Any, ...], int]:
    """The first ticket of each position of ours: a server that writes no "from #" still keeps
    magic number, opening time and price."""
    found: dict[tuple[Any, ...], int] = {}
    for one in tickets:
        if one.is_position and parse.client_order_id_of(one, known):
            found[_birth(one)] = min(one.number, found.get(_birth(one), one.number))
    return found


def _up(number: int, parents: Mapping[int, int]) -> int:
    seen = set()
    while number in parents and number not in seen:
        seen.add(number)
        number = parents[number]
    return number
