"""Look up orders and executions in the terminal, on its own thread.

It reads open orders before history: an order moves from the first to the second, so one that is in
neither did not exist. That proves its absence only if every read was complete, the terminal was
connected to its server all the time, and enough time has passed for the terminal to receive it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from time import monotonic
from typing import Any

from brokers.base import ReadFailed
from brokers.mt5 import parse, server_deals
from brokers.mt5.constants import OrderState
from brokers.mt5.order_ids import magic_of
from brokers.mt5.reader import Reader
from brokers.mt5.session import Terminal
from brokers.types import BrokerCashFlow, ConnectionSpec, OrderReport, ReportKind
from common.clocks import market_now
from common.reason_codes import Code

HORIZON = timedelta(days=30)
CASH_FLOWS_HORIZON = timedelta(days=365)  # a terminal gets all deals of its account
ZONE_MARGIN = timedelta(days=1)  # servers' clocks are within it of UTC
LATE_MARGIN = timedelta(minutes=30)  # the terminal may list an execution so much later
REOPENING = timedelta(minutes=1)  # within it the server opens again what it closed
SETTLE_SECONDS = 10.0
ENDED = frozenset({ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED})


def settle_seconds(spec: ConnectionSpec) -> float:
    """Return how long the terminal must be connected, and the order sent, before an absence proves
    anything."""
    value = spec.settings.get("settle_seconds")
    return float(value) if isinstance(value, int | float) else SETTLE_SECONDS


def account_reader(terminal: Terminal, spec: ConnectionSpec, account_info: Any) -> Reader:
    """Return the reader of this account's rows. It also samples the server's clock."""
    time = terminal.sample_clock(spec, account_info)
    return Reader(
        connection_id=spec.connection_id,
        lots=terminal.lots_reader(account_info),
        utc=time.utc,
        order_ids=terminal.order_ids,
        currency=account_info.currency,
    )


def find(
    terminal: Terminal, spec: ConnectionSpec, client_order_id: str
) -> list[OrderReport] | None:
    """Return all reports of an order; None: it certainly does not exist. Raises ReadFailed.

    Two orders with one id are both reported, so that the mistake becomes visible. The caller checks
    afterwards that the terminal is still logged in as this account (`require_account`).
    """
    account_info = terminal.ensure_account(spec)
    magic = terminal.order_ids.remember(client_order_id)
    read = account_reader(terminal, spec, account_info)
    open_orders = [o for o in terminal.orders() if parse.is_order_of(o, client_order_id, magic)]
    begin, end = _window(market_now() - HORIZON)
    past = [
        order
        for order in terminal.past_orders(begin, end)
        if parse.is_order_of(order, client_order_id, magic)
    ]
    if not open_orders and not past:
        _require_absence(terminal, spec, client_order_id)
        terminal.order_ids.mark_ended(client_order_id)
        return None
    if any(order.state == OrderState.STARTED for order in open_orders):
        raise ReadFailed(Code.BROKER_UNREACHABLE, "the server has not accepted it yet")
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
    """Add the levels of the position that the order has opened, if it is still open."""
    opened = {report.broker_position_id for report in reports if report.fills}
    rows = terminal.positions() if opened else []
    levels_by_position = {
        str(row.identifier): parse.levels_of(row)
        for row in rows
        if terminal.order_ids.resolve(row.magic, row.comment) == client_order_id
    }
    return [
        replace(report, levels=levels_by_position.get(report.broker_position_id))
        if report.fills
        else report
        for report in reports
    ]


def _remember_ended(
    terminal: Terminal, client_order_id: str, reports: list[OrderReport]
) -> list[OrderReport]:
    """Return the reports. An order that ended without a fill need not be remembered."""
    if reports and reports[-1].kind in ENDED and not any(report.fills for report in reports):
        terminal.order_ids.mark_ended(client_order_id)
    return reports


def _require_absence(terminal: Terminal, spec: ConnectionSpec, client_order_id: str) -> None:
    """Raise ReadFailed unless no row belongs to the order and the terminal has settled."""
    magic = magic_of(client_order_id)
    begin, end = _window(market_now() - HORIZON)
    orders = [*terminal.orders(), *terminal.past_orders(begin, end)]  # also of another reason
    deals = terminal.deals(begin, end)
    # A close has it from what the order opened.
    if any(row.magic == magic for row in (*orders, *terminal.positions(), *deals)):
        detail = "the terminal has its deal, but not its order yet"
        raise ReadFailed(Code.BROKER_UNREACHABLE, detail)
    if not (deals or terminal.has_history(end)):
        raise ReadFailed(Code.BROKER_UNREACHABLE, "the terminal has not loaded its history yet")
    terminal.require_account(spec)
    wait = settle_seconds(spec)
    since_sent = monotonic() - terminal.order_ids.sent_at(client_order_id)
    if min(since_sent, terminal.connected_seconds()) < wait:
        raise ReadFailed(Code.BROKER_UNREACHABLE, "too soon: the terminal may not have it yet")


def fills_since(terminal: Terminal, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
    """Return executions since a time, and some before it. Raises ReadFailed."""
    account_info = terminal.ensure_account(spec)
    read = account_reader(terminal, spec, account_info)
    begin, end = _window(since - LATE_MARGIN)
    deals = terminal.deals(begin, end)

    @cache
    def deals_of(position: int) -> list[Any]:
        return terminal.deals_of(position=position)

    def entry_of(position: int) -> str:
        return parse.entry_client_order_id(terminal.order_ids, deals_of(position))

    reports = parse.deal_reports(read, deals, entry_of)
    ahead = terminal.time(spec, account_info).ahead
    settled = market_now() + ahead - REOPENING
    reports += server_deals.close_reports(read, deals, deals_of, settled)
    first = since - LATE_MARGIN + min(ahead, timedelta(0))
    return [report for report in reports if any(fill.time >= first for fill in report.fills)]


def cash_flows(terminal: Terminal, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
    """Return deposits and withdrawals since a time. Raises ReadFailed."""
    account_info = terminal.ensure_account(spec)
    read = account_reader(terminal, spec, account_info)
    listed = (parse.cash_flow(read, deal) for deal in terminal.deals(*_window(since)))
    return [flow for flow in listed if flow is not None and flow.time >= since]


def known_reports(
    terminal: Terminal, spec: ConnectionSpec, account_info: Any, client_order_id: str, ticket: int
) -> list[OrderReport]:
    """Return the reports of an order that was just accepted or cancelled; [] if there are none yet.

    Raises ReadFailed."""
    read = account_reader(terminal, spec, account_info)
    for order in [order for order in terminal.orders() if order.ticket == ticket]:
        deals = terminal.deals_of(ticket=ticket)
        return parse.order_reports(read, client_order_id, order, deals, is_open=True)
    past = terminal.rows(terminal.api.history_orders_get, count=lambda: 0, ticket=ticket)
    for order in past[:1]:
        deals = terminal.deals_of(ticket=ticket)
        reports = parse.order_reports(read, client_order_id, order, deals, is_open=False)
        return _remember_ended(terminal, client_order_id, reports)
    return []


def _window(begin: datetime) -> tuple[int, int]:
    """Return a span in server time that includes everything since `begin`, in any time zone."""
    return int((begin - ZONE_MARGIN).timestamp()), int((market_now() + ZONE_MARGIN).timestamp())
