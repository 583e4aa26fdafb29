"""Send orders, cancels and level changes to the server, on the terminal's own thread.

Nothing runs between the guard (the caller's last check) and `order_send`. A failure before
`order_send` is NotSent; after it only the server's answer decides the outcome.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from time import monotonic, sleep
from typing import Any, TypeVar

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
from brokers.mt5.constants import OrderKind, OrderState
from brokers.mt5.lots import Lots, decimal, is_price
from brokers.mt5.order_ids import magic_of
from brokers.mt5.parse import mode_of
from brokers.mt5.session import Terminal
from brokers.mt5.terminal_thread import TerminalCall
from brokers.types import (
    CancelRequest,
    ChangeRequest,
    ConnectionSpec,
    HeldLevels,
    ModifyRequest,
    OrderField,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    ReportKind,
    Side,
    WhatIf,
)
from common.reason_codes import Code

Request = TypeVar("Request", OrderRequest, ModifyRequest)
LEVELS_WAIT_SECONDS = 0.5  # within it a terminal lists the levels that its server has accepted
# A rejection with one of these may mean that our cached data of the symbol are outdated.
OUTDATED_SYMBOL_CODES = frozenset({
    Code.VOLUME_INVALID, Code.PRICE_INVALID, Code.STOPS_INVALID, Code.ORDER_TYPE_UNSUPPORTED
})  # fmt: skip


def is_exit(request: OrderRequest) -> bool:
    """Whether an order closes a position."""
    return request.reduce_only or bool(request.broker_position_id)


@dataclass(frozen=True, slots=True)
class OrderExecutor:
    """Executes one call of an account: an order, a cancel or a level change.

    call: its stage in the terminal's queue, which decides whether a time-out is NotSent."""

    terminal: Terminal
    spec: ConnectionSpec
    call: TerminalCall

    def submit(
        self, request: OrderRequest, guard: Guard, expected_mode: PositionMode
    ) -> list[OrderReport]:
        """Place one order. expected_mode: the PositionMode for which the engine evaluated it.

        Raises NotSent, Rejected or OutcomeUnknown."""
        account_info = self.terminal.ensure_account(self.spec)
        if mode_of(account_info) is not expected_mode:  # `ensure_account` has stored the new mode
            detail = f"the account is {mode_of(account_info)}: the order must be evaluated again"
            raise NotSent(Code.NOT_CONNECTED, detail)
        request, position = self._in_present_symbol(request)
        lots = self.terminal.lots(account_info, request.symbol)
        magic = self.terminal.order_ids.remember(request.client_order_id)
        fields = self._encode(request, lots, account_info, magic, position)
        try:
            with self._outdated_symbol(account_info, request.symbol):
                result = self._send_order(request, fields, lots, account_info, guard)
        except (NotSent, Rejected) as error:
            self.terminal.order_ids.mark_ended(request.client_order_id)
            if isinstance(error, Rejected) and not fields["price"]:
                raise NotSent(Code.MARKET_CLOSED, error.detail) from error
            raise
        reports = self._listed_reports(account_info, request.client_order_id, result.order)
        if not reports:
            return [self._report(ReportKind.ACCEPTED, request.client_order_id, result.order)]
        return reports if is_exit(request) else self._with_levels(request, reports)

    def what_if(self, request: OrderRequest) -> WhatIf:
        """Return what an order would cost, as the terminal computes it, without sending it.

        On a netting account that is the change of the position's margin. It includes neither the
        server's discount for opposite positions nor the commission. Raises Rejected, ReadFailed."""
        account_info = self.terminal.ensure_account(self.spec)
        request, position = self._in_present_symbol(request)
        lots = self.terminal.lots(account_info, request.symbol)
        magic = magic_of(request.client_order_id)
        fields = self._encode(request, lots, account_info, magic, position)
        if not is_exit(request):
            self._check(fields)
        price, order_lots = fields["price"], fields["volume"] * request.side.sign
        held_lots = 0.0  # positive for long; a hedging account's entry is a position of its own
        if mode_of(account_info) is PositionMode.NETTING:
            rows = [p for p in self.terminal.positions() if p.symbol == request.symbol]
            held_lots = sum(p.volume if p.type == OrderKind.BUY else -p.volume for p in rows)
        elif is_exit(request):
            held_lots = -order_lots
        margin_before = self._margin(request.symbol, held_lots, price)
        margin_after = self._margin(request.symbol, held_lots + order_lots, price)
        return WhatIf(decimal(margin_after - margin_before), None, None, account_info.currency)

    def _margin(self, symbol: str, lots: float, price: float) -> float:
        """Return the margin of a position; negative lots are short. Raises ReadFailed."""
        if not round(lots, 8):
            return 0.0
        order_kind = OrderKind.BUY if lots > 0 else OrderKind.SELL
        margin = self.terminal.api.order_calc_margin(int(order_kind), symbol, abs(lots), price)
        if margin is None:
            error = self.terminal.api.last_error()
            raise ReadFailed(Code.BROKER_UNREACHABLE, f"margin: {error[0]} {error[1]}")
        return float(margin)

    def cancel(self, request: CancelRequest) -> list[OrderReport]:
        """Cancel a working order. If it has ended: its reports and CANCEL_REFUSED.

        An exchange may take longer than its broker's answer, and execute the order meanwhile: then
        the order is reported as it is listed. Raises NotSent or OutcomeUnknown."""
        account_info = self.terminal.ensure_account(self.spec)
        client_order_id = request.client_order_id
        magic = magic_of(client_order_id)
        working = [
            order
            for order in self.terminal.orders()
            if str(order.ticket) == request.broker_order_id
            or parse.is_order_of(order, client_order_id, magic)
        ]
        if not working:
            return self._already_ended(request)
        ticket = working[0].ticket
        if working[0].state != OrderState.REQUEST_CANCEL:  # else the exchange has the request
            try:
                self._send(
                    order_encoding.removal(ticket), partial(check_deadline, request),
                    request.send_by,
                )  # fmt: skip
            except Rejected:
                return self._already_ended(request)
        is_working = self._is_still_working(ticket)
        reports = self._listed_reports(account_info, client_order_id, ticket)
        states_end = any(one.fills or one.kind is ReportKind.CANCELLED for one in reports)
        if states_end or (is_working and reports):
            return reports
        kind = ReportKind.ACCEPTED if is_working else ReportKind.CANCELLED
        return [self._report(kind, client_order_id, ticket)]

    def _is_still_working(self, ticket: int) -> bool:
        """Whether the terminal lists an order as working LEVELS_WAIT_SECONDS after the server has
        taken its removal."""
        deadline = monotonic() + LEVELS_WAIT_SECONDS
        while True:
            try:
                is_listed = any(row.ticket == ticket for row in self.terminal.orders())
            except BrokerError as error:
                raise OutcomeUnknown(Code.REPLY_LOST, f"accepted, but {error.detail}") from error
            if not is_listed or monotonic() >= deadline:
                return is_listed
            sleep(LEVELS_WAIT_SECONDS / 10)

    def modify(self, request: ModifyRequest) -> list[OrderReport]:
        """Set both levels of a position or of a working entry. Return the levels it then has.

        Raises NotSent, Rejected or OutcomeUnknown."""
        account_info = self.terminal.ensure_account(self.spec)
        request, position = self._in_present_symbol(request)
        lots = self.terminal.lots(account_info, request.symbol)
        fields = self._encode_levels(request, lots, position)
        with self._outdated_symbol(account_info, request.symbol):
            self._send(fields, partial(check_deadline, request), request.send_by)
        levels = self._wait_for_levels(request, fields)
        if levels is None:
            detail = "accepted, but the terminal does not list the position"
            raise OutcomeUnknown(Code.REPLY_LOST, detail)
        return [
            replace(
                self._report(ReportKind.LEVELS, request.client_order_id, 0),
                broker_position_id=request.broker_position_id,
                levels=levels,
            )
        ]

    def change_order(self, request: ChangeRequest) -> list[OrderReport]:
        """Set the prices of a working order. Return the terms that it then has.

        Raises NotSent, Rejected or OutcomeUnknown."""
        if OrderField.QUANTITY in request.fields:
            detail = "MetaTrader changes no volume of a pending order"
            raise Rejected(Code.CHANGE_UNSUPPORTED, detail)
        account_info = self.terminal.ensure_account(self.spec)
        lots = self.terminal.lots(account_info, request.symbol)
        order = self._working_row(request)
        if order is None:
            raise Rejected(Code.ORDER_ENDED, "the terminal does not list it as working")
        if parse.TYPES[order.type][1] is not request.order_type:  # a stop-limit that was triggered
            raise Rejected(Code.CHANGE_UNSUPPORTED, "its stop price was reached")
        fields = order_encoding.order_prices(order, request, lots)
        with self._outdated_symbol(account_info, request.symbol):
            self._send(fields, partial(check_deadline, request), request.send_by)
        prices = self._wait_for_prices(request, fields)
        is_limit = request.order_type is OrderType.LIMIT
        terms = replace(
            request.terms,
            limit_price=prices[0] if is_limit else prices[1] or None,
            stop_price=None if is_limit else prices[0],
        )
        report = self._report(ReportKind.CHANGED, request.client_order_id, order.ticket)
        return [replace(report, terms=terms)]

    @contextmanager
    def _outdated_symbol(self, account_info: Any, symbol: str) -> Iterator[None]:
        """Read a symbol again next time if the server rejects what its data allow."""
        try:
            yield
        except Rejected as error:
            if error.code in OUTDATED_SYMBOL_CODES:
                self.terminal.drop_symbol(account_info, symbol)
            raise

    def _working_row(self, request: ChangeRequest) -> Any:
        """Return the row of a working order; None if it is not listed."""
        client_order_id, ticket = request.client_order_id, request.broker_order_id
        magic = magic_of(client_order_id)
        for row in self.terminal.orders():
            if str(row.ticket) == ticket or parse.is_order_of(row, client_order_id, magic):
                return row
        return None

    def _wait_for_prices(
        self, request: ChangeRequest, fields: dict[str, Any]
    ) -> tuple[Decimal, Decimal]:
        """Wait up to LEVELS_WAIT_SECONDS until the terminal lists the accepted prices; return what
        it lists then. An order that is not listed any more had them when it was executed."""
        deadline = monotonic() + LEVELS_WAIT_SECONDS
        expected = fields["price"], fields.get("stoplimit", 0.0)
        while True:
            try:
                row = self._working_row(request)
            except BrokerError as error:
                raise OutcomeUnknown(Code.REPLY_LOST, f"accepted, but {error.detail}") from error
            now = expected if row is None else (row.price_open, row.price_stoplimit)
            if now == expected or monotonic() >= deadline:
                return decimal(now[0]), decimal(now[1])
            sleep(LEVELS_WAIT_SECONDS / 10)

    # ---- sending --------------------------------------------------------------------------
    def _in_present_symbol(self, request: Request) -> tuple[Request, Any]:
        """Return a request about a position in the symbol that this has now, with its row: brokers
        rename symbols while positions are open. None: it is about none, or that is not listed."""
        position_id = request.broker_position_id
        position = self._position_row(position_id) if position_id else None
        if position is None or position.symbol == request.symbol:
            return request, position
        return replace(request, symbol=position.symbol), position

    def _encode(
        self, request: OrderRequest, lots: Lots, account_info: Any, magic: int, position: Any
    ) -> dict[str, Any]:
        """Return the fields of an order's `order_send` request; a market order at the touch.

        position: the row of the position that it closes, if that is listed. Raises NotSent without
        a price, Rejected for what the symbol does not allow."""
        ticket = 0  # of the position that it closes
        if order_encoding.uses_position_ticket(request, mode_of(account_info)):
            ticket = _ticket(request.broker_position_id, position)
        price = 0.0
        if request.order_type is OrderType.MARKET:
            tick = self.terminal.tick(self.terminal.time(self.spec, account_info), request.symbol)
            # A sale needs no ask: a thin market may have one side only.
            price = (tick.ask if request.side is Side.BUY else tick.bid) if tick else 0.0
            if not is_price(price) and is_exit(request) and not lots.keeps_deviation():
                price = 0.0  # the terminal may lack what its server has, which needs none
            elif not is_price(price):
                side = "ask" if request.side is Side.BUY else "bid"
                missing = "price" if tick is None or not (tick.bid or tick.ask) else side
                raise NotSent(
                    Code.MARKET_CLOSED, f"the terminal has no {missing} of {request.symbol}"
                )
        return order_encoding.market_or_pending_order(
            request,
            lots,
            magic=magic,
            price=price,
            position=ticket,
            expires=self._expires(request, account_info),
        )

    def _send_order(
        self,
        request: OrderRequest,
        fields: dict[str, Any],
        lots: Lots,
        account_info: Any,
        guard: Guard,
    ) -> Any:
        """Send an order and return the server's answer; with each filling type that may fit, if the
        server refuses the usual one.

        Raises NotSent, Rejected or OutcomeUnknown."""
        known, usual = self.terminal.fillings, fields["type_filling"]
        key = account_info.login, request.symbol, request.order_type, request.time_in_force
        first, refusal = known.get(key, usual), None
        for filling in (first, *lots.other_fillings(request, first)):
            attempt = fields | {"type_filling": int(filling)}
            try:
                if not is_exit(request):
                    self._check(attempt)
                result = self._send(
                    attempt,
                    partial(guard, request),
                    request.send_by or None,
                    request.client_order_id,
                )
            except codes.FillingRefused as error:
                refusal = refusal or error
                continue
            if filling != usual:
                known[key] = int(filling)
            return result
        assert refusal is not None
        raise refusal

    def _expires(self, request: OrderRequest, account_info: Any) -> int:
        """Return the end of a GTD order in the server's time; 0 for others.

        Raises NotSent while the server's time zone is not known."""
        if request.expires_at is None:
            return 0
        try:
            return self.terminal.sample_clock(self.spec, account_info).seconds(request.expires_at)
        except ReadFailed as error:
            raise NotSent(Code.NOT_CONNECTED, error.detail) from error

    def _position_row(self, position_id: str) -> Any:
        """Return the row of a position; None if the terminal does not list it."""
        rows = self.terminal.positions()
        return next((row for row in rows if str(row.identifier) == position_id), None)

    def _encode_levels(self, request: ModifyRequest, lots: Lots, position: Any) -> dict[str, Any]:
        """Return the fields of a level change. Raises Rejected if nothing is there to change."""

        def level_prices(side: Side) -> dict[str, float]:
            return {
                "stop_loss": lots.level(request.stop_loss, side),
                "take_profit": lots.level(request.take_profit, side),
            }

        if position_id := request.broker_position_id:
            is_short = position is not None and position.type == OrderKind.SELL
            side = Side.SELL if is_short else Side.BUY
            ticket = _ticket(position_id, position)
            return order_encoding.position_levels(
                ticket=ticket, symbol=request.symbol, **level_prices(side)
            )
        client_order_id = request.client_order_id
        magic = magic_of(client_order_id)
        for order in self.terminal.orders():
            if parse.is_order_of(order, client_order_id, magic):
                return order_encoding.order_levels(
                    order, **level_prices(parse.TYPES[order.type][0])
                )
        raise Rejected(Code.NO_POSITION, "neither a position nor a working entry")

    def _check(self, fields: dict[str, Any]) -> None:
        """Let the terminal check an entry before it is sent. Raises Rejected.

        Exits are not checked: they must be sent even if the terminal's margins are wrong."""
        result = self.terminal.api.order_check(fields)
        if result is None:
            return
        if rejection := codes.check_verdict(result.retcode, result.comment):
            raise self._with_account_code(result.retcode, rejection)

    def _with_account_code(self, retcode: int, rejection: BrokerError) -> BrokerError:
        """Return the rejection with its code corrected: a server uses one code for a disabled
        symbol and a disabled account, so the account's own state decides."""
        account_info = self.terminal.api.account_info() if retcode == codes.TRADE_DISABLED else None
        if account_info is None or (account_info.trade_allowed and account_info.trade_expert):
            return rejection
        return Rejected(Code.TRADING_DISABLED, rejection.detail)

    def _send(
        self,
        fields: dict[str, Any],
        guard: Callable[[], None],
        send_by: float | None,
        client_order_id: str = "",
    ) -> Any:
        """Send one request and return the server's answer.

        guard: the last check. send_by: machine time in seconds; the package's process checks it
        again right before the send. client_order_id: of an order, not of a cancel or level change.
        Raises NotSent, Rejected or OutcomeUnknown."""
        api = self.terminal.api
        self.terminal.require_account(self.spec)
        self.call.about_to_send()
        if client_order_id:
            self.terminal.order_ids.mark_sent(client_order_id)
        guard()
        result = api.order_send(fields, before=send_by)
        if result is None:
            raise codes.verdict_without_answer(api.last_error())
        if type(getattr(result, "retcode", None)) is not int:
            raise OutcomeUnknown(Code.REPLY_LOST, f"unreadable: {vars(result)}"[:500])
        if result.retcode == codes.NO_CHANGES and not client_order_id:
            return result  # the levels are already set
        if failure := codes.verdict(result.retcode, result.comment):
            raise self._with_account_code(result.retcode, failure)
        try:
            self.terminal.require_account(self.spec)
        except BrokerError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"accepted, but {error.detail}") from error
        return result

    # ---- results --------------------------------------------------------------------------
    def _listed_reports(
        self, account_info: Any, client_order_id: str, ticket: int
    ) -> list[OrderReport]:
        """Return what the terminal lists of an order; [] if nothing yet: the next poll reads it."""
        if not ticket:
            return []
        try:
            return lookup.known_reports(
                self.terminal, self.spec, account_info, client_order_id, ticket
            )
        except BrokerError:
            return []

    def _with_levels(self, request: OrderRequest, reports: list[OrderReport]) -> list[OrderReport]:
        """Add the levels of the opened position: some servers with market execution accept the
        order but ignore its levels."""
        if request.stop_loss is None and request.take_profit is None:
            return reports
        try:
            rows = self.terminal.positions()
        except BrokerError:
            return reports
        levels = {str(row.identifier): parse.levels_of(row) for row in rows}
        return [
            replace(report, levels=levels.get(report.broker_position_id))
            if report.fills
            else report
            for report in reports
        ]

    def _wait_for_levels(self, request: ModifyRequest, fields: dict[str, Any]) -> HeldLevels | None:
        """Wait up to LEVELS_WAIT_SECONDS until the terminal lists the accepted levels, and return
        what it lists then. None: it lists neither the position nor the order."""
        deadline, expected = monotonic() + LEVELS_WAIT_SECONDS, (fields["sl"], fields["tp"])
        while True:
            row = self._row_of(request)
            if row is None:
                return None
            if (row.sl, row.tp) == expected or monotonic() >= deadline:
                return parse.levels_of(row)
            sleep(LEVELS_WAIT_SECONDS / 10)

    def _row_of(self, request: ModifyRequest) -> Any:
        """Return the row of the position or the working entry; None if it is not listed."""
        try:
            if request.broker_position_id:
                return self._position_row(request.broker_position_id)
            rows = self.terminal.orders()
        except BrokerError as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"accepted, but {error.detail}") from error
        client_order_id = request.client_order_id
        magic = magic_of(client_order_id)
        return next((row for row in rows if parse.is_order_of(row, client_order_id, magic)), None)

    def _already_ended(self, request: CancelRequest) -> list[OrderReport]:
        """Return the reports of an order that has ended. Raises NotSent if they are unknown."""
        try:
            reports = lookup.find(self.terminal, self.spec, request.client_order_id) or []
            self.terminal.require_account(self.spec)
        except BrokerError as error:
            raise NotSent(Code.NOT_CONNECTED, error.detail) from error
        if any(report.kind in (ReportKind.CANCELLED, ReportKind.EXPIRED) for report in reports):
            return reports
        ticket = int(request.broker_order_id) if request.broker_order_id.isdigit() else 0
        return [*reports, self._report(ReportKind.CANCEL_REFUSED, request.client_order_id, ticket)]

    def _report(self, kind: ReportKind, client_order_id: str, ticket: int) -> OrderReport:
        return OrderReport(
            kind=kind,
            connection_id=self.spec.connection_id,
            client_order_id=client_order_id,
            broker_order_id=str(ticket) if ticket else "",
        )


def _ticket(position_id: str, position: Any) -> int:
    """Return the current ticket of a position: it may change overnight, its identifier does not.

    position: its row in the terminal; None if it is not listed: then return the identifier, so that
    the server rejects it. Raises Rejected for an id that is no number."""
    if position is None and not position_id.isdigit():
        raise Rejected(Code.NO_POSITION, f"{position_id!r} is not a ticket")
    return int(position_id if position is None else position.ticket)
