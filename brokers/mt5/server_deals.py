"""Deals that the server makes automatically for a position, such as a rollover. Pure.

It closes a position and opens it again, under the same identifier, to charge swap or variation
margin, or after a split: price and swap change, the quantity does not. The deals may have the
position's magic number and comment, or none. Source: POSITION_TICKET and POSITION_IDENTIFIER of
mql5.com/en/docs/constants/tradingconstants/positionproperties, ENUM_DEAL_REASON of
/dealproperties, read 2026-11-28.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.mt5.constants import DealEntry
from brokers.mt5.lots import decimal
from brokers.mt5.parse import (
    entry_client_order_id,
    execution,
    is_by_server,
    is_of_known_size,
    is_trade,
)
from brokers.mt5.reader import Reader
from brokers.types import CloseCause, OrderReport, ReportKind


def close_reports(
    read: Reader, deals: Sequence[Any], deals_of: Callable[[int], Sequence[Any]], settled: datetime
) -> list[OrderReport]:
    """Return what the server closed and did not open again, as closes that are not ours.

    deals_of: returns all deals of a position. settled: later deals are left for the next read, as
    the terminal may list a close before the opening that belongs to it.
    """
    closed = [deal for deal in _made_by_server(deals) if deal.entry != DealEntry.IN]
    reports = []
    for position in dict.fromkeys(deal.position_id for deal in closed):
        all_deals = deals_of(position)
        entry = entry_client_order_id(read.order_ids, all_deals)
        lots_by_deal = closed_lots(all_deals)
        reports += [
            _close_report(read, deal, lots, entry)
            for deal in closed
            if deal.position_id == position
            and (lots := lots_by_deal.get(deal.ticket))
            and read.utc(deal.time_msc / 1000) <= settled
            and is_of_known_size(read, deal, entry)
        ]
    return reports


def closed_lots(deals: Sequence[Any]) -> dict[int, Decimal]:
    """Return how much of a position each close by the server took away for good, by its ticket.

    deals: all of the position. An opening belongs to the nearest close before or after it.
    """
    made = _made_by_server(deals)
    closes = [deal for deal in made if deal.entry != DealEntry.IN]
    left = {deal.ticket: decimal(deal.volume) for deal in closes}
    for opening in (deal for deal in made if deal.entry == DealEntry.IN):
        opened = decimal(opening.volume)
        for close in sorted(closes, key=lambda deal: _distance(deal, opening)):
            again = min(opened, left[close.ticket])
            left[close.ticket] -= again
            opened -= again
    return {ticket: lots for ticket, lots in left.items() if lots}


def _made_by_server(deals: Sequence[Any]) -> list[Any]:
    return [deal for deal in deals if is_trade(deal) and is_by_server(deal)]


def _distance(one: Any, other: Any) -> tuple[int, int]:
    return abs(one.time_msc - other.time_msc), abs(one.ticket - other.ticket)


def _close_report(read: Reader, deal: Any, lots: Decimal, entry: str) -> OrderReport:
    fill = replace(execution(read, deal), quantity=lots * read.lots(deal.symbol).contract)
    return OrderReport(
        kind=ReportKind.FILLED,
        connection_id=read.connection_id,
        client_order_id=entry,
        broker_order_id=str(deal.order) if deal.order else "",
        broker_position_id=str(deal.position_id),
        fills=(fill,),
        close_cause=CloseCause.EXTERNAL,
    )
