"""Questions to the terminal about orders and executions, on its own thread.

Open orders are read before history: an order moves from the first to the second, so one that is in
neither was not there. That proves its absence only if every read was whole, the terminal had its
server all the time, and enough time has passed for it to be told.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from brokers.base import ReadFailed
from brokers.mt5 import parse
from brokers.mt5.constants import OrderState
from brokers.mt5.order_ids import magic_of
from brokers.mt5.parse import Reader
from brokers.mt5.session import Terminal
from brokers.types import ConnectionSpec, OrderReport, ReportKind
from common.clocks import market_now
from common.reason_codes import Code

HORIZON = timedelta(days=30)
ZONE_MARGIN = timedelta(days=1)  # servers' clocks are within it of UTC
LATE_MARGIN = timedelta(minutes=30)  # executions are told that much after they happened, or earlier
SETTLE_SECONDS = 10.0
ENDED = frozenset({ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED})


def settle_seconds(spec: ConnectionSpec) -> float:
    """How long a terminal must have had its server, and an order have been away, before its
    absence proves anything."""
    value = spec.settings.get("settle_seconds")
    return float(value) if isinstance(value, int | float) else SETTLE_SECONDS


def account_reader(terminal: Terminal, spec: ConnectionSpec, info: Any) -> Reader:
    """How this account is read; looks at some ticks for the server's clock besides."""
    time = terminal.sample_clock(spec, info)
    return Reader(
        connection_id=spec.connection_id,
        lots=terminal.contracts(info),
        utc=time.utc,
        names=terminal.names,
        currency=info.currency,
    )


def find(
    terminal: Terminal, spec: ConnectionSpec, client_order_id: str
) -> list[OrderReport] | None:
    """Return all that is known of an order; None: it is certainly not there. Raises ReadFailed.

    If there are two under one id, both are told: that must be seen. Whoever asks looks afterwards
    whether the terminal is `still` this account's.
    """
    info = terminal.enter(spec)
    magic = terminal.names.keep(client_order_id)
    read = account_reader(terminal, spec, info)
    open_orders = [o for o in terminal.orders() if parse.is_order_of(o, client_order_id, magic)]
    begin, end = _window(market_now() - HORIZON)
    past = [
        order
        for order in terminal.past_orders(begin, end)
        if parse.is_order_of(order, client_order_id, magic)
    ]
    if not open_orders and not past:
        _require_absence(terminal, spec, client_order_id)
        terminal.names.ended(client_order_id)
        return None
    if any(order.state == OrderState.STARTED for order in open_orders):
        raise ReadFailed(Code.BROKER_UNREACHABLE, "the server has not taken it yet")
    ended = {order.ticket for order in past}
    reports: list[OrderReport] = []
    for order in [*past, *(order for order in open_orders if order.ticket not in ended)]:
        deals = terminal.deals_of(ticket=order.ticket)
        reports += parse.order_reports(
            read, client_order_id, order, deals, is_open=order.ticket not in ended
        )
    return _remember_ended(
        terminal, client_order_id, _with_levels(terminal, client_order_id, reports)
    )


def _with_levels(
    terminal: Terminal, client_order_id: str, reports: list[OrderReport]
) -> list[OrderReport]:
    """Say which levels the position holds that the order has opened, if it is open."""
    opened = {report.broker_position_id for report in reports if report.fills}
    rows = terminal.positions() if opened else []
    held = {
        str(row.identifier): parse.levels_of(row)
        for row in rows
        if terminal.names.read(row.magic, row.comment) == client_order_id
    }
    return [
        replace(report, levels=held.get(report.broker_position_id)) if report.fills else report
        for report in reports
    ]


def _remember_ended(
    terminal: Terminal, client_order_id: str, reports: list[OrderReport]
) -> list[OrderReport]:
    """What is told of an order; one that came to nothing need not be remembered."""
    if reports and reports[-1].kind in ENDED and not any(report.fills for report in reports):
        terminal.names.ended(client_order_id)
    return reports


def _require_absence(terminal: Terminal, spec: ConnectionSpec, client_order_id: str) -> None:
    """Raise ReadFailed unless nothing at all speaks of the order and the terminal is settled."""
    magic = magic_of(client_order_id)
    begin, end = _window(market_now() - HORIZON)
    others = [*terminal.positions(), *terminal.deals(begin, end)]
    if any(one.magic == magic and one.reason not in parse.NOT_BY_US for one in others):
        raise ReadFailed(Code.BROKER_UNREACHABLE, "its deal is there, its order is not yet")
    terminal.still(spec)
    wait = settle_seconds(spec)
    away = monotonic() - terminal.names.sent_at(client_order_id)
    if min(away, terminal.steady_seconds()) < wait:
        raise ReadFailed(Code.BROKER_UNREACHABLE, "too soon: the terminal may not have heard yet")


def fills_since(terminal: Terminal, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
    """Executions at or after a time, and some before it. Raises ReadFailed."""
    info = terminal.enter(spec)
    read = account_reader(terminal, spec, info)
    begin, end = _window(since - LATE_MARGIN)
    deals = terminal.deals(begin, end)
    known: dict[int, str] = {}

    def entry_of(position: int) -> str:
        if position not in known:
            known[position] = parse.entry_client_order_id(
                terminal.names, terminal.deals_of(position=position)
            )
        return known[position]

    reports = parse.deal_reports(read, deals, entry_of)
    first = since - LATE_MARGIN
    return [report for report in reports if any(fill.time >= first for fill in report.fills)]


def known_reports(
    terminal: Terminal, spec: ConnectionSpec, info: Any, client_order_id: str, ticket: int
) -> list[OrderReport]:
    """What is known at once of an order that was just taken or taken away; [] if nothing is.

    Raises ReadFailed."""
    read = account_reader(terminal, spec, info)
    for order in [order for order in terminal.orders() if order.ticket == ticket]:
        deals = terminal.deals_of(ticket=ticket)
        return parse.order_reports(read, client_order_id, order, deals, is_open=True)
    past = terminal.rows(terminal.mt.history_orders_get, count=lambda: 0, ticket=ticket)
    for order in past[:1]:
        deals = terminal.deals_of(ticket=ticket)
        reports = parse.order_reports(read, client_order_id, order, deals, is_open=False)
        return _remember_ended(terminal, client_order_id, reports)
    return []


def _window(begin: datetime) -> tuple[int, int]:
    """A span in the server's counting that holds everything since `begin`, whatever its zone."""
    return int((begin - ZONE_MARGIN).timestamp()), int((market_now() + ZONE_MARGIN).timestamp())
