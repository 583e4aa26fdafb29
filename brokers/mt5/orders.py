"""Send orders, cancels and level changes to the server, on the terminal's own thread.

Nothing runs between the guard and `order_send`. A failure before it is NotSent; after it only the
server's answer decides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, sleep
from typing import Any

from brokers.base import (
    BrokerError,
    Guard,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
)
from brokers.mt5 import codes, lookup, order_encoding, parse
from brokers.mt5.constants import OrderKind
from brokers.mt5.lots import Lots, decimal
from brokers.mt5.order_ids import magic_of
from brokers.mt5.parse import mode_of
from brokers.mt5.session import Terminal
from brokers.mt5.terminal_thread import TerminalCall
from brokers.types import (
    CancelRequest,
    ConnectionSpec,
    HeldLevels,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
    WhatIf,
)
from common.reason_codes import Code

LEVELS_WAIT_SECONDS = 0.5  # a terminal shows the levels that its server accepted within it
STEP_CODES = frozenset({Code.VOLUME_INVALID, Code.STOPS_INVALID, Code.ORDER_TYPE_UNSUPPORTED})


def is_exit(request: OrderRequest) -> bool:
    """Whether an order closes a position."""
    return request.reduce_only or bool(request.broker_position_id)


@dataclass(frozen=True, slots=True)
class OrderExecutor:
    """Executes one call of an account: an order, a cancel or a level change."""

    terminal: Terminal
    spec: ConnectionSpec
    job: TerminalCall

    def submit(self, request: OrderRequest, guard: Guard, expected_mode: Any) -> list[OrderReport]:
        """Place one order. expected_mode: the position mode for which the engine evaluated it.

        Raises NotSent, Rejected or OutcomeUnknown."""
        info = self.terminal.ensure_account(self.spec)
        if mode_of(info) is not expected_mode:  # `capabilities` has the right one from now on
            detail = f"the account is {mode_of(info)}: the order must be evaluated again"
            raise NotSent(Code.NOT_CONNECTED, detail)
        lots = self.terminal.lots(info, request.symbol)
        magic = self.terminal.order_ids.remember(request.client_order_id)
        fields = self._encode(request, lots, info, magic)
        if not is_exit(request):
            self._check(fields)
        try:
            result = self._send(
                fields, partial(guard, request), request.send_by or None, request.client_order_id
            )
        except (NotSent, Rejected) as error:
            self.terminal.order_ids.mark_ended(request.client_order_id)
            if isinstance(error, Rejected) and error.code in STEP_CODES:
                self.terminal.drop_symbol(info, request.symbol)
            raise
        known = self._known_reports(info, request.client_order_id, result.order)
        if not known:
            return [self._report(ReportKind.ACCEPTED, request.client_order_id, result.order)]
        return known if is_exit(request) else self._with_levels(request, known)

    def what_if(self, request: OrderRequest) -> WhatIf:
        """Return what an order would cost, as the terminal computes it, without sending it.

        On a netting account that is the change of the position's margin. It includes neither the
        server's discount for opposite positions nor the commission. Raises Rejected, ReadFailed."""
        info = self.terminal.ensure_account(self.spec)
        lots = self.terminal.lots(info, request.symbol)
        fields = self._encode(request, lots, info, magic_of(request.client_order_id))
        if not is_exit(request):
            self._check(fields)
        volume, price, held = fields["volume"] * request.side.sign, fields["price"], 0.0
        if mode_of(info) is PositionMode.NETTING:
            rows = [p for p in self.terminal.positions() if p.symbol == request.symbol]
            held = sum(p.volume if p.type == OrderKind.BUY else -p.volume for p in rows)
        elif is_exit(request):
            held = -volume
        before, after = (
            self._margin(request.symbol, lots, price) for lots in (held, held + volume)
        )
        return WhatIf(decimal(after - before), None, None, info.currency)

    def _margin(self, symbol: str, lots: float, price: float) -> float:
        """Return the margin of a position; negative lots are short. Raises ReadFailed."""
        if not round(lots, 8):
            return 0.0
        kind = OrderKind.BUY if lots > 0 else OrderKind.SELL
        found = self.terminal.mt.order_calc_margin(int(kind), symbol, abs(lots), price)
        if found is None:
            error = self.terminal.mt.last_error()
            raise ReadFailed(Code.BROKER_UNREACHABLE, f"margin: {error[0]} {error[1]}")
        return float(found)

    def cancel(self, request: CancelRequest) -> list[OrderReport]:
        """Cancel a working order. If it has ended: its reports and CANCEL_REFUSED.

        Raises NotSent or OutcomeUnknown."""
        info = self.terminal.ensure_account(self.spec)
        name, magic = request.client_order_id, magic_of(request.client_order_id)
        tickets = [
            order.ticket
            for order in self.terminal.orders()
            if str(order.ticket) == request.broker_order_id or parse.is_order_of(order, name, magic)
        ]
        if not tickets:
            return self._already_ended(request)
        try:
            self._send(
                order_encoding.removal(tickets[0]),
                partial(check_deadline, request),
                request.send_by,
            )
        except Rejected:
            return self._already_ended(request)
        known = self._known_reports(info, name, tickets[0])
        if any(report.kind is ReportKind.CANCELLED for report in known):
            return known
        return [self._report(ReportKind.CANCELLED, name, tickets[0])]

    def modify(self, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position or of a working entry. Return the levels it then has.

        Raises NotSent, Rejected or OutcomeUnknown."""
        info = self.terminal.ensure_account(self.spec)
        lots = self.terminal.lots(info, request.symbol)
        fields = self._levels(request, lots)
        self._send(fields, partial(check_deadline, request), request.send_by)
        held = self._wait_for_levels(request, fields)
        if held is None:
            detail = "accepted, but the terminal does not list the position"
            raise OutcomeUnknown(Code.REPLY_LOST, detail)
        return [
            replace(
                self._report(ReportKind.LEVELS, request.client_order_id, 0),
                broker_position_id=request.broker_position_id,
                levels=held,
            )
        ]

    # ---- sending --------------------------------------------------------------------------
    def _encode(self, request: OrderRequest, lots: Lots, info: Any, magic: int) -> dict[str, Any]:
        ticket = 0
        if order_encoding.uses_position_ticket(request, mode_of(info)):
            position_id = request.broker_position_id
            ticket = _ticket(position_id, self._position_row(position_id))
        price = 0.0
        if request.order_type is OrderType.MARKET:
            tick = self.terminal.tick(self.terminal.time(self.spec, info), request.symbol)
            if tick is None or not (tick.bid and tick.ask):
                raise NotSent(Code.MARKET_CLOSED, f"the terminal has no price of {request.symbol}")
            price = tick.ask if request.side is Side.BUY else tick.bid
        return order_encoding.market_or_pending_order(
            request, lots, magic=magic, price=price, position=ticket
        )

    def _position_row(self, position_id: str) -> Any:
        """Return the row of a position; None if the terminal does not list it."""
        rows = self.terminal.positions()
        return next((row for row in rows if str(row.identifier) == position_id), None)

    def _levels(self, request: ModifyRequest, lots: Lots) -> dict[str, Any]:
        def level_prices(side: Side) -> dict[str, float]:
            return {
                "stop_loss": lots.level(request.stop_loss, side),
                "take_profit": lots.level(request.take_profit, side),
            }

        if position_id := request.broker_position_id:
            held = self._position_row(position_id)
            side = Side.SELL if held is not None and held.type == OrderKind.SELL else Side.BUY
            ticket = _ticket(position_id, held)
            return order_encoding.position_levels(
                ticket=ticket, symbol=request.symbol, **level_prices(side)
            )
        name, magic = request.client_order_id, magic_of(request.client_order_id)
        for order in self.terminal.orders():
            if parse.is_order_of(order, name, magic):
                return order_encoding.order_levels(
                    order, **level_prices(parse.TYPES[order.type][0])
                )
        raise Rejected(Code.NO_POSITION, "neither a position nor a working entry")

    def _check(self, fields: dict[str, Any]) -> None:
        """Let the terminal check an entry before it is sent. Raises Rejected.

        Exits are not checked: they must be sent even if the terminal's margins are wrong."""
        found = self.terminal.mt.order_check(fields)
        if found is not None and (refusal := codes.check_verdict(found.retcode, found.comment)):
            raise self._account_rejection(found.retcode, refusal)

    def _account_rejection(self, retcode: int, refusal: BrokerError) -> BrokerError:
        """Return the rejection with its code corrected: a server uses one code for a disabled
        symbol and a disabled account, so the account's own state decides."""
        info = self.terminal.mt.account_info() if retcode == codes.TRADE_DISABLED else None
        if info is None or (info.trade_allowed and info.trade_expert):
            return refusal
        return Rejected(Code.TRADING_DISABLED, refusal.detail)

    def _send(
        self,
        fields: dict[str, Any],
        guard: Callable[[], None],
        send_by: float | None,
        name: str = "",
    ) -> Any:
        """Send one request. send_by: checked once more by the package's process, right before the
        send. name: client order id of an order. Raises NotSent, Rejected or OutcomeUnknown."""
        mt = self.terminal.mt
        self.terminal.require_account(self.spec)
        self.job.about_to_send()
        if name:
            self.terminal.order_ids.mark_sent(name)
        guard()
        result = mt.order_send(fields, before=send_by)
        if result is None:
            raise codes.verdict_without_answer(mt.last_error())
        if type(getattr(result, "retcode", None)) is not int:
            raise OutcomeUnknown(Code.REPLY_LOST, f"unreadable: {vars(result)}"[:500])
        if result.retcode == codes.NO_CHANGES and not name:
            return result
        if refusal := codes.verdict(result.retcode, result.comment):
            raise self._account_rejection(result.retcode, refusal)
        try:
            self.terminal.require_account(self.spec)
        except BrokerError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"accepted, but {error.detail}") from error
        return result

    # ---- results --------------------------------------------------------------------------
    def _known_reports(self, info: Any, name: str, ticket: int) -> list[OrderReport]:
        """Return the reports by history; [] if it has nothing yet: the next poll reads it."""
        try:
            return (
                lookup.known_reports(self.terminal, self.spec, info, name, ticket) if ticket else []
            )
        except BrokerError:
            return []

    def _with_levels(self, request: OrderRequest, known: list[OrderReport]) -> list[OrderReport]:
        """Add the levels of the opened position: some servers with market execution accept the
        order but ignore its levels."""
        if request.stop_loss is None and request.take_profit is None:
            return known
        try:
            rows = self.terminal.positions()
        except BrokerError:
            return known
        held = {str(row.identifier): parse.levels_of(row) for row in rows}
        return [
            replace(report, levels=held.get(report.broker_position_id)) if report.fills else report
            for report in known
        ]

    def _wait_for_levels(self, request: ModifyRequest, fields: dict[str, Any]) -> HeldLevels | None:
        """Wait a moment until the terminal shows the levels that the server accepted, and return
        what it shows. None: it lists neither the position nor the order."""
        until, expected = monotonic() + LEVELS_WAIT_SECONDS, (fields["sl"], fields["tp"])
        while True:
            row = self._row_of(request)
            if row is None or (row.sl, row.tp) == expected or monotonic() >= until:
                return None if row is None else parse.levels_of(row)
            sleep(LEVELS_WAIT_SECONDS / 10)

    def _row_of(self, request: ModifyRequest) -> Any:
        """Return the row of the position or the working entry; None if it is not listed."""
        try:
            if request.broker_position_id:
                return self._position_row(request.broker_position_id)
            name, magic = request.client_order_id, magic_of(request.client_order_id)
            rows = self.terminal.orders()
        except BrokerError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"accepted, but {error.detail}") from error
        return next((row for row in rows if parse.is_order_of(row, name, magic)), None)

    def _already_ended(self, request: CancelRequest) -> list[OrderReport]:
        """Return the reports of an order that has ended. Raises NotSent if they are unknown."""
        try:
            known = lookup.find(self.terminal, self.spec, request.client_order_id) or []
            self.terminal.require_account(self.spec)
        except BrokerError as error:
            raise NotSent(Code.NOT_CONNECTED, error.detail) from error
        if any(report.kind in (ReportKind.CANCELLED, ReportKind.EXPIRED) for report in known):
            return known
        ticket = int(request.broker_order_id) if request.broker_order_id.isdigit() else 0
        return [*known, self._report(ReportKind.CANCEL_REFUSED, request.client_order_id, ticket)]

    def _report(self, kind: ReportKind, name: str, ticket: int) -> OrderReport:
        return OrderReport(
            kind=kind,
            connection_id=self.spec.connection_id,
            client_order_id=name,
            broker_order_id=str(ticket) if ticket else "",
        )


def _ticket(position_id: str, held: Any) -> int:
    """Return the current ticket of a position: it may change overnight, its identifier does not.

    For a position that is not listed, return the identifier, so that the server rejects it."""
    if held is None and not position_id.isdigit():
        raise Rejected(Code.NO_POSITION, f"{position_id!r} is not a ticket")
    return int(position_id if held is None else held.ticket)
