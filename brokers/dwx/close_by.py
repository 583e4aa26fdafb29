"""Positions of MetaTrader 4 that were closed by each other. Pure.

The history has the volume at the first of the two only; the second has no lots and names the first.
What is left of the larger one gets a new ticket, which names the first as well, even if it is of
the second. Source: the volumes and comments that public programs expect of real servers, read on
2026-11-28; MetaTrader's manual does not state them.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from brokers.dwx import parse
from brokers.dwx.history_cache import TerminalHistory
from brokers.dwx.parse import Ticket

CLOSED_BY = re.compile(r"close hedge by #(\d+)")


def history(past: TerminalHistory, raw: bytes) -> tuple[Ticket, ...]:
    """Read `parse.history`, with the lots of each position that were closed."""
    return with_lots(parse.history(past, raw))


def with_lots(closed: Sequence[Ticket]) -> tuple[Ticket, ...]:
    """Give each ticket without lots those of the one that it was closed by, if that is listed."""
    if all(one.lots for one in closed):
        return tuple(closed)
    lots = {one.number: one.lots for one in closed}

    def whole(one: Ticket) -> Ticket:
        found = None if one.lots else CLOSED_BY.search(one.comment)
        return replace(one, lots=lots.get(int(found[1]), one.lots)) if found else one

    return tuple(map(whole, closed))
