"""The state of one terminal at a moment: our ids of the tickets, and their positions. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from brokers.dwx import parse
from brokers.dwx.first_seen import Sightings
from brokers.dwx.lots import Lots, LotsError, lots_of
from brokers.dwx.parse import Marked, Snapshot, Ticket
from brokers.dwx.sent_commands import (
    CLOSE,
    IN_PART,
    OPEN,
    SentCommand,
    client_order_ids,
    exits_by_ticket,
    first_tickets,
)
from brokers.dwx.server_time import Zone
from brokers.types import ConnectionSpec, Side


class HistoryNeededError(Exception):
    """A part of a position's past is missing; the complete history may have it."""


@dataclass(frozen=True)
class TerminalState:
    """The state of one terminal at one moment. closed: the history that was read; roots: the first
    tickets of what was open before; sides: of the same; reach: since when the history is complete,
    in seconds since 1970; sightings: since when its executions are known."""

    spec: ConnectionSpec
    zone: Zone
    snapshot: Snapshot
    closed: Sequence[Any]
    commands: Sequence[SentCommand]
    roots: Mapping[int, int]
    reach: float = math.inf
    sightings: Sightings = field(default_factory=Sightings)
    sides: Mapping[int, Side] = field(default_factory=dict)

    @cached_property
    def tickets(self) -> list[Ticket]:
        """All tickets, each once; one that was closed between both reads is closed."""
        closed = {one.number for one in self.closed}
        return [*self.closed, *(t for t in self.snapshot.tickets if t.number not in closed)]

    @cached_property
    def names(self) -> dict[int, str]:
        """Client order ids by magic number, of entries that we have sent from here."""
        return client_order_ids(self.commands)

    @cached_property
    def roots_now(self) -> dict[int, int]:
        """The first ticket of each ticket. Raises HistoryNeededError if one of ours has none."""
        parents = self._parents
        known = {i.ticket: i.root for i in self.commands if i.action == CLOSE} | dict(self.roots)
        seen = {one.number for one in self.tickets} | set(known)
        family = _first_tickets(self.tickets, self.names)
        found = {}
        for one in self.tickets:
            root = _first_ancestor(one.number, parents)
            root = min(root, family.get(_part_key(one), root))
            if first := self._first_before_move(one):
                root = first
            elif root not in seen and parse.client_order_id_of(one, self.names):
                raise HistoryNeededError(
                    f"ticket {one.number} came from #{root}, which is not listed"
                )
            found[one.number] = known.get(one.number) or known.get(root, root)
        return found

    def _first_before_move(self, ticket: Ticket) -> int:
        """Return the first ticket of a position of ours that has another number now; 0: it has not.

        What carries the id of an entry is that entry's position, also if the ticket that it began
        as is neither open nor closed: the broker has numbered its tickets again."""
        first = self._first_of.get(parse.client_order_id_of(ticket, self.names), 0)
        is_listed = first in self._listed or not ticket.is_position
        return 0 if is_listed else first

    @cached_property
    def _first_of(self) -> dict[str, int]:
        return first_tickets(self.commands)

    @cached_property
    def _listed(self) -> set[int]:
        return {one.number for one in self.tickets}

    @property
    def _parents(self) -> dict[int, int]:
        """The ticket that each remainder was left by. Raises HistoryNeededError."""
        parents = {one.remainder: one.number for one in self.closed if one.remainder}
        listed = {one.number: one.side for one in self.tickets}
        sides = {**self.sides, **listed}
        for one in self.tickets:
            if one.origin is None:
                continue
            if sides.get(one.origin, one.side) is one.side:
                parents.setdefault(one.number, one.origin)
            elif one.origin not in listed and parse.client_order_id_of(one, self.names):
                # Two positions closed each other, and it names the other one (close_by.py).
                raise HistoryNeededError(f"ticket {one.number} names #{one.origin} only")
        return parents

    @cached_property
    def _closers(self) -> dict[int, SentCommand]:
        return exits_by_ticket(self.commands)

    @cached_property
    def _ordered(self) -> dict[str, Decimal]:
        """The lots of our entries, as sent. MT4 fills an order completely, but for those that are
        noted as filled in part: these are left out."""
        sent = [one for one in self.commands if one.action == OPEN and one.outcome != IN_PART]
        return {one.client_order_id: one.lots for one in sent}

    def position_id(self, ticket: Ticket) -> str:
        """Return the position id for reports, which does not change with the ticket."""
        return str(self.roots_now[ticket.number])

    def lots(self, ticket: Marked) -> Lots:
        """Return the lots of a ticket's symbol. Raises HistoryNeededError if the lot size of one of
        our tickets is unknown.

        For a ticket that is not ours, one lot then counts as one unit, so that the account can
        still be read.
        """
        try:
            if ticket.symbol not in self._lots:
                self._lots[ticket.symbol] = lots_of(self.spec.settings, ticket.symbol)
            return self._lots[ticket.symbol]
        except LotsError as error:
            if parse.client_order_id_of(ticket, self.names):
                raise HistoryNeededError(str(error)) from error
            one = Decimal(1)
            return Lots(ticket.symbol, "", one, 5, Decimal("0.00001"), one, one, one)

    @cached_property
    def _lots(self) -> dict[str, Lots]:
        return {}


def _part_key(ticket: Ticket) -> tuple[Any, ...]:
    """Return what all parts of one MetaTrader 4 position share."""
    return ticket.magic, ticket.symbol, ticket.side, ticket.opened_at, ticket.price


def _first_tickets(
    tickets: Iterable[Ticket], known: Mapping[int, str]
) -> dict[tuple[Any, ...], int]:
    """Return the first ticket of each position of ours, by `_part_key`.

    A server that writes no "from #" still keeps magic number, opening time and price."""
    found: dict[tuple[Any, ...], int] = {}
    for one in tickets:
        if one.is_position and parse.client_order_id_of(one, known):
            found[_part_key(one)] = min(one.number, found.get(_part_key(one), one.number))
    return found


def _first_ancestor(number: int, parents: Mapping[int, int]) -> int:
    """Return the ticket that a ticket descends from through partial closes."""
    seen = set()
    while number in parents and number not in seen:
        seen.add(number)
        number = parents[number]
    return number
