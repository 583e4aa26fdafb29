"""What a server closes and opens again automatically, as for a rollover or a split. Pure.

A deal names no reason. The server's deals may have the position's magic number, or none. A close
with that number and without a mark is the server's unless an exit of ours made it: one by hand has
none. So an opening of the same volume that follows it fills no order, and until that can come no
more the close is not reported (`Mt5Reports.waiting_closes`). If the close has no number, only the
volume shows it: an order of ours opens no more than it asked for. In doubt an opening is a fill,
since the quantity is then right.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.dwx import parse
from brokers.dwx.mt5_deals import IN, Deal
from brokers.dwx.sent_commands import VISIBLE_WITHIN_SECONDS, SentCommand

CLOCK_ERROR_SECONDS = 60.0  # between the server's clock and ours


def closes_by_exits(
    deals: Sequence[Deal], exits: Sequence[SentCommand], utc: Callable[[datetime], datetime]
) -> set[int]:
    """Return the numbers of the closes that exits of ours made: each the one of its volume that is
    nearest in time to when it was sent. utc: converts the server's time."""
    closes: dict[tuple[str, Decimal], list[tuple[float, int]]] = defaultdict(list)
    for deal in deals:
        if deal.is_unmarked_close:
            closes[deal.symbol, deal.lots].append((utc(deal.at).timestamp(), deal.number))
    for alike in closes.values():
        alike.sort()
    found = set()
    for command in sorted(exits, key=lambda one: (one.at, one.number)):
        alike = closes[command.symbol, command.lots]
        begin = bisect_left(alike, (command.at - CLOCK_ERROR_SECONDS, 0))
        end = bisect_right(alike, (command.at + VISIBLE_WITHIN_SECONDS, 0))
        if begin < end:
            nearest = min(
                alike[begin:end], key=lambda one: (abs(one[0] - command.at), -one[1])
            )  # of the same second the later one: what was closed before was open again
            alike.remove(nearest)
            found.add(nearest[1])
    return found


def without_reopenings(
    deals: Sequence[Deal],
    names: Mapping[int, str],
    ordered: Mapping[int, Decimal],
    by_exits: Container[int] = (),
    unreached: Container[int] = (),
) -> list[Deal]:
    """Return the deals without those by which the server closed a position of ours and opened it
    again: its quantity is the same.

    ordered: the lots of our entries by magic number, as sent; by_exits: numbers of the closes that
    exits of ours made; unreached: magic numbers of the entries that the history may not reach back
    to. If it has none of such an entry's fills, the first opening after them stays, marked as
    `again`: from there on the position is known.
    """
    opened: dict[int, Decimal] = defaultdict(Decimal)
    closes: dict[tuple[Any, ...], list[Deal]] = defaultdict(list)
    left = {deal.number: deal for deal in sorted(deals, key=lambda one: one.number)}
    for deal in list(left.values()):
        if deal.is_unmarked_close:
            alike = deal.symbol, deal.side.opposite, deal.lots
            closes[deal.magic, deal.number in by_exits, *alike].append(deal)
        if deal.entry != IN or not parse.client_order_id_of(deal, names):
            continue
        is_known = bool(opened[deal.magic])
        opened[deal.magic] += deal.lots
        alike = deal.symbol, deal.side, deal.lots
        keys = [(deal.magic, False)] if is_known or deal.magic in unreached else []
        if opened[deal.magic] > ordered.get(deal.magic, opened[deal.magic]):
            keys = [(deal.magic, False), (deal.magic, True), (0, False), (0, True)]
        may_be = next((found for key in keys if (found := closes[*key, *alike])), [])
        if not may_be:
            continue
        del left[may_be.pop().number]
        if is_known:
            del left[deal.number]
            opened[deal.magic] -= deal.lots
        else:
            left[deal.number] = replace(deal, again=True)
    return list(left.values())
