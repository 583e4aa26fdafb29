"""What a terminal shows, told as reports. Pure.

MT4 gives what a partial close leaves over a new ticket. A position keeps the number of the ticket
that it began as, and so do its reports. A ticket is filled at once and closed at once: its fills
are `<first ticket>:in` and `<ticket>:out`. MT4 shows one commission for both ways; it is told with
the exit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from brokers.dwx import parse
from brokers.dwx.kin import birth, kin, up
from brokers.dwx.ledger import CLOSE, OPEN, Intent, closes, names
from brokers.dwx.lots import Lots, LotsError, lots_of
from brokers.dwx.marks import Mark, Open, open_now
from brokers.dwx.parse import Marked, Snapshot, Ticket
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


class HiddenError(Exception):
    """A part of a position's past is not in sight; with the whole history it may be."""


@dataclass(frozen=True)
class Books:
    """All that is known of one terminal at one moment. closed: what was told of the history;
    roots: the first tickets of what was open the last time; reach: since when the history tells
    all, in seconds since 1970."""

    spec: ConnectionSpec
    zone: Zone
    snapshot: Snapshot
    closed: Sequence[Any]
    intents: Sequence[Intent]
    roots: Mapping[int, int]
    reach: float = math.inf

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
        family = kin(self.tickets, self.names)
        found = {}
        for one in self.tickets:
            root = up(one.number, parents)
            root = min(root, family.get(birth(one), root))
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

    def position_id(self, ticket: Ticket) -> str:
        """The number under which a position is told, whatever its present ticket."""
        return str(self.roots_now[ticket.number])

    def check(self) -> None:
        """Raise AwayError if the account is not one that can be traded."""

    def waiting(self) -> list[Intent]:
        """Our entries that wait and are not noted to; where the history is silent on them."""
        return []

    def missed(self, awaited: str = "") -> set[str]:
        """Orders of ours, and this one, that waited and are in no file."""
        return set()

    def overtaken(self, intent: Intent) -> bool:
        """Whether what an exit would close was closed otherwise: a ticket closes only once.

        Raises HiddenError where it is neither open nor closed."""
        if any(one.number == intent.ticket for one in self.closed):
            return True
        if all(one.number != intent.ticket for one in self.snapshot.tickets):
            raise HiddenError(f"Ticket {intent.ticket} is not in sight.")
        return False

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
        closed = [one for one in self.closed if one.is_position]
        return [self.left(one) for one in closed if self._left_as(one) == client_order_id]

    def left(self, ticket: Ticket) -> OrderReport:
        """Tell how a closed ticket was closed: by an exit of ours, or by whom else."""
        intent = self._exit_of(ticket)
        return OrderReport(
            ReportKind.FILLED,
            self.spec.connection_id,
            self._left_as(ticket),
            broker_order_id=f"{ticket.number}:close",
            broker_position_id=self.position_id(ticket),
            fills=(self._out(ticket),),
            close_cause=None if intent else parse.cause_of(ticket),
        )

    def lots(self, ticket: Marked) -> Lots:
        """What a lot of its symbol is. Raises HiddenError if nobody says, and it is ours.

        Of what is not ours the lots are told as they are: the owner's index or share is no reason
        to know nothing of the account.
        """
        try:
            if ticket.symbol not in self._lots:
                self._lots[ticket.symbol] = lots_of(self.spec.settings, ticket.symbol)
            return self._lots[ticket.symbol]
        except LotsError as error:
            if parse.client_order_id_of(ticket, self.names):
                raise HiddenError(str(error)) from error
            one = Decimal(1)
            return Lots(ticket.symbol, "", one, 5, Decimal("0.00001"), one, one, one)

    @cached_property
    def _lots(self) -> dict[str, Lots]:
        return {}

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
        known = mark.open if mark else None
        before: Mapping[int, Open] = known or {}
        told = [one for one in self._fills(known, moment) if one.client_order_id]
        for one in self.closed:
            was = before.get(one.number)
            if was and was.waits and (client_order_id := parse.client_order_id_of(one, self.names)):
                reports = self.entry(client_order_id) or []
                told += [report for report in reports if report.kind in ENDED]
        return told

    def _fills(self, mark: Mapping[int, Open] | None, moment: datetime) -> list[OrderReport]:
        """Tell what was opened and closed since a moment, what was not yet filled `before`, and
        what was open then and is closed."""
        positions, before = [one for one in self.tickets if one.is_position], mark or {}

        def entered(one: Ticket) -> bool:
            was = before.get(one.number)
            waited = was is not None and was.waits
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
        known = self.names
        return [
            BrokerPosition(
                self.position_id(one), one.symbol, one.side,
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
            broker_position_id=self.position_id(ticket) if ticket.is_position else "",
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

    def _left_as(self, ticket: Ticket) -> str:
        """The client order id of the exit that closed a ticket, or of its entry."""
        intent = self._exit_of(ticket)
        return intent.client_order_id if intent else parse.client_order_id_of(ticket, self.names)

    def _exit_of(self, ticket: Ticket) -> Intent | None:
        intent = self._closers.get(ticket.number)
        marked = "[sl" in ticket.comment.lower() or "[tp" in ticket.comment.lower()
        return intent if intent and intent.lots == ticket.lots and not marked else None
