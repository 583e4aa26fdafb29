"""Which tickets are parts of one MetaTrader 4 position. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from brokers.dwx import parse
from brokers.dwx.parse import Ticket


def part_key(ticket: Ticket) -> tuple[Any, ...]:
    """What all parts of one position share."""
    return ticket.magic, ticket.symbol, ticket.side, ticket.opened_at, ticket.price


def first_tickets(
    tickets: Iterable[Ticket], known: Mapping[int, str]
) -> dict[tuple[Any, ...], int]:
    """The first ticket of each position of ours: a server that writes no "from #" still keeps
    magic number, opening time and price."""
    found: dict[tuple[Any, ...], int] = {}
    for one in tickets:
        if one.is_position and parse.client_order_id_of(one, known):
            found[part_key(one)] = min(one.number, found.get(part_key(one), one.number))
    return found


def first_ancestor(number: int, parents: Mapping[int, int]) -> int:
    """The first of a ticket's forefathers."""
    seen = set()
    while number in parents and number not in seen:
        seen.add(number)
        number = parents[number]
    return number
