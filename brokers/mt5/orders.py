"""Orders, cancels and levels: what leaves for the server, on the terminal's own thread.

Nothing stands between the guard and `order_send`. What fails before it is NotSent; after it only
the server's word counts.
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

LEVELS_WAIT_SECONDS = 0.5  # in which a terminal surely shows what its server has taken
STEP_CODES = frozenset({Code.VOLUME_INVALID, Code.STOPS_INVALID, Code.ORDER_TYPE_UNSUPPORTED})


def is_exit(request: OrderRequest) -> bool:
    return request.reduce_only or bool(request.broker_position_id)


@dataclass(frozen=True, slots=True)
class OrderExecutor:
    """One job's way to the server."""

    terminal: Terminal
    spec: ConnectionSpec
    job: TerminalCall

    def submit(self, request: OrderRequest, guard: Guard, judged_as: Any) -> list[OrderReport]:
        """judged_as: the position mode that the capabilities spoke of when the order was sized."""
        info = self.terminal.enter(self.spec)
        if mode_of(info) is not judged_as:  # `capabilities` says so from now on
            raise NotSent(Code.NOT_CONNECTED, f"the account is {mode_of(info)}, to be judged anew")
        lots = self.terminal.lots(info, request.symbol)
        magic = self.terminal.names.keep(request.client_order_id)
        fields = self._encode(request, lots, info, magic)
        if not is_exit(request):
            self._check(fields)
        try:
            result = self._send(
                fields, partial(guard, request), request.send_by or None, request.client_order_id
            )
        except (NotSent, Rejected) as error:
            self.terminal.names.ended(request.client_order_id)
            if isinstance(error, Rejected) and error.code in STEP_CODES:
                self.terminal.forget_symbol(info, request.symbol)
            raise
        known = self._known(info, request.client_order_id, result.order)
        if not known:
            return [self._report(ReportKind.ACCEPTED, request.client_order_id, result.order)]
        return known if is_exit(request) else self._with_levels(request, known)

    def what_if(self, request: OrderRequest) -> WhatIf:
        """What an order would cost by the terminal's reckoning, and on a netting account beside
        what is held there; nothing is sent. It knows neither the server's discount for opposite
        positions nor its commission. Raises Rejected, ReadFailed."""
        info = self.terminal.enter(self.spec)
        lots = self.terminal.lots(info, request.symbol)
        fields = self._encode(request, lots, info, magic_of(request.client_order_id))
        if not is_exit(request):
            self._check(fields)
        volume, price, held = fields["volume"] * request.side.sign, fields["price"], 0.0
        if mode_of(info) is PositionMode.NETTING:
            theirs = [p for p in self.terminal.positions() if p.symbol == request.symbol]
            held = sum(p.volume if p.type == OrderKind.BUY else -p.volume for p in theirs)
        elif is_exit(request):
            held = -volume
        before, after = (
            self._margin(request.symbol, lots, price) for lots in (held, held + volume)
        )
        return WhatIf(decimal(after - before), None, None, info.currency)

    def _margin(self, symbol: str, lots: float, price: float) -> float:
        """The margin of a holding, below zero lots a short one. Raises ReadFailed."""
        if not round(lots, 8):
            return 0.0
        kind = OrderKind.BUY if lots > 0 else OrderKind.SELL
        found = self.terminal.mt.order_calc_margin(int(kind), symbol, abs(lots), price)
        if found is None:
            error = self.terminal.mt.last_error()
            raise ReadFailed(Code.BROKER_UNREACHABLE, f"margin: {error[0]} {error[1]}")
        return float(found)

    def cancel(self, request: CancelRequest) -> list[OrderReport]:
        """Take a resting order away; CANCEL_REFUSED with what it did instead if it is too late."""
        info = self.terminal.enter(self.spec)
        name, magic = request.client_order_id, magic_of(request.client_order_id)
        resting = [
            order.ticket
            for order in self.terminal.orders()
            if str(order.ticket) == request.broker_order_id or parse.is_order_of(order, name, magic)
        ]
        if not resting:
            return self._too_late(request)
        try:
            self._send(
                order_encoding.removal(resting[0]),
                partial(check_deadline, request),
                request.send_by,
            )
        except Rejected:
            return self._too_late(request)
        known = self._known(info, name, resting[0])
        if any(report.kind is ReportKind.CANCELLED for report in known):
            return known
        return [self._report(ReportKind.CANCELLED, name, resting[0])]

    def modify(self, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position, or of an entry that still waits."""
        info = self.terminal.enter(self.spec)
        lots = self.terminal.lots(info, request.symbol)
        fields = self._levels(request, lots)
        self._send(fields, partial(check_deadline, request), request.send_by)
        held = self._levels_after(request, fields)
        if held is None:
            raise OutcomeUnknown(Code.REPLY_LOST, "taken, and the position is not to be seen")
        return [
            replace(
                self._report(ReportKind.LEVELS, request.client_order_id, 0),
                broker_position_id=request.broker_position_id,
                levels=held,
            )
        ]

    # ---- what goes out --------------------------------------------------------------------
    def _encode(self, request: OrderRequest, lots: Lots, info: Any, magic: int) -> dict[str, Any]:
        ticket = 0
        if order_encoding.uses_position_ticket(request, mode_of(info)):
            position_id = request.broker_position_id
            ticket = _ticket(position_id, self._held(position_id))
        price = 0.0
        if request.order_type is OrderType.MARKET:
            tick = self.terminal.tick(self.terminal.time(self.spec, info), request.symbol)
            if tick is None or not (tick.bid and tick.ask):
                raise NotSent(Code.MARKET_CLOSED, f"{request.symbol} has no price here yet")
            price = tick.ask if request.side is Side.BUY else tick.bid
        return order_encoding.market_or_pending_order(
            request, lots, magic=magic, price=price, position=ticket
        )

    def _held(self, position_id: str) -> Any:
        """The row of a position; None where it is not seen."""
        rows = self.terminal.positions()
        return next((one for one in rows if str(one.identifier) == position_id), None)

    def _levels(self, request: ModifyRequest, lots: Lots) -> dict[str, Any]:
        def said(side: Side) -> dict[str, float]:
            return {
                "stop_loss": lots.level(request.stop_loss, side),
                "take_profit": lots.level(request.take_profit, side),
            }

        if position_id := request.broker_position_id:
            held = self._held(position_id)
            side = Side.SELL if held is not None and held.type == OrderKind.SELL else Side.BUY
            ticket = _ticket(position_id, held)
            return order_encoding.position_levels(
                ticket=ticket, symbol=request.symbol, **said(side)
            )
        name, magic = request.client_order_id, magic_of(request.client_order_id)
        for order in self.terminal.orders():
            if parse.is_order_of(order, name, magic):
                return order_encoding.order_levels(order, **said(parse.TYPES[order.type][0]))
        raise Rejected(Code.NO_POSITION, "neither a position nor a waiting entry")

    def _check(self, fields: dict[str, Any]) -> None:
        """Let the terminal judge an entry first: what it refuses here was never sent. Exits go
        without: they must leave even where its margin sums are wrong."""
        found = self.terminal.mt.order_check(fields)
        if found is not None and (refusal := codes.check_verdict(found.retcode, found.comment)):
            raise self._concerns_account(found.retcode, refusal)

    def _concerns_account(self, retcode: int, refusal: BrokerError) -> BrokerError:
        """A server refuses a disabled symbol and a disabled account by one code: the account's own
        state decides which of them it is."""
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
        """Send one request. send_by: looked at once more where it leaves this machine, by the
        process that holds the package. Raises NotSent, Rejected or OutcomeUnknown."""
        mt = self.terminal.mt
        self.terminal.still(self.spec)
        self.job.about_to_send()
        if name:
            self.terminal.names.leaves(name)
        guard()
        result = mt.order_send(fields, before=send_by)
        if result is None:
            raise codes.verdict_without_answer(mt.last_error())
        if type(getattr(result, "retcode", None)) is not int:
            raise OutcomeUnknown(Code.REPLY_LOST, f"unreadable: {vars(result)}"[:500])
        if result.retcode == codes.NO_CHANGES and not name:
            return result
        if refusal := codes.verdict(result.retcode, result.comment):
            raise self._concerns_account(result.retcode, refusal)
        try:
            self.terminal.still(self.spec)
        except BrokerError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"taken, but {error.detail}") from error
        return result

    # ---- what came of it ------------------------------------------------------------------
    def _known(self, info: Any, name: str, ticket: int) -> list[OrderReport]:
        """What history already says; [] if it says nothing yet, the next poll will."""
        try:
            return (
                lookup.known_reports(self.terminal, self.spec, info, name, ticket) if ticket else []
            )
        except BrokerError:
            return []

    def _with_levels(self, request: OrderRequest, known: list[OrderReport]) -> list[OrderReport]:
        """Say what the position that has opened does hold: some servers with market execution take
        the order and leave its levels away."""
        if request.stop_loss is None and request.take_profit is None:
            return known
        try:
            rows = self.terminal.positions()
        except BrokerError:
            return known
        held = {str(row.identifier): parse.levels_of(row) for row in rows}
        return [
            replace(one, levels=held.get(one.broker_position_id)) if one.fills else one
            for one in known
        ]

    def _levels_after(self, request: ModifyRequest, fields: dict[str, Any]) -> HeldLevels | None:
        """What the terminal shows that is held once the server has taken levels; it is given a
        moment to hear of them. None: neither the position nor the order is to be seen."""
        until, expected = monotonic() + LEVELS_WAIT_SECONDS, (fields["sl"], fields["tp"])
        while True:
            row = self._row_of(request)
            if row is None or (row.sl, row.tp) == expected or monotonic() >= until:
                return None if row is None else parse.levels_of(row)
            sleep(LEVELS_WAIT_SECONDS / 10)

    def _row_of(self, request: ModifyRequest) -> Any:
        """The position, or the waiting entry, as the terminal shows it. None: it does not."""
        try:
            if request.broker_position_id:
                return self._held(request.broker_position_id)
            name, magic = request.client_order_id, magic_of(request.client_order_id)
            rows = self.terminal.orders()
        except BrokerError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"taken, but {error.detail}") from error
        return next((one for one in rows if parse.is_order_of(one, name, magic)), None)

    def _too_late(self, request: CancelRequest) -> list[OrderReport]:
        """It rests no more: what became of it. Raises NotSent if nobody can say."""
        try:
            known = lookup.find(self.terminal, self.spec, request.client_order_id) or []
            self.terminal.still(self.spec)
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
    """The ticket of a position now: it may have changed overnight, its identifier never does. One
    that is not seen is named by its identifier, for the server to refuse."""
    if held is None and not position_id.isdigit():
        raise Rejected(Code.NO_POSITION, f"{position_id!r} is no ticket")
    return int(position_id if held is None else held.ticket)
